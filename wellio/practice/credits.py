"""Credits: sessions that a client has paid for beforehand, or was given. What expires first is used first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Annotated
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor
from wellio.db import Connection, Database
from wellio.errors import Invalid, NotFound
from wellio.events import Event
from wellio.idempotency import Once
from wellio.outbox import Outbox, insert_events
from wellio.pages import Page, PageQuery, fetch_page
from wellio.practice.clients import get_client
from wellio.practice.credit_lots import (
    LIST_OPEN_LOTS,
    CreditLot,
    Grant,
    LotEntry,
    Reason,
    enter_credits,
    grant_credits,
    lot_of,
    take,
)
from wellio.practice.payments import LOCK_ACCOUNT, check_client
from wellio.practice.session_types import find_session_type
from wellio.values import Input, Line, Moment

MAX_CREDITS = 1000

# Net, so that what was returned can be used and returned again. $3: some clients, or null for all of the sessions'.
LIST_USED_FOR_SESSIONS = """
select e.session_id, e.client_id, e.lot_id, -sum(e.amount)::integer as used
from credit_entries e
where e.practice_id = $1 and e.session_id = any($2::uuid[]) and ($3::uuid[] is null or e.client_id = any($3))
group by e.session_id, e.client_id, e.lot_id
having sum(e.amount) < 0
order by e.client_id, e.session_id, e.lot_id
"""

LOCK_USERS_OF_CREDITS = """
select c.id
from clients c
where c.practice_id = $1
  and c.id in (select e.client_id from credit_entries e where e.practice_id = $1 and e.session_id = $2)
order by c.id
for no key update
"""

LIST_CREDIT_ENTRIES = """
select e.id, e.client_id, e.lot_id, e.amount, e.reason, e.session_id, e.note, l.expires_at, l.session_type_id,
       e.created_at
from credit_entries e
join credit_lots l on l.id = e.lot_id
where e.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = e.client_id))
  and ($4::uuid is null or e.client_id = $4)
  and ($5::text is null or e.reason = $5)
  and ($6::uuid is null or e.session_id = $6)
order by e.created_at desc, e.id desc
limit $7 offset $8
"""

COUNT_CREDIT_ENTRIES = """
select count(*)
from credit_entries e
where e.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = e.client_id))
  and ($4::uuid is null or e.client_id = $4)
  and ($5::text is null or e.reason = $5)
  and ($6::uuid is null or e.session_id = $6)
