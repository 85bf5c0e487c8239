"""The slot engine: which starts of a session can be booked. One engine serves listing and booking, so that every slot
offered books, and for a client nothing else does.

Pure: what is open, taken and allowed comes in, instants go out. An instant is open when the wall clock of the coach
shows, at that instant, a time within the rules of that date. So a wall time that a change of clocks skips is never
offered, and one that it repeats is offered twice, as the two instants it is.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from wellio.practice.wall_clock import local_date, offset_segments

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)

# Minutes of a date's wall clock, half-open: (540, 720) is 09:00-12:00, and 1440 is the end of the day.
WallInterval = tuple[int, int]
# Half-open, aware, in UTC.
Interval = tuple[datetime, datetime]
# closed: not open, or not within notice, window and limits.
Verdict = Literal["free", "taken", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many sessions a coach takes in each local period; None: as many as fit. Weeks begin on Monday (ISO 8601)."""

    per_day: int | None = None
    per_week: int | None = None
    per_month: int | None = None
    per_year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """When a coach can be booked. `weekly` by ISO weekday (1 Monday … 7 Sunday); an override replaces that date's
    rules (no interval: closed); time off wins over both.

    `min_notice` is elapsed time; `min_notice_days` counts local dates (1: nothing today, all of tomorrow).
    """

    zone: ZoneInfo
    weekly: Mapping[int, Sequence[WallInterval]]
    overrides: Mapping[date, Sequence[WallInterval]] = field(default_factory=dict)
    time_off: Sequence[Interval] = ()
    increment_minutes: int = 30
    min_notice: timedelta = timedelta(0)
    min_notice_days: int = 0
    max_days_ahead: int = 60
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The session to be placed. Buffers stack with those of its neighbours; they may lie outside the opening."""

    duration: timedelta
    buffer_before: timedelta = timedelta(0)
    buffer_after: timedelta = timedelta(0)

    def busy_from(self, start: datetime) -> Interval:
        return start - self.buffer_before, start + self.duration + self.buffer_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the times are taken by. `busy`: the coach's, with their buffers; `attending`: those of the client who is
    to come, without. `counted`: the starts of the sessions that count towards the limits."""

    busy: Sequence[Interval] = ()
    attending: Sequence[Interval] = ()
    counted: Sequence[datetime] = ()


NOTHING_TAKEN = Taken()


def list_slots(
    opening: Opening, wanted: Wanted, taken: Taken, *, now: datetime, first: datetime, last: datetime
) -> list[datetime]:
    """Starts in [first, last), rising, in UTC."""
    free = _Free(opening, wanted, taken, now=now, first=first, last=last)
    return [start for start in _grid(opening, first, last) if free.at(start)]


def is_slot(opening: Opening, wanted: Wanted, taken: Taken, *, now: datetime, start: datetime) -> bool:
    """Whether listing would offer exactly that start."""
    return list_slots(opening, wanted, taken, now=now, first=start, last=start + MOMENT) != []


def is_free(opening: Opening, wanted: Wanted, taken: Taken, *, now: datetime, start: datetime) -> bool:
    """The same for who need not keep to the increments."""
    return _Free(opening, wanted, taken, now=now, first=start, last=start + MOMENT).at(start)


def place_series(
    opening: Opening | None, wanted: Wanted, taken: Taken, *, now: datetime, starts: Sequence[datetime]
) -> list[Verdict]:
    """What `is_free` says of each of rising `starts`, those before it that are free being taken already.

    Without an opening, and in the past (it records what was), only overlaps are refused.
    """
    busy, attending = _Disjoint(taken.busy), _Disjoint(taken.attending)
    allowed = _Allowed(opening, taken, now) if opening else None
    verdicts: list[Verdict] = []
    free_from: datetime | None = None
    for start in starts:
        end, (busy_from, busy_to) = start + wanted.duration, wanted.busy_from(start)
        if opening and allowed and start >= now and not (allowed.at(start) and _is_open(opening, start, end)):
            verdicts.append("closed")
            continue
        if (free_from and busy_from < free_from) or busy.touches(busy_from, busy_to) or attending.touches(start, end):
            verdicts.append("taken")
            continue
        verdicts.append("free")
        free_from = busy_to
        if allowed:
            allowed.count(start)
    return verdicts


def _is_open(opening: Opening, start: datetime, end: datetime) -> bool:
    return _Disjoint(_open_intervals(opening, start - DAY, end + DAY)).holds(start, end)


