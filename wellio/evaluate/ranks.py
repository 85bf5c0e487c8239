"""How well engagement ranks who will do most, beside plain decayed counts."""

import math
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np

from wellio.evaluate.replay import Answers
from wellio.learning.clients import DAY
from wellio.learning.features import Floats
from wellio.learning.inputs import Fact
from wellio.learning.metrics import mean_ranks

RIVALS = ("decayed_count_30", "decayed_count_90")


def score_ranks(
    answers: Answers, facts: Sequence[Fact], *, first: float, last: float, horizon: float
) -> dict[str, Any]:
    """Spearman's correlation with the number of active events in the next `horizon` days, the mean of Mondays' own from
    `first` to `last`."""
    times: dict[UUID, list[float]] = {}
    for fact in facts:
        if fact.active:
            times.setdefault(fact.client, []).append(fact.t)
    found: list[list[float]] = []
    asked = 0
    for monday, clients, columns in answers.ranked:
        if first <= monday <= last and len(clients) > 1:
            after = np.array([_count(times[client], monday, monday + horizon * DAY) for client in clients])
            found.append([spearman(column, after) for column in columns.T])
            asked += len(clients)
    if not found:
        return {"n": 0}
    means = [_mean([each for each in column if not math.isnan(each)]) for column in zip(*found, strict=True)]
    return {"n": asked, "spearman": means[0], "baselines": dict(zip(RIVALS, means[1:], strict=True))}


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 5) if values else None


def spearman(a: Floats, b: Floats) -> float:
    """NaN where one of them does not vary."""
    first, second = (mean_ranks(each) - (len(each) + 1) / 2 for each in (a, b))
    scale = math.sqrt(float(first.dot(first)) * float(second.dot(second)))
    return float(first.dot(second)) / scale if scale else math.nan


def _count(times: list[float], start: float, end: float) -> float:
    """Those after `start` up to `end`; sorted, as the facts are."""
    return float(np.searchsorted(times, end, "right") - np.searchsorted(times, start, "right"))
