"""Mails about sessions: booked, moved, cancelled; each with what calendar programs need to follow.

Queued by a consumer of the event log, in the transaction that moves its cursor, so each event has its mails once. Who
made a change is not told of it, but a client has their own booking confirmed. What a mail says is made when it is sent:
one that is no longer so (moved again, cancelled since) is dropped, as another one tells of that.

Of a place in a group its client alone is told, also of what they did themself, so that their calendar follows; nobody
is told who else takes part.

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
    EventType.PARTICIPANT_JOINED: MailKind.SESSION_BOOKED,
    EventType.PARTICIPANT_LEFT: MailKind.PLACE_LEFT,
    EventType.SERIES_BOOKED: MailKind.SESSION_BOOKED,
    EventType.SERIES_MOVED: MailKind.SESSION_MOVED,
    EventType.SERIES_CANCELLED: MailKind.SESSION_CANCELLED,
}
WORDS: Mapping[MailKind, tuple[str, str]] = {
    MailKind.SESSION_BOOKED: ("Session with {other} on {when}", "{count} sessions with {other}"),
    MailKind.SESSION_MOVED: ("Session with {other} moved to {when}", "{count} sessions with {other} moved"),
    MailKind.SESSION_REMINDER: ("Session with {other} on {when}", "{count} sessions with {other}"),
    MailKind.PLACE_LEFT: ("Not taking part with {other} on {when}", "Not taking part in {count} sessions with {other}"),
    MailKind.SESSION_CANCELLED: ("Session with {other} on {when} cancelled", "{count} sessions with {other} cancelled"),
}
METHODS: Mapping[MailKind, Method] = {MailKind.SESSION_CANCELLED: "CANCEL", MailKind.PLACE_LEFT: "CANCEL"}
OF_A_PLACE = frozenset({EventType.PARTICIPANT_JOINED, EventType.PARTICIPANT_LEFT})

# Of a cancelled group those who were still in it, whose places ended with it: who had left has a time of their own. Of
# one place (`told_of`) its client, unless it ended with the group.
LIST_CORRESPONDENTS = """
select s.id as session_id, t.told_of, s.kind, s.coach_id as user_id, null::uuid as client_id, u.email, s.status,
       s.starts_at
from unnest($1::uuid[], $2::uuid[], $3::uuid[]) t (practice_id, session_id, told_of)
join sessions s on s.practice_id = t.practice_id and s.id = t.session_id
join users u on u.practice_id = s.practice_id and u.id = s.coach_id and u.status = 'active'
where t.told_of is null
union all
select s.id, t.told_of, s.kind, u.id, c.id, coalesce(u.email, c.email), s.status, s.starts_at
from unnest($1::uuid[], $2::uuid[], $3::uuid[]) t (practice_id, session_id, told_of)
join sessions s on s.practice_id = t.practice_id and s.id = t.session_id
join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id
  and case when t.told_of is null
           then s.kind = 'one_to_one' or p.cancelled_at is null or p.cancelled_at = s.cancelled_at
           else p.client_id = t.told_of and (p.cancelled_at = s.cancelled_at) is not true end
join clients c on c.practice_id = p.practice_id and c.id = p.client_id
left join users u on u.practice_id = c.practice_id and u.id = c.user_id
where coalesce(u.status, 'active') = 'active' and coalesce(u.email, c.email, '') <> ''
"""

# As the client $3 has them in their calendar, where it is one who is written to.
LIST_MAILED_SESSIONS = """
select s.id, s.title, s.starts_at, s.ends_at,
       case when p.status in ('cancelled', 'late_cancelled') then 'cancelled' else s.status end as status,
       s.sequence as times_moved, s.sequence + coalesce(p.sequence, 0) as sequence, s.location,
       s.meeting_url, s.created_at, s.updated_at, s.shifted, s.timezone, coach.name as coach_name,
       coach.timezone as coach_timezone,
       s.client_id is not null as one_to_one, one.first_name || ' ' || one.last_name as client_name
from sessions s
join users coach on coach.practice_id = s.practice_id and coach.id = s.coach_id
left join clients one on one.practice_id = s.practice_id and one.id = s.client_id
left join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id and p.client_id = $3
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

    @property
    def told_of(self) -> UUID | None:
        """The client whose place it is about."""
        return self.event.client_id if self.event.type in OF_A_PLACE else None


async def queue_session_mails(connection: Connection, events: Sequence[Event]) -> None:
    """For whom each event concerns and who did not cause it."""
    told = [t for event in events if (t := _told(event))]
    # Several of one session may come together; who is written to is asked once.
    asked = list(dict.fromkeys((t.event.practice_id, t.session_ids[0], t.told_of) for t in told))
    columns = [[one[n] for one in asked] for n in range(3)]
    rows = await connection.fetch(LIST_CORRESPONDENTS, *columns) if told else []
    people: dict[tuple[UUID, UUID | None], list[Row]] = {}
    for row in rows:
        people.setdefault((row["session_id"], row["told_of"]), []).append(row)
    for each in told:
        for row in people.get((each.session_ids[0], each.told_of), ()):
            if _concerns(each.event, row):
                await _queue(connection, each, row)


async def fill_session_mail(connection: Connection, mail: QueuedMail, base_url: str) -> Filled | None:
    """None when there is nothing to tell any more."""
    kind = MailKind(mail.kind)
    client_id = UUID(mail.data["client_id"]) if mail.data.get("client_id") else None
    reader = await connection.fetchrow(GET_CORRESPONDENT, mail.practice_id, mail.user_id, client_id)
    ids = [UUID(text) for text in mail.data["session_ids"]]
    rows = await connection.fetch(LIST_MAILED_SESSIONS, mail.practice_id, ids, client_id)
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
    if event.type in OF_A_PLACE:
        return True
    if row["kind"] == "group" and event.type is EventType.SESSION_BOOKED:
        return row["client_id"] is None and row["user_id"] != event.actor_id  # clients hear of their places
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
    if row["ends_at"] <= datetime.now(UTC) or cancelled != (kind in METHODS):
        return False
    moved_again = alone and sequence is not None and row["times_moved"] > sequence
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
