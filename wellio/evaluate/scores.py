"""The figures of answers, by kind of question, rivals' beside the learner's."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wellio.evaluate.replay import Answers
from wellio.learning import metrics
from wellio.learning.clients import DAY, FIRST_MONDAY, WEEK
from wellio.learning.features import Floats

KINDS = {"event": False, "weekly": True}


def scored(answers: Answers, *, first: float, last: float, kind: str) -> NDArray[np.int64]:
    """Questions of one kind asked from `first` to `last`."""
    inside = (answers.asked >= first) & (answers.asked <= last)
    return np.flatnonzero(inside & (answers.weekly == KINDS[kind]))


def score(answers: Answers, some: NDArray[np.int64], rivals: Mapping[str, Floats | None]) -> dict[str, Any]:
    if not len(some):
        return {"n": 0}
    y, weeks = answers.churned[some], weeks_of(answers.asked[some])
    found: dict[str, Any] = {
        "n": len(some),
        "base_rate": round(float(y.mean()), 5),
        **_figures(answers.probability[some], y, weeks),
    }
    if rivals:
        found["baselines"] = {
            name: "not installed" if p is None else _figures(p[some], y, weeks) for name, p in rivals.items()
        }
    return found


def score_weeks(answers: Answers, some: NDArray[np.int64], rivals: Mapping[str, Floats | None]) -> list[dict[str, Any]]:
    """The same by the Monday on which they were asked, with the rivals' AUC and log loss."""
    weeks = weeks_of(answers.asked[some])
    return [_score_week(answers, some[weeks == week], rivals) for week in np.unique(weeks).tolist()]


def _score_week(answers: Answers, some: NDArray[np.int64], rivals: Mapping[str, Floats | None]) -> dict[str, Any]:
    y, monday = answers.churned[some], datetime.fromtimestamp(float(answers.asked[some[0]]), UTC)
    each = {"learner": answers.probability, **{name: p for name, p in rivals.items() if p is not None}}
    return {
        "asked": monday.date().isoformat(),
        "n": len(some),
        "base_rate": round(float(y.mean()), 5),
        "auc": {name: _rounded(metrics.auc(p[some], y)) for name, p in each.items()},
        "log_loss": {name: _rounded(metrics.log_loss(p[some], y)) for name, p in each.items()},
    }


def _rounded(value: float) -> float | None:
    return round(value, 5) if np.isfinite(value) else None


def weeks_of(asked: Floats) -> NDArray[np.int64]:
    return ((asked - FIRST_MONDAY) // WEEK).astype(np.int64)


def window(answers_from: float, answers_to: float, *, warmup: float, horizon: float) -> tuple[float, float]:
    """From the first event + warm-up to the last event - horizon (both in days)."""
    return answers_from + warmup * DAY, answers_to - horizon * DAY


def _figures(p: Floats, y: NDArray[np.bool_], weeks: NDArray[np.int64]) -> dict[str, float | None]:
    found = {
        "auc": metrics.auc(p, y),
        "mean_weekly_auc": metrics.mean_group_auc(p, y, weeks),
        "pr_auc": metrics.average_precision(p, y),
        "log_loss": metrics.log_loss(p, y),
        "brier": metrics.brier(p, y),
        "ece": metrics.ece(p, y),
    }
    return {name: _rounded(value) for name, value in found.items()}
