"""Simple methods of forecasting, each with the interval that is usual for it (Hyndman & Athanasopoulos 2021, 5.5).

They know the same units (weeks or months) of history as the forecast beside them, and no more; the seasonal one the
unit a year before, where there is one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from wellio.learning.features import Floats

SMOOTHING = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True, slots=True)
class Told:
    """Points [h], and the standard deviation of the normal distribution around each [h]."""

    point: Floats
    deviation: Floats


# Of a history [n], n >= 2, and how many units ahead.
Method = Callable[[Floats, int], Told]


def mean(history: Floats, ahead: int) -> Told:
    deviation = history.std(ddof=1) * np.sqrt(1.0 + 1.0 / len(history))
    return Told(np.full(ahead, history.mean()), np.full(ahead, deviation))


def last(history: Floats, ahead: int) -> Told:
    return Told(np.full(ahead, history[-1]), _rms(np.diff(history)) * np.sqrt(_steps(ahead)))


def drift(history: Floats, ahead: int) -> Told:
    """The line through the first and the last value."""
    n, steps = len(history), _steps(ahead)
    slope = (history[-1] - history[0]) / (n - 1)
    deviation = _rms(np.diff(history) - slope) * np.sqrt(steps * (1.0 + steps / (n - 1)))
    return Told(history[-1] + slope * steps, deviation)


def smoothed(history: Floats, ahead: int) -> Told:
    """Simple exponential smoothing from the first value, by the weight that would have done best."""
    level, squares = np.full(len(SMOOTHING), history[0]), np.zeros(len(SMOOTHING))
    for value in history[1:]:
        squares += (value - level) ** 2
        level += SMOOTHING * (value - level)
    best = int(np.argmin(squares))
    deviation = np.sqrt(squares[best] / (len(history) - 1))
    return Told(np.full(ahead, level[best]), deviation * np.sqrt(1.0 + (_steps(ahead) - 1.0) * SMOOTHING[best] ** 2))


METHODS: Mapping[str, Method] = {"mean": mean, "last": last, "drift": drift, "ses": smoothed}


def seasonal(whole: Floats, at: int, ahead: int, period: int) -> Told | None:
    """The values a period (a year) before those that follow place `at`; None before there are all of them."""
    if at < period or ahead > period:
        return None
    changes = whole[period:at] - whole[: at - period]
    deviation = _rms(changes) if len(changes) else whole[:at].std()
    return Told(whole[at - period : at - period + ahead], np.full(ahead, deviation))


def _steps(ahead: int) -> Floats:
    return np.arange(1.0, ahead + 1.0)


def _rms(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))
