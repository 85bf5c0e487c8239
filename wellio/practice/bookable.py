"""What can be booked: which starts of a coach are offered, and whether one of them can be taken.

The same engine (slots.py) lists and checks. A client takes what is offered and nothing else; staff need not keep to
the increments, and book outside of the availability when they say why. That two sessions overlap, the database refuses.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.accounts.users import is_coach
from wellio.constraints import client_taken, coach_taken
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound
from wellio.practice.availability import LOCK_AVAILABILITY, Availability, find_availability, opening_of
from wellio.practice.clients import get_client
from wellio.practice.external_busy import list_external_busy
from wellio.practice.groups import Joinable, list_joinable
from wellio.practice.session_types import SessionType, find_session_type, get_type_of_session
from wellio.practice.sessions import get_session
from wellio.practice.slots import (
    Interval,
    Limits,
    Taken,
    Wanted,
    is_free,
    is_slot,
    list_slots,
    merge,
    open_intervals,
    subtract,
)
from wellio.values import Input, Moment, Zone

MAX_RANGE = timedelta(days=62)
DEFAULT_MINUTES = 60
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
# What more starts than these take is too long for the event loop: 5 ms for 500 that are all open.
MANY_STARTS = 500
# Buffers are at most a day, sessions too.
WIDEN = 2 * DAY

LIST_BUSY = """
select lower(busy) as starts_at, upper(busy) as ends_at
from sessions
where practice_id = $1 and coach_id = $2 and status in ('held', 'scheduled', 'in_progress')
  and (status <> 'held' or hold_expires_at > now())
  and busy && tstzrange($3, $4) and id is distinct from $5
"""

LIST_ATTENDING = """
select p.starts_at, p.ends_at
from session_participants p
join sessions s on s.practice_id = $1 and s.id = p.session_id and (s.status <> 'held' or s.hold_expires_at > now())
where p.practice_id = $1 and p.client_id = $2 and p.status = 'booked' and p.session_open
  and p.starts_at < $4 and p.ends_at > $3 and p.session_id is distinct from $5
"""

# What counts towards a coach's limits: all but the cancelled, and the holds that have run out.
LIST_COUNTED = """
select starts_at
from sessions
where practice_id = $1 and coach_id = $2
  and (status in ('scheduled', 'in_progress', 'completed', 'no_show') or (status = 'held' and hold_expires_at > now()))
  and starts_at >= $3 and starts_at < $4 and id is distinct from $5
"""

GET_OWN_CLIENT = "select id, coach_id, timezone from clients where practice_id = $1 and user_id = $2"

# An override shortens the neighbours' buffers to what is left of them; the sessions themselves stay apart.
SHORTEN_BUFFERS = """
update sessions
set buffer_before_minutes =
        case when starts_at >= $4
             then least(buffer_before_minutes, floor(extract(epoch from starts_at - $4) / 60)::integer)
             else buffer_before_minutes end,
    buffer_after_minutes =
        case when ends_at <= $3
             then least(buffer_after_minutes, floor(extract(epoch from $3 - ends_at) / 60)::integer)
             else buffer_after_minutes end
where practice_id = $1 and coach_id = $2 and status in ('held', 'scheduled', 'in_progress')
  and busy && tstzrange($3, $4) and id is distinct from $5
