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
from numpy.typing import NDArray
from river import base

from wellio.learning.features import Floats

EPSILON = 1e-8
MAX_LOGIT = 18.0


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
        self.information = min(self.information + probability * (1.0 - probability), self.CAP)
        self.value += residual / (self.PRIOR + self.information)
