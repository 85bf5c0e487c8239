"""Three models of the same question, averaged in log-odds by how well each did lately.

- `linear`: a logistic regression on the outcomes of whole horizons, by AdaGrad (`model.py`). Steady, but late.
- `hazard`: week after week, known a week later (`hazard.py`). Follows change.
- `counting`: the law of a population's visits (`counting.py`). Needs no outcomes, and knows the rare and the new.

What each adds to the log-odds is given by feature, exactly: the linear one's weight × standardised feature; of the
hazard, a function g of such a sum b, the same in proportion, g(b) - g(0) in all, which is the Aumann-Shapley value (the
integrated gradient, Sundararajan, Taly & Yan 2017) from the average client to this one; of the counting one, all of its
distance from what it says of the average client as rhythm, for it looks at nothing else.

Shares by exponentiated loss, none ever lost: Herbster & Warmuth (1998).
"""

import math
from itertools import compress
from typing import NamedTuple

import numpy as np

from wellio.learning import counting, hazard
from wellio.learning.counting import CountingModel
from wellio.learning.features import NAMES, Floats
from wellio.learning.hazard import WeeklyHazard
from wellio.learning.model import Intercept, OnlineLogistic, sigmoid, sigmoids

FIRST_SHARES = (0.35, 0.5, 0.15)
ENOUGH = 200  # outcomes for the linear one to be heard
MEMORY = 0.999  # of the members' losses, per label
TRUST = 0.01  # what one nat of loss, summed over that memory, does to a member's share
LEAST_SHARE = 0.05
# Of the log-odds: what is learnt comes late, and in a changing world such answers are too sure of themselves.
HEDGE = 0.97

_ACTED_OR_NOT = (1.0, math.exp(-50.0))  # the feature `just_acted` at the event itself, and from 25 days after on
_NEAR = 1e-9  # of a sum to zero: the proportions are lost in rounding
_JUST_ACTED, _RHYTHM = NAMES.index("just_acted"), NAMES.index("horizon_log_probability")


class Explanation(NamedTuple):
    """What each feature adds to the log-odds [n, COUNT], the log-odds of the average client that it adds to, and how
    unusual each figure is, in standard deviations [n, COUNT].
    """

    added: Floats
    average: float
    z: Floats


class Look(NamedTuple):
    """What the members see in questions of one horizon, one row or value for each: standardised features of the linear
    one and of the hazard, the hazard's sums, what was just done, the hazard's and the counting one's log-odds.
    """

    linear_z: Floats
    z: Floats
    scores: list[float]
    just_acted: list[float]
    wholes: list[float]
    counts: list[float]
    horizon_days: float


