"""What the attendance model makes of an event: a booking, an outcome, an outcome taken back, or nothing.

A session given up late is one that was not attended: the time was lost. Nothing here raises, whatever a payload holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.events import Event, EventType
from wellio.learning.attendance import Attendance
from wellio.learning.attendance_features import Booking
from wellio.learning.facts import time_of

What = Literal["booked", "attended", "missed", "taken_back", "given_up", "erased"]
# Which booking: practice, session, client; of who is erased, the client for the session.
Key = tuple[UUID, UUID, UUID]
MAX_LEAD = timedelta(days=1000)

_WHATS: Mapping[EventType, What] = {
    EventType.SESSION_BOOKED: "booked",
    EventType.SESSION_RESCHEDULED: "booked",
    EventType.SESSION_COMPLETED: "attended",
    EventType.SESSION_MISSED: "missed",
    EventType.SESSION_NO_SHOW_UNDONE: "taken_back",
    EventType.SESSION_CANCELLED: "given_up",
    EventType.PARTICIPANT_JOINED: "booked",
    EventType.PARTICIPANT_ATTENDED: "attended",
    EventType.PARTICIPANT_MISSED: "missed",
    EventType.PARTICIPANT_UNMARKED: "taken_back",
    EventType.PARTICIPANT_LEFT: "given_up",
    EventType.CLIENT_ERASED: "erased",
}
LEARNT = frozenset(_WHATS)


@dataclass(frozen=True, slots=True)
class Item:
    what: What
    key: Key
    at: float
    event: Event

    @property
    def client(self) -> tuple[UUID, UUID]:
        return self.key[0], self.key[2]


def item_of(event: Event) -> Item | None:
    """None for what is not of one client's place in a session."""
    what = _WHATS.get(event.type)
    if what is None or event.client_id is None:
        return None
    if what == "erased":
        return Item(what, (event.practice_id, event.client_id, event.client_id), time_of(event), event)
    if event.subject_id is None:
        return None
    if what == "given_up" and event.payload.get("status") == "late_cancelled":
        what = "missed"
    return Item(what, (event.practice_id, event.subject_id, event.client_id), time_of(event), event)


def apply(model: Attendance, items: list[Item], zones: Mapping[UUID, ZoneInfo]) -> None:
    """In order; `zones` by practice."""
    for item in items:
        if item.what == "booked":
            booking = _booking(item, zones.get(item.key[0]))
            if booking is not None:
                model.book(item.key, booking)
        elif item.what == "taken_back":
            model.take_back(item.key)
        elif item.what == "given_up":
            model.cancel(item.key)
        elif item.what == "erased":
            model.forget(*item.client)
        else:
            model.settle(item.key, attended=item.what == "attended", t=item.at)


def booking_at(
    practice: UUID, client: UUID, zone: ZoneInfo, booked: datetime, starts: datetime, **more: Any
) -> Booking:
    """As clocks in `zone` show the times; `more` as in Booking."""
    booked_wall, starts_wall = booked.astimezone(zone), starts.astimezone(zone)
    return Booking(
        practice=practice,
        client=client,
        booked_at=booked.timestamp(),
        starts_at=starts.timestamp(),
        lead_days=float(max((starts_wall.date() - booked_wall.date()).days, 0)),
        booked_hour=booked_wall.hour + booked_wall.minute / 60.0,
        starts_hour=starts_wall.hour + starts_wall.minute / 60.0,
        weekday=starts_wall.weekday(),
        **more,
    )


def _booking(item: Item, zone: ZoneInfo | None) -> Booking | None:
    """None for a session recorded after it began: nobody could have asked."""
    payload, event = item.event.payload, item.event
    starts, ends = _moment(payload.get("starts_at")), _moment(payload.get("ends_at"))
    if starts is None or zone is None or not timedelta(0) < starts - event.occurred_at < MAX_LEAD:
        return None
    price = payload.get("price_minor")
    return booking_at(
        *item.client,
        zone,
        event.occurred_at,
        starts,
        minutes=(ends - starts).total_seconds() / 60.0 if ends and ends > starts else 60.0,
        group=event.type is EventType.PARTICIPANT_JOINED,
        by_client=payload.get("by") == "client",
        priced=isinstance(price, int) and price > 0,
    )


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None
