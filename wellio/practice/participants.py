"""Participants of groups: who takes a place, gives it up, and was there.

A client takes and gives up their own, by the practice's cancellation policy; staff put in and take out any client of
theirs. A place that becomes free goes to who waits (waitlist.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.db import Connection, Database
from wellio.errors import Conflict, Invalid, NotFound
from wellio.events import EventType
from wellio.idempotency import Once
from wellio.outbox import Outbox, Transaction
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.cancellations import status_of_clients_cancellation
from wellio.practice.clients import touch_clients
from wellio.practice.groups import (
    LIST_PARTICIPANTS,
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
from wellio.practice.policies import get_policy
from wellio.practice.sessions import ParticipantStatus, Session, get_missed_at
from wellio.practice.settlements import settle_sessions
from wellio.practice.waitlist import ForClient, close_waitlist, has_offer, settle
from wellio.values import Input

Mark = Literal["booked", "attended", "no_show"]
GIVEN_UP = frozenset({"cancelled", "late_cancelled"})
OPEN_TO_STAFF = frozenset({"scheduled", "in_progress"})
TOOK_PLACE = frozenset({"scheduled", "in_progress", "completed", "no_show"})
CALLED_OFF = frozenset({"cancelled", "late_cancelled", "cancelled_by_coach"})
# What is told of a participant whose status was changed to it.
BECAME: Mapping[ParticipantStatus, EventType] = {
    "attended": EventType.PARTICIPANT_ATTENDED,
    "no_show": EventType.PARTICIPANT_MISSED,
    "booked": EventType.PARTICIPANT_UNMARKED,
    "cancelled": EventType.PARTICIPANT_LEFT,
    "late_cancelled": EventType.PARTICIPANT_LEFT,
}

COUNT_PARTICIPANTS = "select count(*) from session_participants where practice_id = $1 and session_id = $2"

LIST_MISSING = """
select t.id from unnest($4::uuid[]) t (id)
where t.id not in (select c.id from visible_clients($1, $2, $3) c)
"""

GIVE_UP_PLACE = """
update session_participants set status = $4, cancelled_at = now()
where practice_id = $1 and session_id = $2 and client_id = $3
"""

MARK_PARTICIPANT = """
update session_participants set status = $4 where practice_id = $1 and session_id = $2 and client_id = $3
"""


class ParticipantChanges(Input):
    """`booked` takes back what was marked."""

    status: Mark


async def list_participants(db: Database, actor: Actor, group_id: UUID, query: PageQuery) -> Page[GroupParticipant]:
    """Staff's alone, in the order of booking, with those who gave up their place. Raises NotFound."""
    actor.must_be(STAFF)
    async with db.connection() as connection:
        group = await get_group(connection, actor, group_id)
        rows = await connection.fetch(
            LIST_PARTICIPANTS, group.practice_id, group.id, None, query.page_size, query.offset
        )
        total = await connection.fetchval(COUNT_PARTICIPANTS, group.practice_id, group.id)
    return page_of([GroupParticipant(**dict(row)) for row in rows], query=query, total=total)


async def add_participant(
    outbox: Outbox, actor: Actor, group_id: UUID, new: ForClient, *, once: Once | None = None
) -> GroupParticipant:
    """Raises NotFound, Invalid, and Conflict: SESSION_FULL, ALREADY_BOOKED, SLOT_TAKEN, SESSION_CLOSED."""
    async with outbox.transaction(once) as tx:
        group = await get_group(tx.connection, actor, group_id)
        client_id = await whose_place(tx.connection, actor, new.client_id)
        await take_calendars(tx, actor.practice_id, None, client_id)
        await join_group(tx, actor, group, client_id)
        return await tx.answer(await get_participant(tx.connection, group, client_id))


async def join_group(tx: Transaction, actor: Actor, group: Group, client_id: UUID) -> None:
    """Takes a free place, or the one that was offered to the client. Raises Conflict as `add_participant` does."""
    if group.free <= 0 and not group.offered:
        # Nobody need wait for the group's row to hear that.
        await check_no_place(tx.connection, group, client_id)
        raise _full()
    group = await lock_group(tx.connection, actor, group.id)
    open_to_actor = group.takes_clients if actor.role is Role.CLIENT else group.status in OPEN_TO_STAFF
    if not open_to_actor:
        raise Conflict("The session has begun, ended or was cancelled.", code="SESSION_CLOSED")
    await check_no_place(tx.connection, group, client_id)
    group = await settle(tx, group)
    if group.free <= 0 and not await has_offer(tx.connection, group, client_id):
        raise _full()
    await take_place(tx.connection, group, client_id)
    await record_place(tx, EventType.PARTICIPANT_JOINED, group, client_id, actor=actor, status="booked")


def _full() -> Conflict:
    return Conflict("All places are taken; one can join the waitlist.", code="SESSION_FULL")


async def fill_group(tx: Transaction, actor: Actor, group: Group, client_ids: Sequence[UUID]) -> None:
    """Puts clients into a group that staff have just made. Raises Invalid for one whom they don't see."""
    missing = await tx.connection.fetch(LIST_MISSING, *actor.scope, client_ids)
    if missing:
        at = client_ids.index(missing[0]["id"])
        raise Invalid.field(f"client_ids.{at}", "No such client.")
    if len(client_ids) > group.capacity:
        raise Invalid.field("client_ids", "There are more clients than places.")
    for client_id in client_ids:
        await take_place(tx.connection, group, client_id)
        tx.record(place_event(EventType.PARTICIPANT_JOINED, group, client_id, actor=actor, status="booked"))


