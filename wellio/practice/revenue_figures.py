"""Revenue by client and coach, from what was paid; by plan, from what was charged, as payments name no plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Database
from wellio.pages import Page, page_of
from wellio.practice.report_scope import PeriodPageQuery, PeriodQuery, report_scope

# Names are looked up for the page alone.
LIST_REVENUE_BY_CLIENT = """
with sums as (
    select p.client_id, p.currency,
           coalesce(sum(p.net_minor) filter (where p.kind in ('payment', 'payment_void')), 0)::bigint as paid_minor,
           coalesce(-sum(p.net_minor) filter (where p.kind in ('refund', 'refund_void')), 0)::bigint as refunded_minor,
           sum(p.net_minor)::bigint as net_minor,
           count(*) filter (where p.kind = 'payment') as payments
    from payments p
    where p.practice_id = $1 and p.paid_at >= $3 and p.paid_at < $4
      and ($2::uuid is null
           or p.client_id in (select c.id from clients c where c.practice_id = $1 and c.coach_id = $2))
    group by p.client_id, p.currency
    order by net_minor desc, p.client_id, p.currency
    limit $5 offset $6
)
select s.client_id, c.first_name || ' ' || c.last_name as client_name, s.currency, s.paid_minor, s.refunded_minor,
       s.net_minor, s.payments
from sums s
join clients c on c.practice_id = $1 and c.id = s.client_id
order by s.net_minor desc, s.client_id, s.currency
"""

COUNT_REVENUE_BY_CLIENT = """
select count(*)
from (
    select
    from payments p
    where p.practice_id = $1 and p.paid_at >= $3 and p.paid_at < $4
      and ($2::uuid is null
           or p.client_id in (select c.id from clients c where c.practice_id = $1 and c.coach_id = $2))
    group by p.client_id, p.currency
) s
"""

# Of the roll-ups: of the clients whom a coach has today.
LIST_REVENUE_BY_COACH = """
select f.coach_id, u.name as coach_name, f.currency, sum(f.paid_minor)::bigint as paid_minor,
       sum(f.refunded_minor)::bigint as refunded_minor, sum(f.paid_minor - f.refunded_minor)::bigint as net_minor
from daily_revenue_between($1, $2, $3, $4) f
left join users u on u.practice_id = $1 and u.id = f.coach_id
where $5::uuid is null or f.coach_id = $5
group by f.coach_id, u.name, f.currency
order by net_minor desc, f.coach_id, f.currency
"""

# What takes a charge back counts with what it takes back, on its own day.
LIST_CHARGED_BY_PLAN = """
select e.kind, l.id as plan_id, k.id as package_id, coalesce(l.name, k.name) as name, h.currency,
       coalesce(sum(h.amount_minor) filter (where h.charge_id is null), 0)::bigint as charged_minor,
       coalesce(-sum(h.amount_minor) filter (where h.charge_id is not null), 0)::bigint as voided_minor,
       sum(h.amount_minor)::bigint as net_minor,
       count(*) filter (where h.charge_id is null) as charges, count(distinct h.client_id) as clients
from charges h
join clients c on c.practice_id = h.practice_id and c.id = h.client_id
join charges e on e.practice_id = h.practice_id and e.id = coalesce(h.charge_id, h.id)
left join subscriptions s on s.practice_id = e.practice_id and s.id = e.subscription_id
left join plans l on l.practice_id = s.practice_id and l.id = s.plan_id
left join package_purchases b on b.practice_id = e.practice_id and b.id = e.purchase_id
left join packages k on k.practice_id = b.practice_id and k.id = b.package_id
where h.practice_id = $1 and ($2::uuid is null or c.coach_id = $2) and h.charged_at >= $3 and h.charged_at < $4
group by e.kind, l.id, k.id, coalesce(l.name, k.name), h.currency
order by net_minor desc, e.kind, l.id, k.id, h.currency
"""


@dataclass(frozen=True, slots=True)
class ClientRevenue:
    """Of a client in one currency; what was voided is left out. Net is paid less refunded."""

    client_id: UUID
    client_name: str
    currency: str
    paid_minor: int
    refunded_minor: int
    net_minor: int
    payments: int


@dataclass(frozen=True, slots=True)
class CoachRevenue:
    """From the clients whom the coach has today; without a coach from those whom nobody has."""

    coach_id: UUID | None
    coach_name: str | None
    currency: str
    paid_minor: int
    refunded_minor: int
    net_minor: int


@dataclass(frozen=True, slots=True)
class PlanRevenue:
    """What was charged for a plan's subscriptions, a package, or (`name` null) for sessions and by hand."""

    kind: str
    plan_id: UUID | None
    package_id: UUID | None
    name: str | None
    currency: str
    charged_minor: int
    voided_minor: int
    net_minor: int
    charges: int
    clients: int


@dataclass(frozen=True, slots=True)
class RevenueByCoach:
    timezone: str
    from_date: date
    to_date: date
    coaches: Sequence[CoachRevenue]


@dataclass(frozen=True, slots=True)
class RevenueByPlan:
    timezone: str
    from_date: date
    to_date: date
    plans: Sequence[PlanRevenue]


async def list_revenue_by_client(db: Database, actor: Actor, query: PeriodPageQuery) -> Page[ClientRevenue]:
    """The highest first; a coach's own clients. Raises Invalid. Four queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        filters = (scope.practice_id, scope.coach_id, *scope.bounds(query))
        rows = await connection.fetch(LIST_REVENUE_BY_CLIENT, *filters, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_REVENUE_BY_CLIENT, *filters)
    return page_of([ClientRevenue(**dict(row)) for row in rows], query=query, total=total)


async def revenue_by_coach(db: Database, actor: Actor, query: PeriodQuery) -> RevenueByCoach:
    """A coach's own. Raises Invalid. Three queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        span = scope.spans(query)[0]
        rows = await connection.fetch(LIST_REVENUE_BY_COACH, scope.practice_id, scope.zone.key, *span, scope.coach_id)
    return RevenueByCoach(scope.zone.key, span.first, span.end, [CoachRevenue(**dict(row)) for row in rows])


async def revenue_by_plan(db: Database, actor: Actor, query: PeriodQuery) -> RevenueByPlan:
    """A coach's own clients'. Raises Invalid. Three queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        span = scope.spans(query)[0]
        rows = await connection.fetch(LIST_CHARGED_BY_PLAN, scope.practice_id, scope.coach_id, *scope.bounds(query))
    return RevenueByPlan(scope.zone.key, span.first, span.end, [PlanRevenue(**dict(row)) for row in rows])
