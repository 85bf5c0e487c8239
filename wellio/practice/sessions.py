"""Sessions: a coach and a client at a time. Two of one coach never overlap; the database holds that.

A session moves from `scheduled` through `in_progress` to `completed`, or ends as cancelled or missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import EVERYONE, Actor, Role
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.bookable import Buffers, Place, check_place
from wellio.practice.clients import touch_clients
from wellio.practice.session_types import find_session_type
from wellio.values import Input, Line, Minor, Moment, Url, Zone

Kind = Literal["one_to_one", "group"]
Status = Literal[
    "held", "scheduled", "in_progress", "completed", "cancelled", "late_cancelled", "cancelled_by_coach", "no_show"
]
ParticipantStatus = Literal["booked", "attended", "no_show", "cancelled", "late_cancelled"]
NextStatus = Literal["in_progress", "completed", "cancelled", "no_show"]
MAX_LENGTH = timedelta(hours=24)
OPEN = frozenset({"held", "scheduled", "in_progress"})
# Which status may follow which, and the event that tells of it.
STEPS: dict[str, tuple[frozenset[str], EventType]] = {
    "in_progress": (frozenset({"scheduled"}), EventType.SESSION_STARTED),
    "completed": (frozenset({"scheduled", "in_progress"}), EventType.SESSION_COMPLETED),
    "no_show": (frozenset({"scheduled", "in_progress"}), EventType.SESSION_MISSED),
    "cancelled": (frozenset({"held", "scheduled"}), EventType.SESSION_CANCELLED),
}
AFTER_START = frozenset({"completed", "no_show"})

LIST_SESSIONS = """
select s.*, p.participants, p.booked
from visible_sessions($1, $2, $3) s
cross join lateral (
    select count(*) filter (where sp.status in ('booked', 'attended', 'no_show')) as booked,
           jsonb_agg(jsonb_build_object(
               'client_id', sp.client_id, 'user_id', c.user_id, 'status', sp.status, 'joined_at', sp.joined_at
           ) order by sp.booked_at, sp.client_id) filter (where $2 <> 'client' or c.user_id = $3) as participants
    from session_participants sp
    join clients c on c.practice_id = $1 and c.id = sp.client_id
    where sp.practice_id = $1 and sp.session_id = s.id
) p
where ($4::timestamptz is null or s.starts_at >= $4)
  and ($5::timestamptz is null or s.starts_at < $5)
  and ($6::text is null or s.status = $6)
  and ($7::uuid is null or s.coach_id = $7)
  and ($8::uuid is null or s.id in (
          select sp.session_id from session_participants sp where sp.practice_id = $1 and sp.client_id = $8))
order by
  case when $9 = '-starts_at' then s.starts_at end desc,
  s.starts_at, s.id
limit $10 offset $11
"""

COUNT_SESSIONS = """
select count(*)
from visible_sessions($1, $2, $3) s
where ($4::timestamptz is null or s.starts_at >= $4)
  and ($5::timestamptz is null or s.starts_at < $5)
  and ($6::text is null or s.status = $6)
  and ($7::uuid is null or s.coach_id = $7)
  and ($8::uuid is null or s.id in (
          select sp.session_id from session_participants sp where sp.practice_id = $1 and sp.client_id = $8))
"""

GET_SESSION = """
select s.*, p.participants, p.booked
from visible_sessions($1, $2, $3) s
cross join lateral (
    select count(*) filter (where sp.status in ('booked', 'attended', 'no_show')) as booked,
           jsonb_agg(jsonb_build_object(
               'client_id', sp.client_id, 'user_id', c.user_id, 'status', sp.status, 'joined_at', sp.joined_at
           ) order by sp.booked_at, sp.client_id) filter (where $2 <> 'client' or c.user_id = $3) as participants
    from session_participants sp
    join clients c on c.practice_id = $1 and c.id = sp.client_id
    where sp.practice_id = $1 and sp.session_id = s.id
) p
where s.id = $4
"""

LOCK_SESSION = "select id from sessions where practice_id = $1 and id = $2 for update"

UPDATE_SESSION = """
update sessions
set title = $3, status = $4, starts_at = $5, ends_at = $6, timezone = $7, location = $8, meeting_url = $9,
    price_minor = $10, cancel_reason = $11, buffer_before_minutes = coalesce($12, buffer_before_minutes),
    buffer_after_minutes = coalesce($13, buffer_after_minutes), override_reason = coalesce($14, override_reason),
    version = version + 1, updated_at = now()