async def remove_participant(outbox: Outbox, actor: Actor, group_id: UUID, client_id: UUID) -> GroupParticipant:
    """A client gives up their own place by the policy, staff take out anybody; who has left stays as they are.

    Raises NotFound, Forbidden CANCEL_WINDOW_CLOSED, Conflict SESSION_CLOSED.
    """
    async with outbox.transaction() as tx:
        group = await lock_group(tx.connection, actor, group_id)
        place = await _place_of(tx.connection, actor, group, client_id)
        if place.status in GIVEN_UP:
            return place
        status = await _status_on_leaving(tx.connection, actor, group, place)
        await tx.connection.execute(GIVE_UP_PLACE, group.practice_id, group.id, client_id, status)
        await settle_sessions(tx.connection, group.practice_id, [group.id], client_id=client_id)
        await record_place(tx, EventType.PARTICIPANT_LEFT, group, client_id, actor=actor, status=status)
        await settle(tx, replace(group, booked=group.booked - 1))
        return await get_participant(tx.connection, group, client_id)


async def mark_participant(
    outbox: Outbox, actor: Actor, group_id: UUID, client_id: UUID, changes: ParticipantChanges
) -> GroupParticipant:
    """Who was there, and who was not. Raises NotFound, Conflict: SESSION_NOT_STARTED, SESSION_CLOSED, NOT_BOOKED."""
    actor.must_be(STAFF)
    async with outbox.transaction() as tx:
        group = await lock_group(tx.connection, actor, group_id)
        place = await get_participant(tx.connection, group, client_id)
        if place.status == changes.status:
            return place
        _check_mark(group, place)
        await tx.connection.execute(MARK_PARTICIPANT, group.practice_id, group.id, client_id, changes.status)
        await settle_sessions(tx.connection, group.practice_id, [group.id], client_id=client_id)
        await _take_back_miss(tx, actor, group, client_id, was=place.status)
        if changes.status != "booked" or place.status != "no_show":
            await record_place(tx, BECAME[changes.status], group, client_id, actor=actor, status=changes.status)
        if changes.status == "attended":
            await touch_clients(tx.connection, group.practice_id, {client_id: group.ends_at})
        return await get_participant(tx.connection, group, client_id)


async def _take_back_miss(
    tx: Transaction, actor: Actor, group: Group, client_id: UUID, *, was: ParticipantStatus
) -> None:
    """Told first, and by itself, with the time of the miss: who learns of it forgets that one."""
    if was == "no_show":
        missed_at = await get_missed_at(tx.connection, actor, group.id, client_id)
        unmarked = EventType.PARTICIPANT_UNMARKED
        await record_place(tx, unmarked, group, client_id, actor=actor, status="booked", missed_at=missed_at)


def _check_mark(group: Group, place: GroupParticipant) -> None:
    if group.status not in TOOK_PLACE:
        raise Conflict("The session was cancelled: nobody was there or missing.", code="SESSION_CLOSED")
    if group.starts_at > datetime.now(UTC):
        raise Conflict("Who was there is known only after the start.", code="SESSION_NOT_STARTED")
    if place.status in GIVEN_UP:
        raise Conflict("The client gave up their place; add them again first.", code="NOT_BOOKED")


async def _place_of(connection: Connection, actor: Actor, group: Group, client_id: UUID) -> GroupParticipant:
    """Raises NotFound, for a client also for everybody else's."""
    if actor.role is Role.CLIENT:
        try:
            await whose_place(connection, actor, client_id)
        except Invalid:
            raise NotFound("Nobody of that id takes part in this session.") from None
    return await get_participant(connection, group, client_id)


async def _status_on_leaving(
    connection: Connection, actor: Actor, group: Group, place: GroupParticipant
) -> ParticipantStatus:
    if place.status != "booked" or group.status not in OPEN_TO_STAFF:
        raise Conflict("The session took place, or was cancelled: its places stay as they are.", code="SESSION_CLOSED")
    if actor.role is not Role.CLIENT:
        return "cancelled"
    policy = await get_policy(connection, actor.practice_id)
    return status_of_clients_cancellation(policy, group.starts_at, group.timezone, datetime.now(UTC))


async def follow_group(tx: Transaction, actor: Actor, before: Session, after: Session) -> None:
    """After staff changed a group as a whole: what that means to each of its participants, and to who waits."""
    group = await get_group(tx.connection, actor, after.id)
    statuses = {p.client_id: p.status for p in before.participants}
    changed = [p for p in after.participants if p.status != statuses.get(p.client_id)]
    for p in changed:
        await _take_back_miss(tx, actor, group, p.client_id, was=statuses.get(p.client_id, "booked"))
    group = await get_group(tx.connection, actor, after.id)
    told = [p for p in changed if (statuses.get(p.client_id), p.status) != ("no_show", "booked")]
    tx.record(*[place_event(BECAME[p.status], group, p.client_id, actor=actor, status=p.status) for p in told])
    seen = [p.client_id for p in changed if p.status == "attended"]
    await touch_clients(tx.connection, group.practice_id, dict.fromkeys(seen, after.ends_at))
    if group.status in CALLED_OFF:
        await close_waitlist(tx, group, actor)
    else:
        await settle(tx, group)


async def check_capacity_of(connection: Connection, actor: Actor, group_id: UUID, capacity: int) -> None:
    """Raises Conflict CAPACITY_BELOW_BOOKED; a place that is offered counts."""
    group = await get_group(connection, actor, group_id)
    if capacity < group.booked + group.offered:
        taken = f"{group.booked} places are booked and {group.offered} are offered to who waits"
        raise Conflict(f"{taken}: the capacity can't be less.", code="CAPACITY_BELOW_BOOKED")
