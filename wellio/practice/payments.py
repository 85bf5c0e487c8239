"""Payments: a ledger of what clients paid and got back. Integer minor units; rows are added, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.clients import get_client, touch_clients
from wellio.values import Currency, Input, Line, Moment

Kind = Literal["payment", "refund"]
CLOCK_SKEW = timedelta(minutes=5)
EVENT_OF: dict[Kind, EventType] = {
    "payment": EventType.PAYMENT_RECORDED,
    "refund": EventType.PAYMENT_REFUNDED,
}

LIST_PAYMENTS = """
select p.id, p.client_id, p.kind, p.amount_minor, p.currency, p.paid_at, p.note, p.created_at
from visible_payments($1, $2, $3) p
where ($4::uuid is null or p.client_id = $4)
  and ($5::text is null or p.kind = $5)
  and ($6::timestamptz is null or p.paid_at >= $6)
  and ($7::timestamptz is null or p.paid_at < $7)
order by p.paid_at desc, p.id
limit $8 offset $9
"""

COUNT_PAYMENTS = """
select count(*)
from visible_payments($1, $2, $3) p
where ($4::uuid is null or p.client_id = $4)
  and ($5::text is null or p.kind = $5)
  and ($6::timestamptz is null or p.paid_at >= $6)
  and ($7::timestamptz is null or p.paid_at < $7)
"""

GET_PAYMENT = """
select p.id, p.client_id, p.kind, p.amount_minor, p.currency, p.paid_at, p.note, p.created_at
from visible_payments($1, $2, $3) p
where p.id = $4
"""

INSERT_PAYMENTS = """
insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at, note, recorded_by)
select t.id, $2, t.client_id, t.kind, t.amount_minor, t.currency, t.paid_at, t.note, $1
from unnest($3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::timestamptz[], $9::text[])
     t (id, client_id, kind, amount_minor, currency, paid_at, note)
"""


class NewPayment(Input):
    client_id: UUID
    kind: Kind = "payment"
    amount_minor: Annotated[int, Field(gt=0, le=10**12, strict=True)]
    currency: Currency | None = None
    paid_at: Moment | None = None
    note: Line = ""


class PaymentQuery(PageQuery):
    """`from` and `to` bound `paid_at`: from inclusive, to exclusive."""

    client_id: UUID | None = None
    kind: Kind | None = None
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    id: UUID
    client_id: UUID
    kind: Kind
    amount_minor: int
    currency: str
    paid_at: datetime
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentEntry:
    """A line for the ledger."""

    client_id: UUID
    kind: Kind
    amount_minor: int
    currency: str
    paid_at: datetime
    note: str = ""


async def list_payments(db: Database, actor: Actor, query: PaymentQuery) -> Page[Payment]:
    filters = (*actor.scope, query.client_id, query.kind, query.from_, query.to)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_PAYMENTS, *filters, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_PAYMENTS, *filters)
    return page_of([_payment(row) for row in rows], query=query, total=total)


async def get_payment(db: Database | Connection, actor: Actor, payment_id: UUID) -> Payment:
    """Raises NotFound."""
    row = await db.fetchrow(GET_PAYMENT, *actor.scope, payment_id)
    if row is None:
        raise NotFound("No such payment.")
    return _payment(row)


async def record_payment(outbox: Outbox, actor: Actor, new: NewPayment, *, once: Once | None = None) -> Payment:
    """Raises Invalid for a client out of the actor's reach."""
    actor.must_be(STAFF)
    now = datetime.now(UTC)
    if new.paid_at is not None and new.paid_at > now + CLOCK_SKEW:
        raise Invalid.field("paid_at", "Must not be in the future.")
    async with outbox.transaction(once) as tx:
        try:
            await get_client(tx.connection, actor, new.client_id)
        except NotFound:
            raise Invalid.field("client_id", "No such client.") from None
        currency = new.currency or (await get_practice(tx.connection, actor.practice_id)).currency
        paid_at = new.paid_at or now
        entry = PaymentEntry(new.client_id, new.kind, new.amount_minor, currency, paid_at, new.note)
        (payment_id,), events = await enter_payments(tx.connection, actor.practice_id, actor.user_id, [entry])
        tx.record(*events)
        return await tx.answer(await get_payment(tx.connection, actor, payment_id))


async def enter_payments(
    connection: Connection, practice_id: UUID, actor_id: UUID | None, entries: Sequence[PaymentEntry]
) -> tuple[list[UUID], list[Event]]:
    """Writes ledger lines in the caller's transaction; returns their ids and the events to record."""
    ids = [uuid7() for _ in entries]
    columns: list[list[Any]] = [
        ids,
        [e.client_id for e in entries],
        [e.kind for e in entries],
        [e.amount_minor for e in entries],
        [e.currency for e in entries],
        [e.paid_at for e in entries],
        [e.note for e in entries],
    ]
    await connection.execute(INSERT_PAYMENTS, actor_id, practice_id, *columns)
    seen: dict[UUID, datetime] = {}
    for entry in entries:
        if entry.kind == "payment":
            seen[entry.client_id] = max(entry.paid_at, seen.get(entry.client_id, entry.paid_at))
    await touch_clients(connection, practice_id, seen)
    events = [_event(practice_id, actor_id, i, e) for i, e in zip(ids, entries, strict=True)]
    return ids, events


def _event(practice_id: UUID, actor_id: UUID | None, payment_id: UUID, entry: PaymentEntry) -> Event:
    return Event(
        type=EVENT_OF[entry.kind],
        practice_id=practice_id,
        actor_id=actor_id,
        client_id=entry.client_id,
        subject_id=payment_id,
        occurred_at=entry.paid_at,
        payload={"amount_minor": entry.amount_minor, "currency": entry.currency},
    )


def _payment(row: Row) -> Payment:
    return Payment(**dict(row))
