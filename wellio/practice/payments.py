"""Payments: a ledger of what clients paid and got back. Integer minor units; rows are added, never changed.

A refund names its payment and can't exceed it; what was recorded in error is voided by a line that names it. The
database holds both (`payments_taken_back` in the schema).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox, Transaction
from wellio.pages import Page, PageQuery, fetch_page
from wellio.practice.clients import get_client, touch_clients
from wellio.values import Currency, Input, Line, Moment

Kind = Literal["payment", "refund", "payment_void", "refund_void"]
MAX_MINOR = 10**12
CLOCK_SKEW = timedelta(minutes=5)
EVENT_OF: dict[Kind, EventType] = {
    "payment": EventType.PAYMENT_RECORDED,
    "refund": EventType.PAYMENT_REFUNDED,
    "payment_void": EventType.PAYMENT_VOIDED,
    "refund_void": EventType.PAYMENT_VOIDED,
}
VOID_OF: dict[Kind, Kind] = {"payment": "payment_void", "refund": "refund_void"}

# The lock of a client's account, as of lock_account() in the schema: each entry counts what the one before has taken.
LOCK_ACCOUNT = "select id from clients where practice_id = $1 and id = $2 for no key update"

LIST_PAYMENTS = """
select p.id, p.client_id, p.kind, p.amount_minor, p.currency, p.paid_at, p.note, p.payment_id, p.created_at
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
select p.id, p.client_id, p.kind, p.amount_minor, p.currency, p.paid_at, p.note, p.payment_id, p.created_at
from visible_payments($1, $2, $3) p
where p.id = $4
"""

INSERT_PAYMENTS = """
insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at, note, recorded_by, payment_id)
select t.id, $2, t.client_id, t.kind, t.amount_minor, t.currency, t.paid_at, t.note, $1, t.payment_id
from unnest($3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::timestamptz[], $9::text[], $10::uuid[])
     t (id, client_id, kind, amount_minor, currency, paid_at, note, payment_id)
"""

# What was neither refunded nor voided of a client's payments, the newest first. $3: one of them, or null.
LIST_REFUNDABLE = """
select p.id, p.currency, p.amount_minor - coalesce(t.minor, 0)::bigint as left_minor
from payments p
left join lateral (
    select sum(r.amount_minor) as minor
    from payments r
    where r.payment_id = p.id
      and not exists (select from payments v where v.payment_id = r.id and v.kind = 'refund_void')
) t on true
where p.practice_id = $1 and p.client_id = $2 and p.kind = 'payment' and ($3::uuid is null or p.id = $3)
order by p.paid_at desc, p.id desc
limit 100
"""


class NewPayment(Input):
    """A refund names the `payment_id` that it refunds; without one, the client's newest that it fits in is meant."""

    client_id: UUID
    kind: Literal["payment", "refund"] = "payment"
    amount_minor: Annotated[int, Field(gt=0, le=MAX_MINOR, strict=True)]
    currency: Currency | None = None
    paid_at: Moment | None = None
    note: Line = ""
    payment_id: UUID | None = None


class NewRefund(Input):
    """Of the payment in the address: without `amount_minor` all that is left of it."""

    amount_minor: Annotated[int, Field(gt=0, le=MAX_MINOR, strict=True)] | None = None
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
    """`payment_id`: the line that this one takes back, all of it or as a refund a part."""

    id: UUID
    client_id: UUID
    kind: Kind
    amount_minor: int
    currency: str
    paid_at: datetime
    note: str
    payment_id: UUID | None
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
    payment_id: UUID | None = None


async def list_payments(db: Database, actor: Actor, query: PaymentQuery) -> Page[Payment]:
    filters = (*actor.scope, query.client_id, query.kind, query.from_, query.to)
    return await fetch_page(db, query, LIST_PAYMENTS, COUNT_PAYMENTS, filters, _payment)


async def get_payment(db: Database | Connection, actor: Actor, payment_id: UUID) -> Payment:
    """Raises NotFound."""
    row = await db.fetchrow(GET_PAYMENT, *actor.scope, payment_id)
    if row is None:
        raise NotFound("No such payment.")
    return _payment(row)


