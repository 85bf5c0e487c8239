"""Balances: what a client owes by currency, and the entries it comes of.

Balance = charges - payments + refunds, in minor units: above zero the client owes, below they have paid ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Database
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.clients import get_client
from wellio.values import Currency

EntryKind = Literal[
    "subscription", "package", "session", "late_cancellation", "other",
    "payment", "refund", "payment_void", "refund_void",
]  # fmt: skip

SUM_BALANCES = """
select t.currency, sum(t.charged)::bigint as charged_minor, sum(t.paid)::bigint as paid_minor,
       sum(t.refunded)::bigint as refunded_minor,
       (sum(t.charged) - sum(t.paid) + sum(t.refunded))::bigint as balance_minor
from (
    select h.currency, h.amount_minor as charged, 0 as paid, 0 as refunded
    from charges h
    where h.practice_id = $1 and h.client_id = $2
    union all
    select p.currency, 0, case when p.kind in ('payment', 'payment_void') then p.net_minor else 0 end,
           case when p.kind in ('refund', 'refund_void') then -p.net_minor else 0 end
    from payments p
    where p.practice_id = $1 and p.client_id = $2
) t
group by t.currency
order by t.currency
"""

# By the time of recording, so that an entry never changes the balance that was shown after an earlier one.
LIST_LEDGER = """
select t.id, t.kind, t.occurred_at, t.recorded_at, t.amount_minor, t.currency, t.note, t.takes_back,
       (sum(t.amount_minor) over (partition by t.currency order by t.recorded_at, t.id))::bigint as balance_minor
from (
    select h.id, h.kind, h.charged_at as occurred_at, h.created_at as recorded_at, h.amount_minor, h.currency, h.note,
           h.charge_id as takes_back
    from charges h
    where h.practice_id = $1 and h.client_id = $2
    union all
    select p.id, p.kind, p.paid_at, p.created_at, -p.net_minor, p.currency, p.note, p.payment_id
    from payments p
    where p.practice_id = $1 and p.client_id = $2
) t
where $3::text is null or t.currency = $3
order by t.recorded_at desc, t.id desc
limit $4 offset $5
"""

COUNT_LEDGER = """
select (select count(*) from charges where practice_id = $1 and client_id = $2 and ($3::text is null or currency = $3))
     + (select count(*) from payments where practice_id = $1 and client_id = $2 and ($3::text is null or currency = $3))
"""


class LedgerQuery(PageQuery):
    currency: Currency | None = None


@dataclass(frozen=True, slots=True)
class CurrencyBalance:
    """Voided entries are not in any of the figures."""

    currency: str
    charged_minor: int
    paid_minor: int
    refunded_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Balance:
    client_id: UUID
    balances: Sequence[CurrencyBalance]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """`amount_minor` is what it adds to the balance; `balance_minor` the balance of its currency after it."""

    id: UUID
    kind: EntryKind
    occurred_at: datetime
    recorded_at: datetime
    amount_minor: int
    currency: str
    note: str
    takes_back: UUID | None
    balance_minor: int


async def get_balance(db: Database, actor: Actor, client_id: UUID) -> Balance:
    """Raises NotFound."""
    async with db.connection() as connection:
        await get_client(connection, actor, client_id)
        rows = await connection.fetch(SUM_BALANCES, actor.practice_id, client_id)
    return Balance(client_id, [CurrencyBalance(**dict(row)) for row in rows])


async def list_ledger(db: Database, actor: Actor, client_id: UUID, query: LedgerQuery) -> Page[LedgerEntry]:
    """The newest first. Raises NotFound."""
    who = actor.practice_id, client_id, query.currency
    async with db.connection() as connection:
        await get_client(connection, actor, client_id)
        rows = await connection.fetch(LIST_LEDGER, *who, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_LEDGER, *who)
    return page_of([LedgerEntry(**dict(row)) for row in rows], query=query, total=total)
