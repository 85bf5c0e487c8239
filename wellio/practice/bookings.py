"""Booking sessions: by staff for their clients, by clients for themselves.

What is named wins; the session type gives the rest. A client names a type and a start that is offered.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from wellio.accounts.actors import Actor, Role
from wellio.accounts.practices import get_practice
from wellio.accounts.users import is_coach
from wellio.db import Connection
from wellio.errors import Invalid, NotFound
from wellio.events import EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox, Transaction
from wellio.practice.availability import find_availability
from wellio.practice.bookable import Buffers, Place, check_place, find_own_client, find_type_for
from wellio.practice.clients import get_client
from wellio.practice.credits import use_credit
from wellio.practice.groups import find_group, get_group, lock_group
from wellio.practice.holds import check_holds, take_calendars
from wellio.practice.participants import fill_group, join_group
from wellio.practice.payments import LOCK_ACCOUNT
from wellio.practice.policies import get_policy
from wellio.practice.session_types import SessionType, check_capacity
from wellio.practice.sessions import Capacity, Kind, Reason, Session, check_length, get_session, session_event
from wellio.practice.wall_clock import reading_of
from wellio.values import Currency, Flag, Input, Line, Minor, Moment, Url, Zone

OnConflict = Literal["fail", "skip"]
# What a client may say of the session they book.
BY_CLIENTS = frozenset({"client_id", "coach_id", "session_type_id", "starts_at", "hold"})


INSERT_SESSION = """
insert into sessions (id, practice_id, coach_id, client_id, title, starts_at, ends_at, timezone, location,
                      meeting_url, price_minor, currency, session_type_id, buffer_before_minutes,
                      buffer_after_minutes, override_reason, wall_starts_at, wall_fold, kind, capacity, status,
                      hold_expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
        case when $21::integer is null then 'scheduled' else 'held' end, now() + make_interval(mins => $21))