async def record_payment(outbox: Outbox, actor: Actor, new: NewPayment, *, once: Once | None = None) -> Payment:
    """Raises Invalid for a client or payment out of the actor's reach, Conflict for a refund of more than was paid."""
    actor.must_be(STAFF)
    if new.payment_id is not None and new.kind != "refund":
        raise Invalid.field("payment_id", "Goes with a refund only.")
    now = datetime.now(UTC)
    paid_at = _past(new.paid_at, now)
    async with outbox.transaction(once) as tx:
        await check_client(tx.connection, actor, new.client_id)
        currency = new.currency or (await get_practice(tx.connection, actor.practice_id)).currency
        entry = PaymentEntry(new.client_id, new.kind, new.amount_minor, currency, paid_at, new.note)
        if new.kind == "refund":
            refunded = await _refunded(tx.connection, actor, entry, new)
            entry = replace(entry, payment_id=refunded["id"], currency=refunded["currency"])
        return await tx.answer(await _enter(tx, actor, entry))


async def refund_payment(
    outbox: Outbox, actor: Actor, payment_id: UUID, new: NewRefund, *, once: Once | None = None
) -> Payment:
    """Raises NotFound, and Conflict REFUND_EXCEEDS_PAYMENT, also when others refund at the same moment."""
    actor.must_be(STAFF)
    paid_at = _past(new.paid_at, datetime.now(UTC))
    async with outbox.transaction(once) as tx:
        payment = await get_payment(tx.connection, actor, payment_id)
        await tx.connection.execute(LOCK_ACCOUNT, actor.practice_id, payment.client_id)
        row = await tx.connection.fetchrow(LIST_REFUNDABLE, actor.practice_id, payment.client_id, payment_id)
        if row is None:
            raise Conflict("Only a payment can be refunded; void a refund that was recorded in error.", code="VOIDED")
        amount = new.amount_minor or row["left_minor"]
        if not 0 < amount <= row["left_minor"]:
            raise _exceeds(row["left_minor"])
        entry = PaymentEntry(payment.client_id, "refund", amount, payment.currency, paid_at, new.note, payment_id)
        return await tx.answer(await _enter(tx, actor, entry))


async def void_payment(
    outbox: Outbox, actor: Actor, payment_id: UUID, note: str, *, once: Once | None = None
) -> Payment:
    """Takes back a payment or refund that never was, by a line that names it.

    Raises NotFound, and Conflict VOIDED for what was taken back already, in whole or in part.
    """
    actor.must_be(STAFF)
    async with outbox.transaction(once) as tx:
        payment = await get_payment(tx.connection, actor, payment_id)
        await tx.connection.execute(LOCK_ACCOUNT, actor.practice_id, payment.client_id)
        kind = VOID_OF.get(payment.kind)
        if kind is None:
            raise Conflict("This line itself voids another; record the payment anew instead.", code="VOIDED")
        now = datetime.now(UTC)
        entry = PaymentEntry(payment.client_id, kind, payment.amount_minor, payment.currency, now, note, payment.id)
        return await tx.answer(await _enter(tx, actor, entry))


async def check_client(connection: Connection, actor: Actor, client_id: UUID) -> None:
    """Raises Invalid for a client out of the actor's reach."""
    try:
        await get_client(connection, actor, client_id)
    except NotFound:
        raise Invalid.field("client_id", "No such client.") from None


def _past(paid_at: datetime | None, now: datetime) -> datetime:
    if paid_at is not None and paid_at > now + CLOCK_SKEW:
        raise Invalid.field("paid_at", "Must not be in the future.")
    return paid_at or now


async def _refunded(connection: Connection, actor: Actor, refund: PaymentEntry, new: NewPayment) -> Row:
    """The payment that is refunded. Raises Invalid for one that is not the client's, Conflict where it does not fit."""
    await connection.execute(LOCK_ACCOUNT, actor.practice_id, refund.client_id)
    rows = await connection.fetch(LIST_REFUNDABLE, actor.practice_id, refund.client_id, new.payment_id)
    if new.payment_id is not None and not rows:
        raise Invalid.field("payment_id", "No such payment of this client.")
    any_currency = new.payment_id is not None and new.currency is None
    same = [row for row in rows if any_currency or row["currency"] == refund.currency]
    if new.payment_id is not None and not same:
        raise Invalid.field("currency", f"The payment was made in {rows[0]['currency']}.")
    fitting = [row for row in same if row["left_minor"] >= refund.amount_minor]
    if not fitting:
        raise _exceeds(max((row["left_minor"] for row in same), default=0))
    return fitting[0]


def _exceeds(left_minor: int) -> Conflict:
    return Conflict(
        f"Only {left_minor} (in minor units) are left to refund of a payment.", code="REFUND_EXCEEDS_PAYMENT"
    )


async def _enter(tx: Transaction, actor: Actor, entry: PaymentEntry) -> Payment:
    (payment_id,), events = await enter_payments(tx.connection, actor.practice_id, actor.user_id, [entry])
    tx.record(*events)
    return await get_payment(tx.connection, actor, payment_id)


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
        [e.payment_id for e in entries],
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