"""


class SlotQuery(Input):
    """Starts in [from, to), at most 62 days. `timezone`: in which the local times are told; the coach's, if none.

    Clients name the `session_type_id` they want to book, whose length it is; staff may ask for any length.

    `client_id` leaves out the times at which that client has another session; a client's own are left out anyway.

    `session_id` instead of all these: where that session can be moved. Its own time is free to it.
    """

    from_: Moment = Field(alias="from")
    to: Moment
    coach_id: UUID | None = None
    client_id: UUID | None = None
    session_type_id: UUID | None = None
    duration_minutes: Annotated[int, Field(ge=5, le=1440)] | None = None
    session_id: UUID | None = None
    timezone: Zone | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """`local` is the start as clocks show it in the zone asked for, with its offset. `places_left`: of a group."""

    starts_at: datetime
    ends_at: datetime
    local: str
    places_left: int | None


@dataclass(frozen=True, slots=True)
class SlotList:
    coach_id: UUID
    timezone: str
    duration_minutes: int
    slots: Sequence[Slot]


@dataclass(frozen=True, slots=True)
class OwnClient:
    """The client that a user is."""

    id: UUID
    coach_id: UUID
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a session is to go: whose, for whom, and from when to when. `session_id`: the one that moves there."""

    coach_id: UUID
    client_id: UUID | None
    starts_at: datetime
    ends_at: datetime
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Buffers:
    """Kept free around a session, in minutes."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class _Sought:
    """What slots are listed for; of `place`, the times are those of the list."""

    place: Place
    duration: timedelta
    session_type: SessionType | None


@dataclass(frozen=True, slots=True)
class Bookable:
    """What is offered, to whom, and `free`: the coach's open time that nothing takes, disjoint and in order."""

    offered: SlotList
    client_id: UUID | None
    session_type: SessionType | None
    buffers: Buffers
    free: Sequence[Interval]


NO_BUFFERS = Buffers(0, 0)


async def list_bookable(db: Database, actor: Actor, query: SlotQuery) -> SlotList:
    """What is offered at this moment. Raises Invalid for a coach, client or type out of the actor's reach."""
    async with db.connection() as connection:
        return (await find_bookable(connection, actor, query, datetime.now(UTC))).offered


