"""Subscriptions: a client's to a plan, on the terms it had when they began. Each period is charged as it begins.

Dates are the practice's. While one is paused no period is charged; what begins after it goes on is, in full.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.charges import ChargeEntry, enter_charges
from wellio.practice.credit_lots import Grant, grant_credits
from wellio.practice.payments import check_client
from wellio.practice.periods import Interval, Period, first_from, period_start, periods_due
from wellio.practice.plans import Plan, get_plan
from wellio.practice.wall_clock import day_bounds, local_date
from wellio.values import Input, Minor

Status = Literal["active", "paused", "cancelled"]
MAX_AWAY = timedelta(days=366)
# Which may follow which.
STEPS: dict[Status, frozenset[Status]] = {
    "active": frozenset({"paused", "cancelled"}),
    "paused": frozenset({"active", "cancelled"}),
    "cancelled": frozenset(),
}

# $4: one client's, $5: a plan's, $6: by status, $7: one of them, or null.
LIST_SUBSCRIPTIONS = """
select s.id, s.client_id, s.plan_id, p.name, s.starts_on, s.status, s.price_minor, s.currency, s.interval,
       s.session_credits, s.session_type_id, s.next_period, s.next_period_on, s.paused_on, s.cancelled_on, s.version,
       s.created_at, s.updated_at
from subscriptions s
join plans p on p.practice_id = s.practice_id and p.id = s.plan_id
where s.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = s.client_id))
  and ($4::uuid is null or s.client_id = $4)
  and ($5::uuid is null or s.plan_id = $5)
  and ($6::text is null or s.status = $6)
  and ($7::uuid is null or s.id = $7)
order by s.created_at desc, s.id desc
limit $8 offset $9
"""

COUNT_SUBSCRIPTIONS = """
select count(*)
from subscriptions s
where s.practice_id = $1
  and ($2 = 'owner' or exists (select from visible_clients($1, $2, $3) c where c.id = s.client_id))
  and ($4::uuid is null or s.client_id = $4)
  and ($5::uuid is null or s.plan_id = $5)
  and ($6::text is null or s.status = $6)
"""

LOCK_SUBSCRIPTION = "select id from subscriptions where practice_id = $1 and id = $2 for update"

INSERT_SUBSCRIPTION = """
insert into subscriptions (id, practice_id, client_id, plan_id, starts_on, price_minor, currency, interval,
                           session_credits, session_type_id, next_period_on)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $5)
"""

UPDATE_SUBSCRIPTION = """
update subscriptions
set status = $3, next_period = $4, next_period_on = $5, paused_on = $6, cancelled_on = $7,
    version = version + 1, updated_at = now()
where practice_id = $1 and id = $2
"""

# Not a version that people would see: nothing that they edit has changed.
ADVANCE_SUBSCRIPTIONS = """
update subscriptions s
set next_period = t.next_period, next_period_on = t.next_period_on
from unnest($2::uuid[], $3::integer[], $4::date[]) t (id, next_period, next_period_on)
where s.practice_id = $1 and s.id = t.id
"""

LIST_PRACTICES_WITH_DUE = """
select distinct s.practice_id, p.timezone
from subscriptions s
join practices p on p.id = s.practice_id
where s.status = 'active' and s.next_period_on <= ($1::timestamptz at time zone p.timezone)::date
order by s.practice_id
"""

LOCK_DUE_SUBSCRIPTIONS = """
select s.id, s.client_id, s.starts_on, s.interval, s.price_minor, s.currency, s.session_credits, s.session_type_id,
       s.next_period, p.name
from subscriptions s
join plans p on p.practice_id = s.practice_id and p.id = s.plan_id
where s.practice_id = $1 and s.status = 'active' and s.next_period_on <= $2
order by s.id
limit $3
for update of s skip locked
"""


class NewSubscription(Input):
    """`starts_on`: today in the practice's zone, unless it is said. `price_minor`: what was agreed on, if it is not
    the plan's."""

    client_id: UUID
    plan_id: UUID
    starts_on: date | None = None
    price_minor: Minor | None = None


class SubscriptionChanges(Input):
    """`paused`, `active` again, or `cancelled`, which is for good. What was charged stays."""

    status: Status


