"""What else could have answered: rivals on the very same questions, each knowing only labels due by then.

`constant`: the share that stayed away so far. `rule`: the product's simple rule. The others are fitted anew each Monday
00:00 UTC and answer that week's questions: `recency`, a logistic regression on the silence alone; `bg_nbd`, the
counting model of Fader, Hardie & Lee (2005); `logistic` and `lightgbm` on the learner's own features.
"""

import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wellio.evaluate.replay import Answers
from wellio.evaluate.telling import Progress
from wellio.learning.clients import FIRST_MONDAY, WEEK
from wellio.learning.features import NAMES, Floats

MAX_EXAMPLES = 200_000  # the latest; a rival need not remember more
MIN_EXAMPLES = 200
FLOOR = 1e-6  # no answer is certain
RIDGE = 1.0

# Fitted on examples x, y, and the clients on that Monday; called with questions' features.
Model: TypeAlias = Callable[[Floats], Floats]
Fit: TypeAlias = Callable[[Floats, NDArray[np.bool_], Floats], Model]

_SILENT = [NAMES.index("silent_log"), NAMES.index("silent_root")]
_VISITS, _TENURE = NAMES.index("visits"), NAMES.index("tenure")


def answer_as_rivals(answers: Answers, horizon: float, progress: Progress) -> dict[str, Floats | None]:
    """Probabilities [n] by rival; None for one that is not installed. `progress` counts rivals."""
    fits: dict[str, Fit | None] = {
        "recency": lambda x, y, _: _logistic(x[:, _SILENT], y, lambda asked: asked[:, _SILENT]),
        "bg_nbd": BgNbd(horizon).fit if find_spec("scipy") else None,
        "logistic": lambda x, y, _: _logistic(x, y, lambda asked: asked),
        "lightgbm": _lightgbm if find_spec("lightgbm") else None,
    }
    found: dict[str, Floats | None] = {"constant": _constant(answers), "rule": answers.rule}
    for done, (name, fit) in enumerate(fits.items()):
        progress(done)
        found[name] = None if fit is None else _weekly(answers, fit)
    return found


def _constant(answers: Answers) -> Floats:
    """By kind of question; before the first label one half."""
    out = np.full(len(answers.due), 0.5)
    for weekly in (False, True):
        mine = answers.weekly == weekly
        due, churned = answers.due[mine], np.concatenate([[0.0], np.cumsum(answers.churned[mine])])
        known = np.searchsorted(due, answers.asked[mine], "right")
        out[mine] = (churned[known] + 1.0) / (known + 2.0)
    return out


def _weekly(answers: Answers, fit: Fit) -> Floats:
    out, base = np.full(len(answers.due), 0.5), _constant(answers)
    clients = dict(answers.mondays)
    for monday, questions in _weeks(answers):
        known = int(np.searchsorted(answers.due, monday, "right"))
        some = slice(max(known - MAX_EXAMPLES, 0), known)
        y = answers.churned[some]
        if known < MIN_EXAMPLES or y.all() or not y.any():
            out[questions] = base[questions]
        else:
            seen = clients.get(monday, np.zeros((0, 3)))
            model = fit(answers.x[some].astype(float), y, seen)
            out[questions] = np.clip(model(answers.x[questions].astype(float)), FLOOR, 1.0 - FLOOR)
    return out


def _weeks(answers: Answers) -> Iterator[tuple[float, NDArray[np.int64]]]:
    weeks = np.floor((answers.asked - FIRST_MONDAY) / WEEK)
    for week in np.unique(weeks):
        yield FIRST_MONDAY + week * WEEK, np.flatnonzero(weeks == week)


def _logistic(x: Floats, y: NDArray[np.bool_], columns: Callable[[Floats], Floats]) -> Model:
    """Newton's method on standardised columns, with a ridge."""
    mean, sd = x.mean(axis=0), x.std(axis=0)
    sd[sd == 0.0] = np.inf

    def design(some: Floats) -> Floats:
        return np.column_stack([(some - mean) / sd, np.ones(len(some))])

    z = design(x)
    penalty = np.full(z.shape[1], RIDGE)
    penalty[-1] = 1e-6
    w = np.zeros(z.shape[1])
    for _ in range(25):
        p = _sigmoid(z @ w)
        gradient = z.T @ (y - p) - penalty * w
        move = np.linalg.solve((z * (p * (1.0 - p))[:, None]).T @ z + np.diag(penalty), gradient)
        w += move
        if np.abs(move).max() < 1e-6:
            break
    return lambda asked: _sigmoid(design(columns(asked)) @ w)


def _lightgbm(x: Floats, y: NDArray[np.bool_], _: Floats) -> Model:
    import lightgbm

    options = {"objective": "binary", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 100}
    options |= {"lambda_l2": 1.0, "feature_fraction": 0.7, "verbose": -1, "num_threads": 1, "seed": 1}
    booster: Any = lightgbm.train(options, lightgbm.Dataset(x, y), num_boost_round=150)
    return lambda asked: np.asarray(booster.predict(asked), float)


class BgNbd:
    """Buys at a rate of Gamma(r, alpha), leaves after a purchase with a chance of Beta(a, b); days."""

    def __init__(self, horizon: float) -> None:
        self.horizon = horizon
        self.logs = np.log([1.0, 30.0, 1.0, 3.0])  # of r, alpha, a, b; each fit starts from the one before

    def fit(self, _x: Floats, _y: NDArray[np.bool_], clients: Floats) -> Model:
        from scipy.optimize import minimize

        if len(clients):
            found = minimize(_minus_log_likelihood, self.logs, (clients,), method="L-BFGS-B", bounds=[(-7.0, 9.0)] * 4)
            self.logs = found.x if np.isfinite(found.fun) else self.logs
        r, alpha, a, b = np.exp(self.logs)

        def silent(asked: Floats) -> Floats:
            x = np.maximum(np.expm1(asked[:, _VISITS]) - 1.0, 0.0)
            age = np.expm1(asked[:, _TENURE])
            last = np.maximum(age - np.expm1(asked[:, _SILENT[0]]), 0.0)
            odds = a / (b + np.maximum(x, 1.0) - 1.0) * ((alpha + age) / (alpha + last)) ** (r + x)
            alive = np.where(x > 0, 1.0 / (1.0 + odds), 1.0)
            idle = ((alpha + age) / (alpha + age + self.horizon)) ** (r + x)
            gone: Floats = 1.0 - alive * (1.0 - idle)
            return gone

        return silent


def _minus_log_likelihood(logs: Floats, clients: Floats) -> float:
    """Equation 6 of Fader, Hardie & Lee (2005), by client; `clients` as in `Answers.mondays`."""
    from scipy.special import betaln, gammaln

    r, alpha, a, b = np.exp(logs)
    x, last, age = np.maximum(clients[:, 0] - 1.0, 0.0), clients[:, 1], clients[:, 2]
    common = gammaln(r + x) - gammaln(r) + r * math.log(alpha)
    stayed = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    left = betaln(a + 1.0, b + np.maximum(x, 1.0) - 1.0) - betaln(a, b) - (r + x) * np.log(alpha + last)
    found = common + np.where(x > 0, np.logaddexp(stayed, left), stayed)
    return float(-found.mean())


def _sigmoid(logits: Floats) -> Floats:
    out: Floats = 1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
    return out
