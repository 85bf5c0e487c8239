"""Sessions: a coach and a client at a time. Two of one coach never overlap; the database holds that.

A session moves from `scheduled` through `in_progress` to `completed`, or ends as cancelled or missed
(session_changes.py has the table).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid, NotFound
from wellio.events import Event, EventType
from wellio.pages import Page, PageQuery, page_of
from wellio.values import Line, Moment

Kind = Literal["one_to_one", "group"]
Status = Literal[
    "held", "scheduled", "in_progress", "completed", "cancelled", "late_cancelled", "cancelled_by_coach", "no_show"
]
ParticipantStatus = Literal["booked", "attended", "no_show", "cancelled", "late_cancelled"]
MAX_LENGTH = timedelta(hours=24)
OPEN = frozenset({"held", "scheduled", "in_progress"})
# Of a session, what its events tell.
TOLD = ("status", "coach_id", "starts_at", "ends_at", "price_minor", "version", "sequence")

LIST_SESSIONS = """
select s.*, p.participants, p.booked
from visible_sessions($1, $2, $3) s
cross join lateral session_places($1, s.id, $2, $3) p
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
cross join lateral session_places($1, s.id, $2, $3) p
where s.id = $4
"""

# $3: whose miss; $2: of which session.
GET_MISSED_AT = """
select max(occurred_at)
from events
where practice_id = $1 and subject_id = $2 and client_id = $3 and type in ('SessionMissed', 'ParticipantMissed')
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
Capacity = Annotated[int, Field(ge=1, le=1000, strict=True)]


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
    return page_of([session_of(row) for row in rows], query=query, total=total)


async def get_session(db: Database | Connection, actor: Actor, session_id: UUID) -> Session:
    """Raises NotFound."""
    row = await db.fetchrow(GET_SESSION, *actor.scope, session_id)
    if row is None:
        raise NotFound("No such session.")
    return session_of(row)


async def get_missed_at(connection: Connection, actor: Actor, session_id: UUID, client_id: UUID | None) -> str | None:
    """When it was recorded last that the client missed the session, as events tell it."""
    missed_at = await connection.fetchval(GET_MISSED_AT, actor.practice_id, session_id, client_id)
    return missed_at.isoformat() if missed_at else None


async def list_session_audience(db: Database, practice_id: UUID, session_id: UUID) -> list[UUID]:
    """The users who follow a session live: its coach, its client, the owners."""
    return [row["user_id"] for row in await db.fetch(LIST_SESSION_AUDIENCE, practice_id, session_id)]


def check_length(starts_at: datetime, ends_at: datetime) -> None:
    if ends_at <= starts_at:
        raise Invalid.field("ends_at", "Must be later than starts_at.")
    if ends_at - starts_at > MAX_LENGTH:
        raise Invalid.field("ends_at", "A session lasts at most 24 hours.")


def session_event(
    kind: EventType, actor: Actor, session: Session, *, before: Session | None = None, missed_at: str | None = None
) -> Event:
    """`before`: as it was, where a move is told of; `missed_at`: where a miss is taken back."""
    told = {name: getattr(session, name) for name in TOLD}
    if kind is EventType.SESSION_RESCHEDULED and before:
        told |= {"previous_start_at": before.starts_at, "previous_ends_at": before.ends_at}
    if kind is EventType.SESSION_NO_SHOW_UNDONE:
        told["missed_at"] = missed_at
    return Event(
        type=kind,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        client_id=session.client_id,
        subject_id=session.id,
        payload={"by": actor.role.value, **told},
    )


def system_event(kind: EventType, row: Row) -> Event:
    """Of what Wellio itself did. `row`: the session's id, practice_id, client_id and TOLD."""
    return Event(
        type=kind,
        practice_id=row["practice_id"],
        client_id=row["client_id"],
        subject_id=row["id"],
        payload={"by": "system", **{name: row[name] for name in TOLD}},
    )


def session_of(row: Row) -> Session:
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
