"""The revenue forecast of a practice, or of a coach's clients: what will have been paid, net of refunds.

As in the analytics summary, revenue is the payments of the clients whom a coach has today. The calculation is
learning/forecast.py; here is what it rests on, in eight queries, whatever the size of the practice.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wellio.accounts.actors import Actor
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid
from wellio.learning.features import Floats
from wellio.learning.forecast import MIN_DAYS, Forecast, Known, forecast
from wellio.learning.forecast_clients import DECAY, Book, kept_share, pool
from wellio.practice.report_scope import CoachQuery, ReportScope, report_scope
from wellio.practice.summary import Span
from wellio.practice.wall_clock import day_bounds
from wellio.values import Currency

HISTORY_DAYS = 1100  # three years
CHANCE_DAYS = 365
MAX_MONTHS, MAX_WEEKS = 12, 26
DEFAULT_MONTHS = 3
PAID_PRIOR, KEPT_PRIOR, PRIOR_COUNTS = 0.95, 0.9, 20.0
ENDED = ("churned", "archived")

# $3 and $4: the days from and to (exclusive); $5: a coach's, or null for all.
LIST_DAILY_REVENUE = """
select f.day, sum(f.paid_minor - f.refunded_minor)::float8 as net
from daily_revenue_between($1, $2, $3, $4) f
where f.currency = $6 and ($5::uuid is null or f.coach_id = $5)
group by f.day
order by f.day
"""

# Of each client the days on which they paid (`visits`), how many days ago the first and the last were, and all of them,
# each counting exp(-$7) less by day of its age. $2: the practice's zone, $3: today in it, $4: when it begins.
LIST_PAYING_CLIENTS = """
with days as (
    select p.client_id, $3 - (p.paid_at at time zone $2)::date as ago, sum(p.net_minor::float8) as net
    from payments p
    where p.practice_id = $1 and p.paid_at < $4 and p.currency = $6
      and ($5::uuid is null
           or p.client_id in (select c.id from clients c where c.practice_id = $1 and c.coach_id = $5))
    group by p.client_id, ago
), paying as (
    select d.client_id, count(*) filter (where d.net > 0) as visits, sum(d.net) as paid,
           max(d.ago) filter (where d.net > 0) as first, min(d.ago) filter (where d.net > 0) as last,
           sum(exp(-$7::float8 * d.ago)) filter (where d.net > 0) as decayed
    from days d
    group by d.client_id
)
select p.client_id, p.visits, p.paid, p.first, p.last, p.decayed,
       p.client_id in (select c.id from clients c where c.practice_id = $1 and c.status = any($8::text[])) as ended
from paying p
where p.visits > 0
order by p.client_id
"""

# Places with a price that no credit pays, by client and period. $3: the first days of the periods and that after them;
# $4 and $7: the instants at which the first begins and the last ends.
LIST_BOOKED = """
select p.client_id, width_bucket((s.starts_at at time zone $2)::date, $3::date[]) - 1 as period,
       sum(s.price_minor)::float8 as minor
from sessions s
join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id and p.status = 'booked'
join clients c on c.practice_id = p.practice_id and c.id = p.client_id
where s.practice_id = $1 and s.starts_at >= $4 and s.starts_at < $7 and s.status in ('scheduled', 'in_progress')
  and s.price_minor > 0 and s.currency = $6 and ($5::uuid is null or c.coach_id = $5)
  and not exists (
      select from credit_entries e
      where e.practice_id = p.practice_id and e.session_id = p.session_id and e.client_id = p.client_id
      having sum(e.amount) < 0)
group by p.client_id, period
"""

# Periods of plans that begin by then, a year ahead at most; those that the job has yet to charge count from today ($2).
LIST_DUE = """
select s.client_id, width_bucket(greatest(d.due, $2), $3::date[]) - 1 as period, sum(s.price_minor)::float8 as minor
from subscriptions s
join clients c on c.practice_id = s.practice_id and c.id = s.client_id
cross join lateral generate_series(
    s.next_period, s.next_period + case s.interval when 'week' then 56 when 'month' then 15 else 2 end) n
cross join lateral (
    select (s.starts_on + n * case s.interval when 'week' then interval '1 week' when 'month' then interval '1 month'
                                              else interval '1 year' end)::date as due
) d
where s.practice_id = $1 and s.status = 'active' and s.price_minor > 0 and s.currency = $6
  and s.next_period_on < $4 and d.due < $4 and ($5::uuid is null or c.coach_id = $5)
group by s.client_id, period
"""

# What was charged and when, beside what was paid then; and what became of places with a price.
SUM_CHARGES = """
select count(*) filter (where h.charge_id is null)::float8 as charges, coalesce(sum(h.amount_minor), 0)::float8 as minor
from charges h
join clients c on c.practice_id = h.practice_id and c.id = h.client_id
where h.practice_id = $1 and h.charged_at >= $2 and h.charged_at < $3 and h.currency = $5
  and ($4::uuid is null or c.coach_id = $4)
