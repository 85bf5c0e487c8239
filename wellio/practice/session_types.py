"""Session types: what can be booked, with length, price and place."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.practices import get_practice
from wellio.accounts.users import is_coach
from wellio.db import Connection, Database
from wellio.errors import Conflict, Invalid, NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.availability import BufferMinutes
from wellio.practice.sessions import Capacity, Kind
from wellio.values import Currency, Flag, Input, Line, Minor, Name, Url, changed_values

# Staff see all of the practice's, a client what they can book with their coach. $4: one of them, or null.
LIST_SESSION_TYPES = """
select t.id, t.coach_id, t.name, t.kind, t.capacity, t.duration_minutes, t.price_minor, t.currency, t.location,
       t.meeting_url, t.buffer_before_minutes, t.buffer_after_minutes, t.bookable, t.archived_at, t.version,
       t.created_at
from session_types t
where t.practice_id = $1
  and ($2 in ('owner', 'coach')
       or (t.bookable and t.archived_at is null
           and (t.coach_id is null
                or t.coach_id = (select c.coach_id from clients c where c.practice_id = $1 and c.user_id = $3))))
  and ($4::uuid is null or t.id = $4)
  and ($5::boolean or t.archived_at is null)
order by t.created_at, t.id
limit $6 offset $7
"""

COUNT_SESSION_TYPES = """
select count(*)
from session_types t
where t.practice_id = $1
  and ($2 in ('owner', 'coach')
       or (t.bookable and t.archived_at is null
           and (t.coach_id is null
                or t.coach_id = (select c.coach_id from clients c where c.practice_id = $1 and c.user_id = $3))))
  and ($4::boolean or t.archived_at is null)
"""

LOCK_SESSION_TYPE = "select id from session_types where practice_id = $1 and id = $2 for update"

INSERT_SESSION_TYPE = """
insert into session_types (id, practice_id, coach_id, name, duration_minutes, price_minor, currency, location,
                           meeting_url, buffer_before_minutes, buffer_after_minutes, bookable, kind, capacity)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""

UPDATE_SESSION_TYPE = """
update session_types
set name = $3, duration_minutes = $4, price_minor = $5, location = $6, meeting_url = $7, buffer_before_minutes = $8,
    buffer_after_minutes = $9, bookable = $10, kind = $11, capacity = $12,
    archived_at = case when $13 then coalesce(archived_at, now()) end,
    version = version + 1
where practice_id = $1 and id = $2
"""

IS_BOOKED = "select exists (select from sessions where practice_id = $1 and session_type_id = $2)"

Duration = Annotated[int, Field(ge=5, le=1440, strict=True)]


class NewSessionType(Input):
    """`coach_id` null: of every coach. Buffers null: the coach's. A group, and nothing else, has a `capacity`."""

    name: Name
    kind: Kind = "one_to_one"
    capacity: Capacity | None = None
    duration_minutes: Duration
    coach_id: UUID | None = None
    price_minor: Minor = 0
    currency: Currency | None = None
    location: Line = ""
    meeting_url: Url = ""
    buffer_before_minutes: BufferMinutes | None = None
    buffer_after_minutes: BufferMinutes | None = None
    bookable: Flag = True


class SessionTypeChanges(Input):
    """Only the named fields change; `null` gives the coach's buffers again. Booked sessions stay as they are, and
    while there are any, of whatever date, so does `kind`."""

    name: Name | None = None
    kind: Kind | None = None
    capacity: Capacity | None = None
    duration_minutes: Duration | None = None
    price_minor: Minor | None = None
    location: Line | None = None
    meeting_url: Url | None = None
    buffer_before_minutes: BufferMinutes | None = None
    buffer_after_minutes: BufferMinutes | None = None
    bookable: Flag | None = None
    archived: Flag | None = None


class SessionTypeQuery(PageQuery):
    archived: bool = False


CLEARABLE = frozenset({"buffer_before_minutes", "buffer_after_minutes"})


@dataclass(frozen=True, slots=True)
class SessionType:
    id: UUID
    coach_id: UUID | None
    name: str
    kind: Kind
    capacity: int | None
    duration_minutes: int
    price_minor: int
    currency: str
    location: str
    meeting_url: str
    buffer_before_minutes: int | None
    buffer_after_minutes: int | None
    bookable: bool
    archived_at: datetime | None
    version: int
    created_at: datetime


async def list_session_types(db: Database, actor: Actor, query: SessionTypeQuery) -> Page[SessionType]:
    async with db.connection() as connection:
        rows = await connection.fetch(
            LIST_SESSION_TYPES, *actor.scope, None, query.archived, query.page_size, query.offset
        )
        total = await connection.fetchval(COUNT_SESSION_TYPES, *actor.scope, query.archived)
    return page_of([_shown(actor, SessionType(**dict(row))) for row in rows], query=query, total=total)


async def get_session_type(db: Database | Connection, actor: Actor, type_id: UUID) -> SessionType:
    """As the actor may see it. Raises NotFound."""
    return _shown(actor, await find_session_type(db, actor, type_id))


