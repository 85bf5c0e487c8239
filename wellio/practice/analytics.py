"""Analytics: how the practice, or a coach, did in a period and in the one before.

What is counted comes in four queries, whatever the size of the practice; summary.py makes figures of it, and
outlook.py adds what the models expect.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Connection, Database, Row
from wellio.practice.availability import find_openings
from wellio.practice.outlook import Forecasts, Outlook, outlook
from wellio.practice.report_scope import LIST_COACHES, PeriodQuery, ReportScope, coach_of, report_scope
from wellio.practice.slots import Opening
from wellio.practice.summary import (
    Change,
    Counts,
    Figures,
    Sessions,
    Span,
    change_of,
    figures_of,
    open_minutes,
    rate,
)

# Of the roll-ups, with what has changed since (rollups.py). $2 is the practice's zone, $3 and $4 bound all days; $5 and
# $6 the parts: 1 the period, 2 the one before, 3 the one before that. $7: one coach's, or null for all.
SUM_DAYS_BY_COACH = """
select f.coach_id, t.part, sum(f.total)::bigint as total, sum(f.open)::bigint as open,
       sum(f.completed)::bigint as completed, sum(f.no_show)::bigint as no_show,
       sum(f.cancelled)::bigint as cancelled, sum(f.late_cancelled)::bigint as late_cancelled,
       sum(f.cancelled_by_coach)::bigint as cancelled_by_coach,
       round(sum(f.booked_seconds) / 60)::bigint as booked_minutes,
       sum(f.attended)::bigint as attended, sum(f.missed)::bigint as missed, sum(f.late)::bigint as late,
       sum(f.new_clients)::bigint as new_clients
from daily_between($1, $2, $3, $4) f
cross join lateral (select part_of(f.day, $5, $6) as part) t
where t.part is not null and ($7::uuid is null or f.coach_id = $7)
group by f.coach_id, t.part
"""

# Who attended; parts are bits. A null coach: with any of them.
COUNT_ACTIVE_CLIENTS = """
with seen as materialized (
    select f.coach_id, a.client_id, bit_or(1 << t.part) as parts
    from daily_between($1, $2, $3, $4) f
    cross join lateral (select part_of(f.day, $5, $6) as part) t
    cross join lateral unnest(f.attended_by) a (client_id)
    where t.part is not null and ($7::uuid is null or f.coach_id = $7)
    group by f.coach_id, a.client_id
), of_anybody as (
    select null::uuid as coach_id, client_id, bit_or(parts) as parts
    from seen
    group by client_id
)
select coach_id, count(*) filter (where parts & 2 > 0) as active_now,
       count(*) filter (where parts & 4 > 0) as active_before, count(*) filter (where parts & 8 > 0) as active_earlier,
       count(*) filter (where parts & 6 = 6) as retained_now, count(*) filter (where parts & 12 = 12) as retained_before
from (select * from seen union all select * from of_anybody) s
group by coach_id
"""

# Of the clients whom a coach has today.
SUM_REVENUE_BY_COACH = """
select f.coach_id, t.part, f.currency, sum(f.paid_minor - f.refunded_minor)::bigint as net_minor
from daily_revenue_between($1, $2, $3, $4) f
cross join lateral (select part_of(f.day, $5, $6) as part) t
where t.part is not null and ($7::uuid is null or f.coach_id = $7)
group by f.coach_id, t.part, f.currency
"""

SUM_BOOKED_MINUTES = """
select coalesce(round(extract(epoch from sum(s.ends_at - s.starts_at)) / 60), 0)::bigint
from sessions s
where s.practice_id = $1 and ($2::uuid is null or s.coach_id = $2) and s.starts_at >= $3 and s.starts_at < $4
  and s.status in ('scheduled', 'in_progress', 'completed', 'no_show')
