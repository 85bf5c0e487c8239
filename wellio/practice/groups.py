"""Groups: sessions with places. Who takes one holds the session's row meanwhile, so places are counted one by one.

A place is taken by who is booked, and by who was offered it from the waitlist for as long as the offer lasts.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Database
from wellio.errors import Conflict, Invalid, NotFound
from wellio.events import Event, EventType
from wellio.outbox import Transaction
from wellio.pages import Page, PageQuery, fetch_page
from wellio.practice.clients import get_client
from wellio.practice.credits import use_credit
from wellio.practice.payments import LOCK_ACCOUNT
from wellio.practice.sessions import ParticipantStatus, Status

LOCK_GROUP = "select id from sessions where practice_id = $1 and id = $2 for no key update"

GET_GROUP = """
select s.id, s.practice_id, s.coach_id, s.status, s.starts_at, s.ends_at, s.timezone, s.capacity, s.price_minor,
       s.session_type_id, s.version,
       (select count(*) from session_participants p
        where p.practice_id = $1 and p.session_id = s.id and p.status in ('booked', 'attended', 'no_show')) as booked,
       (select count(*) from waitlist_entries w
        where w.practice_id = $1 and w.session_id = s.id and w.status = 'offered') as offered,
       (select count(*) from waitlist_entries w
        where w.practice_id = $1 and w.session_id = s.id and w.status = 'waiting') as waiting
from reachable_groups($1, $2, $3) s
where s.id = $4
"""

# What happens to a place is a change of its group, by whose versions all that happened to it has one order.
NEXT_VERSION = """
update sessions set version = version + 1, updated_at = now() where practice_id = $1 and id = $2 returning version
"""

# Who books a group of a type waits here: two who are the first make one session of it, not two.
LOCK_TYPE_OF_GROUP = "select id from session_types where practice_id = $1 and id = $2 for no key update"

FIND_GROUP = """
select s.id from reachable_groups($1, $2, $3) s
where s.session_type_id = $4 and s.coach_id = $5 and s.starts_at = $6 and s.status = 'scheduled'
"""

# To come, with places, and not joined by the client $6, whose own offer is a place for them.
LIST_JOINABLE = """
select g.starts_at, g.ends_at, g.places_left
from (
    select s.starts_at, s.ends_at,
           s.capacity
           - (select count(*) from session_participants p
              where p.practice_id = $1 and p.session_id = s.id and p.status in ('booked', 'attended', 'no_show'))
           - (select count(*) from waitlist_entries w
              where w.practice_id = $1 and w.session_id = s.id and w.status = 'offered'
                and w.client_id is distinct from $6) as places_left
    from sessions s
    where s.practice_id = $1 and s.session_type_id = $2 and s.coach_id = $3 and s.kind = 'group'
      and s.status = 'scheduled' and s.starts_at >= $4 and s.starts_at < $5 and s.starts_at > now()
      and not exists (
          select from session_participants p
          where p.practice_id = $1 and p.session_id = s.id and p.client_id = $6
            and p.status in ('booked', 'attended', 'no_show'))
) g
where g.places_left > 0
"""

# Only those to come. What somebody else was offered is no place left.
LIST_OPEN_GROUPS = """
select s.id, s.coach_id, s.session_type_id, s.title, s.starts_at, s.ends_at, s.timezone, s.location, s.price_minor,
       s.currency, s.capacity, p.booked, greatest(s.capacity - p.booked - w.offered, 0)::integer as places_left,
       w.waiting, coalesce(w.mine, p.mine, 'none') as own_status
