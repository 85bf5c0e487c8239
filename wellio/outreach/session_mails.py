"""Mails about sessions: booked, moved, cancelled; each with what calendar programs need to follow.

Queued by a consumer of the event log, in the transaction that moves its cursor, so each event has its mails once. Who
made a change is not told of it, but a client has their own booking confirmed. What a mail says is made when it is sent:
one that is no longer so (moved again, cancelled since) is dropped, as another one tells of that.

One session is a REQUEST or a CANCEL. Many of a series at once are one mail, with a list of dates; as iTIP has no form
for several UIDs (RFC 5546, 3.2), its calendar is a PUBLISH of them all, cancelled ones with STATUS:CANCELLED.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.db import Connection, Row
from wellio.events import Event, EventType
from wellio.mails import MailKind, queue_mail
from wellio.outreach.mail_words import Filled, Invitation, QueuedMail, told_name, told_time
from wellio.practice.calendars import STATES, CalendarEvent, Method, Party

KINDS: Mapping[EventType, MailKind] = {
    EventType.SESSION_BOOKED: MailKind.SESSION_BOOKED,
    EventType.SESSION_RESCHEDULED: MailKind.SESSION_MOVED,
    EventType.SESSION_CANCELLED: MailKind.SESSION_CANCELLED,
    EventType.SERIES_BOOKED: MailKind.SESSION_BOOKED,
    EventType.SERIES_MOVED: MailKind.SESSION_MOVED,
    EventType.SERIES_CANCELLED: MailKind.SESSION_CANCELLED,
}
WORDS: Mapping[MailKind, tuple[str, str]] = {
    MailKind.SESSION_BOOKED: ("Session with {other} on {when}", "{count} sessions with {other}"),
    MailKind.SESSION_MOVED: ("Session with {other} moved to {when}", "{count} sessions with {other} moved"),
    MailKind.SESSION_REMINDER: ("Session with {other} on {when}", "{count} sessions with {other}"),
    MailKind.SESSION_CANCELLED: ("Session with {other} on {when} cancelled", "{count} sessions with {other} cancelled"),
}
METHODS: Mapping[MailKind, Method] = {MailKind.SESSION_CANCELLED: "CANCEL"}

# Of a cancelled group those who were still in it, whose places ended with it: who had left has a time of their own.
LIST_CORRESPONDENTS = """
select s.id as session_id, s.coach_id as user_id, null::uuid as client_id, u.email, s.status, s.starts_at
from unnest($1::uuid[], $2::uuid[]) t (practice_id, session_id)
join sessions s on s.practice_id = t.practice_id and s.id = t.session_id
join users u on u.practice_id = s.practice_id and u.id = s.coach_id and u.status = 'active'
union all
select s.id, u.id, c.id, coalesce(u.email, c.email), s.status, s.starts_at
from unnest($1::uuid[], $2::uuid[]) t (practice_id, session_id)
join sessions s on s.practice_id = t.practice_id and s.id = t.session_id
join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id
  and (s.kind = 'one_to_one' or p.cancelled_at is null or p.cancelled_at = s.cancelled_at)
join clients c on c.practice_id = p.practice_id and c.id = p.client_id
left join users u on u.practice_id = c.practice_id and u.id = c.user_id
where coalesce(u.status, 'active') = 'active' and coalesce(u.email, c.email, '') <> ''
"""

LIST_MAILED_SESSIONS = """
select s.id, s.title, s.starts_at, s.ends_at, s.status, s.sequence, s.location, s.meeting_url, s.created_at,
       s.updated_at, s.shifted, s.timezone, coach.name as coach_name, coach.timezone as coach_timezone,
       s.client_id is not null as one_to_one, one.first_name || ' ' || one.last_name as client_name
from sessions s
join users coach on coach.practice_id = s.practice_id and coach.id = s.coach_id
left join clients one on one.practice_id = s.practice_id and one.id = s.client_id
where s.practice_id = $1 and s.id = any($2::uuid[])
order by s.starts_at, s.id
"""

GET_CORRESPONDENT = """
select p.name as practice,
       case when $3::uuid is null then u.name else c.first_name || ' ' || c.last_name end as name,
       coalesce(u.timezone, c.timezone, p.timezone) as timezone
from practices p
left join users u on u.practice_id = p.id and u.id = $2
left join clients c on c.practice_id = p.id and c.id = $3
where p.id = $1 and coalesce(u.status, 'active') = 'active'
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """An event with the sessions that it tells of; the first stands for all."""

    event: Event
    session_ids: Sequence[UUID]


