"""The waitlist of a full group: in the order of joining, a free place is offered or given to the first who can come.

By the practice's policy a free place is offered for a while (`offer`), or the first is booked at once (`auto`). Who
can't come (archived, or elsewhere at that time) is passed over and keeps their place in the order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import asyncpg

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, NotFound
from wellio.events import EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox, Transaction
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.groups import (
    END_WAITING,
    Group,
    GroupParticipant,
    check_no_place,
    get_group,
    get_participant,
    lock_group,
    place_event,
    record_place,
    take_place,
    whose_place,
)
from wellio.practice.holds import take_calendars
from wellio.practice.policies import BookingPolicy, get_policy
from wellio.values import Input

NOBODY = UUID(int=0)
EntryStatus = Literal["waiting", "offered", "booked", "declined", "expired", "left"]

INSERT_ENTRY = """
insert into waitlist_entries (id, practice_id, session_id, client_id)
values ($1, $2, $3, $4)
"""

# All who wait with their positions; of them a client is shown themself. $5: one client's, or null.
LIST_ENTRIES = """
select q.id, q.client_id, q.status, q.position, q.joined_at, q.offer_expires_at
from (
    select w.*, c.user_id, row_number() over (order by w.joined_at, w.id) as position
    from waitlist_entries w
    join clients c on c.practice_id = w.practice_id and c.id = w.client_id
    where w.practice_id = $1 and w.session_id = $4 and w.status in ('waiting', 'offered')
) q
where ($2 <> 'client' or q.user_id = $3)
  and ($5::uuid is null or q.client_id = $5)
order by q.position
limit $6 offset $7
"""

COUNT_ENTRIES = """
select count(*)
from waitlist_entries w
join clients c on c.practice_id = w.practice_id and c.id = w.client_id
where w.practice_id = $1 and w.session_id = $4 and w.status in ('waiting', 'offered')
  and ($2 <> 'client' or c.user_id = $3)
"""

EXPIRE_OFFERS = """
update waitlist_entries set status = 'expired', offer_expires_at = null, ended_at = now()
where practice_id = $1 and session_id = $2 and status = 'offered' and least(offer_expires_at, $4) <= $3
returning client_id
"""

LIST_ELIGIBLE = """
select w.id, w.client_id
from waitlist_entries w
join clients c on c.practice_id = w.practice_id and c.id = w.client_id
where w.practice_id = $1 and w.session_id = $2 and w.status = 'waiting' and c.status <> 'archived'
  and not exists (
      select from session_participants p
      where p.practice_id = $1 and p.client_id = w.client_id and p.session_id <> $2
        and p.status = 'booked' and p.session_open and p.starts_at < $4 and p.ends_at > $3
  )
order by w.joined_at, w.id
"""

OFFER_PLACES = """
update waitlist_entries set status = 'offered', offer_expires_at = $3
where practice_id = $1 and id = any($2::uuid[])
"""

HAS_OFFER = """
select exists (
    select from waitlist_entries
    where practice_id = $1 and session_id = $2 and client_id = $3 and status = 'offered'
      and least(offer_expires_at, $5) > $4
)
"""

# With an offer that has passed, or a place that is free while somebody waits, be it one who could not come so far.
LIST_DUE_GROUPS = """
select s.practice_id, s.id
from (select distinct practice_id, session_id from waitlist_entries where status in ('waiting', 'offered')) q
join sessions s on s.practice_id = q.practice_id and s.id = q.session_id
cross join lateral (
    select count(*) filter (where w.status = 'offered') as offered,
           bool_or(w.status = 'offered' and w.offer_expires_at <= now()) as passed
    from waitlist_entries w
    where w.practice_id = s.practice_id and w.session_id = s.id and w.status in ('waiting', 'offered')
) w
where w.passed
   or (s.status = 'scheduled' and s.starts_at > now()
       and s.capacity > w.offered + (
           select count(*) from session_participants p
           where p.practice_id = s.practice_id and p.session_id = s.id
             and p.status in ('booked', 'attended', 'no_show')))