from reachable_groups($1, $2, $3) s
cross join lateral (
    select count(*) filter (where sp.status in ('booked', 'attended', 'no_show')) as booked,
           min(sp.status) filter (where c.user_id = $3) as mine
    from session_participants sp
    join clients c on c.practice_id = $1 and c.id = sp.client_id
    where sp.practice_id = $1 and sp.session_id = s.id
) p
cross join lateral (
    select count(*) filter (where we.status = 'offered' and c.user_id is distinct from $3) as offered,
           count(*) filter (where we.status = 'waiting') as waiting,
           min(we.status) filter (where c.user_id = $3) as mine
    from waitlist_entries we
    join clients c on c.practice_id = $1 and c.id = we.client_id
    where we.practice_id = $1 and we.session_id = s.id and we.status in ('waiting', 'offered')
) w
where s.status = 'scheduled' and s.starts_at > now()
order by s.starts_at, s.id
limit $4 offset $5
"""

COUNT_OPEN_GROUPS = """
select count(*) from reachable_groups($1, $2, $3) s where s.status = 'scheduled' and s.starts_at > now()
"""

GET_OWN_CLIENT_ID = "select id from clients where practice_id = $1 and user_id = $2"

# Who left may come again.
INSERT_PARTICIPANT = """
insert into session_participants (practice_id, session_id, client_id, starts_at, ends_at, session_open)
select s.practice_id, s.id, $3, s.starts_at, s.ends_at, s.status in ('held', 'scheduled', 'in_progress')
from sessions s
where s.practice_id = $1 and s.id = $2
on conflict on constraint session_participants_pkey do update
set status = 'booked', booked_at = now(), joined_at = null, cancelled_at = null, cancel_reason = null
where session_participants.status in ('cancelled', 'late_cancelled')
"""

HAS_PLACE = """
select exists (
    select from session_participants
    where practice_id = $1 and session_id = $2 and client_id = $3 and status in ('booked', 'attended', 'no_show')
)
"""

# $3: one client's, or null for all.
LIST_PARTICIPANTS = """
select session_id, client_id, status, booked_at, joined_at, cancelled_at, cancel_reason
from session_participants
where practice_id = $1 and session_id = $2
  and ($3::uuid is null or client_id = $3)
order by booked_at, client_id
limit $4 offset $5
"""

# Whoever waited waits no more.
END_WAITING = """
update waitlist_entries set status = $4, offer_expires_at = null, ended_at = now()
where practice_id = $1 and session_id = $2 and client_id = $3 and status in ('waiting', 'offered')
returning id
"""


@dataclass(frozen=True, slots=True)
class Group:
    """A session with places, as it is while its row is held. `offered`: how many places wait for an answer; `waiting`:
    how many clients for a place."""

    id: UUID
    practice_id: UUID
    coach_id: UUID
    status: Status
    starts_at: datetime
    ends_at: datetime
    timezone: str
    capacity: int
    price_minor: int
    session_type_id: UUID | None
    version: int
    booked: int
    offered: int
    waiting: int

    @property
    def free(self) -> int:
        return self.capacity - self.booked - self.offered

    @property
    def takes_clients(self) -> bool:
        """Whether clients may still come and wait; staff may put somebody in until it has ended."""
        return self.status == "scheduled" and self.starts_at > datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class GroupParticipant:
    """A client's place in a group, also one that was given up. `joined_at`: when they came in."""

    session_id: UUID
    client_id: UUID
    status: ParticipantStatus
    booked_at: datetime
    joined_at: datetime | None
    cancelled_at: datetime | None
    cancel_reason: str | None


@dataclass(frozen=True, slots=True)
class Joinable:
    """A group that one can still take part in."""

    starts_at: datetime
    ends_at: datetime
    places_left: int


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """A group to come. `places_left` 0: one can wait. `own_status` is a client's own: of their place (booked,
    cancelled…), waiting, offered, or none. Who else takes part is nobody's to know but staff's."""

    id: UUID
    coach_id: UUID
    session_type_id: UUID | None
    title: str
    starts_at: datetime
    ends_at: datetime
    timezone: str
    location: str
    price_minor: int
    currency: str
    capacity: int
    booked: int
    places_left: int
    waiting: int
    own_status: str


async def list_open_groups(db: Database, actor: Actor, query: PageQuery) -> Page[OpenGroup]:
    """A client's: those of their coach; staff's: those they see."""
    return await fetch_page(
        db, query, LIST_OPEN_GROUPS, COUNT_OPEN_GROUPS, actor.scope, lambda row: OpenGroup(**dict(row))
    )


async def lock_group(connection: Connection, actor: Actor, group_id: UUID) -> Group:
    """Its row is held to the end of the transaction. Raises NotFound for what is no group in the actor's reach."""
    await connection.execute(LOCK_GROUP, actor.practice_id, group_id)
    return await get_group(connection, actor, group_id)


async def get_group(connection: Connection, actor: Actor, group_id: UUID) -> Group:
    """Raises NotFound."""
    row = await connection.fetchrow(GET_GROUP, *actor.scope, group_id)
    if row is None:
        raise NotFound("No such group session.")
    return Group(**dict(row))


