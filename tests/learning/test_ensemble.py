"""Three models as one: the better one lately gets the say, and each feature's part is exact."""

import numpy as np
import pytest

from tests.learning.histories import history, learn
from wellio.learning.ensemble import ENOUGH, FIRST_SHARES, HEDGE, LEAST_SHARE, Ensemble
from wellio.learning.features import COUNT, Floats
from wellio.learning.model import Intercept


def drawn(n: int, seed: int = 4) -> tuple[Floats, Floats]:
    """Examples of a known truth."""
    chance = np.random.default_rng(seed)
    x = np.abs(chance.normal(size=(n, COUNT)))
    p = 1.0 / (1.0 + np.exp(-(1.5 * x[:, 0] - x[:, 1] - 0.5)))
    return x, (chance.random(n) < p).astype(float)


def taught() -> Ensemble:
    return learn(history(clients=80, days=300.0))[0].model


def test_nobody_is_heard_before_having_learnt_enough() -> None:
    model = Ensemble()
    assert model.shares.tolist() == [1.0, 0.0, 0.0]
    model.counting.most = 50.0
    model.share_out()
    assert model.shares.tolist() == [0.0, 0.0, 1.0]  # counts need no outcomes
    model.hazard.total = 200.0
    model.share_out()
    assert model.shares == pytest.approx([0.0, 0.5 / 0.65, 0.15 / 0.65])
    x, y = drawn(ENOUGH)
    for start in range(0, ENOUGH, 20):
        model.learn_many(x[start : start + 20], y[start : start + 20], 30.0, Intercept(), 0.0)
    assert (model.shares >= LEAST_SHARE / 1.2).all()
    assert sum(FIRST_SHARES) == pytest.approx(1.0)


def test_who_did_better_lately_has_the_larger_share() -> None:
    x, stayed_away = np.zeros((20, COUNT)), np.ones(20)
    shares = []
    for spoilt in ("linear", "hazard"):
        model = Ensemble()
        model.hazard.total = 200.0
        for _ in range(20):
            if spoilt == "linear":
                model.linear.weights[-1] = -6.0
            else:
                model.hazard.weights[-9:] = 6.0
            model.learn_many(x, stayed_away, 30.0, Intercept(), 0.0)
        shares.append(model.shares[0])
        assert model.shares.sum() == pytest.approx(1.0)
        assert model.shares[2] == 0.0
    assert LEAST_SHARE / 2 < shares[0] < 0.2
    assert 0.7 < shares[1] < 1.0 - LEAST_SHARE / 2


def test_each_features_part_is_exact_and_zero_for_the_average_client() -> None:
    model = taught()
    assert (model.shares > 0.0).all()
    chance = np.random.default_rng(8)
    for horizon in (10.0, 30.0):
        x = model.hazard.scaler.mean + chance.normal(size=(40, COUNT)) * np.sqrt(model.hazard.scaler.variance)
        added, average, _ = model.explain(model.look(x, horizon))
        np.testing.assert_allclose(added.sum(axis=1) + average, model.logits(x, horizon), atol=1e-9)
    # Only the linear member is heard: its parts are weight × standardised feature.
    model.shares = np.array([1.0, 0.0, 0.0])
    added, average, _ = model.explain(model.look(x, 30.0))
    np.testing.assert_allclose(added, HEDGE * model.linear.standardise(x) * model.linear.weights[:-1], atol=1e-12)
    model.shares = np.array([0.0, 1.0, 0.0])
    usual = model.hazard.scaler.mean[None, :].copy()
    added, average, _ = model.explain(model.look(usual, 30.0))
    assert np.abs(added).sum() < 0.05
    assert average == pytest.approx(float(model.logits(usual, 30.0)[0]), abs=0.05)


def test_one_outcome_alone_teaches_what_it_does_among_several() -> None:
    alone, together = taught(), taught()
    usual, chance = alone.hazard.scaler, np.random.default_rng(5)
    x = usual.mean + chance.normal(size=(3, COUNT)) * np.sqrt(usual.variance)
    y = np.array([1.0, 0.0, 1.0])
    intercepts = Intercept(), Intercept()
    before = alone.losses
    for i in range(3):
        alone.learn_many(x[i : i + 1], y[i : i + 1], 30.0, intercepts[0], 0.1)
    together.learn_many(x, y, 30.0, intercepts[1], 0.1)
    np.testing.assert_allclose(alone.losses - before, together.losses - before, rtol=0.02)
    np.testing.assert_allclose(alone.linear.weights, together.linear.weights, atol=2e-3)
    np.testing.assert_allclose(alone.linear.scaler.mean, together.linear.scaler.mean, rtol=1e-9, atol=1e-9)
    assert intercepts[0].value == pytest.approx(intercepts[1].value, rel=0.05, abs=2e-3)
    assert intercepts[0].information == pytest.approx(intercepts[1].information, rel=0.01)
