"""Wall clocks: what a local time is as an instant, also where clocks change.

A wall time that is skipped is read with the offset before the gap, one that comes twice is its first instant
(RFC 5545, 3.3.5; PEP 495 with fold=0).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND = timedelta(seconds=1)

# Begin and end of a part of a day without change of clocks, and what turns its wall minutes into instants.
Segment = tuple[datetime, datetime, Callable[[int], datetime]]


def instant_of(zone: ZoneInfo, day: date, at: time) -> datetime:
    """The instant, in UTC."""
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)


def exists(zone: ZoneInfo, day: date, at: time) -> bool:
    """Whether clocks show that time on that day."""
    shown = instant_of(zone, day, at).astimezone(zone)
    return (shown.date(), shown.time()) == (day, at)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a wall clock shows, naive; `fold` 1: for the second time that day (PEP 495)."""

    wall: datetime
    fold: int = 0


def reading_of(zone: ZoneInfo, instant: datetime) -> Reading:
    local = instant.astimezone(zone)
    return Reading(local.replace(tzinfo=None, fold=0), local.fold)


def instant_read(zone: ZoneInfo, reading: Reading) -> datetime:
    """The instant, in UTC, at which the clock shows it; of a skipped time that of the offset before the gap."""
    return reading.wall.replace(tzinfo=zone, fold=0 if is_skipped(zone, reading.wall) else reading.fold).astimezone(UTC)


def is_skipped(zone: ZoneInfo, wall: datetime) -> bool:
    return not exists(zone, wall.date(), wall.time())


def local_date(zone: ZoneInfo, instant: datetime) -> date:
    return instant.astimezone(zone).date()


def day_bounds(zone: ZoneInfo, day: date) -> tuple[datetime, datetime]:
    """The first instant of a local date and that of the next, in UTC. Where midnight is skipped, the day begins after
    the gap; a day that is skipped whole (Apia, 2011-12-30) is empty."""
    return _begin(zone, day), _begin(zone, day + timedelta(days=1))


@lru_cache(maxsize=8192)
def _begin(zone: ZoneInfo, day: date) -> datetime:
    begin = instant_of(zone, day, time())
    if local_date(zone, begin) < day or not exists(zone, day, time()):
        return _transition(zone, begin - timedelta(days=1), begin + timedelta(days=1), begin)
    return begin


def _transition(zone: ZoneInfo, low: datetime, high: datetime, near: datetime) -> datetime:
    """The change of clocks between two instants whose offsets differ; `near` when there is none."""
    if low.astimezone(zone).utcoffset() == high.astimezone(zone).utcoffset():
        return near
    before = low.astimezone(zone).utcoffset()
    while high - low > SECOND:
        middle = low + ((high - low) // 2 // SECOND) * SECOND
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=8192)
def offset_segments(zone: ZoneInfo, day: date) -> tuple[Segment, ...]:
    """The parts of a local date between changes of clocks: one, or on the day of a change two."""
    begin, end = day_bounds(zone, day)
    if begin >= end:
        return ()
    if begin.astimezone(zone).utcoffset() == (end - SECOND).astimezone(zone).utcoffset():
        return (_segment(zone, day, begin, end),)
    change = _transition(zone, begin, end - SECOND, end)
    return _segment(zone, day, begin, change), _segment(zone, day, change, end)


def _segment(zone: ZoneInfo, day: date, begin: datetime, end: datetime) -> Segment:
    offset = begin.astimezone(zone).utcoffset() or timedelta(0)
    midnight = datetime.combine(day, time(), tzinfo=UTC) - offset
    return begin, end, lambda minutes: midnight + timedelta(minutes=minutes)
