"""Revenue by its level: what comes in on a usual day, the season, and how far off that may be. Pure.

Money is in any one unit, as floats; `daily` [d] is the net of each day, oldest first, the last day before the
forecast's first. `periods` [p, 2] are half-open, in days from the forecast's first: the next seven days are [0, 7).

Small practices earn in lumps. On weekly revenue no trend and no automatic model beats a level by more than a few
percent, and trends are harmful; so the level is a mean, half of it hastened. Intervals are Student's t on the log
scale, with a spread that is shrunk: what a short history shows of its spread is mostly chance.
"""

from dataclasses import dataclass

import numpy as np

from wellio.learning.features import Floats

WEEK = 7
LEVEL_DAYS = 112  # of the mean
HALF_LIFE_WEEKS = 8.0  # of the mean that is hastened
MONTH = 28
YEAR = 365  # days: a month is then itself a year ago, but for a leap day
SEASON_DAYS = 456  # fifteen months: the season is a year's, and its ratio needs a quarter of each year
RATIO_BOUNDS = (0.5, 2.0)

PRIOR_VARIATION = 1.0  # of a week's revenue: its standard deviation over the mean
PRIOR_WEEKS = 1.0  # what that counts for
BY_DAY_WEEKS = 8.0  # what the spread of days counts for
SPREAD_WEEKS = 26  # the latest that tell of the spread
LEVEL_VARIATION = 0.1  # a level is not quite what was seen ...
MONTHLY_VARIATION = 0.2  # ... and moves on each month, as a random walk does
LEAST_FREEDOM = 6.0
FREEDOM_PER_WEEK = 0.25
OFFSET = 0.2  # of the point and its relative variance, added before the logarithm: the lumpier, the likelier nothing
FLOOR = 0.25  # of the long-run level: where nothing is expected, the interval still has a width


def by_level(daily: Floats, periods: Floats) -> Floats:
    """Expected revenue by period [p]. From fifteen months on half of it is last year's, as years compare lately."""
    days = periods[:, 1] - periods[:, 0]
    expected: Floats = max(level(daily), 0.0) * days
    if len(daily) < SEASON_DAYS:
        return expected
    last_year = np.array([_a_year_before(daily, start, end) for start, end in periods])
    seasonal = np.maximum(last_year, 0.0) * days * _year_on_year(daily)
    found: Floats = np.where(np.isnan(seasonal), expected, 0.5 * expected + 0.5 * seasonal)
    return found


def level(daily: Floats) -> float:
    """Revenue of a day: half the mean of the last twelve weeks, half one that favours the latest."""
    if not len(daily):
        return 0.0
    weeks = weekly(daily)
    if not len(weeks):
        return float(daily.mean())
    weights = 0.5 ** (np.arange(len(weeks))[::-1] / HALF_LIFE_WEEKS)
    hastened = float(weights @ weeks / weights.sum()) / WEEK
    return 0.5 * float(daily[-LEVEL_DAYS:].mean()) + 0.5 * hastened


def weekly(daily: Floats) -> Floats:
    """Revenue of whole weeks, the last of which ends with the history."""
    weeks = len(daily) // WEEK
    found: Floats = daily[len(daily) - weeks * WEEK :].reshape(weeks, WEEK).sum(axis=1)
    return found


def _a_year_before(daily: Floats, start: float, end: float) -> float:
    """Mean of a day a year before the period, of four weeks at least; NaN where that is not in the history."""
    wider = max(MONTH - (end - start), 0.0) / 2.0
    first, last = (len(daily) - YEAR + round(at) for at in (start - wider, end + wider))
    return float(daily[first:last].mean()) if 0 <= first < last <= len(daily) else float("nan")


def _year_on_year(daily: Floats) -> float:
    """The last twelve weeks over the same a year before, within bounds."""
    now, before = daily[-LEVEL_DAYS:].sum(), daily[-LEVEL_DAYS - YEAR : -YEAR].sum()
    ratio = now / before if before > 0.0 else 1.0
    return float(np.clip(ratio, *RATIO_BOUNDS))


@dataclass(frozen=True, slots=True)
class Spread:
    """`variation`: of a week's revenue around its level, squared; `weeks` the level rests on; `freedom`: Student's."""

    variation: float
    weeks: float
    freedom: float


def spread_of(daily: Floats) -> Spread:
    """The relative variance of a week's revenue: that of the weeks seen, shrunk to what it were if days came by
    themselves, of which there are seven times as many to tell, and a little to the prior."""
    weeks = weekly(daily)[-SPREAD_WEEKS:]
    days = daily[len(daily) - len(weeks) * WEEK :]
    mean = float(np.abs(weeks).mean()) if len(weeks) else 0.0
    variation = PRIOR_VARIATION**2
    if mean > 0.0:
        parts = (
            PRIOR_WEEKS * variation,
            BY_DAY_WEEKS * WEEK * float(days.var()) / mean**2,
            float(weeks.var()) / mean**2,
        )
        variation = (parts[0] + parts[1] + len(weeks) * parts[2]) / (PRIOR_WEEKS + BY_DAY_WEEKS + len(weeks))
    return Spread(
        variation=variation,
        weeks=min(len(daily), LEVEL_DAYS) / WEEK,
        freedom=LEAST_FREEDOM + FREEDOM_PER_WEEK * len(daily) / WEEK,
    )


def deviations(spread: Spread, periods: Floats) -> Floats:
    """Standard deviation of the logarithm of a period's revenue [p]: its own lumps, those of the weeks that the level
    was seen in, and how far the level moves until then. Of a lognormal with that relative variance."""
    weeks = np.maximum(periods[:, 1] - periods[:, 0], 1.0) / WEEK
    months = (periods[:, 0] + periods[:, 1]) / 2.0 / 30.4
    lumps = spread.variation / weeks + spread.variation / max(spread.weeks, 1.0)
    found: Floats = np.sqrt(np.log1p(lumps + LEVEL_VARIATION**2 + MONTHLY_VARIATION**2 * months))
    return found


def interval(point: Floats, scale: Floats, deviation: Floats, freedom: float, coverage: float) -> tuple[Floats, Floats]:
    """Bounds [p] that hold so large a share, around the points [p]; never below nothing. `scale` [p] is at least the
    point, and gives the width."""
    reach = student(freedom, coverage) * deviation
    whole = scale * (1.0 + OFFSET * np.expm1(deviation**2))
    low = np.maximum(point + whole * np.expm1(-reach), 0.0)
    high = point + whole * np.expm1(reach)
    return np.minimum(low, point), high


def scale_of(daily: Floats, periods: Floats, point: Floats) -> Floats:
    """The points, or where they are less, a part of what the whole history would let expect [p]."""
    usual = max(float(daily.mean()), 0.0) if len(daily) else 0.0
    return np.maximum(point, FLOOR * usual * (periods[:, 1] - periods[:, 0]))


NORMAL = {0.8: 1.2815515655446004, 0.95: 1.959963984540054}


def student(freedom: float, coverage: float) -> float:
    """Quantile of Student's t for a two-sided `coverage` of .8 or .95: within .002 from six degrees of freedom on
    (Abramowitz & Stegun 1964, 26.7.5)."""
    z = NORMAL[coverage]
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return z + first / freedom + second / freedom**2 + third / freedom**3
