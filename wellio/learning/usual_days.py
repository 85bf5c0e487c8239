"""The counterfactual: what was predicted on the client's usual day, the last on which silence was nothing unusual.

The same row a typical gap after its last visit, by the model as it is now: exact, because all moments of a row move
together and the model is asked once more.
"""

import math
from collections.abc import Sequence

import numpy as np

from wellio.learning.clients import DAY, FIRST, GAP_SUM, GAP_WEIGHT, LAST, UPDATED, VISIT
from wellio.learning.features import Floats

LEAST_GAP = DAY  # who comes several times a day is not late the next morning
_MOMENTS = (FIRST, UPDATED, LAST, VISIT)


def late_s(state: Sequence[float], now: float) -> float:
    """Seconds of silence beyond the client's own typical gap; none for one who has no rhythm yet."""
    weight = state[GAP_WEIGHT]
    if weight <= 0.0:
        return 0.0
    return max(now - state[LAST] - max(math.exp(state[GAP_SUM] / weight) * DAY, LEAST_GAP), 0.0)


def as_if_sooner(states: Floats, by: Sequence[float]) -> Floats:
    """Rows [n, WIDTH] such that asking about them now is asking about `states` by [n] seconds ago."""
    shifted = states.copy()
    shifted[:, _MOMENTS] += np.array(by)[:, None]
    return shifted
