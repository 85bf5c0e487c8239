"""Two online logistic regressions on the same standardised features, averaged in log-odds by how they did lately.

AdaGrad (`model.py`) moves weights one by one and keeps adapting; the second-order one knows how features vary together,
learns more of few labels and is the steadier. Their mean log-odds are one linear function again, so a prediction's
reasons stay exact and additive: weight × standardised feature, with the hedged blend of their weights.

Sources: the Laplace step of a Bayesian logistic regression, one example at a time (Spiegelhalter & Lauritzen 1990),
with a random walk of the weights (West, Harrison & Migon 1985); shares by exponentiated loss, none ever lost (Herbster
& Warmuth 1998).
"""

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
from river import base

from wellio.learning.features import Floats
from wellio.learning.model import Intercept, OnlineLogistic, sigmoid

PRIOR_VARIANCE = 0.5  # of each weight: standardised features rarely move the log-odds by more than one
WALK = 3e-7  # variance that a label adds to each weight's, up to the prior's: what was learnt ages, but never runs wild

MEMORY = 0.999  # of the members' losses, per label
TRUST = 0.02  # what one nat of loss, summed over that memory, does to a member's share
LEAST_SHARE = 0.2
# Of the log-odds: what is learnt comes a horizon late, and in a changing world such answers are too sure of themselves.
HEDGE = 0.95


class SecondOrderLogistic(base.Classifier):
    """P(y | z) = sigmoid(weights · z), with the weights' full covariance; `z` is standardised and ends with a 1.

    Each example is one Newton step on the posterior: O(d²), no step size, no pass over the past.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        width = len(names) + 1
        self.weights = np.zeros(width)
        self.covariance = np.eye(width) * PRIOR_VARIANCE

    def learn(self, z: Floats, y: float, offset: float) -> float:
        """Learn one example [d + 1], `offset` added to its log-odds; return those without it, as before learning."""
        logit = float(self.weights.dot(z))
        probability = sigmoid(logit + offset)
        spread = self.covariance.dot(z)
        information = probability * (1.0 - probability)
        shrink = 1.0 / (1.0 + information * float(spread.dot(z)))
        self.weights += spread * ((y - probability) * shrink)
        self.covariance -= np.multiply.outer(spread, spread) * (information * shrink)
        variances = self.covariance.reshape(-1)[:: len(z) + 1]
        variances += WALK
        np.minimum(variances, PRIOR_VARIANCE, out=variances)
        return logit

    def predict_proba_one(self, x: dict[Hashable, Any], **kwargs: Any) -> dict[bool | str | int, float]:
        probability = sigmoid(float(self.weights.dot(self._array(x))))
        return {False: 1.0 - probability, True: probability}

    def learn_one(self, x: dict[Hashable, Any], y: Hashable) -> None:
        self.learn(self._array(x), float(bool(y)), 0.0)

    def _array(self, x: dict[Hashable, Any]) -> Floats:
        return np.array([*(float(x[name]) for name in self.names), 1.0])


class Ensemble:
    """What the learner asks and teaches. `weights` [d + 1] is the blend, on what `standardise` gives and a 1."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.first = OnlineLogistic(names)
        self.second = SecondOrderLogistic(names)
        self.losses = np.zeros(2)
        self.weights = np.zeros(len(names) + 1)

    @property
    def n(self) -> int:
        return self.first.n

    @property
    def mean(self) -> Floats:
        return self.first.mean

    def standardise(self, x: Floats) -> Floats:
        return self.first.standardise(x)

    def logit(self, z: Floats) -> float:
        """Log-odds of one standardised example [d]."""
        return float(self.weights[:-1].dot(z)) + float(self.weights[-1])

    def logits(self, z: Floats) -> Floats:
        """Log-odds of standardised examples [n, d] to [n]; einsum rather than BLAS, whose threads may sum otherwise."""
        out: Floats = np.einsum("ij,j->i", z, self.weights[:-1]) + self.weights[-1]
        return out

    def learn_many(self, x: Floats, churned: list[bool], intercept: Intercept | None = None) -> None:
        """Learn examples [n, d] strictly one after another."""
        z = np.ones((len(x), len(self.weights)))
        z[:, :-1] = self.first.learn_moments(x)
        losses, share = self.losses.tolist(), self.share
        for row, y in zip(z, churned, strict=True):
            offset = 0.0 if intercept is None else intercept.value
            logits = self.first.learn_standardised(row, y, offset), self.second.learn(row, y, offset)
            if intercept is not None:
                probability = sigmoid(HEDGE * (share * logits[0] + (1.0 - share) * logits[1]) + offset)
                intercept.learn(probability, y - probability)
            for i, logit in enumerate(logits):
                losses[i] = MEMORY * losses[i] + _loss(logit + offset, y)
        self.losses[:] = losses
        self._blend()

    @property
    def share(self) -> float:
        """Of the first in the blend."""
        ahead = sigmoid(TRUST * (float(self.losses[1]) - float(self.losses[0])))
        return LEAST_SHARE + (1.0 - 2.0 * LEAST_SHARE) * ahead

    def _blend(self) -> None:
        share = self.share
        self.weights = HEDGE * (share * self.first.weights + (1.0 - share) * self.second.weights)

    def arrays(self) -> dict[str, Floats]:
        """The learnt state, for a snapshot: with `n`, all there is."""
        second = {"second_weights": self.second.weights, "covariance": self.second.covariance}
        return {**self.first.arrays(), **second, "losses": self.losses}

    def restore(self, n: int, arrays: dict[str, Floats]) -> None:
        self.first.restore(n, arrays)
        self.second.weights, self.second.covariance = arrays["second_weights"], arrays["covariance"]
        self.losses = arrays["losses"]
        self._blend()


def _loss(logit: float, churned: float) -> float:
    """-log of the probability given to what happened."""
    return -math.log(sigmoid(logit if churned else -logit))
