"""Forecasts at work on a history: again and again from a later day on, each with what was known by then."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from wellio.evaluate.revenue_files import RevenueFile, Series, Visits
from wellio.evaluate.revenue_rivals import METHODS, Told, seasonal
from wellio.evaluate.telling import Progress
from wellio.learning.features import Floats
from wellio.learning.forecast import bounds_of, expect, nothing_known
from wellio.learning.forecast_clients import DECAY, Book, by_arrivals, by_clients, pool
from wellio.learning.forecast_level import NORMAL, WEEK, by_level

WELLIO, TOP_DOWN, BOTTOM_UP = "wellio", "top_down", "bottom_up"
SEASONAL = "seasonal_naive"


@dataclass(frozen=True, slots=True)
class Units:
    """Whole weeks or months of the file: where they begin in days, and the end of the last [u + 1]; how many a year."""

    edges: NDArray[np.int64]
    a_year: int


@dataclass(frozen=True, slots=True)
class Terms:
    """In units: what is known at least, and at most (None: all), how far ahead is asked; and if rivals are, too."""

    history: int
    at_most: int | None
    horizon: int
    warmup: int
    rivals: bool


@dataclass(slots=True)
class Answers:
    """Forecasts [n], each of units ahead [h]. `scale` [n]: mean change from unit to unit in the history before, by
    which errors are measured; `points` [n, h] and `bounds` [n, 4, h] (low and high of 80 %, of 95 %) by model, NaN
    where it had no answer. `skipped`: not asked, since there is no change to measure by."""

    series: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    actual: list[Floats] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    points: dict[str, list[Floats]] = field(default_factory=dict)
    bounds: dict[str, list[Floats]] = field(default_factory=dict)
    skipped: int = 0

    def add(self, model: str, points: Floats, bounds: Floats) -> None:
        self.points.setdefault(model, []).append(points)
        self.bounds.setdefault(model, []).append(bounds)


def weeks_of(file: RevenueFile) -> Units:
    """From Monday to Sunday."""
    days = len(file.series[0].daily)
    return Units(np.arange((-file.first.weekday()) % WEEK, days + 1, WEEK), 52)


def months_of(file: RevenueFile) -> Units:
    end = file.first + timedelta(days=len(file.series[0].daily))
    first = file.first if file.first.day == 1 else _next_month(file.first)
    edges = []
    while first <= end:
        edges.append((first - file.first).days)
        first = _next_month(first)
    return Units(np.array(edges, np.int64), 12)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def answer(file: RevenueFile, units: Units, terms: Terms, progress: Progress) -> Answers:
    """Of each series, from each unit on."""
    answers = Answers()
    for number, series in enumerate(file.series):
        for at, begin in _origins(series, units, terms):
            _answer_at(answers, number, series, units, terms, at, begin)
        progress(number)
    return answers


def _origins(series: Series, units: Units, terms: Terms) -> Iterator[tuple[int, int]]:
    """The first unit asked for, and that in which the series begins."""
    begin = max(int(np.searchsorted(units.edges, series.begin, "right")) - 1, 0)
    for at in range(begin + max(terms.history, terms.warmup), len(units.edges) - terms.horizon):
        yield at, begin


def _answer_at(answers: Answers, number: int, series: Series, units: Units, terms: Terms, at: int, begin: int) -> None:
    edges = units.edges
    known = at - terms.history if terms.at_most is None else max(begin, at - terms.at_most)
    values = np.add.reduceat(series.daily[: edges[-1]], edges[:-1]) if len(edges) > 1 else np.zeros(0)
    history = values[known:at]
    scale = float(np.abs(np.diff(history)).mean())
    if scale <= 0.0:
        answers.skipped += 1
        return
    answers.series.append(number)
    answers.at.append(int(edges[at]))
    answers.scale.append(scale)
    answers.actual.append(values[at : at + terms.horizon])
    periods = (np.stack([edges[at : at + terms.horizon], edges[at + 1 : at + terms.horizon + 1]], axis=1)).astype(float)
    daily = series.daily[edges[begin if terms.at_most is None else known] : edges[at]]
    _forecast(answers, daily, series.visits, int(edges[at]), periods - edges[at])
    if terms.rivals:
        told: dict[str, Told | None] = {name: method(history, terms.horizon) for name, method in METHODS.items()}
        told[SEASONAL] = seasonal(values[begin:], at - begin, terms.horizon, units.a_year)
        for name, one in told.items():
            _add_rival(answers, name, one, terms.horizon)


def _forecast(answers: Answers, daily: Floats, visits: Visits | None, day: int, periods: Floats) -> None:
    """The product's, and what it is an average of."""
    book = None if visits is None else book_at(visits, day)
    known = nothing_known(0 if book is None else len(book.visits), len(periods))
    points = np.add(*expect(daily, book, known, periods))
    answers.add(WELLIO, points, bounds_of(daily, known, periods, points))
    none = np.full((4, len(periods)), np.nan)
    answers.add(TOP_DOWN, by_level(daily, periods), none)
    if book is not None:
        pooled = pool(book, float(day))
        existing = by_clients(book, pooled, periods).sum(axis=0)
        answers.add(BOTTOM_UP, existing + by_arrivals(pooled, periods), none)


def book_at(visits: Visits, day: int) -> Book:
    """Clients who have paid by the day with that index."""
    until = int(np.searchsorted(visits.day, day))
    client, ago, amount = visits.client[:until], day - visits.day[:until].astype(float), visits.amount[:until]
    paid = amount > 0.0
    count = np.bincount(client[paid], minlength=visits.clients).astype(float)
    net: Floats = np.bincount(client, weights=amount, minlength=visits.clients).astype(float)
    first, last = np.zeros(visits.clients), np.full(visits.clients, np.inf)
    np.maximum.at(first, client[paid], ago[paid])
    np.minimum.at(last, client[paid], ago[paid])
    decayed = np.bincount(client[paid], weights=np.exp(-DECAY * ago[paid]), minlength=visits.clients)
    some = count > 0.0
    return Book(
        visits=count[some],
        first=first[some],
        last=last[some],
        recent=np.maximum(decayed[some] - np.exp(-DECAY * first[some]), 0.0),
        paid=net[some],
        ended=np.zeros(int(some.sum()), bool),
    )


def _add_rival(answers: Answers, name: str, told: Told | None, horizon: int) -> None:
    if told is None:
        answers.add(name, np.full(horizon, np.nan), np.full((4, horizon), np.nan))
        return
    reach: Sequence[Floats] = [z * told.deviation for z in NORMAL.values()]
    answers.add(name, told.point, np.array([told.point + sign * r for r in reach for sign in (-1.0, 1.0)]))
