"""What else could have said who comes: rivals on the very same bookings, each knowing only outcomes known by then.

`constant`: the share that came so far. `lead_table`: the share by days of lead, shrunk to the constant. `logistic` and
`lightgbm`, on the model's own features, are fitted anew each day (of long files each week).
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wellio.evaluate.attendance_replay import Answers
from wellio.evaluate.telling import Progress
from wellio.learning.features import Floats

DAY = 86_400.0
LONG_DAYS = 90.0  # of bookings scored: from there on fitted weekly
LEADS = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 7.0, 14.0, 21.0, 30.0, 60.0])
PSEUDO = 20.0
MIN_EXAMPLES, MAX_EXAMPLES = 200, 200_000
FLOOR = 1e-6
RIDGE = 1.0

Labels: TypeAlias = NDArray[np.bool_]
Model: TypeAlias = Callable[[Floats], Floats]
Fit: TypeAlias = Callable[[Floats, Labels], Model]


def answer_as_rivals(answers: Answers, scored_from: float, progress: Progress) -> dict[str, Floats | None]:
    """Probabilities [n] by rival; None for one that is not installed. `progress` counts fits."""
    table = _table(answers, progress)
    found: dict[str, Floats | None] = {"constant": table[0], "lead_table": table[1]}
    fits: dict[str, Fit | None] = {"logistic": _logistic, "lightgbm": _lightgbm if find_spec("lightgbm") else None}
    for name, fit in fits.items():
        found[name] = None if fit is None else _refit(answers, fit, table[0], scored_from, progress)
    return found


def _table(answers: Answers, progress: Progress) -> tuple[Floats, Floats]:
    bins = np.searchsorted(LEADS, answers.lead, "right") - 1
    constant, table = np.full(len(bins), 0.5), np.full(len(bins), 0.5)
    for done, (known, asked) in enumerate(_periods(answers, -np.inf, DAY)):
        y = answers.attended[known]
        base = (y.sum() + 1.0) / (len(y) + 2.0)
        came = np.bincount(bins[known], weights=y, minlength=len(LEADS))
        n = np.bincount(bins[known], minlength=len(LEADS))
        constant[asked] = base
        table[asked] = ((came + PSEUDO * base) / (n + PSEUDO))[bins[asked]]
        progress(done)
    return constant, table


def _refit(answers: Answers, fit: Fit, base: Floats, scored_from: float, progress: Progress) -> Floats:
    out = base.copy()
    every = DAY if answers.asked[-1] - scored_from < LONG_DAYS * DAY else 7 * DAY
    for done, (known, asked) in enumerate(_periods(answers, scored_from, every)):
        y = answers.attended[known]
        if len(y) >= MIN_EXAMPLES and y.any() and not y.all():
            model = fit(answers.x[known].astype(float), y)
            out[asked] = np.clip(model(answers.x[asked].astype(float)), FLOOR, 1.0 - FLOOR)
        progress(done)
    return out


def _periods(answers: Answers, since: float, every: float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """By period of UTC: the latest bookings that came out before it, and those asked within it."""
    periods = np.floor(answers.asked / every)
    order = np.argsort(answers.outcome_at, kind="stable")
    outcomes = answers.outcome_at[order]
    for period in np.unique(periods[answers.asked >= since]):
        known = int(np.searchsorted(outcomes, period * every, "right"))
        yield order[max(known - MAX_EXAMPLES, 0) : known], np.flatnonzero(periods == period)


def _logistic(x: Floats, y: Labels) -> Model:
    """Newton's method on standardised columns, with a ridge."""
    mean, sd = x.mean(axis=0), x.std(axis=0)
    sd[sd < FLOOR] = np.inf

    def design(some: Floats) -> Floats:
        return np.column_stack([(some - mean) / sd, np.ones(len(some))])

    z = design(x)
    penalty = np.full(z.shape[1], RIDGE)
    w = np.zeros(z.shape[1])
    for _ in range(15):
        p = _sigmoid(z @ w)
        move = np.linalg.solve((z * (p * (1.0 - p))[:, None]).T @ z + np.diag(penalty), z.T @ (y - p) - penalty * w)
        w += move
        if np.abs(move).max() < FLOOR:
            break
    return lambda asked: _sigmoid(design(asked) @ w)


def _lightgbm(x: Floats, y: Labels) -> Model:
    import lightgbm

    options = {"objective": "binary", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100}
    options |= {"lambda_l2": 1.0, "feature_fraction": 0.7, "verbose": -1, "num_threads": 1, "seed": 1}
    booster: Any = lightgbm.train(options, lightgbm.Dataset(x, y), num_boost_round=120)
    return lambda asked: np.asarray(booster.predict(asked), float)


def _sigmoid(logits: Floats) -> Floats:
    out: Floats = 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
    return out