async def queue_session_mails(connection: Connection, events: Sequence[Event]) -> None:
    """For whom each event concerns and who did not cause it."""
    told = [t for event in events if (t := _told(event))]
    # Several of one session may come together; who is written to is asked once.
    practices = {t.session_ids[0]: t.event.practice_id for t in told}
    pairs = list(practices.values()), list(practices)
    rows = await connection.fetch(LIST_CORRESPONDENTS, *pairs) if told else []
    by_session: dict[UUID, list[Row]] = {}
    for row in rows:
        by_session.setdefault(row["session_id"], []).append(row)
    for each in told:
        for row in by_session.get(each.session_ids[0], ()):
            if _concerns(each.event, row):
                await _queue(connection, each, row)


async def fill_session_mail(connection: Connection, mail: QueuedMail, base_url: str) -> Filled | None:
    """None when there is nothing to tell any more."""
    kind = MailKind(mail.kind)
    client_id = UUID(mail.data["client_id"]) if mail.data.get("client_id") else None
    reader = await connection.fetchrow(GET_CORRESPONDENT, mail.practice_id, mail.user_id, client_id)
    ids = [UUID(text) for text in mail.data["session_ids"]]
    rows = await connection.fetch(LIST_MAILED_SESSIONS, mail.practice_id, ids)
    rows = [row for row in rows if _still_so(kind, row, mail.data, alone=len(ids) == 1)]
    if reader is None or not reader["name"] or not rows:
        return None
    other = _other(rows[0], of_client=client_id is not None)
    zone = reader["timezone"]
    return Filled(
        _subject(kind, rows, other, zone),
        {
            "reader": reader["name"],
            "practice": reader["practice"],
            "other": other,
            "count": len(rows),
            "dates": [told_time(row["starts_at"], zone) for row in rows],
            "location": rows[0]["location"],
            "meeting_url": rows[0]["meeting_url"],
        },
        None
        if kind is MailKind.SESSION_REMINDER
        else _invitation(kind, rows, Party(reader["name"], mail.recipient), other, reader["practice"]),
    )


def _told(event: Event) -> _Told | None:
    if "session_ids" in event.payload:
        return _Told(event, [UUID(text) for text in event.payload["session_ids"]])
    if "series_id" in event.payload or event.subject_id is None:  # one among many, which are told together
        return None
    return _Told(event, [event.subject_id])


def _concerns(event: Event, row: Row) -> bool:
    own_booking = row["client_id"] is not None and KINDS[event.type] is MailKind.SESSION_BOOKED
    own = event.actor_id is not None and row["user_id"] == event.actor_id
    return row["status"] != "held" and (own_booking or not own)


async def _queue(connection: Connection, told: _Told, row: Row) -> None:
    await queue_mail(
        connection,
        KINDS[told.event.type],
        row["email"],
        practice_id=told.event.practice_id,
        user_id=row["user_id"],
        data={
            "session_ids": [str(session_id) for session_id in told.session_ids],
            "sequence": told.event.payload.get("sequence"),
            "client_id": str(row["client_id"]) if row["client_id"] else None,
        },
    )


def _still_so(kind: MailKind, row: Row, told: Mapping[str, Any], *, alone: bool) -> bool:
    sequence = told["sequence"]
    if kind is MailKind.SESSION_REMINDER:
        starts_at: datetime = row["starts_at"]
        same = starts_at == datetime.fromisoformat(told["starts_at"])
        return same and row["status"] == "scheduled" and starts_at > datetime.now(UTC)
    cancelled = STATES.get(row["status"]) == "CANCELLED"
    if row["ends_at"] <= datetime.now(UTC) or cancelled != (kind is MailKind.SESSION_CANCELLED):
        return False
    moved_again = alone and sequence is not None and row["sequence"] > sequence
    return kind is not MailKind.SESSION_MOVED or not moved_again


def _subject(kind: MailKind, rows: Sequence[Row], other: str, zone: str) -> str:
    one, many = WORDS[kind]
    when = f"{rows[0]['starts_at'].astimezone(ZoneInfo(zone)):%d %B %Y, %H:%M}"
    return (one if len(rows) == 1 else many).format(other=told_name(other), when=when, count=len(rows))


def _other(row: Row, *, of_client: bool) -> str:
    name: str = row["coach_name"] if of_client else row["client_name"] or "a group"
    return name


def _invitation(kind: MailKind, rows: Sequence[Row], reader: Party, other: str, practice: str) -> Invitation:
    method = METHODS.get(kind, "REQUEST") if len(rows) == 1 else "PUBLISH"
    return Invitation(method, [_event(row, reader, other) for row in rows], practice)


def _event(row: Row, reader: Party, other: str) -> CalendarEvent:
    words: list[Any] = [part for part in (row["title"], other) if part]
    return CalendarEvent(
        session_id=row["id"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        summary=": ".join(words),
        state=STATES.get(row["status"], "CONFIRMED"),
        sequence=row["sequence"],
        created_at=row["created_at"],
        changed_at=row["updated_at"],
        location=row["location"],
        url=row["meeting_url"],
        attendees=(reader,),
    )