"""

COUNT_KEPT_PLACES = """
select count(*) filter (where p.status in ('attended', 'no_show', 'late_cancelled'))::float8 as kept,
       count(*) filter (where p.status = 'cancelled')::float8 as cancelled
from sessions s
join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id
join clients c on c.practice_id = p.practice_id and c.id = p.client_id
where s.practice_id = $1 and s.starts_at >= $2 and s.starts_at < $3 and s.price_minor > 0 and s.currency = $5
  and ($4::uuid is null or c.coach_id = $4)
"""


class RevenueForecastQuery(CoachQuery):
    """`months` or `weeks` ahead: calendar ones, what is left of this one being the first. `currency`: the practice's,
    unless it is said."""

    months: Annotated[int, Field(ge=1, le=MAX_MONTHS)] | None = None
    weeks: Annotated[int, Field(ge=1, le=MAX_WEEKS)] | None = None
    currency: Currency | None = None


@dataclass(frozen=True, slots=True)
class ForecastPeriod:
    """Days of the practice, `to_date` exclusive. `point_minor` is the sum of the four parts; what comes in lies between
    the bounds in 80 and 95 of 100 cases. `booked`: sessions with a price that no credit pays; `recurring`: plans' due
    charges, both as far as such are kept and paid; `expected`: what else clients of today will pay; `new`: those to
    come."""

    from_date: date
    to_date: date
    point_minor: int
    low_80_minor: int
    high_80_minor: int
    low_95_minor: int
    high_95_minor: int
    booked_minor: int
    recurring_minor: int
    expected_minor: int
    new_minor: int


@dataclass(frozen=True, slots=True)
class ForecastBasis:
    """What the forecast rests on: whole weeks since `first_date`, the first payment in the last three years; clients
    who have paid; and the shares of what was charged that was paid, and of booked places that were not cancelled."""

    first_date: date | None
    weeks: int
    clients: int
    paid_share: float
    kept_share: float


@dataclass(frozen=True, slots=True)
class RevenueForecast:
    """`as_of`: the first day that is not known yet. `received_minor`: what came in before it in the first month or
    week, which no period counts. Without enough history there are no periods, and the message says why."""

    status: Literal["ok", "not_enough_history"]
    message: str
    timezone: str
    currency: str
    as_of: date
    received_minor: int
    periods: Sequence[ForecastPeriod]
    basis: ForecastBasis


@dataclass(frozen=True, slots=True)
class _Found:
    """What the queries found. `edges`: the first days of the periods, and the day after them."""

    today: date
    edges: Sequence[date]
    daily: Sequence[Row]
    clients: Sequence[Row]
    booked: Sequence[Row]
    due: Sequence[Row]
    charges: Row
    places: Row


async def forecast_revenue(
    db: Database, actor: Actor, query: RevenueForecastQuery, *, now: datetime | None = None
) -> RevenueForecast:
    """An owner's is of all clients or of a coach's, a coach's of their own. Raises Invalid."""
    if query.months and query.weeks:
        raise Invalid.field("query.weeks", "Give either months or weeks.")
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query, now=now)
        currency = query.currency or scope.currency
        found = await _find(connection, scope, currency, edges_of(scope.today, months=query.months, weeks=query.weeks))
    return await asyncio.to_thread(_forecast, found, scope.zone.key, currency, _begun(scope.today, weeks=query.weeks))


async def forecast_span(connection: Connection, scope: ReportScope, span: Span) -> RevenueForecast:
    """The same of the days of one span, from today on: the last period. In the practice's currency; six queries."""
    edges = sorted({scope.today, *span})
    found = await _find(connection, scope, scope.currency, edges)
    return await asyncio.to_thread(_forecast, found, scope.zone.key, scope.currency, scope.today)


def edges_of(today: date, *, months: int | None, weeks: int | None) -> list[date]:
    """What is left of this month or week, and whole ones after it."""
    if weeks:
        monday = today - timedelta(days=today.weekday())
        return [today] + [monday + timedelta(weeks=n) for n in range(1, weeks + 1)]
    edges = [today]
    for _ in range(months or DEFAULT_MONTHS):
        edges.append((edges[-1].replace(day=1) + timedelta(days=32)).replace(day=1))
    return edges


def _begun(today: date, *, weeks: int | None) -> date:
    return today - timedelta(days=today.weekday()) if weeks else today.replace(day=1)