"""


def _distinct(ids: tuple[UUID, ...]) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys(ids))


class NewSession(Input):
    """`ends_at` or `duration_minutes`, or neither with a `session_type_id`, which gives what is not named.

    The coach is the actor unless an owner names another. A client names a type and a start, and nothing else but
    themself. `override_reason`: why staff book outside of the availability. `hold`: the time is only kept, for the
    policy's `hold_minutes`, until it is confirmed.

    A group (`kind`, or that of its type) takes `client_ids` in as it is made. With `client_id`, which a client always
    is, it is made by the first; who names its type and start after that joins it as it is.

    `rrule` makes it a series (RFC 5545): FREQ (DAILY, WEEKLY, MONTHLY, YEARLY), INTERVAL, BYDAY, BYMONTHDAY, and COUNT
    or UNTIL, both inclusive; at most 104 sessions. `starts_at` is the first, and its wall time in `timezone` is kept
    across changes of clocks; months without the day are skipped. `on_conflict`: `fail` (by default) books none when
    one of the dates can't be taken, `skip` books the others.
    """

    kind: Kind | None = None
    capacity: Capacity | None = None
    client_ids: Annotated[tuple[UUID, ...], Field(max_length=1000), AfterValidator(_distinct)] = ()
    client_id: UUID | None = None
    coach_id: UUID | None = None
    session_type_id: UUID | None = None
    starts_at: Moment
    ends_at: Moment | None = None
    duration_minutes: Annotated[int, Field(ge=5, le=1440)] | None = None
    title: Line | None = None
    timezone: Zone | None = None
    location: Line | None = None
    meeting_url: Url | None = None
    price_minor: Minor | None = None
    currency: Currency | None = None
    override_reason: Reason | None = None
    rrule: Annotated[str, Field(min_length=1, max_length=300, examples=["FREQ=WEEKLY;BYDAY=MO;COUNT=10"])] | None = None
    on_conflict: OnConflict | None = None
    hold: Flag = False


async def book_session(outbox: Outbox, actor: Actor, new: NewSession, *, once: Once | None = None) -> Session:
    """Raises Invalid for a client, coach or type out of the actor's reach; Conflict SLOT_TAKEN, SLOT_UNAVAILABLE
    (what is not offered to a client), OUTSIDE_AVAILABILITY (staff may override it with a reason), and of a group
    SESSION_FULL and ALREADY_BOOKED."""
    if new.on_conflict is not None:
        raise Invalid.field("on_conflict", "Goes with rrule only.")
    session_id = uuid7()
    async with outbox.transaction(once) as tx:
        terms = await terms_of(tx.connection, actor, new)
        place = terms.place
        await take_calendars(tx, actor.practice_id, place.coach_id, place.client_id)
        if terms.capacity is not None:
            return await tx.answer(await _book_group(tx, actor, new, terms))
        buffers = await check_place(
            tx.connection, actor, place, terms.session_type, override_reason=new.override_reason
        )
        # As who joins a group does, before the times are compared: none waits for another that waits for it.
        await tx.connection.execute(LOCK_ACCOUNT, actor.practice_id, place.client_id)
        policy = await get_policy(tx.connection, actor.practice_id)
        if new.hold:
            await check_holds(tx.connection, actor.practice_id, place.client_id)
        hold_minutes = policy.hold_minutes if new.hold else None
        await _insert(tx.connection, actor, session_id, terms, buffers, new.override_reason, hold_minutes)
        if not new.hold:
            await _use_credit(tx.connection, actor.practice_id, session_id, terms)
        session = await get_session(tx.connection, actor, session_id)
        tx.record(session_event(EventType.SESSION_HELD if new.hold else EventType.SESSION_BOOKED, actor, session))
        return await tx.answer(session)


@dataclass(frozen=True, slots=True)
class Terms:
    """What was asked for, with what the type, the client and the practice add to it. A group has a `capacity`."""

    place: Place
    session_type: SessionType | None
    capacity: int | None
    title: str
    timezone: str
    location: str
    meeting_url: str
    price_minor: int
    currency: str


async def terms_of(connection: Connection, actor: Actor, new: NewSession) -> Terms:
    coach_id, client_id, zone = await _who(connection, actor, new)
    session_type = (
        await find_type_for(connection, actor, new.session_type_id, coach_id) if new.session_type_id else None
    )
    ends_at = _end(new, session_type)
    capacity = _capacity(new, session_type)
    if capacity is not None:
        # Those who will come may live in any zone.
        zone = (await find_availability(connection, actor.practice_id, coach_id)).timezone
    elif client_id is None:
        raise Invalid.field("client_id", "Say whom the session is with.")
    currency = new.currency or (session_type.currency if session_type else None)
    return Terms(
        place=Place(coach_id=coach_id, client_id=client_id, starts_at=new.starts_at, ends_at=ends_at),
        session_type=session_type,
        capacity=capacity,
        title=_first(new.title, session_type and session_type.name, ""),
        timezone=new.timezone or zone,
        location=_first(new.location, session_type and session_type.location, ""),
        meeting_url=_first(new.meeting_url, session_type and session_type.meeting_url, ""),
        price_minor=_first(new.price_minor, session_type and session_type.price_minor, 0),
        currency=currency or (await get_practice(connection, actor.practice_id)).currency,
    )


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _capacity(new: NewSession, session_type: SessionType | None) -> int | None:
    """How many can take part; None for a one-to-one. Raises Invalid."""
    kind = _first(new.kind, session_type and session_type.kind, "one_to_one")
    if session_type is not None and kind != session_type.kind:
        raise Invalid.field("kind", "The session type is of another kind.")
    capacity = new.capacity if new.capacity is not None or session_type is None else session_type.capacity
    check_capacity(kind, capacity)
    if new.client_ids and (kind == "one_to_one" or new.client_id is not None):
        raise Invalid.field("client_ids", "Goes with a group, and without client_id.")
    return capacity


async def _book_group(tx: Transaction, actor: Actor, new: NewSession, terms: Terms) -> Session:
    """Makes the group; with a client, who takes the first place, or one in the group that is there already."""
    if new.hold:
        raise Invalid.field("hold", "A place in a group can't be held; take it.")
    place, session_type = terms.place, terms.session_type
    found = None
    if place.client_id is not None and session_type is not None:
        found = await find_group(tx.connection, actor, session_type.id, place.coach_id, place.starts_at)
    group_id = found or await _create_group(tx, actor, new, terms)
    if place.client_id is not None:
        await join_group(tx, actor, await get_group(tx.connection, actor, group_id), place.client_id)
    return await get_session(tx.connection, actor, group_id)


async def _create_group(tx: Transaction, actor: Actor, new: NewSession, terms: Terms) -> UUID:
    group_id = uuid7()
    buffers = await check_place(
        tx.connection, actor, terms.place, terms.session_type, override_reason=new.override_reason
    )
    await _insert(tx.connection, actor, group_id, terms, buffers, new.override_reason, None)
    # A client sees it only once they take part.
    everybody = replace(actor, role=Role.OWNER)
    session = await get_session(tx.connection, everybody, group_id)
    tx.record(session_event(EventType.SESSION_BOOKED, actor, session))
    if new.client_ids:
        await fill_group(tx, actor, await lock_group(tx.connection, actor, group_id), new.client_ids)
    return group_id


async def _who(connection: Connection, actor: Actor, new: NewSession) -> tuple[UUID, UUID | None, str]:
    """Coach, client, and the zone in which they speak of the time. Without a client staff mean a group."""
    if actor.role is not Role.CLIENT:
        coach_id = await _coach_for(connection, actor, new.coach_id)
        if new.client_id is None:
            return coach_id, None, ""
        return coach_id, new.client_id, await _zone_of(connection, actor, new.client_id)
    if more := new.model_fields_set - BY_CLIENTS:
        raise Invalid.field(min(more), "A client can't set this: the session type does.")
    if new.session_type_id is None:
        raise Invalid.field("session_type_id", "Choose one of GET /session-types.")
    client = await find_own_client(connection, actor)
    if new.client_id not in (None, client.id):
        raise Invalid.field("client_id", "No such client.")
    if new.coach_id not in (None, client.coach_id):
        raise Invalid.field("coach_id", "No such coach in this practice.")
    return client.coach_id, client.id, client.timezone


async def _insert(
    connection: Connection,
    actor: Actor,
    session_id: UUID,
    terms: Terms,
    buffers: Buffers,
    reason: str | None,
    hold_minutes: int | None,
) -> None:
    place, session_type = terms.place, terms.session_type
    reading = reading_of(ZoneInfo(terms.timezone), place.starts_at)
    await connection.execute(
        INSERT_SESSION,
        session_id,
        actor.practice_id,
        place.coach_id,
        place.client_id if terms.capacity is None else None,
        terms.title,
        place.starts_at,
        place.ends_at,
        terms.timezone,
        terms.location,
        terms.meeting_url,
        terms.price_minor,
        terms.currency,
        session_type.id if session_type else None,
        buffers.before,
        buffers.after,
        reason,
        reading.wall,
        reading.fold,
        "one_to_one" if terms.capacity is None else "group",
        terms.capacity,
        hold_minutes,
    )


async def _use_credit(connection: Connection, practice_id: UUID, session_id: UUID, terms: Terms) -> None:
    """Without one, its price is charged once it has been (settlements.py)."""
    if terms.place.client_id is not None:
        type_id = terms.session_type.id if terms.session_type else None
        await use_credit(connection, practice_id, terms.place.client_id, session_id, type_id)


async def _coach_for(connection: Connection, actor: Actor, coach_id: UUID | None) -> UUID:
    if coach_id is None or coach_id == actor.user_id:
        return actor.user_id
    if actor.role is not Role.OWNER or not await is_coach(connection, actor.practice_id, coach_id):
        raise Invalid.field("coach_id", "No such coach in this practice.")
    return coach_id


async def _zone_of(connection: Connection, actor: Actor, client_id: UUID) -> str:
    """The zone of a client, who must be one the actor sees."""
    try:
        return (await get_client(connection, actor, client_id)).timezone
    except NotFound:
        raise Invalid.field("client_id", "No such client.") from None


def _end(new: NewSession, session_type: SessionType | None) -> datetime:
    if new.ends_at is not None and new.duration_minutes is not None:
        raise Invalid.field("ends_at", "Give either ends_at or duration_minutes.")
    minutes = new.duration_minutes or (session_type.duration_minutes if session_type else None)
    if new.ends_at is None and minutes is None:
        raise Invalid.field("ends_at", "Give ends_at, duration_minutes or a session_type_id.")
    end = new.ends_at or new.starts_at + timedelta(minutes=minutes or 0)
    check_length(new.starts_at, end)
    return end