async def find_session_type(db: Database | Connection, actor: Actor, type_id: UUID) -> SessionType:
    """One within the actor's reach, with its buffers, which clients are never shown. Raises NotFound."""
    archived_too = True
    row = await db.fetchrow(LIST_SESSION_TYPES, *actor.scope, type_id, archived_too, 1, 0)
    if row is None:
        raise NotFound("No such session type.")
    return SessionType(**dict(row))


async def get_type_of_session(connection: Connection, actor: Actor, type_id: UUID | None) -> SessionType | None:
    """The type that a session of the actor's practice was booked as, whoever asks, also when it was archived since."""
    if type_id is None:
        return None
    archived_too = True
    row = await connection.fetchrow(
        LIST_SESSION_TYPES, actor.practice_id, Role.OWNER.value, actor.user_id, type_id, archived_too, 1, 0
    )
    return SessionType(**dict(row)) if row else None


async def create_session_type(
    outbox: Outbox, actor: Actor, new: NewSessionType, *, once: Once | None = None
) -> SessionType:
    """A coach's is their own; owners choose. Raises Invalid."""
    actor.must_be(STAFF)
    check_capacity(new.kind, new.capacity)
    type_id = uuid7()
    async with outbox.transaction(once) as tx:
        coach_id = await _coach_for(tx.connection, actor, new.coach_id)
        currency = new.currency or (await get_practice(tx.connection, actor.practice_id)).currency
        await tx.connection.execute(
            INSERT_SESSION_TYPE, type_id, actor.practice_id, coach_id, new.name, new.duration_minutes, new.price_minor,
            currency, new.location, new.meeting_url, new.buffer_before_minutes, new.buffer_after_minutes, new.bookable,
            new.kind, new.capacity,
        )  # fmt: skip
        tx.record(_changed(actor, type_id, sorted(new.model_fields_set)))
        return await tx.answer(await get_session_type(tx.connection, actor, type_id))


async def change_session_type(
    outbox: Outbox, actor: Actor, type_id: UUID, changes: SessionTypeChanges, *, if_version: int | None = None
) -> SessionType:
    """An owner changes any, a coach their own. Raises NotFound, Invalid, PreconditionFailed, and Conflict TYPE_IN_USE
    for another kind of what was booked."""
    actor.must_be(STAFF)
    values = changed_values(changes, clearable=CLEARABLE)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_SESSION_TYPE, actor.practice_id, type_id)
        before = await get_session_type(tx.connection, actor, type_id)
        if actor.role is not Role.OWNER and before.coach_id != actor.user_id:
            raise NotFound("No such session type.")
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The session type was changed since you read it; read it again.")
        values |= await _kind(tx.connection, actor.practice_id, before, values)
        await _update(tx.connection, actor.practice_id, before, values)
        tx.record(_changed(actor, type_id, sorted(changes.model_fields_set)))
        return await get_session_type(tx.connection, actor, type_id)


def check_capacity(kind: Kind, capacity: int | None) -> None:
    """Raises Invalid: groups have one, and nothing else has."""
    if kind == "group" and capacity is None:
        raise Invalid.field("capacity", "Say how many can take part in a group.")
    if kind == "one_to_one" and capacity is not None:
        raise Invalid.field("capacity", "Only a group has a capacity.")


async def _kind(
    connection: Connection, practice_id: UUID, before: SessionType, values: dict[str, Any]
) -> dict[str, Any]:
    """Kind and capacity as they will be: a group that becomes a one-to-one loses its capacity."""
    kind = values.get("kind", before.kind)
    capacity = values.get("capacity", before.capacity if kind == before.kind else None)
    check_capacity(kind, capacity)
    if kind != before.kind and await connection.fetchval(IS_BOOKED, practice_id, before.id):
        raise Conflict(
            "Sessions of this type exist, so its kind stays; archive it and make another.", code="TYPE_IN_USE"
        )
    return {"kind": kind, "capacity": capacity}


def _shown(actor: Actor, session_type: SessionType) -> SessionType:
    if actor.role is not Role.CLIENT:
        return session_type
    return replace(session_type, buffer_before_minutes=None, buffer_after_minutes=None)


async def _coach_for(connection: Connection, actor: Actor, coach_id: UUID | None) -> UUID | None:
    if actor.role is not Role.OWNER:
        if coach_id not in (None, actor.user_id):
            raise Invalid.field("coach_id", "No such coach in this practice.")
        return actor.user_id
    if coach_id is not None and not await is_coach(connection, actor.practice_id, coach_id):
        raise Invalid.field("coach_id", "No such coach in this practice.")
    return coach_id


async def _update(connection: Connection, practice_id: UUID, before: SessionType, values: dict[str, Any]) -> None:
    names = (
        "name", "duration_minutes", "price_minor", "location", "meeting_url", "buffer_before_minutes",
        "buffer_after_minutes", "bookable", "kind", "capacity",
    )  # fmt: skip
    archived = values.get("archived", before.archived_at is not None)
    after = [values[name] if name in values else getattr(before, name) for name in names]
    await connection.execute(UPDATE_SESSION_TYPE, practice_id, before.id, *after, archived)


def _changed(actor: Actor, type_id: UUID, fields: list[str]) -> Event:
    return Event(
        type=EventType.SESSION_TYPE_CHANGED,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        subject_id=type_id,
        payload={"changed": fields},
    )
