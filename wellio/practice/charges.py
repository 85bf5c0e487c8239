"""Charges: what clients owe. Entries are added, never changed; one that was made in error is voided by an opposite one.

A session is charged when it was kept or missed, or was cancelled too late, unless a credit was used for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, fetch_page
from wellio.practice.credit_lots import take_back_credits
from wellio.practice.payments import LOCK_ACCOUNT, MAX_MINOR, check_client
from wellio.values import Currency, Input, Line, Moment

Kind = Literal["subscription", "package", "session", "late_cancellation", "other"]

LIST_CHARGES = """
select h.id, h.client_id, h.kind, h.amount_minor, h.currency, h.charged_at, h.note, h.subscription_id, h.period_start,
       h.period_end, h.purchase_id, h.session_id, h.charge_id,
       exists (select from charges v where v.charge_id = h.id) as voided
from charges h
where h.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = h.client_id))
  and ($4::uuid is null or h.client_id = $4)
  and ($5::text is null or h.kind = $5)
  and ($6::timestamptz is null or h.charged_at >= $6)
  and ($7::timestamptz is null or h.charged_at < $7)
order by h.charged_at desc, h.id desc
limit $8 offset $9
"""

COUNT_CHARGES = """
select count(*)
from charges h
where h.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = h.client_id))
  and ($4::uuid is null or h.client_id = $4)
  and ($5::text is null or h.kind = $5)
  and ($6::timestamptz is null or h.charged_at >= $6)
  and ($7::timestamptz is null or h.charged_at < $7)
"""

GET_CHARGE = """
select h.id, h.client_id, h.kind, h.amount_minor, h.currency, h.charged_at, h.note, h.subscription_id, h.period_start,
       h.period_end, h.purchase_id, h.session_id, h.charge_id,
       exists (select from charges v where v.charge_id = h.id) as voided
from charges h
where h.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = h.client_id))
  and h.id = $4
"""

INSERT_CHARGES = """
insert into charges (id, practice_id, client_id, kind, amount_minor, currency, charged_at, note, subscription_id,
                     period_start, period_end, purchase_id, session_id, recorded_by, charge_id)
select t.id, $1, t.client_id, t.kind, t.amount_minor, t.currency, t.charged_at, t.note, t.subscription_id,
       t.period_start, t.period_end, t.purchase_id, t.session_id, $2, t.charge_id
from unnest($3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::timestamptz[], $9::text[], $10::uuid[],
            $11::date[], $12::date[], $13::uuid[], $14::uuid[], $15::uuid[])
     t (id, client_id, kind, amount_minor, currency, charged_at, note, subscription_id, period_start, period_end,
        purchase_id, session_id, charge_id)
"""


class NewCharge(Input):
    """What is charged by hand; subscriptions, packages and sessions charge themselves."""

    client_id: UUID
    amount_minor: Annotated[int, Field(gt=0, le=MAX_MINOR, strict=True)]
    currency: Currency | None = None
    note: Line = ""


class ChargeQuery(PageQuery):
    """`from` and `to` bound `charged_at`: from inclusive, to exclusive."""

    client_id: UUID | None = None
    kind: Kind | None = None
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None


class Voiding(Input):
    """Why an entry is taken back."""

    note: Line = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """`charge_id`: the one that this takes back, whose opposite its amount is. The period is half-open."""

    id: UUID
    client_id: UUID
    kind: Kind
    amount_minor: int
    currency: str
    charged_at: datetime
    note: str
    subscription_id: UUID | None
    period_start: date | None
    period_end: date | None
    purchase_id: UUID | None
    session_id: UUID | None
    charge_id: UUID | None
    voided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeEntry:
    """A line for the ledger."""

    client_id: UUID
    kind: Kind
    amount_minor: int
    currency: str
    charged_at: datetime
    note: str = ""
    subscription_id: UUID | None = None
    period_start: date | None = None
    period_end: date | None = None
    purchase_id: UUID | None = None
    session_id: UUID | None = None
    charge_id: UUID | None = None


async def list_charges(db: Database, actor: Actor, query: ChargeQuery) -> Page[Charge]:
    filters = (*actor.scope, query.client_id, query.kind, query.from_, query.to)
    return await fetch_page(db, query, LIST_CHARGES, COUNT_CHARGES, filters, _charge)


async def get_charge(db: Database | Connection, actor: Actor, charge_id: UUID) -> Charge:
    """Raises NotFound."""
    row = await db.fetchrow(GET_CHARGE, *actor.scope, charge_id)
    if row is None:
        raise NotFound("No such charge.")
    return _charge(row)


async def add_charge(outbox: Outbox, actor: Actor, new: NewCharge, *, once: Once | None = None) -> Charge:
    """Raises Invalid for a client out of the actor's reach."""
    actor.must_be(STAFF)
    async with outbox.transaction(once) as tx:
        await check_client(tx.connection, actor, new.client_id)
        currency = new.currency or (await get_practice(tx.connection, actor.practice_id)).currency
        entry = ChargeEntry(
            client_id=new.client_id, kind="other", amount_minor=new.amount_minor, currency=currency,
            charged_at=datetime.now(UTC), note=new.note,
        )  # fmt: skip
        (charge_id,), events = await enter_charges(tx.connection, actor.practice_id, actor.user_id, [entry])
        tx.record(*events)
        return await tx.answer(await get_charge(tx.connection, actor, charge_id))


