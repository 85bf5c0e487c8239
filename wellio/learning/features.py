"""A question's features, from the state of its client.

One set of formulas for one client (floats, `SCALAR`) and for many (columns of float64, `VECTOR`): the two cannot drift
apart, and one client costs a tenth of what one-element arrays would.

With x gaps seen over T days, a client's visits as a Poisson process whose rate has a Gamma(a, b) prior give the
probability of s idle days in closed form, ((b + T) / (b + T + s)) ** (a + x): the Pareto (Lomax) law underneath
Pareto/NBD and BG/NBD (Schmittlein, Morrison & Colombo 1987; Fader, Hardie & Lee 2005). Its logarithm appears twice:
for the silence so far, and for the silence asked about.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from wellio.learning.clients import (
    ACTIVES,
    AMOUNT_SUM,
    AMOUNT_WEIGHT,
    ATTENDED,
    CANCELLED,
    DAY,
    FIRST,
    GAP_SQUARE,
    GAP_SUM,
    GAP_WEIGHT,
    LAST,
    LAST_AMOUNT,
    LAST_GAP,
    LATE_SUM,
    LATE_WEIGHT,
    LN2,
    LOGINS,
    MESSAGES,
    MISSED,
    OTHERS,
    PAYMENTS,
    RECENT_7,
    RECENT_30,
    RECENT_90,
    RECORDS,
    REFUNDS,
    SESSIONS,
    UNANSWERED,
    UPDATED,
    VISITS,
    WAITING,
)

Floats = NDArray[np.float64]
V = TypeVar("V", float, Floats)

# Each feature with the reason it is summed into.
FEATURES: tuple[tuple[str, str], ...] = (
    ("silent_log", "rhythm"),
    ("silent_root", "rhythm"),
    ("just_acted", "rhythm"),
    ("typical_gap", "rhythm"),
    ("gap_spread", "rhythm"),
    ("silent_to_typical", "rhythm"),
    ("silent_z", "rhythm"),
    ("idle_log_probability", "rhythm"),
    ("horizon_log_probability", "rhythm"),
    ("last_gap_to_typical", "rhythm"),
    ("visits_7", "engagement"),
    ("visits_90", "engagement"),
    ("visits_90_square", "engagement"),
    ("visits", "engagement"),
    ("actives_per_visit", "engagement"),
    ("share_active", "engagement"),
    ("share_sessions", "engagement"),
    ("share_messages", "engagement"),
    ("share_records", "engagement"),
    ("kinds", "engagement"),
    ("trend", "trend"),
    ("missed_rate", "attendance"),
    ("cancelled_rate", "attendance"),
    ("amount", "money"),
    ("last_amount", "money"),
    ("refunds", "money"),
    ("lateness", "money"),
    ("unanswered", "messages"),
    ("waiting", "messages"),
    ("tenure", "tenure"),
    ("horizon", "horizon"),
)
NAMES = tuple(name for name, _ in FEATURES)
GROUPS = tuple(dict.fromkeys(group for _, group in FEATURES))
COUNT = len(FEATURES)

PRIOR_GAPS = 1.0  # gaps' worth of the population in a client's typical gap
LEAST_LOG = -1000.0  # of a probability: what waits for its label is kept in half precision
PRIOR_VISITS = 1.0  # the gamma prior's shape a; its b is a typical gap per unit of a


@dataclass(frozen=True, slots=True)
class Norms:
    """What is usual in a practice: mean and variance of the log of a gap in days, mean of log1p(amount)."""

    log_gap: float
    gap_variance: float
    log_amount: float


@dataclass(frozen=True, slots=True)
class Maths(Generic[V]):
    log: Callable[[V], V]
    exp: Callable[[V], V]
    sqrt: Callable[[V], V]
    most: Callable[[V, float], V]
    least: Callable[[V, float], V]


SCALAR: Maths[float] = Maths(math.log, math.exp, math.sqrt, max, min)
VECTOR: Maths[Floats] = Maths(np.log, np.exp, np.sqrt, np.maximum, np.minimum)


def features_of(row: Sequence[float], now: float, norms: Norms, horizon: float) -> list[float]:
    """Features of one client's row at `now`, for the next `horizon` days: COUNT floats in the order of FEATURES."""
    return _features(row, now, norms, horizon, 1.0, SCALAR)