def open_intervals(opening: Opening, first: datetime, last: datetime) -> list[Interval]:
    """The parts of [first, last) that are open by the rules, whatever is taken."""
    found = _open_intervals(opening, first - DAY, last + DAY)
    return [(max(start, first), min(end, last)) for start, end in found if start < last and end > first]


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """The same times as disjoint intervals that do not touch, in order. Empty ones vanish."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def subtract(intervals: Iterable[Interval], holes: Sequence[Interval]) -> Iterator[Interval]:
    """What is left of disjoint `intervals`, in order, without `holes`, which are disjoint and in order."""
    for start, end in intervals:
        for hole_start, hole_end in holes:
            if hole_end <= start:
                continue
            if hole_start >= end:
                break
            if hole_start > start:
                yield start, hole_start
            start = hole_end
        if start < end:
            yield start, end


def instants_of(zone: ZoneInfo, day: date, wall: Sequence[WallInterval]) -> list[Interval]:
    """The instants of `day` at which the wall clock of `zone` shows a time within `wall`."""
    return merge(
        (max(begin, at(low)), min(end, at(high))) for begin, end, at in offset_segments(zone, day) for low, high in wall
    )


def _grid(opening: Opening, first: datetime, last: datetime) -> Iterator[datetime]:
    """The starts that the increments give, each date's intervals from their own beginning."""
    step = opening.increment_minutes * MINUTE
    for day in _dates(opening.zone, first, last):
        for start, end in _day_intervals(opening, day):
            skipped = max(0, -((start - first) // step))
            at = start + skipped * step
            while at < min(end, last):
                if at >= first:
                    yield at
                at += step


def _open_intervals(opening: Opening, first: datetime, last: datetime) -> list[Interval]:
    """Joined over midnights: a rule until 24:00 goes on into the next day's from 00:00."""
    by_day = (_day_intervals(opening, day) for day in _dates(opening.zone, first, last))
    return list(subtract(merge(interval for day in by_day for interval in day), merge(opening.time_off)))


def _day_intervals(opening: Opening, day: date) -> list[Interval]:
    wall = opening.overrides.get(day)
    if wall is None:
        wall = opening.weekly.get(day.isoweekday(), ())
    return _cached_instants(opening.zone, day, tuple(wall))


@lru_cache(maxsize=4096)
def _cached_instants(zone: ZoneInfo, day: date, wall: tuple[WallInterval, ...]) -> list[Interval]:
    return instants_of(zone, day, wall)


def _dates(zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[date]:
    day, end = local_date(zone, first), local_date(zone, last)
    while day <= end:
        yield day
        day += DAY


class _Free:
    """Whether a start in [first, last) is open, allowed and not taken."""

    def __init__(
        self, opening: Opening, wanted: Wanted, taken: Taken, *, now: datetime, first: datetime, last: datetime
    ) -> None:
        self._wanted = wanted
        self._open = _Disjoint(_open_intervals(opening, first - DAY, last + wanted.duration + DAY))
        self._busy, self._attending = _Disjoint(taken.busy), _Disjoint(taken.attending)
        self._allowed = _Allowed(opening, taken, now)

    def at(self, start: datetime) -> bool:
        end = start + self._wanted.duration
        return (
            self._open.holds(start, end)
            and self._allowed.at(start)
            and not self._busy.touches(*self._wanted.busy_from(start))
            and not self._attending.touches(start, end)
        )


class _Allowed:
    """Notice, window and limits, each compared where it is meant: instants by instants, dates by local dates."""

    def __init__(self, opening: Opening, taken: Taken, now: datetime) -> None:
        today = local_date(opening.zone, now)
        self._zone = opening.zone
        self._earliest = max(now, now + opening.min_notice)
        self._first_day = today + opening.min_notice_days * DAY
        self._last_day = today + opening.max_days_ahead * DAY
        self._limits = opening.limits
        self._counts: dict[tuple[object, ...], int] = {}
        for start in taken.counted:
            self.count(start)

    def count(self, start: datetime) -> None:
        for period, limit in self._periods(local_date(self._zone, start)):
            if limit is not None:
                self._counts[period] = self._counts.get(period, 0) + 1

    def at(self, start: datetime) -> bool:
        day = local_date(self._zone, start)
        return (
            start >= self._earliest
            and self._first_day <= day <= self._last_day
            and all(limit is None or self._counts.get(period, 0) < limit for period, limit in self._periods(day))
        )

    def _periods(self, day: date) -> tuple[tuple[tuple[object, ...], int | None], ...]:
        limits = self._limits
        return (
            (("day", day), limits.per_day),
            (("week", *day.isocalendar()[:2]), limits.per_week),
            (("month", day.year, day.month), limits.per_month),
            (("year", day.year), limits.per_year),
        )


class _Disjoint:
    """Intervals to look things up in."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        self._intervals = merge(intervals)
        self._starts = [start for start, _ in self._intervals]
        assert all(a[1] < b[0] for a, b in pairwise(self._intervals))

    def touches(self, start: datetime, end: datetime) -> bool:
        """Whether any of it lies within [start, end)."""
        at = bisect_right(self._starts, start) - 1
        if at >= 0 and self._intervals[at][1] > start:
            return True
        return at + 1 < len(self._starts) and self._starts[at + 1] < end

    def holds(self, start: datetime, end: datetime) -> bool:
        """Whether one of them covers [start, end)."""
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and end <= self._intervals[at][1]
