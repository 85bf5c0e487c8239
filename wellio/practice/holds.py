"""Holds: a time that is kept for a client until they confirm it, or until the hold runs out.

A hold that has run out is free at once: it counts as busy nowhere, and who books ends it first, because the database
still keeps its time. A job ends the others.
"""

from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Connection
from wellio.errors import Conflict
from wellio.events import EventType
from wellio.outbox import Outbox, Transaction
from wellio.practice.credits import use_credit
from wellio.practice.sessions import Session, get_session, session_event, system_event

EXPIRED_REASON = "The time was held, and not confirmed."
ENDED_AT_ONCE = 500
MAX_HOLDS = 3

# Calendars are locked before rows of sessions, and in the order of their ids, so that no two wait for each other.
LOCK_CALENDARS = """
select pg_advisory_xact_lock(hashtextextended('calendar/' || id::text, 0))
from (select distinct id from unnest($1::uuid[]) t (id) where id is not null order by id) ordered
"""

END_EXPIRED_HOLDS_OF = """
update sessions
set status = 'cancelled', cancelled_at = now(), cancel_reason = $4, version = version + 1, updated_at = now()
where practice_id = $1 and status = 'held' and hold_expires_at <= now() and (coach_id = $2 or client_id = $3)
returning id, practice_id, client_id, status, coach_id, starts_at, ends_at, price_minor, version, sequence
"""

END_EXPIRED_HOLDS = """
update sessions
set status = 'cancelled', cancelled_at = now(), cancel_reason = $1, version = version + 1, updated_at = now()
where (practice_id, id) in (
    select practice_id, id from sessions
    where status = 'held' and hold_expires_at <= now()
    order by hold_expires_at
    limit $2
    for update skip locked)
returning id, practice_id, client_id, status, coach_id, starts_at, ends_at, price_minor, version, sequence
"""

# Compare and swap: whoever comes second, or too late, changes nothing.
CONFIRM_HOLD = """
update sessions
set status = 'scheduled', hold_expires_at = null, version = version + 1, updated_at = now()
where practice_id = $1 and id = $2 and status = 'held' and hold_expires_at > clock_timestamp()
returning id
"""

COUNT_HOLDS_OF = """
select count(*) from sessions
where practice_id = $1 and client_id = $2 and status = 'held' and hold_expires_at > clock_timestamp()
"""

HAS_RUN_OUT = "select hold_expires_at <= clock_timestamp() from sessions where practice_id = $1 and id = $2"


async def take_calendars(tx: Transaction, practice_id: UUID, coach_id: UUID | None, client_id: UUID | None) -> None:
    """Before a session is put into the calendars of these two, or of one: from here to the commit nobody else books
    either of them, and no hold that has run out is left there. Before any row of sessions is locked."""
    await tx.connection.execute(LOCK_CALENDARS, [coach_id, client_id])
    rows = await tx.connection.fetch(END_EXPIRED_HOLDS_OF, practice_id, coach_id, client_id, EXPIRED_REASON)
    tx.record(*[system_event(EventType.SESSION_HOLD_ENDED, row) for row in rows])


async def check_holds(connection: Connection, practice_id: UUID, client_id: UUID | None) -> None:
    """Before one more is made for the client, whose calendar is taken. Raises Conflict TOO_MANY_HOLDS."""
    if await connection.fetchval(COUNT_HOLDS_OF, practice_id, client_id) >= MAX_HOLDS:
        message = f"{MAX_HOLDS} times are held for the client; confirm one, call one off, or wait until one runs out."
        raise Conflict(message, code="TOO_MANY_HOLDS")


async def confirm_hold(outbox: Outbox, actor: Actor, session_id: UUID) -> Session:
    """The held session is booked. Raises NotFound; Conflict HOLD_EXPIRED, or SESSION_NOT_HELD also when repeated."""
    async with outbox.transaction() as tx:
        before = await get_session(tx.connection, actor, session_id)
        if await tx.connection.fetchval(CONFIRM_HOLD, actor.practice_id, session_id) is None:
            raise await _why_not(tx.connection, actor, before)
        if before.client_id is not None:
            await use_credit(tx.connection, actor.practice_id, before.client_id, session_id, before.session_type_id)
        session = await get_session(tx.connection, actor, session_id)
        tx.record(session_event(EventType.SESSION_BOOKED, actor, session))
        return session


async def end_expired_holds(outbox: Outbox) -> int:
    """How many there were, up to ENDED_AT_ONCE."""
    async with outbox.transaction() as tx:
        rows = await tx.connection.fetch(END_EXPIRED_HOLDS, EXPIRED_REASON, ENDED_AT_ONCE)
        tx.record(*[system_event(EventType.SESSION_HOLD_ENDED, row) for row in rows])
    return len(rows)


async def _why_not(connection: Connection, actor: Actor, before: Session) -> Conflict:
    """A hold that has run out keeps saying so after it was ended; one that was called off or confirmed does not."""
    if await connection.fetchval(HAS_RUN_OUT, actor.practice_id, before.id) and before.status in ("held", "cancelled"):
        return Conflict("The time was held for too long and is free again; book anew.", code="HOLD_EXPIRED")
    return Conflict("This session is not held, or not any more.", code="SESSION_NOT_HELD")
