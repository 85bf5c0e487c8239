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

import numpy as np

from wellio.learning import counting, hazard
from wellio.learning.counting import CountingModel
from wellio.learning.features import NAMES, Floats
from wellio.learning.hazard import WeeklyHazard
from wellio.learning.model import Intercept, OnlineLogistic, sigmoids

FIRST_SHARES = (0.35, 0.5, 0.15)
ENOUGH = 200  # outcomes for the linear one to be heard
MEMORY = 0.999  # of the members' losses, per label
TRUST = 0.01  # what one nat of loss, summed over that memory, does to a member's share
LEAST_SHARE = 0.05
# Of the log-odds: what is learnt comes late, and in a changing world such answers are too sure of themselves.
HEDGE = 0.97

_JUST_ACTED, _RHYTHM = NAMES.index("just_acted"), NAMES.index("horizon_log_probability")


class Ensemble:
    """What the learner asks and teaches. `x` are features [n, COUNT] of questions of one horizon, in days."""

    def __init__(self) -> None:
        self.linear = OnlineLogistic(NAMES)
        self.hazard = WeeklyHazard(len(NAMES))
        self.counting = CountingModel()
        self.losses = np.zeros(3)
        self.shares = np.array([1.0, 0.0, 0.0])

    def logits(self, x: Floats, horizon_days: float) -> Floats:
        out: Floats = HEDGE * np.einsum("ij,j->i", self._each(x, horizon_days), self.shares)
        return out

    def explain(self, x: Floats, horizon_days: float) -> tuple[Floats, float]:
        """What each feature adds to the log-odds [n, COUNT], and the log-odds of the average client they add to."""
        share = (HEDGE * self.shares).tolist()
        linear, weekly = self.linear, self.hazard
        added = self.linear.standardise(x)
        added *= share[0] * linear.weights[:-1]
        just_acted = x[:, _JUST_ACTED]
        z = weekly.standardise(x)
        scores = weekly.scores(z)
        whole, base = (weekly.logits(b, just_acted, horizon_days) for b in (scores, np.zeros(len(x))))
        average = float(weekly.logits(np.zeros(1), weekly.scaler.mean[_JUST_ACTED, None], horizon_days)[0])
        far = np.abs(scores) > 1e-9
        slopes = np.divide(whole - base, scores, out=np.zeros(len(x)), where=far)
        added += z * weekly.weights[: len(NAMES)] * (share[1] * slopes)[:, None]
        added[:, _JUST_ACTED] += share[1] * (base - average)
        usual = float(self.counting.logits(linear.scaler.mean[None, :], horizon_days)[0])
        added[:, _RHYTHM] += share[2] * (self.counting.logits(x, horizon_days) - usual)
        return added, share[0] * float(linear.weights[-1]) + share[1] * average + share[2] * usual

    def learn_many(self, x: Floats, y: Floats, horizon_days: float, intercept: Intercept, offset: float) -> None:
        """Learn outcomes y [n] of 0 and 1. `offset`: what was added to the log-odds of this practice's questions."""
        logits = self._each(x, horizon_days)
        blend = HEDGE * np.einsum("ij,j->i", logits, self.shares)
        p = sigmoids(blend + intercept.value)
        intercept.learn(float((p * (1.0 - p)).sum()), float((y - p).sum()))
        self.linear.learn_many(x, y, offset)
        losses = np.logaddexp(0.0, np.where(y[:, None] > 0.0, -logits, logits))
        ages = MEMORY ** np.arange(len(y) - 1.0, -1.0, -1.0)
        self.losses = MEMORY ** len(y) * self.losses + np.einsum("i,ij->j", ages, losses)
        self.share_out()

    def standardise(self, x: Floats) -> Floats:
        """By the moments of what was asked so far: how unusual each figure is."""
        return self.hazard.standardise(x)

    def share_out(self) -> None:
        """Reckon the shares anew: after outcomes, and after a Monday's learning."""
        heard = np.array([self.n >= ENOUGH, self.hazard.total >= hazard.ENOUGH, self.counting.most >= counting.ENOUGH])
        if not heard.any():
            heard[0] = True
        shares = np.where(heard, FIRST_SHARES * np.exp(TRUST * (self.losses[heard].min() - self.losses)), 0.0)
        shares = np.where(heard, np.maximum(shares / shares.sum(), LEAST_SHARE), 0.0)
        self.shares = shares / shares.sum()

    @property
    def n(self) -> int:
        """Outcomes learnt."""
        return self.linear.scaler.n

    def _each(self, x: Floats, horizon_days: float) -> Floats:
        """Log-odds by member [n, 3]."""
        scores = self.hazard.scores(self.hazard.standardise(x))
        return np.stack(
            [
                self.linear.logits(self.linear.standardise(x)),
                self.hazard.logits(scores, x[:, _JUST_ACTED], horizon_days),
                self.counting.logits(x, horizon_days),
            ],
            axis=1,
        )

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
