"""Two models as one: the second-order one is the posterior it claims to be, the better one lately gets the say."""

import math

import numpy as np
import pytest

from wellio.learning.ensemble import HEDGE, LEAST_SHARE, PRIOR_VARIANCE, WALK, Ensemble, SecondOrderLogistic
from wellio.learning.features import Floats
from wellio.learning.model import Intercept

NAMES = ("a", "b", "c")


def drawn(n: int, weights: tuple[float, ...], seed: int = 4) -> tuple[Floats, list[bool]]:
    """Examples of a known truth; `b` is nearly `a`."""
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(n, 3))
    x[:, 1] = x[:, 0] + 0.2 * x[:, 1]
    p = 1.0 / (1.0 + np.exp(-(x @ np.array(weights[:3]) + weights[3])))
    return x, (chance.random(n) < p).tolist()


def test_second_order_learning_is_the_posterior_of_all_it_saw() -> None:
    x, y = drawn(3000, (1.0, -0.5, 0.3, 0.4))
    model = SecondOrderLogistic(NAMES)
    for row, label in zip(x, y, strict=True):
        model.learn_one(dict(zip(NAMES, row.tolist(), strict=True)), label)
    z = np.column_stack([x, np.ones(len(x))])
    w = np.zeros(4)
    for _ in range(20):  # Newton's method on all at once, with the same prior
        p = 1.0 / (1.0 + np.exp(-z @ w))
        information = (z * (p * (1.0 - p))[:, None]).T @ z + np.eye(4) / PRIOR_VARIANCE
        w += np.linalg.solve(information, z.T @ (np.array(y) - p) - w / PRIOR_VARIANCE)
    np.testing.assert_allclose(model.weights, w, atol=0.1)
    sd = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(np.sqrt(np.diag(model.covariance)), sd, rtol=0.15)
    answer = model.predict_proba_one({"a": 1.0, "b": 1.0, "c": 0.0})
    assert answer[True] == pytest.approx(1.0 / (1.0 + math.exp(-(w[0] + w[1] + w[3]))), abs=0.02)


def test_what_was_learnt_ages_and_never_runs_wild() -> None:
    model = SecondOrderLogistic(NAMES)
    for i in range(20_000):  # the third never varies
        model.learn(np.array([math.sin(i), math.cos(i), 0.0, 1.0]), float(i % 3 == 0), 0.0)
    variances = np.diag(model.covariance)
    assert variances[2] == PRIOR_VARIANCE
    assert (variances[:2] > 1000 * WALK).all()
    assert np.linalg.eigvalsh(model.covariance).min() > 0.0
    assert (model.covariance == model.covariance.T).all()


def test_the_blend_is_one_linear_function_of_both() -> None:
    x, y = drawn(800, (1.0, 0.5, 0.0, -0.5))
    model = Ensemble(NAMES)
    model.learn_many(x, y, Intercept())
    z = model.standardise(x[:50])
    both = [z @ weights[:-1] + weights[-1] for weights in (model.first.weights, model.second.weights)]
    np.testing.assert_allclose(model.logits(z), HEDGE * (model.share * both[0] + (1.0 - model.share) * both[1]))
    assert model.logit(z[0]) == pytest.approx(model.logits(z)[0], abs=1e-12)


def test_who_did_better_lately_has_the_larger_share() -> None:
    x, y = drawn(400, (1.5, 0.0, 0.0, 0.0))
    shares = []
    for spoilt in ("first", "second"):
        model = Ensemble(NAMES)
        assert model.share == 0.5
        for start in range(0, 400, 20):
            getattr(model, spoilt).weights[:] = (-2.0, -2.0, 0.0, 0.0)
            model.learn_many(x[start : start + 20], y[start : start + 20], Intercept())
        shares.append(model.share)
    assert LEAST_SHARE < shares[0] < 0.4
    assert 0.6 < shares[1] < 1.0 - LEAST_SHARE