class SubscriptionQuery(PageQuery):
    client_id: UUID | None = None
    plan_id: UUID | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """`next_period_on`: when the next charge is due; null once nothing more is. `price_minor` is a period's."""

    id: UUID
    client_id: UUID
    plan_id: UUID
    name: str
    starts_on: date
    status: Status
    price_minor: int
    currency: str
    interval: Interval
    session_credits: int | None
    session_type_id: UUID | None
    next_period_on: date | None
    paused_on: date | None
    cancelled_on: date | None
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a period is charged by."""

    id: UUID
    client_id: UUID
    starts_on: date
    interval: Interval
    price_minor: int
    currency: str
    session_credits: int | None
    session_type_id: UUID | None
    next_period: int
    name: str


async def list_subscriptions(db: Database, actor: Actor, query: SubscriptionQuery) -> Page[Subscription]:
    filters = (*actor.scope, query.client_id, query.plan_id, query.status)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_SUBSCRIPTIONS, *filters, None, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_SUBSCRIPTIONS, *filters)
    return page_of([_subscription(row) for row in rows], query=query, total=total)


async def get_subscription(db: Database | Connection, actor: Actor, subscription_id: UUID) -> Subscription:
    """Raises NotFound."""
    return _subscription(await _find(db, actor, subscription_id))


async def start_subscription(
    outbox: Outbox, actor: Actor, new: NewSubscription, *, once: Once | None = None
) -> Subscription:
    """What has begun by today is charged at once.

    Raises Invalid for a client or plan that is not to be had, Conflict ALREADY_SUBSCRIBED.
    """
    actor.must_be(STAFF)
    subscription_id = uuid7()
    async with outbox.transaction(once) as tx:
        await check_client(tx.connection, actor, new.client_id)
        plan = await _offered(tx.connection, actor, new.plan_id)
        zone = ZoneInfo((await get_practice(tx.connection, actor.practice_id)).timezone)
        today = local_date(zone, datetime.now(UTC))
        starts_on = new.starts_on or today
        if abs(starts_on - today) > MAX_AWAY:
            raise Invalid.field("starts_on", "Must be within a year of today.")
        price = plan.price_minor if new.price_minor is None else new.price_minor
        await tx.connection.execute(
            INSERT_SUBSCRIPTION, subscription_id, actor.practice_id, new.client_id, plan.id, starts_on, price,
            plan.currency, plan.interval, plan.session_credits, plan.session_type_id,
        )  # fmt: skip
        row = await _find(tx.connection, actor, subscription_id)
        charged = await _charge_due(tx.connection, actor.practice_id, zone, [_terms(row)], today)
        subscription = await get_subscription(tx.connection, actor, subscription_id)
        tx.record(_event(EventType.SUBSCRIPTION_STARTED, actor, subscription), *charged)
        return await tx.answer(subscription)


async def change_subscription(
    outbox: Outbox, actor: Actor, subscription_id: UUID, changes: SubscriptionChanges, *, if_version: int | None = None
) -> Subscription:
    """Raises NotFound, Conflict SUBSCRIPTION_ENDED and PreconditionFailed."""
    actor.must_be(STAFF)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_SUBSCRIPTION, actor.practice_id, subscription_id)
        before = await get_subscription(tx.connection, actor, subscription_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The subscription was changed since you read it; read it again.")
        if changes.status == before.status:
            return before
        if changes.status not in STEPS[before.status]:
            raise Conflict("A cancelled subscription has ended; begin a new one.", code="SUBSCRIPTION_ENDED")
        zone = ZoneInfo((await get_practice(tx.connection, actor.practice_id)).timezone)
        today = local_date(zone, datetime.now(UTC))
        if before.status == "active":
            # What has begun by today is owed, also where the job has not come to it yet.
            terms = _terms(await _find(tx.connection, actor, subscription_id))
            tx.record(*await _charge_due(tx.connection, actor.practice_id, zone, [terms], today))
        terms = _terms(await _find(tx.connection, actor, subscription_id))
        await _step(tx.connection, actor.practice_id, before, terms, changes.status, today)
        after = await get_subscription(tx.connection, actor, subscription_id)
        tx.record(_event(EventType.SUBSCRIPTION_CHANGED, actor, after))
        return after


async def list_practices_with_due(db: Database, now: datetime) -> list[tuple[UUID, ZoneInfo]]:
    """Practices where a period has begun by their local date that is not charged yet."""
    return [(r["practice_id"], ZoneInfo(r["timezone"])) for r in await db.fetch(LIST_PRACTICES_WITH_DUE, now)]


async def charge_due_periods(outbox: Outbox, practice_id: UUID, zone: ZoneInfo, now: datetime, *, at_most: int) -> int:
    """Charges what is due of at most so many subscriptions; returns of how many it did."""
    today = local_date(zone, now)
    async with outbox.transaction() as tx:
        rows = await tx.connection.fetch(LOCK_DUE_SUBSCRIPTIONS, practice_id, today, at_most)
        tx.record(*await _charge_due(tx.connection, practice_id, zone, [_terms(row) for row in rows], today))
    return len(rows)


async def _charge_due(
    connection: Connection, practice_id: UUID, zone: ZoneInfo, all_terms: Sequence[_Terms], today: date
) -> list[Event]:
    """Charges every period that has begun, and grants what comes with it. The caller holds the subscriptions' locks."""
    due = [
        (terms, period)
        for terms in all_terms
        for period in periods_due(terms.starts_on, terms.interval, first=terms.next_period, today=today)
    ]
    if not due:
        return []
    ids, charged = await enter_charges(connection, practice_id, None, [_charge(t, p, zone) for t, p in due])
    grants = [_grant(t, p, zone, i) for (t, p), i in zip(due, ids, strict=True) if t.session_credits]
    granted = await grant_credits(connection, practice_id, None, grants)
    last = {terms.id: period for terms, period in due}
    await connection.execute(
        ADVANCE_SUBSCRIPTIONS,
        practice_id,
        list(last),
        [period.number + 1 for period in last.values()],
        [period.end for period in last.values()],
    )
    return [*charged, *granted]