def features(rows: Floats, now: float, norms: Norms, horizon: float) -> Floats:
    """Features of many clients: rows float64[n, WIDTH] to float64[n, COUNT]."""
    if len(rows) == 1:
        return np.array([features_of(rows[0].tolist(), now, norms, horizon)])
    columns = list(np.ascontiguousarray(rows.T))
    return np.stack(_features(columns, now, norms, horizon, np.ones(len(rows)), VECTOR), axis=1)


def _features(c: Sequence[V], now: float, norms: Norms, horizon: float, one: V, m: Maths[V]) -> list[V]:
    log = m.log
    silent = m.most((now - c[LAST]) / DAY, 0.0)
    tenure = m.most((now - c[FIRST]) / DAY, 0.0)
    since = m.most((now - c[UPDATED]) / DAY, 0.0)
    month = m.exp(since * (-LN2 / 30.0))
    season = m.exp(since * (-LN2 / 90.0))
    week = c[RECENT_7] * m.exp(since * (-LN2 / 7.0))
    recent = c[RECENT_30] * month
    quarter = c[RECENT_90] * season
    visits_90 = log(quarter + 0.1)
    weight = c[GAP_WEIGHT] + PRIOR_GAPS
    log_typical = (c[GAP_SUM] + PRIOR_GAPS * norms.log_gap) / weight
    spread = m.sqrt((c[GAP_SQUARE] + PRIOR_GAPS * norms.gap_variance) / weight)
    typical = m.exp(log_typical)
    shape = c[VISITS] + PRIOR_VISITS
    rate_time = PRIOR_VISITS * math.exp(norms.log_gap) + m.most(tenure - silent, 0.0)
    total = (c[SESSIONS] + c[MESSAGES] + c[PAYMENTS] + c[LOGINS] + c[RECORDS] + c[OTHERS]) * month + 0.5
    sessions, messages, records = c[SESSIONS] * month, c[MESSAGES] * month, c[RECORDS] * month
    held = (c[ATTENDED] + c[MISSED] + c[CANCELLED]) * season + 2.0
    return [
        log(silent + 1.0),
        m.sqrt(silent),
        m.exp(m.least(silent * 2.0, 50.0) * -1.0),
        log_typical,
        spread,
        m.least(silent / typical, 20.0),
        (log(silent + 0.5) - log_typical) / (spread + 0.3),
        m.most(shape * log(rate_time / (rate_time + silent)), LEAST_LOG),
        m.most(shape * log((rate_time + silent) / (rate_time + silent + horizon)), LEAST_LOG),
        log(c[LAST_GAP] + 1.0) - log(typical + 1.0),
        log(week + 0.1),
        visits_90,
        visits_90 * visits_90,  # risk is flatter among the rare and the frequent than a line allows
        log(c[VISITS] + 1.0),
        log((c[ACTIVES] + 1.0) / (c[VISITS] + 1.0)),
        log((c[VISITS] + 1.0) / (tenure + 30.0)),
        sessions / total,
        messages / total,
        records / total,
        _effective_kinds(c),
        log((recent + 0.3) / (quarter + 0.9)),
        (c[MISSED] * season + 0.2) / held,
        (c[CANCELLED] * season + 0.2) / held,
        (c[AMOUNT_SUM] + norms.log_amount) / (c[AMOUNT_WEIGHT] + 1.0) - norms.log_amount,
        c[LAST_AMOUNT] - (c[AMOUNT_SUM] + norms.log_amount) / (c[AMOUNT_WEIGHT] + 1.0),
        log(c[REFUNDS] * season + 1.0),
        c[LATE_SUM] / (c[LATE_WEIGHT] + 1.0),
        log(c[UNANSWERED] + 1.0),
        log(c[WAITING] + 1.0),
        log(tenure + 1.0),
        one * math.log(horizon),
    ]


def _effective_kinds(c: Sequence[V]) -> V:
    """Inverse Simpson index of the categories' decayed counts: 1 for one kind, 6 for six in equal shares."""
    counts = (c[SESSIONS], c[MESSAGES], c[PAYMENTS], c[LOGINS], c[RECORDS], c[OTHERS])
    total = counts[0] + counts[1] + counts[2] + counts[3] + counts[4] + counts[5]
    square = counts[0] * counts[0] + counts[1] * counts[1] + counts[2] * counts[2]
    square = square + counts[3] * counts[3] + counts[4] * counts[4] + counts[5] * counts[5]
    # Counts that have decayed to next to nothing carry no more information than none; the rest keep their ratio.
    return (total * total + 1e-12) / (square + 1e-12)
