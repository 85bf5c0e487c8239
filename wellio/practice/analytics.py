"""Analytics: how the practice, or a coach, did in a period and in the one before.

What is counted comes in six queries, whatever the size of the practice; summary.py makes figures of it.
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

# $2: one coach's, or null for all. $3 and $4 bound the parts: 1 the period, 2 the one before, 3 the one before that;
# $5 and $6 all of them, so that an index finds what lies between.
COUNT_SESSIONS_BY_COACH = """
select s.coach_id, t.part, count(*) as total,
       count(*) filter (where s.status in ('scheduled', 'in_progress')) as open,
       count(*) filter (where s.status = 'completed') as completed,
       count(*) filter (where s.status = 'no_show') as no_show,
       count(*) filter (where s.status = 'cancelled') as cancelled,
       count(*) filter (where s.status = 'late_cancelled') as late_cancelled,
       count(*) filter (where s.status = 'cancelled_by_coach') as cancelled_by_coach,
       coalesce(round(extract(epoch from sum(s.ends_at - s.starts_at)
           filter (where s.status in ('scheduled', 'in_progress', 'completed', 'no_show'))) / 60), 0)::bigint
           as booked_minutes
from sessions s
cross join lateral (select part_of(s.starts_at, $3, $4) as part) t
where s.practice_id = $1 and s.starts_at >= $5 and s.starts_at < $6 and t.part is not null
  and ($2::uuid is null or s.coach_id = $2) and s.status <> 'held'
group by s.coach_id, t.part
"""

COUNT_PLACES_BY_COACH = """
select s.coach_id, t.part,
       count(*) filter (where p.status = 'attended') as attended,
       count(*) filter (where p.status = 'no_show') as missed,
       count(*) filter (where p.status = 'late_cancelled') as late
from sessions s
cross join lateral (select part_of(s.starts_at, $3, $4) as part) t
join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id
where s.practice_id = $1 and s.starts_at >= $5 and s.starts_at < $6 and t.part is not null
  and ($2::uuid is null or s.coach_id = $2)
group by s.coach_id, t.part
"""

# Who attended. A null coach: with any of them.
COUNT_ACTIVE_CLIENTS = """
with seen as (
    select s.coach_id, p.client_id, bool_or(t.part = 1) as now, bool_or(t.part = 2) as before,
           bool_or(t.part = 3) as earlier
    from sessions s
    cross join lateral (select part_of(s.starts_at, $3, $4) as part) t
    join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id and p.status = 'attended'
    where s.practice_id = $1 and s.starts_at >= $5 and s.starts_at < $6 and t.part is not null
      and ($2::uuid is null or s.coach_id = $2)
    group by grouping sets ((s.coach_id, p.client_id), (p.client_id))
)
select coach_id, count(*) filter (where now) as active_now, count(*) filter (where before) as active_before,
       count(*) filter (where earlier) as active_earlier, count(*) filter (where now and before) as retained_now,
       count(*) filter (where before and earlier) as retained_before
from seen
group by coach_id
"""

COUNT_NEW_CLIENTS_BY_COACH = """
select c.coach_id, t.part, count(*) as total
from clients c
cross join lateral (select part_of(c.created_at, $3, $4) as part) t
where c.practice_id = $1 and c.created_at >= $5 and c.created_at < $6 and t.part is not null
  and ($2::uuid is null or c.coach_id = $2)
group by c.coach_id, t.part
"""

# Of the clients whom a coach has today.
SUM_REVENUE_BY_COACH = """
select c.coach_id, t.part, p.currency, sum(p.net_minor)::bigint as net_minor
from payments p
cross join lateral (select part_of(p.paid_at, $3, $4) as part) t
join clients c on c.practice_id = p.practice_id and c.id = p.client_id
where p.practice_id = $1 and p.paid_at >= $5 and p.paid_at < $6 and t.part is not null
  and ($2::uuid is null or c.coach_id = $2)
group by c.coach_id, t.part, p.currency
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
    sessions: Sequence[Row]
    places: Sequence[Row]
    active: Sequence[Row]
    new: Sequence[Row]
    revenue: Sequence[Row]
    openings: Mapping[UUID, Opening]


async def analytics_summary(db: Database, actor: Actor, query: SummaryQuery, *, now: datetime | None = None) -> Summary:
    """An owner's is of all coaches or of one, a coach's their own. Raises Invalid. Eight queries."""
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
    parts = (
        practice_id,
        coach_id,
        [first for first, _ in bounds],
        [end for _, end in bounds],
        bounds[-1][0],
        bounds[0][1],
    )
    return _Found(
        bounds=bounds,
        sessions=await connection.fetch(COUNT_SESSIONS_BY_COACH, *parts),
        places=await connection.fetch(COUNT_PLACES_BY_COACH, *parts),
        active=await connection.fetch(COUNT_ACTIVE_CLIENTS, *parts),
        new=await connection.fetch(COUNT_NEW_CLIENTS_BY_COACH, *parts),
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

    sessions, places = mine(found.sessions), mine(found.places)
    active = next((dict(row) for row in found.active if row["coach_id"] == coach_id), {})
    suffix, earlier = ("now", "before") if part == NOW else ("before", "earlier")
    revenue: dict[str, int] = {}
    for row in mine(found.revenue):
        revenue[row["currency"]] = revenue.get(row["currency"], 0) + row["net_minor"]
    openings = [opening for of, opening in found.openings.items() if coach_id in (None, of)]
    return Counts(
        sessions=Sessions(**{name: sum(row[name] for row in sessions) for name in Sessions.__slots__}),
        attended=sum(row["attended"] for row in places),
        missed=sum(row["missed"] for row in places),
        late=sum(row["late"] for row in places),
        active_clients=active.get(f"active_{suffix}", 0),
        new_clients=sum(row["total"] for row in mine(found.new)),
        retained=active.get(f"retained_{suffix}", 0),
        active_before=active.get(f"active_{earlier}", 0),
        revenue=revenue,
        booked_minutes=sum(row["booked_minutes"] for row in sessions),
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
