"""Calendars: sessions as iCalendar (RFC 5545), for feeds, downloads and mails.

Pure: what is told of a session comes in, bytes go out. Times are UTC. A session's UID is made of its id and stays;
SEQUENCE counts changes of its time, and its cancellation; DTSTAMP is when it was changed last, not when it was asked
for, so that the same sessions are the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal
from uuid import UUID

from icalendar import Calendar, Event, vCalAddress, vText

CONTENT_TYPE = "text/calendar; charset=utf-8"
PRODUCT = "-//Wellio//Sessions//EN"
REFRESH = "PT15M"

Method = Literal["PUBLISH", "REQUEST", "CANCEL"]
State = Literal["CONFIRMED", "TENTATIVE", "CANCELLED"]
STATES: dict[str, State] = {
    "held": "TENTATIVE",
    "cancelled": "CANCELLED",
    "late_cancelled": "CANCELLED",
    "cancelled_by_coach": "CANCELLED",
}


@dataclass(frozen=True, slots=True)
class Party:
    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarEvent:
    """What a calendar shows of a session. `changed_at`: of the record."""

    session_id: UUID
    starts_at: datetime
    ends_at: datetime
    summary: str
    state: State
    sequence: int
    created_at: datetime
    changed_at: datetime
    location: str = ""
    url: str = ""
    organizer: Party | None = None
    attendees: tuple[Party, ...] = ()


def uid_of(session_id: UUID) -> str:
    return f"{session_id}@sessions.wellio"


def make_calendar(events: Sequence[CalendarEvent], *, name: str = "", method: Method = "PUBLISH") -> bytes:
    """CRLF line ends, lines folded at 75 octets. REQUEST and CANCEL tell of one session each (RFC 5546, 3.2)."""
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("method", method)
    if name:
        calendar.add("x-wr-calname", name)
        calendar.add("x-published-ttl", REFRESH)
    for event in events:
        calendar.add_component(_component(event))
    data: bytes = calendar.to_ical()
    return data


def digest_of(events: Sequence[CalendarEvent], name: str) -> str:
    """Of all that the calendar would show: another value after any change, however soon."""
    return sha256(repr((name, list(events))).encode()).hexdigest()[:32]


def _component(event: CalendarEvent) -> Event:
    component = Event()
    component.add("uid", uid_of(event.session_id))
    component.add("dtstamp", _second(event.changed_at))
    component.add("created", _second(event.created_at))
    component.add("last-modified", _second(event.changed_at))
    # That it is cancelled must count as later than all before (RFC 5546, 2.1.4), and changes no time.
    component.add("sequence", event.sequence + (event.state == "CANCELLED"))
    component.add("dtstart", _second(event.starts_at))
    component.add("dtend", _second(event.ends_at))
    component.add("summary", event.summary)
    component.add("status", event.state)
    component.add("transp", "TRANSPARENT" if event.state == "CANCELLED" else "OPAQUE")
    if event.location:
        component.add("location", event.location)
    if event.url:
        component.add("url", event.url)
    if event.organizer:
        component.add("organizer", _address(event.organizer))
    for party in event.attendees:
        attendee = _address(party)
        attendee.params["PARTSTAT"] = vText("ACCEPTED")
        attendee.params["RSVP"] = vText("FALSE")
        component.add("attendee", attendee)
    return component


def _address(party: Party) -> vCalAddress:
    address = vCalAddress(f"mailto:{party.address}")
    address.params["CN"] = vText(party.name)
    return address


def _second(instant: datetime) -> datetime:
    """iCalendar knows no fractions."""
    return instant.astimezone(UTC).replace(microsecond=0)
