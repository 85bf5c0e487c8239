"""Purchases of packages: what a client bought, on which terms, and what is left of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.charges import ChargeEntry, enter_charges
from wellio.practice.credit_lots import Grant, grant_credits
from wellio.practice.packages import Package, get_package
from wellio.practice.payments import check_client
from wellio.practice.wall_clock import day_bounds, local_date
from wellio.values import Input, Minor

# $4: one client's, $5: one of them, or null.
LIST_PACKAGE_PURCHASES = """
select b.id, b.client_id, b.package_id, p.name, b.credits, b.price_minor, b.currency, b.session_type_id,
       b.purchased_at, b.expires_at, h.id as charge_id, v.id is not null as voided,
       coalesce((select sum(e.amount) from credit_lots l join credit_entries e on e.lot_id = l.id
                 where l.charge_id = h.id and (l.expires_at is null or l.expires_at > now())), 0)::integer
           as credits_left
from package_purchases b
join packages p on p.practice_id = b.practice_id and p.id = b.package_id
join charges h on h.purchase_id = b.id
left join charges v on v.charge_id = h.id
where b.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = b.client_id))
  and ($4::uuid is null or b.client_id = $4)
  and ($5::uuid is null or b.id = $5)
order by b.purchased_at desc, b.id desc
limit $6 offset $7
"""

COUNT_PACKAGE_PURCHASES = """
select count(*)
from package_purchases b
where b.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = b.client_id))
  and ($4::uuid is null or b.client_id = $4)
"""

INSERT_PACKAGE_PURCHASE = """
insert into package_purchases (id, practice_id, client_id, package_id, credits, price_minor, currency,
                               session_type_id, purchased_at, expires_at, recorded_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


class NewPurchase(Input):
    """`price_minor`: what was agreed on, if it is not the package's."""

    client_id: UUID
    package_id: UUID
    price_minor: Minor | None = None


class PurchaseQuery(PageQuery):
    client_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """`charge_id`: what is owed for it; voiding that takes the credits that are left back, too."""

    id: UUID
    client_id: UUID
    package_id: UUID
    name: str
    credits: int
    credits_left: int
    price_minor: int
    currency: str
    session_type_id: UUID | None
    purchased_at: datetime
    expires_at: datetime | None
    charge_id: UUID
    voided: bool


async def list_purchases(db: Database, actor: Actor, query: PurchaseQuery) -> Page[Purchase]:
    async with db.connection() as connection:
        rows = await connection.fetch(
            LIST_PACKAGE_PURCHASES, *actor.scope, query.client_id, None, query.page_size, query.offset
        )
        total = await connection.fetchval(COUNT_PACKAGE_PURCHASES, *actor.scope, query.client_id)
    return page_of([_purchase(row) for row in rows], query=query, total=total)


async def get_purchase(db: Database | Connection, actor: Actor, purchase_id: UUID) -> Purchase:
    """Raises NotFound."""
    row = await db.fetchrow(LIST_PACKAGE_PURCHASES, *actor.scope, None, purchase_id, 1, 0)
    if row is None:
        raise NotFound("No such purchase.")
    return _purchase(row)


async def buy_package(outbox: Outbox, actor: Actor, new: NewPurchase, *, once: Once | None = None) -> Purchase:
    """Charges the client and grants the credits. Raises Invalid for a client or package that is not to be had."""
    actor.must_be(STAFF)
    purchase_id, now = uuid7(), datetime.now(UTC)
    async with outbox.transaction(once) as tx:
        await check_client(tx.connection, actor, new.client_id)
        package = await _offered(tx.connection, actor, new.package_id)
        price = package.price_minor if new.price_minor is None else new.price_minor
        practice = await get_practice(tx.connection, actor.practice_id)
        expires_at = expiry(ZoneInfo(practice.timezone), now, package.valid_days)
        await tx.connection.execute(
            INSERT_PACKAGE_PURCHASE, purchase_id, actor.practice_id, new.client_id, package.id, package.credits, price,
            package.currency, package.session_type_id, now, expires_at, actor.user_id,
        )  # fmt: skip
        charge = ChargeEntry(
            client_id=new.client_id, kind="package", amount_minor=price, currency=package.currency, charged_at=now,
            note=package.name, purchase_id=purchase_id,
        )  # fmt: skip
        (charge_id,), charged = await enter_charges(tx.connection, actor.practice_id, actor.user_id, [charge])
        grant = Grant(
            client_id=new.client_id, amount=package.credits, reason="purchase", expires_at=expires_at,
            session_type_id=package.session_type_id, charge_id=charge_id, note=package.name,
        )  # fmt: skip
        granted = await grant_credits(tx.connection, actor.practice_id, actor.user_id, [grant])
        tx.record(_purchased(actor, purchase_id, new.client_id, package, price), *charged, *granted)
        return await tx.answer(await get_purchase(tx.connection, actor, purchase_id))


def expiry(zone: ZoneInfo, bought_at: datetime, valid_days: int | None) -> datetime | None:
    """The end of the last of so many days after the day it was bought on, in the practice's zone."""
    if valid_days is None:
        return None
    return day_bounds(zone, local_date(zone, bought_at) + timedelta(days=valid_days))[1]


async def _offered(connection: Connection, actor: Actor, package_id: UUID) -> Package:
    try:
        package = await get_package(connection, actor, package_id)
    except NotFound:
        package = None
    if package is None or package.archived_at:
        raise Invalid.field("package_id", "No such package is offered.")
    return package


def _purchased(actor: Actor, purchase_id: UUID, client_id: UUID, package: Package, price_minor: int) -> Event:
    return Event(
        type=EventType.PACKAGE_PURCHASED,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        client_id=client_id,
        subject_id=purchase_id,
        payload={
            "package_id": package.id,
            "credits": package.credits,
            "price_minor": price_minor,
            "currency": package.currency,
        },
    )


def _purchase(row: Row) -> Purchase:
    return Purchase(**dict(row))
