"""The figures of forecasts, the simple methods' beside the product's.

With y what came in, f the forecast, and q the mean absolute change from unit to unit in the history before (each
forecast's own: the mean error that "as last time" would have had there):

- `mase`: mean of |y - f| / q over all forecasts and units ahead (Hyndman & Koehler 2006);
- of totals over k units: mean of |sum y - sum f| / (k q);
- `wape`: sum of |y - f| over sum of |y|;
- `coverage_80`, `coverage_95`: share of y within the interval, bounds included;
- `interval_score_80`, `interval_score_95`: mean of (u - l + 2/a (l - y)+ + 2/a (y - u)+) / q, with a .2 and .05
  (Gneiting & Raftery 2007; scaled like the MSIS of the M4 competition).

A method is scored where it had an answer; `n` is how many forecasts these were, where it is not all.
"""

from typing import Any

import numpy as np

from wellio.evaluate.revenue_replay import Answers
from wellio.learning.features import Floats

ALPHAS = {"80": 0.2, "95": 0.05}


def score(answers: Answers, model: str, *, by_horizon: bool, bounds: bool) -> dict[str, Any] | None:
    """None where the model never answered."""
    point, actual, scale = np.array(answers.points[model]), np.array(answers.actual), np.array(answers.scale)
    some = ~np.isnan(point).any(axis=1)
    if not some.any():
        return None
    point, actual, scale = point[some], actual[some], scale[some, None]
    error = np.abs(actual - point)
    found: dict[str, Any] = {} if some.all() else {"n": int(some.sum())}
    found |= {"mase": _mean(error / scale), "wape": _ratio(error, actual)}
    scores = _bounds(np.array(answers.bounds[model])[some], actual, scale) if bounds else {}
    found |= {name: _mean(values) for name, values in scores.items()}
    if by_horizon:
        found["by_horizon"] = [
            {"mase": _mean(error[:, h] / scale[:, 0])} | {name: _mean(values[:, h]) for name, values in scores.items()}
            for h in range(error.shape[1])
        ]
    return found


def score_totals(answers: Answers, model: str, units: int) -> dict[str, Any] | None:
    """Of the sums over the first `units` ahead."""
    point, actual = (np.array(values)[:, :units].sum(axis=1) for values in (answers.points[model], answers.actual))
    some = ~np.isnan(point)
    if not some.any():
        return None
    error = np.abs(actual - point)[some]
    found: dict[str, Any] = {} if some.all() else {"n": int(some.sum())}
    return found | {
        "error": _mean(error / (units * np.array(answers.scale)[some])),
        "wape": _ratio(error, actual[some]),
        "bias": _ratio((point - actual)[some], actual[some]),
    }


def _bounds(bounds: Floats, actual: Floats, scale: Floats) -> dict[str, Floats]:
    found = {}
    for place, (name, alpha) in enumerate(ALPHAS.items()):
        low, high = bounds[:, 2 * place], bounds[:, 2 * place + 1]
        beyond = np.maximum(low - actual, 0.0) + np.maximum(actual - high, 0.0)
        found[f"coverage_{name}"] = ((low <= actual) & (actual <= high)).astype(float)
        found[f"interval_score_{name}"] = (high - low + 2.0 / alpha * beyond) / scale
    return found


def _mean(values: Floats) -> float:
    return round(float(values.mean()), 4)


def _ratio(errors: Floats, actual: Floats) -> float | None:
    whole = float(np.abs(actual).sum())
    return round(float(errors.sum()) / whole, 4) if whole > 0.0 else None
