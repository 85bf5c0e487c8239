"""Pictures for people: how far probabilities can be believed, and how well risk is ranked as time goes by."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wellio.evaluate.replay import Answers
from wellio.evaluate.scores import weeks_of
from wellio.learning import metrics
from wellio.learning.clients import FIRST_MONDAY, WEEK
from wellio.learning.features import Floats

SHOWN_RIVALS = ("recency", "bg_nbd", "logistic", "lightgbm")


def draw_churn(
    path: Path, answers: Answers, kinds: Mapping[str, NDArray[np.int64]], rivals: Mapping[str, Floats | None]
) -> None:
    """Left: calibration of each kind of question; right: AUC of each week's weekly questions, beside the rivals'."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for kind, some in kinds.items():
        if len(some):
            bins = metrics.calibration(answers.probability[some], answers.churned[some])
            left.plot([b.probability for b in bins], [b.rate for b in bins], marker="o", markersize=4, label=kind)
    left.set(xlabel="predicted", ylabel="stayed away", title="Calibration, 15 bins of equal mass")
    _by_week(right, answers, kinds["weekly"], [("learner", answers.probability), *_shown(rivals)])
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _shown(rivals: Mapping[str, Floats | None]) -> list[tuple[str, Floats]]:
    return [(name, p) for name in SHOWN_RIVALS if (p := rivals.get(name)) is not None]


def _by_week(axes: Any, answers: Answers, some: NDArray[np.int64], models: Sequence[tuple[str, Floats]]) -> None:
    weeks = weeks_of(answers.asked[some])
    days = [datetime.fromtimestamp(FIRST_MONDAY + week * WEEK, UTC) for week in np.unique(weeks).tolist()]
    for place, (name, p) in enumerate(models):
        aucs = [metrics.auc(p[some][weeks == week], answers.churned[some][weeks == week]) for week in np.unique(weeks)]
        axes.plot(days, aucs, label=name, linewidth=1 if place else 2.5)
    axes.set(xlabel="asked on", title="AUC of each week's questions")
    axes.tick_params(axis="x", rotation=30)
