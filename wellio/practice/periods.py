"""Periods of a subscription: dates only, without I/O.

Period n begins n intervals after the first day. A month that is too short for the day takes its last one, and the next
takes the day again: 31 January, 28 February, 31 March.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Literal, NamedTuple

Interval = Literal["week", "month", "year"]
MONTHS: dict[Interval, int] = {"month": 1, "year": 12}


class Period(NamedTuple):
    """Half-open: `end` is the first day of the next."""

    number: int
    start: date
    end: date


def period_start(starts_on: date, interval: Interval, number: int) -> date:
    if interval == "week":
        return starts_on + timedelta(weeks=number)
    months = starts_on.month - 1 + number * MONTHS[interval]
    year, month = starts_on.year + months // 12, months % 12 + 1
    return date(year, month, min(starts_on.day, monthrange(year, month)[1]))


def periods_due(starts_on: date, interval: Interval, *, first: int, today: date) -> Iterator[Period]:
    """From number `first` on, those that have begun by `today`."""
    number, start = first, period_start(starts_on, interval, first)
    while start <= today:
        end = period_start(starts_on, interval, number + 1)
        yield Period(number, start, end)
        number, start = number + 1, end


def first_from(starts_on: date, interval: Interval, day: date) -> int:
    """The number of the first period that begins on `day` or later."""
    number = 0
    if day > starts_on:
        passed = (day - starts_on).days // 7
        if interval != "week":
            passed = ((day.year - starts_on.year) * 12 + day.month - starts_on.month) // MONTHS[interval]
        number = max(0, passed - 1)
    while period_start(starts_on, interval, number) < day:
        number += 1
    return number
