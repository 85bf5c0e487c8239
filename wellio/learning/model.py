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
    """One practice's own intercept, shrunk to zero.

    `value` is the running mean of the residuals in units of information p(1 - p), with `PRIOR` units worth of zero
    (an online one-step estimate of a normal random effect); `information` is capped, so that it goes on adapting.
    """

    value: float = 0.0
    information: float = 0.0

    PRIOR = 25.0  # weekly questions overlap: four to six labels tell as much as one
    CAP = 500.0

    def learn(self, information: float, residual: float) -> None:
        """Sums over some labels: of p(1 - p), and of what came true less p."""
        self.information = min(self.information + information, self.CAP)
        self.value += residual / (self.PRIOR + self.information)


class Scaler:
    """Running moments of examples [n, d], and examples standardised by them.

    `clip` bounds what is standardised, so that one absurd event can neither saturate the answer nor throw the weights.
    """

    def __init__(self, width: int, clip: float = 4.0) -> None:
        self.clip = clip
        self.n = 0
        self.mean = np.zeros(width)
        self.variance = np.zeros(width)
        self._inverse_sd = np.zeros(width)

    def standardise(self, x: Floats) -> Floats:
        """(x - mean) / sd, clipped; 0 where nothing has varied yet. Shape as given: [d] or [n, d]."""
        return self._clipped((x - self.mean) * self._inverse_sd)

    def learn(self, x: Floats) -> Floats:
        """Each example standardised by the moments up to and with itself, which become the scaler's."""
        if len(x) <= _FEW:
            return np.array([self.learn_one(row) for row in x])
        counts = self.n + np.arange(1.0, len(x) + 1.0)[:, None]
        origin = self.mean if self.n else x[0]
        shifted = x - origin
        sums = np.cumsum(shifted, axis=0)
        squares = self.n * self.variance + np.cumsum(shifted * shifted, axis=0)
        means = sums / counts
        variances = np.maximum(squares / counts - means * means, 0.0)
        inverse_sd = _inverse_root(variances)
        self.restore(self.n + len(x), origin + means[-1], variances[-1])
        return self._clipped((shifted - means) * inverse_sd)

    def restore(self, n: int, mean: Floats, variance: Floats) -> None:
        self.n, self.mean, self.variance = n, mean, variance
        self._inverse_sd = _inverse_root(variance)

    def learn_one(self, x: Floats) -> Floats:
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


class OnlineLogistic(base.Classifier):
    """P(y | x) = sigmoid(weights · clip((x - mean) / sd) + bias), by AdaGrad, in steps of one example or of several.

    Arrays are float64 of the `names` in their order; the last weight is the bias.
    """

    def __init__(self, names: tuple[str, ...], lr: float = 0.1, clip: float = 4.0) -> None:
        self.names = names
        self.lr = lr
        self.clip = clip
        self.scaler = Scaler(len(names), clip)
        self.weights = np.zeros(len(names) + 1)
        self.squares = np.zeros(len(names) + 1)  # AdaGrad's sums of squared gradients

    def standardise(self, x: Floats) -> Floats:
        return self.scaler.standardise(x)

    def logit(self, z: Floats) -> float:
        """Log-odds of one standardised example [d]."""
        return float(self.weights[:-1].dot(z)) + float(self.weights[-1])

    def logits(self, z: Floats) -> Floats:
        """Log-odds of standardised examples [n, d] to [n]; einsum rather than BLAS, whose threads may sum otherwise."""
        out: Floats = np.einsum("ij,j->i", z, self.weights[:-1]) + self.weights[-1]
        return out

    def learn_many(self, x: Floats, y: Floats, offset: float = 0.0) -> Floats:
        """One step on examples [n, d], `offset` added to their log-odds; return those without it, as before the step.

        The gradients are summed, their squares one by one: a few dozen examples at once learn as much as one by one
        (measured), for a tenth of the time.
        """
        if len(x) == 1:
            return np.array([self.learn_alone(x[0], float(y[0]), offset)])
        z = np.ones((len(x), len(self.weights)))
        z[:, :-1] = self.scaler.learn(x)
        logits: Floats = np.einsum("ij,j->i", z, self.weights)
        gradients = z * (y - sigmoids(logits + offset))[:, None]
        self.squares += np.einsum("ij,ij->j", gradients, gradients)
        self.weights += self.lr * gradients.sum(axis=0) / np.sqrt(self.squares + EPSILON)
        return logits

    def learn_alone(self, x: Floats, y: float, offset: float = 0.0) -> float:
        """The same for one example [d]."""
        z = self.scaler.learn_one(x)
        logit = self.logit(z)
        residual = y - sigmoid(logit + offset)
        gradient = np.append(z * residual, residual)
        self.squares += gradient * gradient
        self.weights += self.lr * gradient / np.sqrt(self.squares + EPSILON)
        return logit

    def predict_proba_one(self, x: dict[Hashable, Any], **kwargs: Any) -> dict[bool | str | int, float]:
        probability = sigmoid(self.logit(self.standardise(self._array(x))))
        return {False: 1.0 - probability, True: probability}

    def learn_one(self, x: dict[Hashable, Any], y: Hashable) -> None:
        self.learn_alone(self._array(x), float(bool(y)))

    def _array(self, x: dict[Hashable, Any]) -> Floats:
        return np.array([float(x[name]) for name in self.names])


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
