"""Cohorts: of the clients who began in a month, how many still attend in the months after."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor
from wellio.db import Database, Row
from wellio.practice.report_scope import CoachQuery, report_scope
from wellio.practice.summary import rate

# $2 is the zone, $3 a coach or null, $4 the first day of the oldest cohort, $5 the day after today, $6 what begins a
# client's life. Whoever first attended before $4 is in no cohort. A null `month`: the cohort itself.
COUNT_COHORTS = """
with history as (
    select least(
        (select min(s.starts_at) from sessions s where s.practice_id = $1), $4::timestamp at time zone $2
    ) as first
), months as materialized (
    select a.client_id, date_trunc('month', f.day)::date as month
    from history h
    cross join lateral daily_between($1, $2, (h.first at time zone $2)::date, $5::date) f
    cross join lateral unnest(f.attended_by) a (client_id)
    where $3::uuid is null or f.coach_id = $3
    group by a.client_id, date_trunc('month', f.day)
), began as materialized (
    select m.client_id, min(m.month) as cohort
    from months m
    where $6 = 'first_session'
    group by m.client_id
    union all
    select c.id, date_trunc('month', c.created_at at time zone $2)::date
    from clients c
    where $6 = 'sign_up' and c.practice_id = $1 and ($3::uuid is null or c.coach_id = $3)
)
select b.cohort, null::date as month, count(*) as clients
from began b
where b.cohort >= $4
group by b.cohort
union all
select b.cohort, m.month, count(*)
from began b
join months m on m.client_id = b.client_id and m.month >= b.cohort
where b.cohort >= $4
group by b.cohort, m.month
"""


class CohortQuery(CoachQuery):
    """The cohorts of the last `months`, this one included. `by`: what a client's life begins with."""

    by: Literal["first_session", "sign_up"] = "first_session"
    months: Annotated[int, Field(ge=1, le=36)] = 12


@dataclass(frozen=True, slots=True)
class Cohort:
    """`active[k]`: how many attended a session in the k-th month after `month`, `retention[k]` as a part of `clients`.

    Both end with this month, which is not over.
    """

    month: date
    clients: int
    active: Sequence[int]
    retention: Sequence[float]


@dataclass(frozen=True, slots=True)
class Retention:
    """Months as their first days, in the practice's zone; months in which nobody began are left out."""

    timezone: str
    by: str
    coach_id: UUID | None
    cohorts: Sequence[Cohort]


async def retention(db: Database, actor: Actor, query: CohortQuery) -> Retention:
    """An owner's is of all sessions or of a coach's, a coach's of their own. Raises Invalid. Three queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        this = scope.today.replace(day=1)
        first = month_after(this, 1 - query.months)
        end = month_after(this, 1)
        rows = await connection.fetch(
            COUNT_COHORTS, scope.practice_id, scope.zone.key, scope.coach_id, first, end, query.by
        )
    return Retention(scope.zone.key, query.by, scope.coach_id, _cohorts(rows, this))


def _cohorts(rows: Sequence[Row], this: date) -> list[Cohort]:
    counted = {(row["cohort"], row["month"]): row["clients"] for row in rows}
    return [_cohort(month, counted, this) for month in sorted({row["cohort"] for row in rows if row["cohort"] <= this})]


def _cohort(month: date, counted: dict[tuple[date, date | None], int], this: date) -> Cohort:
    clients = counted[month, None]
    active = [counted.get((month, month_after(month, k)), 0) for k in range(months_between(month, this) + 1)]
    return Cohort(month, clients, active, [rate(each, clients) or 0.0 for each in active])


def month_after(month: date, count: int) -> date:
    """The first day of the month that is `count` after that of `month`; before, when negative."""
    number = month.year * 12 + month.month - 1 + count
    return date(number // 12, number % 12 + 1, 1)


def months_between(first: date, last: date) -> int:
    return (last.year - first.year) * 12 + last.month - first.month
