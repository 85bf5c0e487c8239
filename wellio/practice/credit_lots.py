"""Credit lots: credits that were given together and end together, and the ledger of what went in and out of each.

Entries are added, never changed; the database lets no lot fall below zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal
from uuid import UUID

from wellio.db import Connection, Row
from wellio.errors import Conflict
from wellio.events import Event, EventType
from wellio.ids import uuid7
from wellio.outbox import Outbox

Reason = Literal["purchase", "grant", "used", "returned", "expired", "correction"]
EVENT_OF: dict[Reason, EventType] = {
    "purchase": EventType.CREDITS_GRANTED,
    "grant": EventType.CREDITS_GRANTED,
    "used": EventType.CREDIT_USED,
    "returned": EventType.CREDIT_RETURNED,
    "expired": EventType.CREDITS_EXPIRED,
    "correction": EventType.CREDITS_CORRECTED,
}

# Open lots, in the order of use: what expires first, then what is good for one type of session only. $3: for sessions
# of that type (null: of none), or with $4 for any.
LIST_OPEN_LOTS = """
select l.id, l.session_type_id, l.expires_at, l.created_at, l.charge_id,
       sum(e.amount)::integer as left,
       sum(e.amount) filter (where e.reason in ('purchase', 'grant'))::integer as granted
from credit_lots l
join credit_entries e on e.lot_id = l.id
where l.practice_id = $1 and l.client_id = $2
  and (l.expires_at is null or l.expires_at > now())
  and ($4::boolean or l.session_type_id is null or l.session_type_id = $3)
group by l.id
having sum(e.amount) > 0
order by l.expires_at nulls last, l.session_type_id nulls last, l.created_at, l.id
"""

# What is left of what came with a charge.
LIST_LOTS_OF_CHARGE = """
select l.id, sum(e.amount)::integer as left
from credit_lots l
join credit_entries e on e.lot_id = l.id
where l.practice_id = $1 and l.charge_id = $2
group by l.id
having sum(e.amount) > 0
order by l.id
"""

INSERT_LOTS = """
insert into credit_lots (id, practice_id, client_id, session_type_id, expires_at, charge_id)
select t.id, $1, t.client_id, t.session_type_id, t.expires_at, t.charge_id
from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::uuid[])
     t (id, client_id, session_type_id, expires_at, charge_id)
"""

INSERT_CREDIT_ENTRIES = """
insert into credit_entries (id, practice_id, client_id, lot_id, amount, reason, session_id, note, recorded_by)
select t.id, $1, t.client_id, t.lot_id, t.amount, t.reason, t.session_id, t.note, $2
from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::integer[], $7::text[], $8::uuid[], $9::text[])
     t (id, client_id, lot_id, amount, reason, session_id, note)
"""

# With the locks of their accounts: who uses or returns one of these credits meanwhile, waits.
LOCK_EXPIRED_LOTS = """
select l.practice_id, l.client_id, l.id
from credit_lots l
join clients c on c.practice_id = l.practice_id and c.id = l.client_id
where l.expires_at <= $1
  and (select sum(e.amount) from credit_entries e where e.lot_id = l.id) > 0
order by l.practice_id, l.client_id, l.id
limit $2
for no key update of c
"""

LIST_LEFT_OF_LOTS = """
select e.practice_id, e.client_id, e.lot_id, sum(e.amount)::integer as left
from credit_entries e
where e.lot_id = any($1::uuid[])
group by e.practice_id, e.client_id, e.lot_id
having sum(e.amount) > 0
order by e.practice_id, e.client_id, e.lot_id
"""


@dataclass(frozen=True, slots=True)
class CreditLot:
    id: UUID
    session_type_id: UUID | None
    expires_at: datetime | None
    granted: int
    left: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Credits for a new lot."""

    client_id: UUID
    amount: int
    reason: Reason
    session_type_id: UUID | None = None
    expires_at: datetime | None = None
    charge_id: UUID | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LotEntry:
    """A line for the ledger of a lot that exists."""

    client_id: UUID
    lot_id: UUID
    amount: int
    reason: Reason
    session_id: UUID | None = None
    note: str = ""