async def _find(connection: Connection, scope: ReportScope, currency: str, edges: Sequence[date]) -> _Found:
    practice_id, today, timezone, whose = scope.practice_id, scope.today, scope.zone.key, (scope.coach_id, currency)
    begin, end = day_bounds(scope.zone, today)[0], day_bounds(scope.zone, edges[-1])[0]
    since, until = begin - timedelta(days=CHANCE_DAYS), today - timedelta(days=HISTORY_DAYS)
    charges = await connection.fetchrow(SUM_CHARGES, practice_id, since, begin, *whose)
    places = await connection.fetchrow(COUNT_KEPT_PLACES, practice_id, since, begin, *whose)
    assert charges is not None
    assert places is not None
    return _Found(
        today=today,
        edges=edges,
        daily=await connection.fetch(LIST_DAILY_REVENUE, practice_id, timezone, until, today, *whose),
        clients=await connection.fetch(LIST_PAYING_CLIENTS, practice_id, timezone, today, begin, *whose, DECAY, ENDED),
        booked=await connection.fetch(LIST_BOOKED, practice_id, timezone, edges, begin, *whose, end),
        due=await connection.fetch(LIST_DUE, practice_id, today, edges, edges[-1], *whose),
        charges=charges,
        places=places,
    )


def _forecast(found: _Found, timezone: str, currency: str, begun: date) -> RevenueForecast:
    """Of some ten thousands of clients it takes some ten milliseconds: to be run in a thread."""
    daily = _daily(found)
    book = _book(found.clients)
    paid, kept = _chances(found, daily)
    enough = len(daily) >= MIN_DAYS
    periods = np.array([[(day - found.today).days for day in found.edges]], float)
    periods = np.concatenate([periods[:, :-1], periods[:, 1:]]).T
    told = forecast(daily, book, _known(found, book, periods, len(daily), paid, kept), periods) if enough else []
    return RevenueForecast(
        status="ok" if enough else "not_enough_history",
        message="" if enough else _why_not(len(daily)),
        timezone=timezone,
        currency=currency,
        as_of=found.today,
        received_minor=round(sum(row["net"] for row in found.daily if row["day"] >= begun)),
        periods=[_period(*days, one) for days, one in zip(_pairs(found.edges), told, strict=False)],
        basis=ForecastBasis(
            first_date=found.daily[0]["day"] if found.daily else None,
            weeks=len(daily) // 7,
            clients=len(book.visits),
            paid_share=round(paid, 4),
            kept_share=round(kept, 4),
        ),
    )


def _daily(found: _Found) -> Floats:
    """From the day of the first payment to yesterday."""
    if not found.daily:
        return np.zeros(0)
    first = found.daily[0]["day"]
    daily = np.zeros((found.today - first).days)
    for row in found.daily:
        daily[(row["day"] - first).days] = row["net"]
    return daily


def _book(clients: Sequence[Row]) -> Book:
    names = ("visits", "first", "last", "paid", "decayed")
    columns = {name: np.array([row[name] for row in clients], float) for name in names}
    recent = np.maximum(columns.pop("decayed") - np.exp(-DECAY * columns["first"]), 0.0)
    return Book(**columns, recent=recent, ended=np.array([row["ended"] for row in clients], bool))


def _chances(found: _Found, daily: Floats) -> tuple[float, float]:
    """How much of what is charged is paid, and how many booked places are not cancelled; both shrunk to what is usual
    as long as there is little of either."""
    charges, places = found.charges, found.places
    received = float(daily[-CHANCE_DAYS:].sum())
    share = min(max(received / charges["minor"], 0.0), 1.0) if charges["minor"] > 0.0 else PAID_PRIOR
    paid = (charges["charges"] * share + PRIOR_COUNTS * PAID_PRIOR) / (charges["charges"] + PRIOR_COUNTS)
    ended = places["kept"] + places["cancelled"]
    return paid, (places["kept"] + PRIOR_COUNTS * KEPT_PRIOR) / (ended + PRIOR_COUNTS)


def _known(found: _Found, book: Book, periods: Floats, days: int, paid: float, kept: float) -> Known:
    """Plans are also given up, as clients are lost."""
    place = {row["client_id"]: number for number, row in enumerate(found.clients)}
    lasting = paid * kept_share(pool(book, float(days)).loss, periods)
    of_clients = np.zeros((len(place), len(periods)))
    booked = _add(found.booked, place, np.full(len(periods), paid * kept), of_clients)
    return Known(booked, _add(found.due, place, lasting, of_clients), of_clients)


def _add(
    rows: Sequence[Row], place: dict[UUID, int], chance: Floats, of_clients: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sums by period; those of clients in the book are added to theirs."""
    total = np.zeros(len(chance))
    for row in rows:
        period, minor = row["period"], row["minor"] * chance[row["period"]]
        total[period] += minor
        if row["client_id"] in place:
            of_clients[place[row["client_id"]], period] += minor
    return total


def _why_not(days: int) -> str:
    if not days:
        return "No payment is recorded yet: a forecast needs eight weeks of them."
    left = math.ceil((MIN_DAYS - days) / 7)
    return f"A forecast needs eight weeks of payments; {left} more {'week is' if left == 1 else 'weeks are'} to come."


def _pairs(edges: Sequence[date]) -> list[tuple[date, date]]:
    return list(pairwise(edges))


def _period(from_date: date, to_date: date, one: Forecast) -> ForecastPeriod:
    parts = {f"{name}_minor": getattr(one, name) for name in Forecast.__slots__}
    return ForecastPeriod(from_date=from_date, to_date=to_date, **parts)