class Ensemble:
    """What the learner asks and teaches. `x` are features [n, COUNT] of questions of one horizon, in days."""

    def __init__(self) -> None:
        self.linear = OnlineLogistic(NAMES)
        self.hazard = WeeklyHazard(len(NAMES))
        self.counting = CountingModel()
        self.losses = np.zeros(3)
        self.shares = np.array([1.0, 0.0, 0.0])
        # What follows from the weights of the hazard and of the counting model; they change on Mondays only.
        self._averages: dict[float, tuple[float, float]] = {}
        self._bases: dict[tuple[float, float], float] = {}

    def logits(self, x: Floats, horizon_days: float) -> Floats:
        found = [
            self.linear.logits(self.linear.standardise(x)),
            self._hazard_logits(x, horizon_days),
            self.counting.logits(x, horizon_days),
        ]
        out: Floats = HEDGE * np.einsum("ij,i->j", np.stack(found), self.shares)
        return out

    def look(self, x: Floats, horizon_days: float) -> Look:
        """At questions [n, COUNT]; at each the same to the last bit, whatever the others.

        Mostly at one: so logarithms are taken one by one, which for one is a third of the time.
        """
        weekly, figures = self.hazard, x.tolist()
        z = weekly.standardise(x)
        scores = [weekly.score(row) for row in z]
        just_acted = [each[_JUST_ACTED] for each in figures]
        wholes = [weekly.logit(*of, horizon_days) for of in zip(scores, just_acted, strict=True)]
        counts = self.counting.logits_of(figures, horizon_days)
        return Look(self.linear.standardise(x), z, scores, just_acted, wholes, counts, horizon_days)

    def logits_of(self, look: Look) -> list[float]:
        """Log-odds of what was looked at [n]."""
        linear, hazard, counting = (HEDGE * self.shares).tolist()
        each = zip(look.linear_z, look.wholes, look.counts, strict=True)
        return [linear * self.linear.logit(z) + hazard * whole + counting * count for z, whole, count in each]

    def explain(self, look: Look) -> Explanation:
        """What each figure adds; `look` must be of these weights."""
        linear, weekly, share = self.linear, self.hazard, (HEDGE * self.shares).tolist()
        average, usual = self._average(look.horizon_days)
        slopes, first, rhythm = [], [], []
        for score, acted, whole, count in zip(look.scores, look.just_acted, look.wholes, look.counts, strict=True):
            base = self._base(acted, look.horizon_days)
            slopes.append(share[1] * (whole - base) / score if abs(score) > _NEAR else 0.0)
            first.append(share[1] * (base - average))
            rhythm.append(share[2] * (count - usual))
        added = look.linear_z * (share[0] * linear.weights[:-1])
        added += look.z * weekly.weights[: len(NAMES)] * np.array(slopes)[:, None]
        added[:, (_JUST_ACTED, _RHYTHM)] += np.array([first, rhythm]).T
        whole = share[0] * float(linear.weights[-1]) + share[1] * average + share[2] * usual
        return Explanation(added, whole, look.z)

    def _base(self, just_acted: float, horizon_days: float) -> float:
        """The hazard's log-odds of a client average but for that."""
        if just_acted not in _ACTED_OR_NOT:
            return self.hazard.logit(0.0, just_acted, horizon_days)
        found = self._bases.get((just_acted, horizon_days))
        if found is None:
            found = self._bases[just_acted, horizon_days] = self.hazard.logit(0.0, just_acted, horizon_days)
        return found

    def _average(self, horizon_days: float) -> tuple[float, float]:
        """The hazard's and the counting model's log-odds of the average client."""
        found = self._averages.get(horizon_days)
        if found is None:
            mean = self.hazard.scaler.mean.tolist()
            average = self.hazard.logit(0.0, mean[_JUST_ACTED], horizon_days)
            found = self._averages[horizon_days] = average, self.counting.logit(mean, horizon_days)
        return found

    def learn_many(self, x: Floats, y: Floats, horizon_days: float, intercept: Intercept, offset: float) -> None:
        """Learn outcomes y [n] of 0 and 1. `offset`: what was added to the log-odds of this practice's questions."""
        if len(y) == 1:
            self._learn_one(x[0], float(y[0]), horizon_days, intercept, offset)
        else:
            members = [self._hazard_logits(x, horizon_days), self.counting.logits(x, horizon_days)]
            logits = np.stack([self.linear.learn_many(x, y, offset), *members])
            p = sigmoids(HEDGE * np.einsum("ij,i->j", logits, self.shares) + intercept.value)
            intercept.learn(float((p * (1.0 - p)).sum()), float((y - p).sum()))
            losses = np.logaddexp(0.0, logits * (1.0 - 2.0 * y))
            ages = MEMORY ** np.arange(len(y) - 1.0, -1.0, -1.0)
            self.losses = MEMORY ** len(y) * self.losses + np.einsum("ij,j->i", losses, ages)
        self.share_out()

    def _learn_one(self, x: Floats, y: float, horizon_days: float, intercept: Intercept, offset: float) -> None:
        """The same for one outcome, as those after events mostly fall due: a third of the time."""
        figures = x.tolist()
        score = self.hazard.score(self.hazard.standardise(x))
        logits = [
            self.linear.learn_alone(x, y, offset),
            self.hazard.logit(score, figures[_JUST_ACTED], horizon_days),
            self.counting.logit(figures, horizon_days),
        ]
        p = sigmoid(HEDGE * sum(map(float.__mul__, logits, self.shares.tolist())) + intercept.value)
        intercept.learn(p * (1.0 - p), y - p)
        sign = 1.0 - 2.0 * y
        each = zip(self.losses.tolist(), logits, strict=True)
        self.losses = np.array([MEMORY * loss - math.log(sigmoid(-sign * logit)) for loss, logit in each])

    def _hazard_logits(self, x: Floats, horizon_days: float) -> Floats:
        scores = self.hazard.scores(self.hazard.standardise(x))
        return self.hazard.logits(scores, x[:, _JUST_ACTED], horizon_days)

    def end_week(self) -> None:
        """To be called when the hazard and the counting model have learnt."""
        self._averages.clear()
        self._bases.clear()
        self.share_out()

    def share_out(self) -> None:
        """Reckon the shares anew."""
        heard = [self.n >= ENOUGH, self.hazard.total >= hazard.ENOUGH, self.counting.most >= counting.ENOUGH]
        if not any(heard):
            heard[0] = True
        losses = self.losses.tolist()
        least = min(compress(losses, heard))
        each = zip(FIRST_SHARES, losses, heard, strict=True)
        shares = [share * math.exp(TRUST * (least - loss)) if is_heard else 0.0 for share, loss, is_heard in each]
        total = sum(shares)
        shares = [max(s / total, LEAST_SHARE) if is_heard else 0.0 for s, is_heard in zip(shares, heard, strict=True)]
        total = sum(shares)
        self.shares = np.array([share / total for share in shares])

    @property
    def n(self) -> int:
        """Outcomes learnt."""
        return self.linear.scaler.n

    def arrays(self) -> dict[str, Floats]:
        """The learnt state, for a snapshot: with `n`, all there is."""
        linear, weekly, counts = self.linear, self.hazard, self.counting
        return {
            "mean": linear.scaler.mean,
            "variance": linear.scaler.variance,
            "weights": linear.weights,
            "squares": linear.squares,
            "hazard_mean": weekly.scaler.mean,
            "hazard_variance": weekly.scaler.variance,
            "hazard_weights": weekly.weights,
            "hazard_information": weekly.information,
            "hazard": np.array([weekly.scaler.n, weekly.week, weekly.seen, weekly.total]),
            "counting_logs": counts.logs,
            "counting_information": counts.information,
            "counting": np.array([counts.week, counts.most]),
            "losses": self.losses,
        }

    def restore(self, n: int, arrays: dict[str, Floats]) -> None:
        linear, weekly, counts = self.linear, self.hazard, self.counting
        linear.scaler.restore(n, arrays["mean"], arrays["variance"])
        linear.weights, linear.squares = arrays["weights"], arrays["squares"]
        seen, weekly.week, weekly.seen, weekly.total = arrays["hazard"].tolist()
        weekly.scaler.restore(int(seen), arrays["hazard_mean"], arrays["hazard_variance"])
        weekly.weights, weekly.information = arrays["hazard_weights"], arrays["hazard_information"]
        counts.logs, counts.information = arrays["counting_logs"], arrays["counting_information"]
        counts.week, counts.most = arrays["counting"].tolist()
        self.losses = arrays["losses"]
        self.share_out()