async def grant_credits(
    connection: Connection, practice_id: UUID, actor_id: UUID | None, grants: Sequence[Grant]
) -> list[Event]:
    """Each in a lot of its own, in the caller's transaction; returns the events to record."""
    lot_ids = [uuid7() for _ in grants]
    columns: list[list[Any]] = [
        lot_ids,
        [g.client_id for g in grants],
        [g.session_type_id for g in grants],
        [g.expires_at for g in grants],
        [g.charge_id for g in grants],
    ]
    await connection.execute(INSERT_LOTS, practice_id, *columns)
    entries = [
        LotEntry(client_id=g.client_id, lot_id=lot_id, amount=g.amount, reason=g.reason, note=g.note)
        for lot_id, g in zip(lot_ids, grants, strict=True)
    ]
    return await enter_credits(connection, practice_id, actor_id, entries)


async def enter_credits(
    connection: Connection, practice_id: UUID, actor_id: UUID | None, entries: Sequence[LotEntry]
) -> list[Event]:
    """Writes ledger lines in the caller's transaction; returns the events to record."""
    if not entries:
        return []
    columns: list[list[Any]] = [
        [uuid7() for _ in entries],
        [e.client_id for e in entries],
        [e.lot_id for e in entries],
        [e.amount for e in entries],
        [e.reason for e in entries],
        [e.session_id for e in entries],
        [e.note for e in entries],
    ]
    await connection.execute(INSERT_CREDIT_ENTRIES, practice_id, actor_id, *columns)
    return [_event(practice_id, actor_id, entry) for entry in entries]


async def take_back_credits(
    connection: Connection, practice_id: UUID, actor_id: UUID | None, client_id: UUID, charge_id: UUID, note: str
) -> list[Event]:
    """What is left of what came with a charge that is voided; the caller holds the account's lock."""
    rows = await connection.fetch(LIST_LOTS_OF_CHARGE, practice_id, charge_id)
    entries = [
        LotEntry(client_id=client_id, lot_id=row["id"], amount=-row["left"], reason="correction", note=note)
        for row in rows
    ]
    return await enter_credits(connection, practice_id, actor_id, entries)


async def expire_lots(outbox: Outbox, now: datetime, *, at_most: int) -> int:
    """Writes off what is left of lots that have ended; harmless when done twice. Returns how many lots it found."""
    async with outbox.transaction() as tx:
        found = await tx.connection.fetch(LOCK_EXPIRED_LOTS, now, at_most)
        left = await tx.connection.fetch(LIST_LEFT_OF_LOTS, [row["id"] for row in found])
        for practice_id, rows in groupby(left, key=itemgetter("practice_id")):
            entries = [
                LotEntry(client_id=r["client_id"], lot_id=r["lot_id"], amount=-r["left"], reason="expired")
                for r in rows
            ]
            tx.record(*await enter_credits(tx.connection, practice_id, None, entries))
    return len(found)


def take(lots: Sequence[CreditLot], amount: int) -> list[tuple[UUID, int]]:
    """How many of which lot, from the first on. Raises Conflict when there are not so many."""
    taken = []
    for lot in lots:
        part = min(lot.left, amount)
        if part > 0:
            taken.append((lot.id, part))
            amount -= part
    if amount > 0:
        raise Conflict(
            "The client has not so many credits; see GET /clients/{client_id}/credits.", code="NOT_ENOUGH_CREDITS"
        )
    return taken


def _event(practice_id: UUID, actor_id: UUID | None, entry: LotEntry) -> Event:
    return Event(
        type=EVENT_OF[entry.reason],
        practice_id=practice_id,
        actor_id=actor_id,
        client_id=entry.client_id,
        subject_id=entry.session_id or entry.lot_id,
        payload={"amount": entry.amount, "reason": entry.reason},
    )


def lot_of(row: Row) -> CreditLot:
    return CreditLot(
        id=row["id"],
        session_type_id=row["session_type_id"],
        expires_at=row["expires_at"],
        granted=row["granted"],
        left=row["left"],
        created_at=row["created_at"],
    )
