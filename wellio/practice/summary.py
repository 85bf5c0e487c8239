"""Figures of a period and of the one before it: what they are and how they are worked out. Pure, without I/O.

Dates are the practice's. A rate is a part of 1, and null where there was nothing to divide by.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from wellio.practice.slots import Opening, open_intervals
from wellio.practice.wall_clock import day_bounds

PeriodName = Literal[
    "today", "this_week", "this_month", "this_year", "last_week", "last_month", "last_7_days", "last_30_days",
    "last_90_days",
]  # fmt: skip
DAY = timedelta(days=1)
BEGIN_OF: Mapping[str, Callable[[date], date]] = {
    "week": lambda day: day - day.weekday() * DAY,
    "month": lambda day: day.replace(day=1),
    "year": lambda day: day.replace(month=1, day=1),
}
# As many from the begin of one are in the next.
UNIT_DAYS: Mapping[str, int] = {"week": 7, "month": 32, "year": 366}
AHEAD_DAYS = 366
ROLLING_DAYS: Mapping[str, int] = {"today": 1, "last_7_days": 7, "last_30_days": 30, "last_90_days": 90}


class Span(NamedTuple):
    """Local dates, half-open."""

    first: date
    end: date

    def instants(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """From the first instant of the first day; days have 23 or 25 hours where clocks change."""
        return day_bounds(zone, self.first)[0], day_bounds(zone, self.end)[0]


def spans_of(period: PeriodName, today: date) -> tuple[Span, Span, Span]:
    """The period, the one before, and the one before that.

    Those that are not over run through today, and are compared with as many days from the beginning of the one before.
    """
    if period in ROLLING_DAYS:
        return preceded(Span(today - (ROLLING_DAYS[period] - 1) * DAY, today + DAY))
    manner, unit = period.split("_")
    begins = [BEGIN_OF[unit](today)]
    for _ in range(3):
        begins.append(BEGIN_OF[unit](begins[-1] - DAY))
    this, last, second, third = begins
    if manner == "last":
        return Span(last, this), Span(second, last), Span(third, second)
    days = today + DAY - this
    return Span(this, this + days), Span(last, min(last + days, this)), Span(second, min(second + days, last))


def preceded(span: Span) -> tuple[Span, Span, Span]:
    """With as many days right before, twice."""
    length = span.end - span.first
    before = Span(span.first - length, span.first)
    return span, before, Span(before.first - length, before.first)


def ahead_of(period: PeriodName | None, span: Span, today: date) -> Span | None:
    """What is to come: what is left of this week, month or year, the next days after rolling ones; of dates those that
    are not over, or else as many from today on. None more than a year ahead."""
    if period is None:
        first = max(span.first, today)
        end = span.end if span.end > today else today + (span.end - span.first)
    elif period in ROLLING_DAYS:
        first, end = today, today + ROLLING_DAYS[period] * DAY
    else:
        unit = period.partition("_")[2]
        first, end = today, BEGIN_OF[unit](BEGIN_OF[unit](today) + UNIT_DAYS[unit] * DAY)
    end = min(end, today + AHEAD_DAYS * DAY)
    return Span(first, end) if first < end else None


@dataclass(frozen=True, slots=True)
class Sessions:
    """By what became of them; `open` are those to come or under way. Those that are only held do not count."""

    total: int = 0
    open: int = 0
    completed: int = 0
    no_show: int = 0
    cancelled: int = 0
    late_cancelled: int = 0
    cancelled_by_coach: int = 0


@dataclass(frozen=True, slots=True)
class CurrencyAmount:
    currency: str
    net_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is counted of one coach or of all, in one period. `retained`: active clients who were active before too;
    `active_before`: of how many. `booked_minutes`: of sessions that were not cancelled; `open_minutes`: of hours."""

    sessions: Sessions = Sessions()
    attended: int = 0
    missed: int = 0
    late: int = 0
    active_clients: int = 0
    new_clients: int = 0
    retained: int = 0
    active_before: int = 0
    revenue: Mapping[str, int] | None = None
    booked_minutes: int = 0
    open_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """`attendance_rate` and `no_show_rate` are of the places that were booked and not cancelled in time; each
    participant of a group counts. `retention_rate`: how many of the clients active in the period before are active.
    `utilisation`: booked of open minutes, above 1 where more was booked than the hours allow."""

    sessions: Sessions
    attendance_rate: float | None
    no_show_rate: float | None
    active_clients: int
    new_clients: int
    retention_rate: float | None
    revenue: Sequence[CurrencyAmount]
    booked_minutes: int
    open_minutes: int
    utilisation: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """The figure minus that of the period before; of rates in parts of 1, null where either is."""

    sessions: Sessions
    attendance_rate: float | None
    no_show_rate: float | None
    active_clients: int
    new_clients: int
    retention_rate: float | None
    revenue: Sequence[CurrencyAmount]
    booked_minutes: int
    open_minutes: int
    utilisation: float | None


def figures_of(counts: Counts, currency: str) -> Figures:
    """`currency`: the practice's, which comes first in `revenue` and is there with nothing in it, too."""
    expected = counts.attended + counts.missed + counts.late
    revenue = dict(counts.revenue or {})
    amounts = [CurrencyAmount(currency, revenue.pop(currency, 0))]
    return Figures(
        sessions=counts.sessions,
        attendance_rate=rate(counts.attended, expected),
        no_show_rate=rate(counts.missed, expected),
        active_clients=counts.active_clients,
        new_clients=counts.new_clients,
        retention_rate=rate(counts.retained, counts.active_before),
        revenue=[*amounts, *(CurrencyAmount(*each) for each in sorted(revenue.items()))],
        booked_minutes=counts.booked_minutes,
        open_minutes=counts.open_minutes,
        utilisation=rate(counts.booked_minutes, counts.open_minutes),
    )


def change_of(now: Figures, before: Figures) -> Change:
    minor = {each.currency: each.net_minor for each in now.revenue}
    for each in before.revenue:
        minor[each.currency] = minor.get(each.currency, 0) - each.net_minor
    parts = {f.name: getattr(now.sessions, f.name) - getattr(before.sessions, f.name) for f in fields(Sessions)}
    return Change(
        sessions=Sessions(**parts),
        attendance_rate=_difference(now.attendance_rate, before.attendance_rate),
        no_show_rate=_difference(now.no_show_rate, before.no_show_rate),
        active_clients=now.active_clients - before.active_clients,
        new_clients=now.new_clients - before.new_clients,
        retention_rate=_difference(now.retention_rate, before.retention_rate),
        revenue=[CurrencyAmount(*each) for each in minor.items()],
        booked_minutes=now.booked_minutes - before.booked_minutes,
        open_minutes=now.open_minutes - before.open_minutes,
        utilisation=_difference(now.utilisation, before.utilisation),
    )


def open_minutes(openings: Iterable[Opening], first: datetime, end: datetime) -> int:
    """Elapsed minutes in [first, end) at which coaches can be booked by their hours, without what is booked."""
    seconds = sum(
        (until - since).total_seconds() for opening in openings for since, until in open_intervals(opening, first, end)
    )
    return round(seconds / 60)


def rate(part: int, of: int) -> float | None:
    return round(part / of, 4) if of else None


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else round(now - before, 4)