"""

NOW, BEFORE = 1, 2


@dataclass(frozen=True, slots=True)
class Compared:
    """The figures of the period, of the one before, and the first minus the second."""

    now: Figures
    before: Figures
    change: Change


@dataclass(frozen=True, slots=True)
class CoachFigures:
    coach_id: UUID
    coach_name: str
    figures: Compared


@dataclass(frozen=True, slots=True)
class Summary:
    """Dates are the practice's; `to_date` and `before_to_date` are the first days after the periods. `outlook`: what is
    expected of what is to come of the period, or follows it; null more than a year ahead."""

    timezone: str
    from_date: date
    to_date: date
    before_from_date: date
    before_to_date: date
    total: Compared
    by_coach: Sequence[CoachFigures]
    outlook: Outlook | None


@dataclass(frozen=True, slots=True)
class _Found:
    """What the queries found, and the hours of each coach; `bounds` are instants, of the three parts."""

    bounds: Sequence[tuple[datetime, datetime]]
    days: Sequence[Row]
    active: Sequence[Row]
    revenue: Sequence[Row]
    openings: Mapping[UUID, Opening]


async def analytics_summary(
    db: Database, actor: Actor, query: PeriodQuery, forecasts: Forecasts, *, now: datetime | None = None
) -> Summary:
    """An owner's is of all coaches or of one, a coach's their own. Raises Invalid. Eight queries, and a forecast's."""
    now = now or datetime.now(UTC)
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query, now=now)
        spans = scope.spans(query)
        found = await _find(connection, scope, spans)
        ahead = await outlook(connection, scope, scope.ahead(query), forecasts, now)
    compare = await asyncio.to_thread(_compare_all, found, scope)
    return Summary(
        timezone=scope.zone.key,
        from_date=spans[0].first,
        to_date=spans[0].end,
        before_from_date=spans[1].first,
        before_to_date=spans[1].end,
        total=compare[scope.coach_id],
        by_coach=[CoachFigures(coach.id, coach.name, compare[coach.id]) for coach in scope.coaches],
        outlook=ahead,
    )


async def utilisation_of(db: Database, actor: Actor, first: datetime, end: datetime) -> float | None:
    """An owner's is of all coaches, a coach's their own: booked of open minutes in [first, end). Three queries."""
    coach_id = coach_of(actor, None)
    async with db.connection() as connection:
        booked = await connection.fetchval(SUM_BOOKED_MINUTES, actor.practice_id, coach_id, first, end)
        coaches = await connection.fetch(LIST_COACHES, actor.practice_id, coach_id)
        openings = await find_openings(connection, actor.practice_id, [row["id"] for row in coaches], since=first)
    return rate(booked, await asyncio.to_thread(open_minutes, list(openings.values()), first, end))


async def _find(connection: Connection, scope: ReportScope, spans: Sequence[Span]) -> _Found:
    bounds = [span.instants(scope.zone) for span in spans]
    firsts, ends = [span.first for span in spans], [span.end for span in spans]
    parts = (scope.practice_id, scope.zone.key, firsts[-1], ends[0], firsts, ends, scope.coach_id)
    coach_ids = [coach.id for coach in scope.coaches]
    return _Found(
        bounds=bounds,
        days=await connection.fetch(SUM_DAYS_BY_COACH, *parts),
        active=await connection.fetch(COUNT_ACTIVE_CLIENTS, *parts),
        revenue=await connection.fetch(SUM_REVENUE_BY_COACH, *parts),
        openings=await find_openings(connection, scope.practice_id, coach_ids, since=bounds[BEFORE - 1][0]),
    )


def _compare_all(found: _Found, scope: ReportScope) -> dict[UUID | None, Compared]:
    """Of each coach, and under the scope's own of all that was found. Years of hours take a while: for a thread."""
    coaches = (coach.id for coach in scope.coaches)
    return {who: _compared(found, who, scope.currency) for who in (scope.coach_id, *coaches)}


def _compared(found: _Found, coach_id: UUID | None, currency: str) -> Compared:
    now = figures_of(_counts(found, coach_id, NOW), currency)
    before = figures_of(_counts(found, coach_id, BEFORE), currency)
    return Compared(now, before, change_of(now, before))


def _counts(found: _Found, coach_id: UUID | None, part: int) -> Counts:
    """Of one coach, or without one of all, those included that no coach has."""

    def mine(rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row["part"] == part and coach_id in (None, row["coach_id"])]

    days = mine(found.days)
    active = next((dict(row) for row in found.active if row["coach_id"] == coach_id), {})
    suffix, earlier = ("now", "before") if part == NOW else ("before", "earlier")
    revenue: dict[str, int] = {}
    for row in mine(found.revenue):
        revenue[row["currency"]] = revenue.get(row["currency"], 0) + row["net_minor"]
    openings = [opening for of, opening in found.openings.items() if coach_id in (None, of)]
    return Counts(
        sessions=Sessions(**{name: sum(row[name] for row in days) for name in Sessions.__slots__}),
        attended=sum(row["attended"] for row in days),
        missed=sum(row["missed"] for row in days),
        late=sum(row["late"] for row in days),
        active_clients=active.get(f"active_{suffix}", 0),
        new_clients=sum(row["new_clients"] for row in days),
        retained=active.get(f"retained_{suffix}", 0),
        active_before=active.get(f"active_{earlier}", 0),
        revenue=revenue,
        booked_minutes=sum(row["booked_minutes"] for row in days),
        open_minutes=open_minutes(openings, *found.bounds[part - 1]),
    )