"""

CreditCount = Annotated[int, Field(ge=1, le=MAX_CREDITS, strict=True)]


class NewCredits(Input):
    """More (`amount` above zero: a lot of its own) or fewer (below: of what expires first). `note` says why."""

    client_id: UUID
    amount: Annotated[int, Field(ge=-MAX_CREDITS, le=MAX_CREDITS, strict=True)]
    session_type_id: UUID | None = None
    expires_at: Moment | None = None
    note: Line = ""


class CreditQuery(PageQuery):
    client_id: UUID | None = None
    reason: Reason | None = None
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class CreditEntry:
    """`expires_at` and `session_type_id` are of the lot that it adds to or takes from."""

    id: UUID
    client_id: UUID
    lot_id: UUID
    amount: int
    reason: Reason
    session_id: UUID | None
    note: str
    expires_at: datetime | None
    session_type_id: UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CreditBalance:
    """What can be used today, in the order in which it will be."""

    client_id: UUID
    left: int
    lots: Sequence[CreditLot]


async def use_credit(
    connection: Connection, practice_id: UUID, client_id: UUID, session_id: UUID, session_type_id: UUID | None
) -> bool:
    """Takes one credit for the session, if the client has one that is good for it; once for each session.

    In the caller's transaction, which also tells of it.
    """
    return await use_credits(connection, practice_id, client_id, [session_id], session_type_id) == 1


async def use_credits(
    connection: Connection, practice_id: UUID, client_id: UUID, session_ids: Sequence[UUID], type_id: UUID | None
) -> int:
    """The same for sessions of one type, in their order, as far as credits go; for how many one is used now."""
    await connection.execute(LOCK_ACCOUNT, practice_id, client_id)
    used = await connection.fetch(LIST_USED_FOR_SESSIONS, practice_id, session_ids, [client_id])
    done = {row["session_id"] for row in used}
    any_type = False
    lots = [lot_of(row) for row in await connection.fetch(LIST_OPEN_LOTS, practice_id, client_id, type_id, any_type)]
    one_by_one = chain.from_iterable(repeat(lot.id, lot.left) for lot in lots)
    open_sessions = [session_id for session_id in session_ids if session_id not in done]
    entries = [
        LotEntry(client_id=client_id, lot_id=lot_id, amount=-1, reason="used", session_id=session_id)
        for session_id, lot_id in zip(open_sessions, one_by_one, strict=False)
    ]
    await insert_events(connection, await enter_credits(connection, practice_id, None, entries))
    return len(done) + len(entries)


async def return_credit(
    connection: Connection, practice_id: UUID, session_id: UUID, *, client_ids: Sequence[UUID] | None = None
) -> None:
    """Gives back what was used for the session, by all or by some of its clients; harmless when done twice.

    To the lot it came from: one that has ended meanwhile does not begin again. In the caller's transaction.
    """
    await connection.execute(LOCK_USERS_OF_CREDITS, practice_id, session_id)
    used = await connection.fetch(LIST_USED_FOR_SESSIONS, practice_id, [session_id], client_ids)
    entries = [
        LotEntry(
            client_id=row["client_id"],
            lot_id=row["lot_id"],
            amount=row["used"],
            reason="returned",
            session_id=session_id,
        )
        for row in used
    ]
    await insert_events(connection, await enter_credits(connection, practice_id, None, entries))


async def list_credit_entries(db: Database, actor: Actor, query: CreditQuery) -> Page[CreditEntry]:
    filters = (*actor.scope, query.client_id, query.reason, query.session_id)
    return await fetch_page(
        db, query, LIST_CREDIT_ENTRIES, COUNT_CREDIT_ENTRIES, filters, lambda row: CreditEntry(**dict(row))
    )


async def get_credit_balance(db: Database | Connection, actor: Actor, client_id: UUID) -> CreditBalance:
    """Raises NotFound."""
    await get_client(db, actor, client_id)
    any_type = True
    lots = [lot_of(row) for row in await db.fetch(LIST_OPEN_LOTS, actor.practice_id, client_id, None, any_type)]
    return CreditBalance(client_id, sum(lot.left for lot in lots), lots)


async def change_credits(outbox: Outbox, actor: Actor, new: NewCredits, *, once: Once | None = None) -> CreditBalance:
    """Raises Invalid for a client or session type out of the actor's reach, and Conflict NOT_ENOUGH_CREDITS."""
    actor.must_be(STAFF)
    if new.amount == 0:
        raise Invalid.field("amount", "Must not be zero.")
    _check_terms(new, datetime.now(UTC))
    async with outbox.transaction(once) as tx:
        await check_client(tx.connection, actor, new.client_id)
        await check_session_type(tx.connection, actor, new.session_type_id)
        if new.amount > 0:
            grant = Grant(
                client_id=new.client_id, amount=new.amount, reason="grant", session_type_id=new.session_type_id,
                expires_at=new.expires_at, note=new.note,
            )  # fmt: skip
            events = await grant_credits(tx.connection, actor.practice_id, actor.user_id, [grant])
        else:
            events = await _take_away(tx.connection, actor, new)
        tx.record(*events)
        return await tx.answer(await get_credit_balance(tx.connection, actor, new.client_id))


async def check_session_type(connection: Connection, actor: Actor, type_id: UUID | None) -> None:
    """Raises Invalid for one that the actor has not."""
    if type_id is None:
        return
    try:
        await find_session_type(connection, actor, type_id)
    except NotFound:
        raise Invalid.field("session_type_id", "No such session type.") from None


async def _take_away(connection: Connection, actor: Actor, new: NewCredits) -> list[Event]:
    await connection.execute(LOCK_ACCOUNT, actor.practice_id, new.client_id)
    any_type = new.session_type_id is None
    rows = await connection.fetch(LIST_OPEN_LOTS, actor.practice_id, new.client_id, new.session_type_id, any_type)
    lots = [lot_of(row) for row in rows if any_type or row["session_type_id"] is not None]
    entries = [
        LotEntry(client_id=new.client_id, lot_id=lot_id, amount=-part, reason="correction", note=new.note)
        for lot_id, part in take(lots, -new.amount)
    ]
    return await enter_credits(connection, actor.practice_id, actor.user_id, entries)


def _check_terms(new: NewCredits, now: datetime) -> None:
    if new.expires_at is None:
        return
    if new.amount < 0:
        raise Invalid.field("expires_at", "Goes with credits that are given only.")
    if new.expires_at <= now:
        raise Invalid.field("expires_at", "Must be in the future.")