async def find_group(
    connection: Connection, actor: Actor, type_id: UUID, coach_id: UUID, starts_at: datetime
) -> UUID | None:
    """The one of a type that begins then; if there is none, nobody makes one until the transaction ends."""
    found: UUID | None = await connection.fetchval(FIND_GROUP, *actor.scope, type_id, coach_id, starts_at)
    if found is None:
        await connection.execute(LOCK_TYPE_OF_GROUP, actor.practice_id, type_id)
        found = await connection.fetchval(FIND_GROUP, *actor.scope, type_id, coach_id, starts_at)
    return found


async def list_joinable(
    connection: Connection,
    practice_id: UUID,
    type_id: UUID,
    coach_id: UUID,
    client_id: UUID | None,
    *,
    first: datetime,
    last: datetime,
) -> list[Joinable]:
    """Those of a type that begin in [first, last) and have places left, also for `client_id` if one is named."""
    rows = await connection.fetch(LIST_JOINABLE, practice_id, type_id, coach_id, first, last, client_id)
    return [Joinable(**dict(row)) for row in rows]


async def whose_place(connection: Connection, actor: Actor, client_id: UUID | None) -> UUID:
    """A client's own, or of a client whom staff see. Raises Invalid."""
    if actor.role is Role.CLIENT:
        own: UUID | None = await connection.fetchval(GET_OWN_CLIENT_ID, actor.practice_id, actor.user_id)
        if own is None or client_id not in (None, own):
            raise Invalid.field("client_id", "No such client.")
        return own
    if client_id is None:
        raise Invalid.field("client_id", "Say whom it is for.")
    try:
        await get_client(connection, actor, client_id)
    except NotFound:
        raise Invalid.field("client_id", "No such client.") from None
    return client_id


async def take_place(connection: Connection, group: Group, client_id: UUID) -> None:
    """Books one of the group's places, whether or not one is free: who calls has counted, and holds the group's row.
    A credit is used for it, if there is one. Raises Conflict SLOT_TAKEN for who is elsewhere at that time."""
    # One client's bookings one after the other: two that overlap would wait for each other.
    await connection.execute(LOCK_ACCOUNT, group.practice_id, client_id)
    await connection.execute(INSERT_PARTICIPANT, group.practice_id, group.id, client_id)
    if group.waiting or group.offered:
        await connection.execute(END_WAITING, group.practice_id, group.id, client_id, "booked")
    await use_credit(connection, group.practice_id, client_id, group.id, group.session_type_id)


async def check_no_place(connection: Connection, group: Group, client_id: UUID) -> None:
    """Raises Conflict ALREADY_BOOKED."""
    if await connection.fetchval(HAS_PLACE, group.practice_id, group.id, client_id):
        raise Conflict("The client has a place in this session already.", code="ALREADY_BOOKED")


async def get_participant(connection: Connection, group: Group, client_id: UUID) -> GroupParticipant:
    """Raises NotFound."""
    row = await connection.fetchrow(LIST_PARTICIPANTS, group.practice_id, group.id, client_id, 1, 0)
    if row is None:
        raise NotFound("Nobody of that id takes part in this session.")
    return GroupParticipant(**dict(row))


async def record_place(
    tx: Transaction,
    kind: EventType,
    group: Group,
    client_id: UUID,
    *,
    actor: Actor | None = None,
    status: ParticipantStatus | None = None,
    **more: Any,
) -> None:
    """Tells of one change of a place, with the version that the group has by it. Who calls holds the group's row."""
    version = await tx.connection.fetchval(NEXT_VERSION, group.practice_id, group.id)
    tx.record(place_event(kind, replace(group, version=version), client_id, actor=actor, status=status, **more))


def place_event(
    kind: EventType,
    group: Group,
    client_id: UUID,
    *,
    actor: Actor | None = None,
    status: ParticipantStatus | None = None,
    **more: Any,
) -> Event:
    """What happened to a client's place. Without an actor it is Wellio that moved the waitlist."""
    return Event(
        type=kind,
        practice_id=group.practice_id,
        actor_id=actor.user_id if actor else None,
        client_id=client_id,
        subject_id=group.id,
        payload={
            "by": actor.role.value if actor else "waitlist",
            "coach_id": group.coach_id,
            "starts_at": group.starts_at,
            "ends_at": group.ends_at,
            "price_minor": group.price_minor,
            "version": group.version,
            **({"status": status} if status else {}),
            **more,
        },
    )