async def void_charge(
    outbox: Outbox, actor: Actor, charge_id: UUID, voiding: Voiding, *, once: Once | None = None
) -> Charge:
    """The opposite entry; what is left of the credits that came with the charge goes as well.

    Raises NotFound, and Conflict for what is voided already.
    """
    actor.must_be(STAFF)
    async with outbox.transaction(once) as tx:
        charge = await get_charge(tx.connection, actor, charge_id)
        await tx.connection.execute(LOCK_ACCOUNT, actor.practice_id, charge.client_id)
        if charge.charge_id is not None:
            raise Conflict("This entry itself takes a charge back; charge it anew instead.", code="VOIDED")
        entry = _opposite(charge, voiding.note)
        (void_id,), events = await enter_charges(tx.connection, actor.practice_id, actor.user_id, [entry])
        tx.record(*events)
        tx.record(
            *await take_back_credits(
                tx.connection, actor.practice_id, actor.user_id, charge.client_id, charge.id, voiding.note
            )
        )
        return await tx.answer(await get_charge(tx.connection, actor, void_id))


async def enter_charges(
    connection: Connection, practice_id: UUID, actor_id: UUID | None, entries: Sequence[ChargeEntry]
) -> tuple[list[UUID], list[Event]]:
    """Writes ledger lines in the caller's transaction; returns their ids and the events to record."""
    ids = [uuid7() for _ in entries]
    columns: list[list[Any]] = [
        ids,
        [e.client_id for e in entries],
        [e.kind for e in entries],
        [e.amount_minor for e in entries],
        [e.currency for e in entries],
        [e.charged_at for e in entries],
        [e.note for e in entries],
        [e.subscription_id for e in entries],
        [e.period_start for e in entries],
        [e.period_end for e in entries],
        [e.purchase_id for e in entries],
        [e.session_id for e in entries],
        [e.charge_id for e in entries],
    ]
    if entries:
        await connection.execute(INSERT_CHARGES, practice_id, actor_id, *columns)
    return ids, [_event(practice_id, actor_id, i, e) for i, e in zip(ids, entries, strict=True)]


def _opposite(charge: Charge, note: str) -> ChargeEntry:
    return ChargeEntry(
        client_id=charge.client_id,
        kind=charge.kind,
        amount_minor=-charge.amount_minor,
        currency=charge.currency,
        charged_at=datetime.now(UTC),
        note=note,
        charge_id=charge.id,
    )


def _event(practice_id: UUID, actor_id: UUID | None, charge_id: UUID, entry: ChargeEntry) -> Event:
    return Event(
        type=EventType.CLIENT_CHARGED if entry.charge_id is None else EventType.CHARGE_VOIDED,
        practice_id=practice_id,
        actor_id=actor_id,
        client_id=entry.client_id,
        subject_id=charge_id,
        occurred_at=entry.charged_at,
        payload={"kind": entry.kind, "amount_minor": entry.amount_minor, "currency": entry.currency},
    )


def _charge(row: Row) -> Charge:
    return Charge(**dict(row))
