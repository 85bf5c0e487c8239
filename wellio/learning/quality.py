"""How good a practice's predictions were: those made along the way, held against what came to pass."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from wellio.db import Database
from wellio.learning import metrics
from wellio.learning.metrics import CalibrationBin

# Too many to hold as rows: they become arrays piece by piece.
AT_ONCE = 10_000

LIST_OUTCOMES = """
select kind = 'weekly' as weekly, extract(epoch from asked_at)::float8 as asked_at, probability, rule, churned
from prediction_outcomes
where practice_id = $1 and asked_at >= $2
order by seq
"""


@dataclass(frozen=True, slots=True)
class Quality:
    """Of the questions of one kind. `auc` and the like are NaN where all outcomes are the same.

    `weekly_auc` is the mean of each week's own; `rule_…` are the simple rule's, which knows the silence alone.
    """

    kind: str
    n: int
    base_rate: float
    auc: float
    weekly_auc: float
    log_loss: float
    ece: float
    rule_auc: float
    rule_log_loss: float
    bins: Sequence[CalibrationBin]


def warm_up(horizon_days: int) -> timedelta:
    """What is asked so soon after a practice's first event is not scored: nothing could be known yet."""
    return timedelta(days=2 * horizon_days + 28)


async def score_predictions(db: Database, practice_id: UUID, *, since: datetime) -> list[Quality]:
    """Of the questions asked from `since` on whose time is up, by kind; kinds without any are left out."""
    pieces = [np.zeros((0, 5))]
    async with db.transaction() as connection:
        found = connection.cursor(LIST_OUTCOMES, practice_id, since, prefetch=AT_ONCE)
        rows = []
        async for row in found:
            rows.append(tuple(row))
            if len(rows) == AT_ONCE:
                pieces.append(np.array(rows, float))
                rows = []
        pieces.append(np.array(rows, float).reshape(-1, 5))
    return await asyncio.to_thread(_score, np.concatenate(pieces))


def _score(outcomes: NDArray[np.float64]) -> list[Quality]:
    kinds = (("weekly", 1.0), ("event", 0.0))
    return [_of_kind(kind, outcomes[outcomes[:, 0] == code]) for kind, code in kinds if (outcomes[:, 0] == code).any()]


def _of_kind(kind: str, outcomes: NDArray[np.float64]) -> Quality:
    _, asked_at, p, rule, y = outcomes.T
    churned = y > 0.0
    weeks = (asked_at // (7 * 86_400)).astype(np.int64)
    return Quality(
        kind=kind,
        n=len(p),
        base_rate=float(y.mean()),
        auc=metrics.auc(p, churned),
        weekly_auc=metrics.mean_group_auc(p, churned, weeks),
        log_loss=metrics.log_loss(p, churned),
        ece=metrics.ece(p, churned),
        rule_auc=metrics.auc(rule, churned),
        rule_log_loss=metrics.log_loss(rule, churned),
        bins=metrics.calibration(p, churned),
    )