async def find_bookable(connection: Connection, actor: Actor, query: SlotQuery, now: datetime) -> Bookable:
    """The same, and the coach's open time around it. Raises Invalid."""
    first, last = query.from_, query.to
    if not timedelta(0) < last - first <= MAX_RANGE:
        raise Invalid.field("query.to", f"Must be later than from, by at most {MAX_RANGE.days} days.")
    try:
        sought = await (_new if query.session_id is None else _moving)(connection, actor, query)
    except Invalid as error:
        raise error.of_query() from None
    place = sought.place
    availability = await find_availability(connection, actor.practice_id, place.coach_id, since=min(now, first))
    taken = await _taken(connection, actor.practice_id, availability, place)
    groups = await _joinable(connection, actor, sought, taken)
    opening, buffers = opening_of(availability), buffers_of(availability, sought.session_type)
    wanted = _wanted(sought.duration, buffers)
    zone = query.timezone or availability.timezone
    minutes = int(sought.duration.total_seconds() // 60)
    places = sought.session_type.capacity if sought.session_type else None

    def work_out() -> tuple[list[Slot], list[Interval]]:
        starts = list_slots(opening, wanted, taken, now=now, first=first, last=last)
        slots = [_slot(start, start + wanted.duration, places, ZoneInfo(zone)) for start in starts]
        return slots, list(subtract(open_intervals(opening, first - DAY, last + DAY), merge(taken.busy)))

    many = last - first > MANY_STARTS * opening.increment_minutes * MINUTE
    slots, free = await asyncio.to_thread(work_out) if many else work_out()
    slots += [_slot(g.starts_at, g.ends_at, g.places_left, ZoneInfo(zone)) for g in groups]
    offered = SlotList(place.coach_id, zone, minutes, sorted(slots, key=lambda slot: slot.starts_at))
    return Bookable(offered, place.client_id, sought.session_type, buffers, free)


async def check_place(
    connection: Connection,
    actor: Actor,
    place: Place,
    session_type: SessionType | None,
    *,
    override_reason: str | None = None,
) -> Buffers:
    """What the session keeps free around itself there. Raises Conflict: SLOT_TAKEN, SLOT_UNAVAILABLE (clients) or
    OUTSIDE_AVAILABILITY (staff, without a reason to override it)."""
    now = datetime.now(UTC)
    availability = await find_availability(
        connection, actor.practice_id, place.coach_id, since=min(now, place.starts_at)
    )
    buffers = buffers_of(availability, session_type)
    if override_reason is not None:
        await connection.execute(
            SHORTEN_BUFFERS, actor.practice_id, place.coach_id, place.starts_at, place.ends_at, place.session_id
        )
        return NO_BUFFERS
    # Staff record what was, and plan freely until they set an availability.
    if actor.role is not Role.CLIENT and (availability.version == 0 or place.starts_at < now):
        return buffers
    if opening_of(availability).limits != Limits():
        # Whoever books next counts what this one has booked.
        await connection.execute(LOCK_AVAILABILITY, actor.practice_id, place.coach_id)
    taken = await _taken(connection, actor.practice_id, availability, place)
    _check(actor, availability, _wanted(place.ends_at - place.starts_at, buffers), taken, now, place.starts_at)
    return buffers


async def find_own_client(connection: Connection, actor: Actor) -> OwnClient:
    """Raises Conflict for a client who has no coach yet."""
    row = await connection.fetchrow(GET_OWN_CLIENT, actor.practice_id, actor.user_id)
    if row is None or row["coach_id"] is None:
        raise Conflict("You have no coach yet; your practice will assign one.", code="NO_COACH")
    return OwnClient(**dict(row))


async def find_type_for(connection: Connection, actor: Actor, type_id: UUID, coach_id: UUID) -> SessionType:
    """Raises Invalid for one that is not of this coach, was archived, or is not for clients to book."""
    try:
        session_type = await find_session_type(connection, actor, type_id)
    except NotFound:
        session_type = None
    if session_type is None or session_type.archived_at or session_type.coach_id not in (None, coach_id):
        raise Invalid.field("session_type_id", "No such session type of this coach.")
    return session_type


def buffers_of(availability: Availability, session_type: SessionType | None) -> Buffers:
    """The type's where it has some, else the coach's."""
    before, after = availability.buffer_before_minutes, availability.buffer_after_minutes
    if session_type is not None and session_type.buffer_before_minutes is not None:
        before = session_type.buffer_before_minutes
    if session_type is not None and session_type.buffer_after_minutes is not None:
        after = session_type.buffer_after_minutes
    return Buffers(before, after)


def _check(
    actor: Actor, availability: Availability, wanted: Wanted, taken: Taken, now: datetime, start: datetime
) -> None:
    opening = opening_of(availability)
    fits = is_slot if actor.role is Role.CLIENT else is_free
    if fits(opening, wanted, taken, now=now, start=start):
        return
    if fits(opening, wanted, Taken(counted=taken.counted), now=now, start=start):
        without_clients = Taken(busy=taken.busy, counted=taken.counted)
        if fits(opening, wanted, without_clients, now=now, start=start):
            raise client_taken()
        more = "" if actor.role is Role.CLIENT else " If by another calendar of the coach, an override_reason books it."
        raise coach_taken(more)
    if actor.role is Role.CLIENT:
        raise Conflict("That time is not offered; choose one of GET /availability/slots.", code="SLOT_UNAVAILABLE")
    raise Conflict(
        "That time lies outside of the coach's availability, notice or limits; give override_reason to book it anyway.",
        code="OUTSIDE_AVAILABILITY",
    )


async def _new(connection: Connection, actor: Actor, query: SlotQuery) -> _Sought:
    if actor.role is Role.CLIENT:
        _check_clients_query(query)
    coach_id, client_id = await _whose(connection, actor, query)
    session_type = await _type(connection, actor, query.session_type_id, coach_id)
    minutes = query.duration_minutes or (session_type.duration_minutes if session_type else DEFAULT_MINUTES)
    place = Place(coach_id=coach_id, client_id=client_id, starts_at=query.from_, ends_at=query.to)
    return _Sought(place, timedelta(minutes=minutes), session_type)


async def _moving(connection: Connection, actor: Actor, query: SlotQuery) -> _Sought:
    """The session says all the rest, and does not stand in its own way."""
    if more := query.model_fields_set & {"coach_id", "client_id", "session_type_id", "duration_minutes"}:
        raise Invalid.field(min(more), "The session_id says that; leave this out.")
    assert query.session_id is not None
    try:
        session = await get_session(connection, actor, query.session_id)
    except NotFound:
        raise Invalid.field("session_id", "No such session.") from None
    place = Place(
        coach_id=session.coach_id,
        client_id=session.client_id,
        starts_at=query.from_,
        ends_at=query.to,
        session_id=session.id,
    )
    session_type = await get_type_of_session(connection, actor, session.session_type_id)
    return _Sought(place, session.ends_at - session.starts_at, session_type)


def _check_clients_query(query: SlotQuery) -> None:
    """What a client is shown must be what the client can book."""
    if query.session_type_id is None:
        raise Invalid.field("session_type_id", "Name the session type you want to book; see GET /session-types.")
    if query.duration_minutes is not None:
        raise Invalid.field("duration_minutes", "The session type says how long it takes; leave this out.")


async def _whose(connection: Connection, actor: Actor, query: SlotQuery) -> tuple[UUID, UUID | None]:
    if actor.role is Role.CLIENT:
        client = await find_own_client(connection, actor)
        if query.coach_id not in (None, client.coach_id):
            raise Invalid.field("coach_id", "No such coach.")
        if query.client_id not in (None, client.id):
            raise Invalid.field("client_id", "No such client.")
        return client.coach_id, client.id
    coach_id = query.coach_id or actor.user_id
    own = coach_id == actor.user_id
    if not own and (actor.role is not Role.OWNER or not await is_coach(connection, actor.practice_id, coach_id)):
        raise Invalid.field("coach_id", "No such coach.")
    if query.client_id is not None:
        await _check_client(connection, actor, query.client_id)
    return coach_id, query.client_id


async def _check_client(connection: Connection, actor: Actor, client_id: UUID) -> None:
    try:
        await get_client(connection, actor, client_id)
    except NotFound:
        raise Invalid.field("client_id", "No such client.") from None


async def _type(connection: Connection, actor: Actor, type_id: UUID | None, coach_id: UUID) -> SessionType | None:
    return await find_type_for(connection, actor, type_id, coach_id) if type_id else None


async def _taken(connection: Connection, practice_id: UUID, availability: Availability, place: Place) -> Taken:
    first, last = place.starts_at - WIDEN, place.ends_at + WIDEN
    busy = await connection.fetch(LIST_BUSY, practice_id, place.coach_id, first, last, place.session_id)
    attending = (
        await connection.fetch(LIST_ATTENDING, practice_id, place.client_id, first, last, place.session_id)
        if place.client_id
        else []
    )
    counted: Sequence[datetime] = ()
    if opening_of(availability).limits != Limits():
        # The longest period is the year, in a zone that may be a day ahead or behind.
        from_year = datetime(first.year, 1, 1, tzinfo=UTC) - DAY
        to_year = datetime(last.year + 1, 1, 1, tzinfo=UTC) + DAY
        rows = await connection.fetch(LIST_COUNTED, practice_id, place.coach_id, from_year, to_year, place.session_id)
        counted = [row["starts_at"] for row in rows]
    elsewhere = await list_external_busy(connection, practice_id, place.coach_id, first, last)
    return Taken(busy=[*map(_span, busy), *elsewhere], attending=[_span(r) for r in attending], counted=counted)


async def _joinable(connection: Connection, actor: Actor, sought: _Sought, taken: Taken) -> list[Joinable]:
    """The groups of a type that are there already, but those at whose time the client is elsewhere."""
    place, session_type = sought.place, sought.session_type
    if session_type is None or session_type.kind != "group" or place.session_id is not None:
        return []
    groups = await list_joinable(
        connection, actor.practice_id, session_type.id, place.coach_id, place.client_id,
        first=place.starts_at, last=place.ends_at,
    )  # fmt: skip
    return [g for g in groups if all(g.ends_at <= start or end <= g.starts_at for start, end in taken.attending)]


def _span(row: Row) -> Interval:
    return row["starts_at"], row["ends_at"]


def _wanted(duration: timedelta, buffers: Buffers) -> Wanted:
    return Wanted(
        duration=duration,
        buffer_before=timedelta(minutes=buffers.before),
        buffer_after=timedelta(minutes=buffers.after),
    )


def _slot(start: datetime, end: datetime, places_left: int | None, zone: ZoneInfo) -> Slot:
    return Slot(start, end, start.astimezone(zone).isoformat(timespec="minutes"), places_left)