def _charge(terms: _Terms, period: Period, zone: ZoneInfo) -> ChargeEntry:
    """Dated when it fell due, however late that was seen."""
    return ChargeEntry(
        client_id=terms.client_id,
        kind="subscription",
        amount_minor=terms.price_minor,
        currency=terms.currency,
        charged_at=day_bounds(zone, period.start)[0],
        note=terms.name,
        subscription_id=terms.id,
        period_start=period.start,
        period_end=period.end,
    )


def _grant(terms: _Terms, period: Period, zone: ZoneInfo, charge_id: UUID) -> Grant:
    """A period's credits end with it."""
    return Grant(
        client_id=terms.client_id,
        amount=terms.session_credits or 0,
        reason="grant",
        session_type_id=terms.session_type_id,
        expires_at=day_bounds(zone, period.end)[0],
        charge_id=charge_id,
        note=terms.name,
    )


async def _step(
    connection: Connection, practice_id: UUID, before: Subscription, terms: _Terms, status: Status, today: date
) -> None:
    number = terms.next_period
    if before.status == "paused" and status == "active":
        # Periods that began during the pause are not charged.
        number = max(number, first_from(terms.starts_on, terms.interval, today))
    await connection.execute(
        UPDATE_SUBSCRIPTION,
        practice_id,
        before.id,
        status,
        number,
        period_start(terms.starts_on, terms.interval, number),
        today if status == "paused" else None,
        today if status == "cancelled" else None,
    )


async def _offered(connection: Connection, actor: Actor, plan_id: UUID) -> Plan:
    try:
        plan = await get_plan(connection, actor, plan_id)
    except NotFound:
        plan = None
    if plan is None or plan.archived_at:
        raise Invalid.field("plan_id", "No such plan is offered.")
    return plan


async def _find(db: Database | Connection, actor: Actor, subscription_id: UUID) -> Row:
    row = await db.fetchrow(LIST_SUBSCRIPTIONS, *actor.scope, None, None, None, subscription_id, 1, 0)
    if row is None:
        raise NotFound("No such subscription.")
    return row


def _event(kind: EventType, actor: Actor, subscription: Subscription) -> Event:
    return Event(
        type=kind,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        client_id=subscription.client_id,
        subject_id=subscription.id,
        payload={
            "plan_id": subscription.plan_id,
            "status": subscription.status,
            "price_minor": subscription.price_minor,
            "currency": subscription.currency,
        },
    )


def _terms(row: Row) -> _Terms:
    return _Terms(**{name: row[name] for name in _Terms.__slots__})


def _subscription(row: Row) -> Subscription:
    values: dict[str, Any] = {name: row[name] for name in Subscription.__slots__}
    subscription = Subscription(**values)
    return subscription if subscription.status == "active" else replace(subscription, next_period_on=None)
