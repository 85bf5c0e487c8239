"""Why a prediction is what it is, in words with figures.

A logistic regression's log-odds are a sum: weight × (x - mean) / sd of each feature. Single weights of collinear
features have odd signs, so they are summed within a reason; and a reason is shown only where its sum points the way its
leading feature says it should (silent for longer than usual raises the risk, never lowers it).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wellio.learning.answers import Reason
from wellio.learning.clients import ACTIVES
from wellio.learning.features import FEATURES, GROUPS, NAMES, Floats

MIN_WEIGHT = 0.1  # of log-odds: two to three points of probability
MOST = 3

STARTS = [[group for _, group in FEATURES].index(group) for group in GROUPS]
AT = {name: i for i, name in enumerate(NAMES)}
