"""What a file knows of a booking besides, its `x_` columns, as features: whatever they hold, and never too many.

A column of numbers becomes shares of the knots around each value, so that it may bend; one of few values, or of words,
becomes a yes or no for each of the most frequent. What they are is seen from the bookings made before any outcome was
known; no outcome is looked at. Each counts twice: for all bookings, and once more for those of the same day.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wellio.learning.attendance_features import hats

FEW = 12
KNOTS = 10
MAX_FEATURES = 80


@dataclass(frozen=True, slots=True)
class Column:
    """`knots` of numbers, else the `values` that are told apart."""

    at: int
    knots: Sequence[float] = ()
    values: Sequence[str] = ()

    @property
    def width(self) -> int:
        return len(self.knots) + 1 if self.knots else len(self.values)

    def features(self, text: str) -> list[float]:
        """Numbers: their shares, and whether there is none."""
        if not self.knots:
            return [float(text == value) for value in self.values]
        number = _number(text)
        return [*[0.0] * len(self.knots), 1.0] if number is None else [*hats(number, self.knots), 0.0]


@dataclass(frozen=True, slots=True)
class Columns:
    """`left_out`: names of those that were one too many."""

    kept: Sequence[Column]
    left_out: Sequence[str] = ()

    @property
    def width(self) -> int:
        return 2 * sum(column.width for column in self.kept)

    def features(self, texts: Sequence[str], *, same_day: bool) -> tuple[float, ...]:
        found = [value for column in self.kept for value in column.features(texts[column.at])]
        return (*found, *(found if same_day else [0.0] * len(found)))


def columns_of(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Columns:
    """From the texts [n][column] of bookings whose outcomes are not looked at."""
    kept: list[Column] = []
    left_out: list[str] = []
    for at, name in enumerate(names):
        column = _column(at, [row[at] for row in rows])
        if column is None:
            continue
        if sum(c.width for c in kept) + column.width > MAX_FEATURES:
            left_out.append(name)
        else:
            kept.append(column)
    return Columns(kept, left_out)


def _column(at: int, texts: Sequence[str]) -> Column | None:
    """None for one that says nothing."""
    counts = Counter(texts)
    if len(counts) < 2:
        return None
    numbers = sorted(number for text in texts if (number := _number(text)) is not None)
    if len(counts) > FEW and len(numbers) > 0.9 * len(texts):
        knots = sorted({numbers[round(i / (KNOTS - 1) * (len(numbers) - 1))] for i in range(KNOTS)})
        if len(knots) > 1:
            return Column(at, knots=knots)
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:FEW]
    return Column(at, values=[value for value, _ in frequent])


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
