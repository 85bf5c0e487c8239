"""P(stays away for a horizon) from the counts of a whole population: a member that needs no labels.

Clients come at a rate that is Gamma(r, alpha) among them and leave for good after a visit with a chance that is
Beta(a, b): the BG/NBD of Fader, Hardie & Lee (2005), "Counting your customers the easy way". From a client's visits
after the first, x, the days from the first visit to the last, t, and from the first until now, T, it gives the chance
that they are still there and, if they are, of no visit in the next h days.

The four parameters follow all clients' counts, by scoring steps with the scores' outer product (Berndt, Hall, Hall &
Hausman 1974) each Monday.
"""

import math
from collections.abc import Sequence

import numpy as np

from wellio.learning.features import NAMES, SCALAR, VECTOR, Floats, Maths, V

START = (0.0, math.log(30.0), 0.0, math.log(3.0))  # logarithms of r, alpha (days), a, b
LEAST, MOST = -7.0, 9.0  # of the logarithms
KEEP = 0.7
PRIOR = 10.0  # information about each logarithm before any client
STEP = 0.5  # at most, of a logarithm, a Monday
ENOUGH = 50.0  # clients to be heard
SAMPLE = 1000  # clients of a practice, a Monday
FLOOR = 1e-6

_SILENT, _VISITS, _TENURE = NAMES.index("silent_log"), NAMES.index("visits"), NAMES.index("tenure")


class CountingModel:
    def __init__(self) -> None:
        self.logs = np.array(START)
        self.information = np.eye(4) * PRIOR
        self.week = 0.0  # the latest Monday learnt, unix seconds
        self.most = 0.0  # clients learnt from at once

    def learn(self, monday: float, visits: Floats, first_to_last: Floats, first_to_now: Floats) -> None:
        """One step on clients [n] with at least one visit; days."""
        if monday > self.week:
            prior = np.eye(4) * PRIOR
            self.information = prior + KEEP * (self.information - prior)
            self.week = monday
        scores = _scores(self.logs, visits - 1.0, first_to_last, first_to_now)
        self.information += np.einsum("ij,ik->jk", scores, scores)
        step = np.linalg.solve(self.information, scores.sum(axis=0))
        self.logs = np.clip(self.logs + np.clip(step, -STEP, STEP), LEAST, MOST)
        self.most = max(self.most, float(len(visits)))

    def logits(self, x: Floats, horizon_days: float) -> Floats:
        """Log-odds of staying away for the horizon; x [n, COUNT] to [n]."""
        return _log_odds(x[:, _VISITS], x[:, _TENURE], x[:, _SILENT], horizon_days, np.exp(self.logs).tolist(), VECTOR)

    def logit(self, x: Sequence[float], horizon_days: float) -> float:
        """Of one question."""
        return self.logits_of([x], horizon_days)[0]

    def logits_of(self, figures: Sequence[Sequence[float]], horizon_days: float) -> list[float]:
        """Of a few questions, one by one."""
        parameters = [math.exp(log) for log in self.logs.tolist()]
        return [_log_odds(x[_VISITS], x[_TENURE], x[_SILENT], horizon_days, parameters, SCALAR) for x in figures]


def _log_odds(visits: V, tenure: V, silent: V, horizon: float, parameters: Sequence[float], m: Maths[V]) -> V:
    """From the features, which are logarithms of one more: equations 7 and 8, with the first visit not counted."""
    r, alpha, a, b = parameters
    count = m.most(m.exp(visits) - 2.0, 0.0)
    age = m.most(m.exp(tenure) - 1.0, 0.0)
    last = m.most(age - m.exp(silent) + 1.0, 0.0)
    shape = count + r
    gone = m.log(a / (m.most(count, 1.0) + (b - 1.0))) + shape * m.log((age + alpha) / (last + alpha))
    # Nobody leaves before the first return. Features in half precision leave a count of none a little off zero.
    odds = m.exp(m.least(gone, 700.0)) * m.least(m.most(count * 10.0 - 1.0, 0.0), 1.0)
    comes = (1.0 - m.exp(shape * m.log((age + alpha) / (age + (alpha + horizon))))) / (odds + 1.0)
    comes = m.least(m.most(comes, FLOOR), 1.0 - FLOOR)
    return m.log((1.0 - comes) / comes)


def _scores(logs: Floats, count: Floats, last: Floats, age: Floats) -> Floats:
    """Derivatives of each client's log-likelihood (equation 6) by the four logarithms, [n, 4]."""
    r, alpha, a, b = np.exp(logs).tolist()
    shape = r + count
    odds = np.log(a / (b + np.maximum(count, 1.0) - 1.0)) + shape * np.log((alpha + age) / (alpha + last))
    gone = np.where(count > 0.0, 1.0 / (1.0 + np.exp(-np.clip(odds, -700.0, 700.0))), 0.0)
    now, then = alpha + age, alpha + last
    total, before = _digamma(a + b + count), _digamma(np.array([r, b, a + b]))
    by_r = _digamma(shape) - before[0] + np.log(alpha / now) + gone * np.log(now / then)
    by_alpha = r / alpha - shape / now + gone * shape * (1.0 / now - 1.0 / then)
    by_a = before[2] - total + gone / a
    by_b = _digamma(b + count) - total - before[1] + before[2] - gone / (b + np.maximum(count, 1.0) - 1.0)
    return np.stack([r * by_r, alpha * by_alpha, a * by_a, b * by_b], axis=1)


def _digamma(z: Floats) -> Floats:
    """Of z > 0: six steps up by the recurrence, then the asymptotic series (Abramowitz & Stegun 6.3.18)."""
    below = sum(1.0 / (z + i) for i in range(6))
    z = z + 6.0
    square = 1.0 / (z * z)
    out: Floats = np.log(z) - 0.5 / z - square * (1 / 12 - square * (1 / 120 - square / 252)) - below
    return out
