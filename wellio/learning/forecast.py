"""The revenue forecast: what is known to come, what else to expect, and between which bounds. Pure.

Booked sessions and due plans are known. Of the rest, what clients may be expected to pay beyond that (from the bottom
up, forecast_clients.py) is averaged with the level of past revenue (forecast_level.py). Everything is in minor units of
one currency; the parts add up to the point.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wellio.learning.features import Floats
from wellio.learning.forecast_clients import Book, by_arrivals, by_clients, pool
from wellio.learning.forecast_level import by_level, deviations, interval, scale_of, spread_of

MIN_DAYS = 56
BOTTOM_UP = 0.5  # of the average
KNOWN_VARIATION = 0.15  # how far off what is known may be, in parts of it


@dataclass(frozen=True, slots=True)
class Known:
    """Expected of booked sessions and of due plans [p], and of both by client of the book [n, p]."""

    booked: Floats
    recurring: Floats
    by_client: Floats


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one period. `point` is the sum of the four parts."""

    point: int
    low_80: int
    high_80: int
    low_95: int
    high_95: int
    booked: int
    recurring: int
    expected: int
    new: int


def nothing_known(clients: int, periods: int) -> Known:
    return Known(np.zeros(periods), np.zeros(periods), np.zeros((clients, periods)))


def expect(daily: Floats, book: Book | None, known: Known, periods: Floats) -> tuple[Floats, Floats]:
    """Beyond what is known, of existing clients and of new ones [p]. Without a book all is of existing ones."""
    certain = known.booked + known.recurring
    top_down = by_level(daily, periods)
    if book is None or not len(book.visits):
        return np.maximum(top_down - certain, 0.0), np.zeros(len(periods))
    pooled = pool(book, float(len(daily)))
    existing = np.maximum(by_clients(book, pooled, periods) - known.by_client, 0.0).sum(axis=0)
    new = by_arrivals(pooled, periods)
    rest = existing + new
    wanted = np.maximum(BOTTOM_UP * (certain + rest) + (1.0 - BOTTOM_UP) * top_down - certain, 0.0)
    share = np.divide(existing, rest, out=np.ones(len(periods)), where=rest > 0.0)
    return wanted * share, wanted * (1.0 - share)


def forecast(daily: Floats, book: Book | None, known: Known, periods: Floats) -> list[Forecast]:
    """By period. `daily` [d] and `periods` [p, 2] as in forecast_level.py."""
    parts = np.array([known.booked, known.recurring, *expect(daily, book, known, periods)])
    whole = np.rint(parts).astype(np.int64)
    bounds = bounds_of(daily, known, periods, parts.sum(axis=0))
    return [_forecast(whole[:, p].tolist(), bounds[:, p].tolist()) for p in range(len(periods))]


def bounds_of(daily: Floats, known: Known, periods: Floats, point: Floats) -> Floats:
    """Low and high of 80 %, then of 95 % [4, p]. What is known widens the interval little."""
    spread = spread_of(daily)
    certain = known.booked + known.recurring
    part = np.divide(certain, point, out=np.zeros(len(point)), where=point > 0.0)
    rest = np.expm1(deviations(spread, periods) ** 2)  # relative variances add, logarithms' do not
    deviation = np.sqrt(np.log1p((1.0 - part) ** 2 * rest + (part * KNOWN_VARIATION) ** 2))
    scale = scale_of(daily, periods, point)
    both = [interval(point, scale, deviation, spread.freedom, coverage) for coverage in (0.8, 0.95)]
    return np.array([bound for bounds in both for bound in bounds])


def _forecast(parts: Sequence[int], bounds: Sequence[float]) -> Forecast:
    booked, recurring, expected, new = parts
    point = sum(parts)
    low_80, high_80, low_95, high_95 = (round(bound) for bound in bounds)
    return Forecast(
        point=point,
        low_80=min(low_80, point),
        high_80=max(high_80, point),
        low_95=min(low_95, point),
        high_95=max(high_95, point),
        booked=booked,
        recurring=recurring,
        expected=expected,
        new=new,
    )