where practice_id = $1 and id = $2
"""

LIST_SESSION_AUDIENCE = """
select s.coach_id as user_id from sessions s where s.practice_id = $1 and s.id = $2
union
select c.user_id
from session_participants p
join clients c on c.practice_id = p.practice_id and c.id = p.client_id
where p.practice_id = $1 and p.session_id = $2 and c.user_id is not null
union
select id from users where practice_id = $1 and role = 'owner' and status = 'active'
"""


Reason = Annotated[Line, Field(min_length=1)]


class SessionChanges(Input):
    """Only the named fields change. A new `starts_at` alone keeps the length."""

    starts_at: Moment | None = None
    ends_at: Moment | None = None
    duration_minutes: Annotated[int, Field(ge=5, le=1440)] | None = None
    status: NextStatus | None = None
    cancel_reason: Line | None = None
    title: Line | None = None
    timezone: Zone | None = None
    location: Line | None = None
    meeting_url: Url | None = None
    price_minor: Minor | None = None
    override_reason: Reason | None = None


class SessionQuery(PageQuery):
    """`from` and `to` bound `starts_at`: from inclusive, to exclusive."""

    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None
    status: Status | None = None
    coach_id: UUID | None = None
    client_id: UUID | None = None
    sort: Literal["starts_at", "-starts_at"] = "starts_at"


@dataclass(frozen=True, slots=True)
class Participant:
    client_id: UUID
    user_id: UUID | None
    status: ParticipantStatus
    joined_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """`participants`: all of them for staff, a client only themself. `booked`: how many there are of `capacity`, which
    a one-to-one has none of. `hold_expires_at`: until when a held one takes its time. `sequence` counts changes of the
    time (RFC 5545). `original_starts_at`: where the series had put it; `shifted`: its wall time did not exist that day.
    """

    id: UUID
    kind: Kind
    coach_id: UUID
    client_id: UUID | None
    participants: Sequence[Participant]
    capacity: int | None
    booked: int
    title: str
    status: Status
    starts_at: datetime
    ends_at: datetime
    timezone: str
    location: str
    meeting_url: str
    price_minor: int
    currency: str
    series_id: UUID | None
    original_starts_at: datetime | None
    shifted: bool
    session_type_id: UUID | None
    hold_expires_at: datetime | None
    sequence: int
    reschedule_count: int
    cancelled_at: datetime | None
    cancel_reason: str | None
    version: int
    created_at: datetime
    updated_at: datetime


async def list_sessions(db: Database, actor: Actor, query: SessionQuery) -> Page[Session]:
    filters = (*actor.scope, query.from_, query.to, query.status, query.coach_id, query.client_id)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_SESSIONS, *filters, query.sort, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_SESSIONS, *filters)
    return page_of([_session(row) for row in rows], query=query, total=total)


async def get_session(db: Database | Connection, actor: Actor, session_id: UUID) -> Session:
    """Raises NotFound."""
    row = await db.fetchrow(GET_SESSION, *actor.scope, session_id)
    if row is None:
        raise NotFound("No such session.")
    return _session(row)


async def change_session(
    outbox: Outbox, actor: Actor, session_id: UUID, changes: SessionChanges, *, if_version: int | None = None
) -> Session:
    """Reschedules, starts, completes, cancels, marks missed, or edits. Raises NotFound, Conflict, Invalid."""
    actor.must_be(EVERYONE)
    values = _changed_values(actor, changes)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_SESSION, actor.practice_id, session_id)
        before = await get_session(tx.connection, actor, session_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The session was changed since you read it; read it again.")
        after = _after(actor, before, values)
        if after == before:
            return before
        buffers = None
        if (after.starts_at, after.ends_at) != (before.starts_at, before.ends_at):
            buffers = await _check_new_place(tx.connection, actor, after, changes.override_reason)
        await _update(tx.connection, actor.practice_id, after, buffers, changes.override_reason)
        session = await get_session(tx.connection, actor, session_id)
        tx.record(session_event(_what_happened(before, session), actor, session))
        if session.status == "completed" and session.client_id:
            await touch_clients(tx.connection, actor.practice_id, {session.client_id: session.ends_at})
        return session


async def list_session_audience(db: Database, practice_id: UUID, session_id: UUID) -> list[UUID]:
    """The users who follow a session live: its coach, its client, the owners."""
    return [row["user_id"] for row in await db.fetch(LIST_SESSION_AUDIENCE, practice_id, session_id)]


async def _check_new_place(connection: Connection, actor: Actor, after: Session, reason: str | None) -> Buffers:
    """A session that moves is checked like a new one, and does not stand in its own way."""
    place = Place(
        coach_id=after.coach_id,
        client_id=after.client_id,
        starts_at=after.starts_at,
        ends_at=after.ends_at,
        session_id=after.id,
    )
    session_type = await find_session_type(connection, actor, after.session_type_id) if after.session_type_id else None
    return await check_place(connection, actor, place, session_type, override_reason=reason)


def check_length(starts_at: datetime, ends_at: datetime) -> None:
    if ends_at <= starts_at:
        raise Invalid.field("ends_at", "Must be later than starts_at.")
    if ends_at - starts_at > MAX_LENGTH:
        raise Invalid.field("ends_at", "A session lasts at most 24 hours.")


def _changed_values(actor: Actor, changes: SessionChanges) -> dict[str, Any]:
    values = {name: getattr(changes, name) for name in changes.model_fields_set}
    for name, value in values.items():
        if value is None:
            raise Invalid.field(name, "Must not be null.")
    moves = {"starts_at", "ends_at", "duration_minutes"} & set(values)
    if values.pop("override_reason", None) is not None and not moves:
        raise Invalid.field("override_reason", "Goes with a new time only.")
    if actor.role is Role.CLIENT and (values.get("status") != "cancelled" or set(values) - {"status", "cancel_reason"}):
        raise Forbidden("A client may only cancel a session.")
    if "cancel_reason" in values and values.get("status") != "cancelled":
        raise Invalid.field("cancel_reason", "Goes with status cancelled only.")
    if "ends_at" in values and "duration_minutes" in values:
        raise Invalid.field("ends_at", "Give either ends_at or duration_minutes.")
    return values


def _after(actor: Actor, before: Session, values: dict[str, Any]) -> Session:
    """The session with the changes made. Raises Conflict for a step its status does not allow."""
    values = dict(values)
    moves = bool({"starts_at", "ends_at", "duration_minutes"} & set(values))
    if moves:
        if before.status not in ("held", "scheduled"):
            raise Conflict(f"A session that is {before.status} can't be moved.", code="SESSION_CLOSED")
        values |= _times(before, values)
    values.pop("duration_minutes", None)
    status = values.get("status")
    if status is not None and status != before.status:
        values["status"] = _next_status(actor, before, status)
    return replace(before, **values)


def _times(before: Session, values: dict[str, Any]) -> dict[str, datetime]:
    starts_at = values.get("starts_at", before.starts_at)
    length = before.ends_at - before.starts_at
    if "duration_minutes" in values:
        length = timedelta(minutes=values["duration_minutes"])
    ends_at = values.get("ends_at", starts_at + length)
    check_length(starts_at, ends_at)
    return {"starts_at": starts_at, "ends_at": ends_at}


def _next_status(actor: Actor, before: Session, status: str) -> str:
    allowed, _ = STEPS[status]
    if before.status not in allowed:
        raise Conflict(f"A session that is {before.status} can't become {status}.", code="SESSION_CLOSED")
    if status in AFTER_START and before.starts_at > datetime.now(UTC):
        raise Conflict(f"A session can be {status} only after its start.", code="SESSION_NOT_STARTED")
    if status == "cancelled" and actor.role is not Role.CLIENT:
        return "cancelled_by_coach"
    return status


def _what_happened(before: Session, after: Session) -> EventType:
    if after.status != before.status:
        return STEPS["cancelled" if "cancelled" in after.status else after.status][1]
    if (after.starts_at, after.ends_at) != (before.starts_at, before.ends_at):
        return EventType.SESSION_RESCHEDULED
    return EventType.SESSION_UPDATED


async def _update(
    connection: Connection, practice_id: UUID, session: Session, buffers: Buffers | None, reason: str | None
) -> None:
    await connection.execute(
        UPDATE_SESSION,
        practice_id,
        session.id,
        session.title,
        session.status,
        session.starts_at,
        session.ends_at,
        session.timezone,
        session.location,
        session.meeting_url,
        session.price_minor,
        session.cancel_reason,
        buffers.before if buffers else None,
        buffers.after if buffers else None,
        reason,
    )


def session_event(kind: EventType, actor: Actor, session: Session) -> Event:
    return Event(
        type=kind,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        client_id=session.client_id,
        subject_id=session.id,
        payload={
            "by": actor.role.value,
            "status": session.status,
            "coach_id": session.coach_id,
            "starts_at": session.starts_at,
            "ends_at": session.ends_at,
            "price_minor": session.price_minor,
        },
    )


def _session(row: Row) -> Session:
    return Session(
        id=row["id"],
        kind=row["kind"],
        coach_id=row["coach_id"],
        client_id=row["client_id"],
        participants=[_participant(p) for p in row["participants"] or ()],
        capacity=row["capacity"],
        booked=row["booked"],
        title=row["title"],
        status=row["status"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        timezone=row["timezone"],
        location=row["location"],
        meeting_url=row["meeting_url"],
        price_minor=row["price_minor"],
        currency=row["currency"],
        series_id=row["series_id"],
        original_starts_at=row["original_starts_at"],
        shifted=row["shifted"],
        session_type_id=row["session_type_id"],
        hold_expires_at=row["hold_expires_at"],
        sequence=row["sequence"],
        reschedule_count=row["reschedule_count"],
        cancelled_at=row["cancelled_at"],
        cancel_reason=row["cancel_reason"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _participant(item: dict[str, Any]) -> Participant:
    joined_at = item["joined_at"]
    return Participant(
        client_id=UUID(item["client_id"]),
        user_id=UUID(item["user_id"]) if item["user_id"] else None,
        status=item["status"],
        joined_at=datetime.fromisoformat(joined_at) if joined_at else None,
    )
