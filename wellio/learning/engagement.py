"""Engagement: who of a practice is how active, as a rank from 0 to 100.

A client's activity is a mix of decayed counts, weighted so that it ranks who will do most in the next horizon. The
weights are learnt from samples of the practices' own clients: non-negative least squares of the rank of what came
against the mix, both about their sample's mean, so that practices need no common scale (Lawson & Hanson 1974; here by
coordinates). Every weight is above zero, and each part rises or stays with each thing a client does: so does the score.

Marks, the quantiles of the practice's clients, are set each Monday and each night; between them a client moves against
marks that stand still.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wellio.learning.clients import (
    ACTIVES,
    DAY,
    ENDED,
    FIRST,
    LN2,
    LOGINS,
    MESSAGES,
    OTHERS,
    PAYMENTS,
    RECENT_7,
    RECENT_30,
    RECENT_90,
    RECORDS,
    SESSIONS,
    SPENT,
    SPENT_HALF_LIFE,
    UPDATED,
    VISITS,
)
from wellio.learning.features import SCALAR, VECTOR, Floats, Maths, V
from wellio.learning.metrics import mean_ranks

PARTS = (
    "visits_7",
    "visits_30",
    "visits_90",
    "visits",
    "rate",
    "actives",
    "spent",
    "sessions",
    "messages",
    "payments",
    "logins",
    "records",
    "others",
)
COUNT = len(PARTS)
# Before anything is learnt, and what is held against little: visits, the recent ones most.
PRIOR = np.array([0.02, 0.05, 0.08, 0.05, 0.01, 0.02, 0.02, *[0.01] * 6])
PRIOR_STRENGTH = 20.0  # examples' worth
LEAST_WEIGHT = 0.002  # nothing that a client does counts for nothing
FADE = 0.9999  # of the sums, per example
SWEEPS = 20

MARKS = 200
MARKED = 20_000  # clients whose quantiles they are; sorting more would hold the event loop
SAMPLE = 512  # clients of a checkpoint
LEAST = 5  # clients of whom a ranking can be learnt
CHECKPOINT_WEEKS = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Clients asked about at `t`: their rows, visits by then [n], and mixes [n, COUNT]."""

    t: float
    rows: NDArray[np.int64]
    visits: Floats
    mixes: NDArray[np.float32]

    def without(self, row: int) -> "Checkpoint":
        keep = self.rows != row
        return Checkpoint(self.t, self.rows[keep], self.visits[keep], self.mixes[keep])


@dataclass(slots=True)
class Standing:
    """A practice's `marks`, sorted, as of `ranked_at`, and the checkpoints whose horizon is not over."""

    marks: list[float] = field(default_factory=list)
    ranked_at: float = 0.0
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def take_due(self, asked_by: float) -> list[Checkpoint]:
        """Removes and returns the checkpoints of `asked_by` and before."""
        due = [checkpoint for checkpoint in self.checkpoints if checkpoint.t <= asked_by]
        self.checkpoints = self.checkpoints[len(due) :]
        return due

    def set_marks(self, activities: Floats) -> None:
        ordered = np.sort(activities[:: len(activities) // MARKED + 1])
        if len(ordered) > MARKS:
            ordered = ordered[np.arange(MARKS) * len(ordered) // MARKS + len(ordered) // (2 * MARKS)]
        self.marks = ordered.tolist()

    def score(self, activity: float) -> float:
        """0 to 100: the share of clients below, ties counting half. Fifty among none."""
        below = bisect_left(self.marks, activity) + bisect_right(self.marks, activity)
        return round(50.0 * (below + 1.0) / (len(self.marks) + 1.0), 1)


class Engagement:
    """What all practices teach together. `sums` [COUNT + 1, COUNT + 1]: products of the mixes' parts and the ranks."""

    def __init__(self) -> None:
        self.sums = np.zeros((COUNT + 1, COUNT + 1))
        self.weights = PRIOR.copy()

    def activity(self, state: Sequence[float], now: float) -> float:
        """Of one row."""
        return sum(map(float.__mul__, self.weights.tolist(), _mix(state, now, SCALAR)))

    def activities(self, mixes: Floats) -> Floats:
        """[n, COUNT] to [n]; einsum rather than BLAS, whose threads may sum otherwise."""
        out: Floats = np.einsum("ij,j->i", mixes, self.weights)
        return out

    def learn(self, checkpoint: Checkpoint, state: Floats) -> None:
        """What came after a checkpoint whose time is up. `state`: the practice's rows by now."""
        then = state[checkpoint.rows]
        stayed = then[:, ENDED] <= checkpoint.t
        visits = (then[:, VISITS] - checkpoint.visits)[stayed]
        if len(visits) < LEAST:
            return
        ranks = mean_ranks(visits) / len(visits)
        both = np.column_stack([checkpoint.mixes[stayed].astype(float), ranks])
        both -= both.mean(axis=0)
        self.sums *= FADE ** len(visits)
        self.sums += np.einsum("ni,nj->ij", both, both)
        self._solve()

    def _solve(self) -> None:
        """Least squares drawn to the prior, from where the weights are, coordinate by coordinate."""
        products = self.sums[:COUNT, :COUNT] + np.eye(COUNT) * PRIOR_STRENGTH
        wanted = self.sums[:COUNT, COUNT] + PRIOR * PRIOR_STRENGTH
        for _ in range(SWEEPS):
            for i in range(COUNT):
                step = (wanted[i] - float(products[i].dot(self.weights))) / products[i, i]
                self.weights[i] = max(LEAST_WEIGHT, self.weights[i] + step)


def mixes_of(states: Floats, now: float) -> Floats:
    """Parts of many: rows [n, WIDTH] to [n, COUNT]."""
    columns = list(np.ascontiguousarray(states.T))
    return np.stack(_mix(columns, now, VECTOR), axis=1)


def sample_of(order: Floats) -> NDArray[np.bool_]:
    """Whether a client is of a sample of about SAMPLE, by their hash: the same are followed from time to time."""
    chosen: NDArray[np.bool_] = order < SAMPLE / max(len(order), 1)
    return chosen


def _mix(c: Sequence[V], now: float, m: Maths[V]) -> list[V]:
    """Each part rises, or stays, with whatever a client does now."""
    log = m.log
    since = m.most((now - c[UPDATED]) / DAY, 0.0)
    month = m.exp(since * (-LN2 / 30.0))
    parts = [
        log(c[RECENT_7] * m.exp(since * (-LN2 / 7.0)) + 0.1),
        log(c[RECENT_30] * month + 0.1),
        log(c[RECENT_90] * m.exp(since * (-LN2 / 90.0)) + 0.1),
        log(c[VISITS] + 1.0),
        log((c[VISITS] + 1.0) / (m.most((now - c[FIRST]) / DAY, 0.0) + 60.0)),
        log(c[ACTIVES] + 1.0),
        log(c[SPENT] * m.exp(since * (-LN2 / SPENT_HALF_LIFE)) + 1.0),
    ]
    for kind in (SESSIONS, MESSAGES, PAYMENTS, LOGINS, RECORDS, OTHERS):
        parts.append(log(c[kind] * month + 0.3))
    return parts