order by s.starts_at, s.id
limit 1000
"""

CLOSE_WAITLIST = """
update waitlist_entries set status = 'left', offer_expires_at = null, ended_at = now()
where practice_id = $1 and session_id = $2 and status in ('waiting', 'offered')
returning client_id
"""


class ForClient(Input):
    """Staff say whom it is for; a client is themself."""

    client_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class WaitlistEntry:
    """`position` from 1, those who were offered a place included. `offer_expires_at`: until when the place is held."""

    id: UUID
    client_id: UUID
    status: EntryStatus
    position: int
    joined_at: datetime
    offer_expires_at: datetime | None


async def list_waitlist(db: Database, actor: Actor, group_id: UUID, query: PageQuery) -> Page[WaitlistEntry]:
    """In order; a client is shown their own entry alone. Raises NotFound."""
    async with db.connection() as connection:
        await get_group(connection, actor, group_id)
        rows = await connection.fetch(LIST_ENTRIES, *actor.scope, group_id, None, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_ENTRIES, *actor.scope, group_id)
    return page_of([_entry(row) for row in rows], query=query, total=total)


async def join_waitlist(
    outbox: Outbox, actor: Actor, group_id: UUID, new: ForClient, *, once: Once | None = None
) -> WaitlistEntry:
    """Raises NotFound, Invalid, and Conflict: PLACES_LEFT, ALREADY_BOOKED, ALREADY_WAITING, SESSION_CLOSED."""
    async with outbox.transaction(once) as tx:
        group = await lock_group(tx.connection, actor, group_id)
        client_id = await whose_place(tx.connection, actor, new.client_id)
        if not group.takes_clients:
            raise Conflict("The session has begun, ended or was cancelled.", code="SESSION_CLOSED")
        group = await settle(tx, group)
        await check_no_place(tx.connection, group, client_id)
        if group.free > 0:
            raise Conflict("There are places left: book one of them.", code="PLACES_LEFT")
        await tx.connection.execute(INSERT_ENTRY, uuid7(), group.practice_id, group.id, client_id)
        await record_place(tx, EventType.WAITLIST_JOINED, group, client_id, actor=actor)
        return await tx.answer(await _get_entry(tx.connection, actor, group.id, client_id))


async def accept_offer(
    outbox: Outbox, actor: Actor, group_id: UUID, new: ForClient, *, once: Once | None = None
) -> GroupParticipant:
    """Books the place that was offered. Raises NotFound, Invalid, Conflict: NO_OFFER (none, or it has passed),
    SESSION_CLOSED, SLOT_TAKEN."""
    async with outbox.transaction(once) as tx:
        await get_group(tx.connection, actor, group_id)
        client_id = await whose_place(tx.connection, actor, new.client_id)
        await take_calendars(tx, actor.practice_id, None, client_id)
        group = await lock_group(tx.connection, actor, group_id)
        if not group.takes_clients:
            raise Conflict("The session has begun, ended or was cancelled.", code="SESSION_CLOSED")
        if not await has_offer(tx.connection, group, client_id):
            raise Conflict("There is no offer to accept, or it has passed and went to the next.", code="NO_OFFER")
        await take_place(tx.connection, group, client_id)
        await record_place(tx, EventType.PARTICIPANT_JOINED, group, client_id, actor=actor, status="booked")
        return await tx.answer(await get_participant(tx.connection, group, client_id))


async def leave_waitlist(outbox: Outbox, actor: Actor, group_id: UUID, client_id: UUID | None = None) -> None:
    """Who was offered a place declines it; it goes to the next. Raises NotFound."""
    async with outbox.transaction() as tx:
        group = await lock_group(tx.connection, actor, group_id)
        client_id = await _whose_entry(tx.connection, actor, client_id)
        entry = await _get_entry(tx.connection, actor, group.id, client_id)
        ended = "declined" if entry.status == "offered" else "left"
        await tx.connection.execute(END_WAITING, group.practice_id, group.id, client_id, ended)
        await record_place(tx, EventType.WAITLIST_LEFT, group, client_id, actor=actor, ended=ended)
        await settle(tx, replace(group, offered=group.offered - (ended == "declined")))


async def list_due_groups(db: Database) -> list[tuple[UUID, UUID]]:
    """Practice and session of each whose waitlist should move."""
    return [(row["practice_id"], row["id"]) for row in await db.fetch(LIST_DUE_GROUPS)]


async def move_waitlist(outbox: Outbox, practice_id: UUID, group_id: UUID) -> None:
    wellio = Actor(NOBODY, practice_id, Role.OWNER, NOBODY, "Wellio")
    async with outbox.transaction() as tx:
        await settle(tx, await lock_group(tx.connection, wellio, group_id))


async def settle(tx: Transaction, group: Group, policy: BookingPolicy | None = None) -> Group:
    """Ends offers that have passed, and offers or gives the free places to who waits; how the group is then.

    Who calls holds the group's row. It is done before each use of a place as well as by a job, so that no late job
    lets somebody accept what has passed, or be quicker than who waits.
    """
    now = datetime.now(UTC)
    if group.offered:
        passed = await tx.connection.fetch(EXPIRE_OFFERS, group.practice_id, group.id, now, group.starts_at)
        for row in passed:
            await record_place(tx, EventType.WAITLIST_OFFER_EXPIRED, group, row["client_id"])
        group = replace(group, offered=group.offered - len(passed))
    if group.free <= 0 or not group.waiting or not group.takes_clients:
        return group
    eligible = await tx.connection.fetch(LIST_ELIGIBLE, group.practice_id, group.id, group.starts_at, group.ends_at)
    if not eligible:
        return group
    policy = policy or await get_policy(tx.connection, group.practice_id)
    if policy.waitlist == "auto":
        return await _give(tx, group, eligible)
    return await _offer(tx, group, eligible[: group.free], now + timedelta(minutes=policy.waitlist_offer_minutes))


async def has_offer(connection: Connection, group: Group, client_id: UUID) -> bool:
    """Whether a place is held for the client at this moment."""
    now = datetime.now(UTC)
    held: bool = await connection.fetchval(HAS_OFFER, group.practice_id, group.id, client_id, now, group.starts_at)
    return held


async def close_waitlist(tx: Transaction, group: Group, actor: Actor) -> None:
    """The group does not take place: nobody waits for it any more."""
    for row in await tx.connection.fetch(CLOSE_WAITLIST, group.practice_id, group.id):
        tx.record(place_event(EventType.WAITLIST_LEFT, group, row["client_id"], actor=actor, ended="left"))


async def _offer(tx: Transaction, group: Group, chosen: Sequence[Row], expires_at: datetime) -> Group:
    """Never beyond the start."""
    expires_at = min(expires_at, group.starts_at)
    await tx.connection.execute(OFFER_PLACES, group.practice_id, [row["id"] for row in chosen], expires_at)
    for row in chosen:
        await record_place(tx, EventType.WAITLIST_OFFERED, group, row["client_id"], expires_at=expires_at)
    return replace(group, offered=group.offered + len(chosen), waiting=group.waiting - len(chosen))


async def _give(tx: Transaction, group: Group, eligible: Sequence[Row]) -> Group:
    for row in eligible:
        if group.free <= 0:
            break
        try:
            async with tx.connection.transaction():
                await take_place(tx.connection, group, row["client_id"])
        except asyncpg.ExclusionViolationError:
            continue  # booked elsewhere at this very moment: passed over like the others who are
        await record_place(tx, EventType.PARTICIPANT_JOINED, group, row["client_id"], status="booked")
        group = replace(group, booked=group.booked + 1, waiting=group.waiting - 1)
    return group


async def _whose_entry(connection: Connection, actor: Actor, client_id: UUID | None) -> UUID:
    if actor.role is not Role.CLIENT and client_id is not None:
        return client_id
    return await whose_place(connection, actor, client_id)


async def _get_entry(connection: Connection, actor: Actor, group_id: UUID, client_id: UUID) -> WaitlistEntry:
    row = await connection.fetchrow(LIST_ENTRIES, *actor.scope, group_id, client_id, 1, 0)
    if row is None:
        raise NotFound("Nobody of that id waits for this session.")
    return _entry(row)


def _entry(row: Row) -> WaitlistEntry:
    return WaitlistEntry(**dict(row))
