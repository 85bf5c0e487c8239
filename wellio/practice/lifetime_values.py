"""Lifetime values: what clients have paid since they came, each and by the month in which they came.

Values are of the past, in integer minor units; what is still to come is the forecast's.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from typing import Annotated
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor
from wellio.db import Database, Row
from wellio.pages import Page, page_of
from wellio.practice.report_scope import CoachPageQuery, CoachQuery, report_scope
from wellio.practice.retention import month_after, months_between

# Names are looked up for the page alone.
LIST_LIFETIME_VALUES = """
with sums as (
    select p.client_id, p.currency, sum(p.net_minor)::bigint as net_minor,
           count(*) filter (where p.kind = 'payment') as payments, min(p.paid_at) as first_paid_at,
           max(p.paid_at) as last_paid_at
    from payments p
    where p.practice_id = $1
      and ($2::uuid is null
           or p.client_id in (select c.id from clients c where c.practice_id = $1 and c.coach_id = $2))
    group by p.client_id, p.currency
    order by net_minor desc, p.client_id, p.currency
    limit $3 offset $4
)
select s.client_id, c.first_name || ' ' || c.last_name as client_name, s.currency, s.net_minor, s.payments,
       s.first_paid_at, s.last_paid_at, c.created_at as client_since
from sums s
join clients c on c.practice_id = $1 and c.id = s.client_id
order by s.net_minor desc, s.client_id, s.currency
"""

COUNT_LIFETIME_VALUES = """
select count(*)
from (
    select
    from payments p
    where p.practice_id = $1
      and ($2::uuid is null
           or p.client_id in (select c.id from clients c where c.practice_id = $1 and c.coach_id = $2))
    group by p.client_id, p.currency
) s
"""

# A null currency: how many clients the cohort has. What was paid before a client's entry counts in their first month.
SUM_VALUES_OF_COHORTS = """
with members as materialized (
    select c.id, date_trunc('month', c.created_at at time zone $3)::date as cohort
    from clients c
    where c.practice_id = $1 and ($2::uuid is null or c.coach_id = $2)
      and c.created_at >= $4::timestamp at time zone $3
)
select m.cohort, null as currency, null::date as month, count(*) as amount
from members m
group by m.cohort
union all
select m.cohort, p.currency, greatest(m.cohort, date_trunc('month', p.paid_at at time zone $3)::date) as month,
       sum(p.net_minor)::bigint
from members m
join payments p on p.practice_id = $1 and p.client_id = m.id
group by m.cohort, p.currency, greatest(m.cohort, date_trunc('month', p.paid_at at time zone $3)::date)
"""


class CohortValueQuery(CoachQuery):
    """The cohorts of the last `months`, this one included."""

    months: Annotated[int, Field(ge=1, le=36)] = 12


@dataclass(frozen=True, slots=True)
class LifetimeValue:
    """Of a client in one currency: payments less refunds, voided ones left out."""

    client_id: UUID
    client_name: str
    currency: str
    net_minor: int
    payments: int
    first_paid_at: datetime
    last_paid_at: datetime
    client_since: datetime


@dataclass(frozen=True, slots=True)
class CohortValue:
    """Of the clients who were added in `month`, in one currency: `cumulative_minor[k]` is what they had paid, all
    together, by the end of the k-th month after; `per_client_minor` the last of it by each client."""

    month: date
    clients: int
    currency: str
    net_minor: int
    per_client_minor: int
    cumulative_minor: Sequence[int]


@dataclass(frozen=True, slots=True)
class CohortValues:
    """Months as their first days, in the practice's zone."""

    timezone: str
    coach_id: UUID | None
    cohorts: Sequence[CohortValue]


async def list_lifetime_values(db: Database, actor: Actor, query: CoachPageQuery) -> Page[LifetimeValue]:
    """The highest first; a coach's own clients. Raises Invalid. Four queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        rows = await connection.fetch(
            LIST_LIFETIME_VALUES, scope.practice_id, scope.coach_id, query.page_size, query.offset
        )
        total = await connection.fetchval(COUNT_LIFETIME_VALUES, scope.practice_id, scope.coach_id)
    return page_of([LifetimeValue(**dict(row)) for row in rows], query=query, total=total)


async def cohort_values(db: Database, actor: Actor, query: CohortValueQuery) -> CohortValues:
    """A coach's are of the clients they have. Raises Invalid. Three queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        this = scope.today.replace(day=1)
        first = month_after(this, 1 - query.months)
        rows = await connection.fetch(SUM_VALUES_OF_COHORTS, scope.practice_id, scope.coach_id, scope.zone.key, first)
    return CohortValues(scope.zone.key, scope.coach_id, _cohort_values(rows, scope.currency, this))


def _cohort_values(rows: Sequence[Row], currency: str, this: date) -> list[CohortValue]:
    sizes = {row["cohort"]: row["amount"] for row in rows if row["currency"] is None}
    paid: dict[tuple[date, str], dict[date, int]] = defaultdict(dict)
    for row in rows:
        if row["currency"] is not None:
            paid[row["cohort"], row["currency"]][row["month"]] = row["amount"]
    keys = {(month, currency) for month in sizes} | set(paid)
    return [_cohort_value(key, sizes[key[0]], paid[key], this) for key in sorted(keys)]


def _cohort_value(key: tuple[date, str], clients: int, paid: dict[date, int], this: date) -> CohortValue:
    month, currency = key
    months = max(months_between(month, this), 0) + 1
    cumulative = list(accumulate(paid.get(month_after(month, k), 0) for k in range(months)))
    return CohortValue(month, clients, currency, cumulative[-1], round(cumulative[-1] / clients), cumulative)
