"""An online logistic regression on standardised features: a `river` classifier with a fast path for arrays.

Numerically it is river's own `StandardScaler() | LogisticRegression(optimizer=AdaGrad(lr))`, with the intercept learnt
by AdaGrad as well (river moves it by a constant rate, which never settles). Sources: Welford (1962) for the running
moments, here by prefix sums over a batch; Duchi, Hazan & Singer (2011) for AdaGrad.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from river import base

from wellio.learning.features import Floats

EPSILON = 1e-8
MAX_LOGIT = 18.0
_FEW = 4  # examples standardised one by one


@dataclass(slots=True)
class Intercept:
    """One practice's own intercept, shrunk to the global one.

    `value` is the running mean of the residuals in units of information p(1 - p), with `prior` units worth of zero
    (an online one-step estimate of a normal random effect); `information` is capped, so that it goes on adapting.
    """

    value: float = 0.0
    information: float = 0.0

    PRIOR = 25.0  # weekly questions overlap: four to six labels tell as much as one
    CAP = 500.0

    def learn(self, probability: float, residual: float) -> None:
        information = self.information + probability * (1.0 - probability)
        self.information = information if information < self.CAP else self.CAP
        self.value += residual / (self.PRIOR + information)


class OnlineLogistic(base.Classifier):
    """P(y | x) = sigmoid(weights · clip((x - mean) / sd) + bias), learnt one example after another.

    Arrays are float64 of the `names` in their order; the last weight is the bias. `clip` bounds standardised features,
    so that one absurd event can neither saturate the answer nor throw the weights.
    """

    def __init__(self, names: tuple[str, ...], lr: float = 0.1, clip: float = 8.0) -> None:
        self.names = names
        self.lr = lr
        self.clip = clip
        width = len(names)
        self.n = 0
        self.mean = np.zeros(width)
        self.variance = np.zeros(width)
        self.weights = np.zeros(width + 1)
        self.squares = np.zeros(width + 1)  # AdaGrad's sums of squared gradients
        self._inverse_sd = np.zeros(width)

    def standardise(self, x: Floats) -> Floats:
        """(x - mean) / sd, clipped; 0 where nothing has varied yet. Shape as given: [d] or [n, d]."""
        return self._clipped((x - self.mean) * self._inverse_sd)

    def logit(self, z: Floats) -> float:
        """Log-odds of one standardised example [d]."""
        return float(self.weights[:-1].dot(z)) + float(self.weights[-1])

    def logits(self, z: Floats) -> Floats:
        """Log-odds of standardised examples [n, d] to [n]; einsum rather than BLAS, whose threads may sum otherwise."""
        out: Floats = np.einsum("ij,j->i", z, self.weights[:-1]) + self.weights[-1]
        return out

    def learn_many(self, x: Floats, churned: list[bool], intercept: Intercept | None = None) -> None:
        """Learn examples [n, d] strictly one after another, as n calls of `learn_one` would."""
        z = np.ones((len(x), len(self.names) + 1))
        z[:, :-1] = self.learn_moments(x)
        for row, y in zip(z, churned, strict=True):
            offset = 0.0 if intercept is None else intercept.value
            probability = sigmoid(self.learn_standardised(row, y, offset) + offset)
            if intercept is not None:
                intercept.learn(probability, y - probability)

    def learn_standardised(self, z: Floats, y: float, offset: float) -> float:
        """Learn one example [d + 1] that ends with a 1; return its log-odds, without the offset, as before learning."""
        logit = float(self.weights.dot(z))
        gradient = z * (y - sigmoid(logit + offset))
        self.squares += gradient * gradient
        gradient *= self.lr
        gradient /= np.sqrt(self.squares + EPSILON)
        self.weights += gradient
        return logit

    def learn_moments(self, x: Floats) -> Floats:
        """Each example standardised by the moments up to and with itself, which become the scaler's."""
        if len(x) <= _FEW:
            return np.array([self._learn_moment(row) for row in x])
        counts = self.n + np.arange(1.0, len(x) + 1.0)[:, None]
        origin = self.mean if self.n else x[0]
        shifted = x - origin
        sums = np.cumsum(shifted, axis=0)
        squares = self.n * self.variance + np.cumsum(shifted * shifted, axis=0)
        means = sums / counts
        variances = np.maximum(squares / counts - means * means, 0.0)
        self.n += len(x)
        self.mean = origin + means[-1]
        self.variance = variances[-1]
        inverse_sd = _inverse_root(variances)
        self._inverse_sd = inverse_sd[-1]
        return self._clipped((shifted - means) * inverse_sd)

    def _learn_moment(self, x: Floats) -> Floats:
        """The same for one example [d], without the prefix sums (a sixth of the time)."""
        self.n += 1
        before = x - self.mean
        self.mean = self.mean + before / self.n
        after = x - self.mean
        self.variance = self.variance + (before * after - self.variance) / self.n
        self._inverse_sd = _inverse_root(self.variance)
        return self._clipped(after * self._inverse_sd)

    def _clipped(self, z: Floats) -> Floats:
        np.minimum(z, self.clip, out=z)
        np.maximum(z, -self.clip, out=z)
        return z

    def predict_proba_one(self, x: dict[Hashable, Any], **kwargs: Any) -> dict[bool | str | int, float]:
        probability = sigmoid(self.logit(self.standardise(self._array(x))))
        return {False: 1.0 - probability, True: probability}

    def learn_one(self, x: dict[Hashable, Any], y: Hashable) -> None:
        self.learn_many(self._array(x)[None, :], [bool(y)])

    def _array(self, x: dict[Hashable, Any]) -> Floats:
        return np.array([float(x[name]) for name in self.names])

    def arrays(self) -> dict[str, Floats]:
        """The learnt state, for a snapshot: with `n`, all there is."""
        return {"mean": self.mean, "variance": self.variance, "weights": self.weights, "squares": self.squares}

    def restore(self, n: int, arrays: dict[str, Floats]) -> None:
        self.n = n
        self.mean, self.variance = arrays["mean"], arrays["variance"]
        self.weights, self.squares = arrays["weights"], arrays["squares"]
        self._inverse_sd = _inverse_root(self.variance)


def sigmoid(logit: float) -> float:
    """1 / (1 + e^-logit), kept off 0 and 1: no answer is certain."""
    if not -MAX_LOGIT < logit < MAX_LOGIT:
        logit = math.copysign(MAX_LOGIT, logit)
    return 1.0 / (1.0 + math.exp(-logit))


def sigmoids(logits: Floats) -> Floats:
    out: Floats = 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(logits, -MAX_LOGIT), MAX_LOGIT)))
    return out


def _inverse_root(variance: Floats) -> Floats:
    """1 / sd, 0 where nothing varies."""
    sd = np.sqrt(variance)
    sd[sd == 0.0] = np.inf
    out: Floats = 1.0 / sd
    return out
