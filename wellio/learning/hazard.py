"""P(stays away for a horizon) as the chance of week after week without a return: a discrete-time survival model.

Whether somebody came back within a week is known after that week, not a horizon later: this member learns sudden change
first. A question gives one example for each week its client was still silent at the start of; the chance of a return in
week k after asking is sigmoid(z · weights + level of k), with a level of its own for the first week of somebody just
seen. A week is learnt when it is over, whether they returned in it or not (see `questions.py`).

Learnt by one Newton step a Monday on all weeks that ended (the recursive estimator of Fahrmeir & Wagenpfeil 1997); what
was learnt before weighs by `KEEP` less with each week of new examples.
"""

import math

import numpy as np
from numpy.typing import NDArray

from wellio.learning.features import NAMES, Floats
from wellio.learning.model import Scaler

WEEK_DAYS = 7.0
LEVELS = 8  # weeks with a level of their own; later ones share the last
KEEP = 0.75  # of what was learnt, per week: half of it is from the last two or three
LONG = 5_000  # examples: where there are fewer in four weeks, so many are remembered
PRIOR = 40.0  # information about each weight before any example
LEVEL_PRIOR = 5.0
FIRST_LEVEL = -2.0
ENOUGH = 200  # examples to be heard
_MOST = 12.0  # log-odds of a week

_JUST_ACTED = NAMES.index("just_acted")


class WeeklyHazard:
    """`weights` [d + LEVELS + 1]: of the standardised features, of each week, of the first week of the just seen."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.scaler = Scaler(width)
        self.weights = np.zeros(width + LEVELS + 1)
        self.weights[width : width + LEVELS] = FIRST_LEVEL
        self._prior = np.diag([PRIOR] * width + [LEVEL_PRIOR] * (LEVELS + 1))
        self.information = self._prior.copy()
        self.week = 0.0  # the latest Monday learnt, unix seconds
        self.seen = 0.0  # examples since what was learnt last faded
        self.total = 0.0
        # By horizon, until the weights change: what `_weeks` gives.
        self._arrays: dict[float, tuple[Floats, Floats]] = {}
        self._lists: dict[float, list[tuple[float, float]]] = {}

    def start(self, monday: float) -> "Pass":
        """The week before `monday` is to be learnt: give its examples, then `finish`."""
        if monday > self.week:
            keep = max(KEEP, 1.0 - self.seen / LONG)
            self.information = self._prior + keep * (self.information - self._prior)
            self.week, self.seen = monday, 0.0
        return Pass(self)

    def finish(self, learnt: "Pass") -> None:
        if learnt.count:
            self.information += learnt.information
            self.weights += np.linalg.solve(self.information, learnt.gradient)
            self.seen += learnt.count
            self.total += learnt.count
            self._arrays.clear()
            self._lists.clear()

    def standardise(self, x: Floats) -> Floats:
        return self.scaler.standardise(x)

    def score(self, z: Floats) -> float:
        """Of one question [d]: a quarter of the time."""
        return float(self.weights[: self.width].dot(z))

    def scores(self, z: Floats) -> Floats:
        """z [n, d] to [n]; einsum rather than BLAS, whose threads may sum otherwise."""
        out: Floats = np.einsum("ij,j->i", z, self.weights[: self.width])
        return out

    def logits(self, scores: Floats, just_acted: Floats, horizon_days: float) -> Floats:
        """Log-odds of staying away for the horizon [n].

        A week that no question of this horizon sees to its end is taken to be like the one before.
        """
        levels, parts = self._weeks(horizon_days)
        weeks = scores[:, None] + levels
        weeks[:, 0] += self.weights[-1] * just_acted
        weeks = np.log1p(np.exp(np.minimum(np.maximum(weeks, -_MOST), _MOST)))
        log_stays = -np.einsum("ij,j->i", weeks, parts)
        out: Floats = log_stays - np.log(-np.expm1(log_stays))
        return out

    def logit(self, score: float, just_acted: float, horizon_days: float) -> float:
        """Of one question: a fifth of the time."""
        weeks = self._lists.get(horizon_days)
        if weeks is None:
            levels, parts = self._weeks(horizon_days)
            weeks = self._lists[horizon_days] = list(zip(levels.tolist(), parts.tolist(), strict=True))
        exp, log1p = math.exp, math.log1p
        extra = float(self.weights[-1]) * just_acted
        log_stays = 0.0
        for level, part in weeks:
            logit = score + level + extra
            if not -_MOST < logit < _MOST:
                logit = math.copysign(_MOST, logit)
            extra = 0.0
            log_stays -= part * log1p(exp(logit))
        return log_stays - math.log(-math.expm1(log_stays))

    def _weeks(self, horizon_days: float) -> tuple[Floats, Floats]:
        """Levels of the weeks of a horizon, and how much of each belongs to it."""
        found = self._arrays.get(horizon_days)
        if found is not None:
            return found
        whole = int(horizon_days // WEEK_DAYS)
        levels = np.minimum(np.arange(whole + 1), min(max(whole, 1), LEVELS) - 1)
        parts = np.ones(whole + 1)
        parts[-1] = horizon_days / WEEK_DAYS - whole
        found = self._arrays[horizon_days] = self.weights[self.width + levels], parts
        return found


class Pass:
    """What one Monday's examples say: their information and gradient at the weights before."""

    def __init__(self, model: WeeklyHazard) -> None:
        self._model = model
        self.information = np.zeros_like(model.information)
        self.gradient = np.zeros_like(model.weights)
        self.count = 0

    def add(self, x: Floats, week: NDArray[np.int64], returned: NDArray[np.bool_]) -> None:
        """Examples: features [n, d], `week` after asking [n], whether its client returned in it [n]."""
        width, scaler = self._model.width, self._model.scaler
        if (new := week == 0).any():
            scaler.learn(x[new])
        design = np.zeros((len(x), width + LEVELS + 1))
        design[:, :width] = scaler.standardise(x)
        design[np.arange(len(x)), width + np.minimum(week, LEVELS - 1)] = 1.0
        design[:, -1] = np.where(new, x[:, _JUST_ACTED], 0.0)
        logits = np.minimum(np.maximum(np.einsum("ij,j->i", design, self._model.weights), -_MOST), _MOST)
        p = 1.0 / (1.0 + np.exp(-logits))
        self.gradient += np.einsum("ij,i->j", design, returned - p)
        self.information += (design * (p * (1.0 - p))[:, None]).T @ design
        self.count += len(x)
