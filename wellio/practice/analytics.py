"""Analytics: how the practice, or a coach, did in a period and in the one before.

What is counted comes in four queries, whatever the size of the practice; summary.py makes figures of it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid
from wellio.practice.availability import find_openings
from wellio.practice.slots import Opening
from wellio.practice.summary import (
    Change,
    Counts,
    Figures,
    PeriodName,
    Sessions,
    Span,
    change_of,
    figures_of,
    open_minutes,
    preceded,
    rate,
    spans_of,
)
from wellio.practice.wall_clock import local_date
from wellio.values import Input

MAX_DAYS = 400
FIRST_DAY, LAST_DAY = date(1990, 1, 1), date(2190, 1, 1)

LIST_COACHES = """
select u.id, u.name
from users u
where u.practice_id = $1 and u.role in ('owner', 'coach') and ($2::uuid is null or u.id = $2)
order by u.name, u.id
"""

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

# Who attended. A null coach: with any of them.
COUNT_ACTIVE_CLIENTS = """
with seen as (
    select f.coach_id, a.client_id, bool_or(t.part = 1) as now, bool_or(t.part = 2) as before,
           bool_or(t.part = 3) as earlier
    from daily_between($1, $2, $3, $4) f
    cross join lateral (select part_of(f.day, $5, $6) as part) t
    cross join lateral unnest(f.attended_by) a (client_id)
    where t.part is not null and ($7::uuid is null or f.coach_id = $7)
    group by grouping sets ((f.coach_id, a.client_id), (a.client_id))
)
select coach_id, count(*) filter (where now) as active_now, count(*) filter (where before) as active_before,
       count(*) filter (where earlier) as active_earlier, count(*) filter (where now and before) as retained_now,
       count(*) filter (where before and earlier) as retained_before
from seen
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


class SummaryQuery(Input):
    """A named `period`, or the dates `from` (inclusive) and `to` (exclusive) of the practice's calendar."""

    period: PeriodName | None = None
    from_: date | None = Field(default=None, alias="from")
    to: date | None = None
    coach_id: UUID | None = None


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
    """Dates are the practice's; `to_date` and `before_to_date` are the first days after the periods."""

    timezone: str
    from_date: date
    to_date: date
    before_from_date: date
    before_to_date: date
    total: Compared
    by_coach: Sequence[CoachFigures]


@dataclass(frozen=True, slots=True)
class _Found:
    """What the queries found, and the hours of each coach; `bounds` are instants, of the three parts."""

    bounds: Sequence[tuple[datetime, datetime]]
    days: Sequence[Row]
    active: Sequence[Row]
    revenue: Sequence[Row]
    openings: Mapping[UUID, Opening]


async def analytics_summary(db: Database, actor: Actor, query: SummaryQuery, *, now: datetime | None = None) -> Summary:
    """An owner's is of all coaches or of one, a coach's their own. Raises Invalid. Seven queries."""
    actor.must_be(STAFF)
    coach_id = _coach(actor, query.coach_id)
    async with db.connection() as connection:
        practice = await get_practice(connection, actor.practice_id)
        zone = await asyncio.to_thread(ZoneInfo, practice.timezone)
        spans = _spans(query, local_date(zone, now or datetime.now(UTC)))
        coaches = await connection.fetch(LIST_COACHES, actor.practice_id, coach_id)
        if not coaches:
            raise Invalid.field("query.coach_id", "No such coach in this practice.")
        found = await _find(connection, actor.practice_id, coach_id, [row["id"] for row in coaches], spans, zone)
    compare = await asyncio.to_thread(_compare_all, found, practice.currency, coach_id, [r["id"] for r in coaches])
    return Summary(
        timezone=practice.timezone,
        from_date=spans[0].first,
        to_date=spans[0].end,
        before_from_date=spans[1].first,
        before_to_date=spans[1].end,
        total=compare[coach_id],
        by_coach=[CoachFigures(row["id"], row["name"], compare[row["id"]]) for row in coaches],
    )


async def utilisation_of(db: Database, actor: Actor, first: datetime, end: datetime) -> float | None:
    """An owner's is of all coaches, a coach's their own: booked of open minutes in [first, end). Three queries."""
    coach_id = _coach(actor, None)
    async with db.connection() as connection:
        booked = await connection.fetchval(SUM_BOOKED_MINUTES, actor.practice_id, coach_id, first, end)
        coaches = await connection.fetch(LIST_COACHES, actor.practice_id, coach_id)
        openings = await find_openings(connection, actor.practice_id, [row["id"] for row in coaches], since=first)
    return rate(booked, await asyncio.to_thread(open_minutes, list(openings.values()), first, end))


async def _find(
    connection: Connection,
    practice_id: UUID,
    coach_id: UUID | None,
    coach_ids: Sequence[UUID],
    spans: Sequence[Span],
    zone: ZoneInfo,
) -> _Found:
    bounds = [span.instants(zone) for span in spans]
    firsts, ends = [span.first for span in spans], [span.end for span in spans]
    parts = (practice_id, zone.key, firsts[-1], ends[0], firsts, ends, coach_id)
    return _Found(
        bounds=bounds,
        days=await connection.fetch(SUM_DAYS_BY_COACH, *parts),
        active=await connection.fetch(COUNT_ACTIVE_CLIENTS, *parts),
        revenue=await connection.fetch(SUM_REVENUE_BY_COACH, *parts),
        openings=await find_openings(connection, practice_id, coach_ids, since=bounds[BEFORE - 1][0]),
    )


def _compare_all(
    found: _Found, currency: str, total_of: UUID | None, coach_ids: Sequence[UUID]
) -> dict[UUID | None, Compared]:
    """Of each coach, and under `total_of` of all that was found. Years of hours take a while: to be run in a thread."""
    return {who: _compared(found, who, currency) for who in (total_of, *coach_ids)}


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


def _coach(actor: Actor, coach_id: UUID | None) -> UUID | None:
    if actor.role is Role.OWNER:
        return coach_id
    if coach_id not in (None, actor.user_id):
        raise Invalid.field("query.coach_id", "No such coach in this practice.")
    return actor.user_id


def _spans(query: SummaryQuery, today: date) -> tuple[Span, Span, Span]:
    if query.from_ is None and query.to is None:
        return spans_of(query.period or "this_month", today)
    if query.period is not None:
        raise Invalid.field("query.period", "Give either a period, or from and to.")
    if query.from_ is None or query.to is None:
        raise Invalid.field("query.to" if query.to is None else "query.from", "Give both from and to.")
    if not FIRST_DAY <= query.from_ < query.to <= LAST_DAY:
        raise Invalid.field("query.to", f"Must be later than from, and both between {FIRST_DAY} and {LAST_DAY}.")
    if (query.to - query.from_).days > MAX_DAYS:
        raise Invalid.field("query.to", f"Must be at most {MAX_DAYS} days after from.")
    return preceded(Span(query.from_, query.to))
