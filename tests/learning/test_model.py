"""Our fast classifier does what river's own pipeline does, and stays sane where that one does not."""

import math
from typing import Any

import numpy as np
import pytest
from river import compose, linear_model, optim, preprocessing

from tests.learning.histories import history
from wellio.learning.churn import Learner
from wellio.learning.features import NAMES, Floats
from wellio.learning.model import Intercept, OnlineLogistic, sigmoid, sigmoids


@pytest.fixture(scope="module")
def examples() -> tuple[Floats, list[bool]]:
    """Questions with their labels as the learner met them on a history."""
    learner = Learner()
    seen: list[Floats] = []
    labels: list[bool] = []
    linear = learner.model.linear
    learn = linear.learn_many

    def spy(x: Floats, y: Floats, offset: float = 0.0) -> Floats:
        seen.append(x)
        labels.extend((y > 0.0).tolist())
        return learn(x, y, offset)

    linear.learn_many = spy  # type: ignore[method-assign]
    learner.apply_all(history(clients=30, days=250.0))
    return np.concatenate(seen), labels


def unclipped() -> OnlineLogistic:
    return OnlineLogistic(NAMES, clip=math.inf)


def as_dict(row: Floats) -> dict[Any, Any]:
    return dict(zip(NAMES, row.tolist(), strict=True))


def test_equals_rivers_pipeline(examples: tuple[Floats, list[bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wellio.learning.model.MAX_LOGIT", 36.0)  # river's goes nearer to certainty
    scaler: Any = preprocessing.StandardScaler()
    theirs: Any = linear_model.LogisticRegression(optimizer=optim.AdaGrad(0.1), intercept_lr=0.0)
    ours = unclipped()
    assert len(examples[1]) > 500
    for row, y in zip(*examples, strict=True):
        x = as_dict(row)
        # River's intercept has a constant rate; as the weight of a constant it is learnt by AdaGrad, like ours.
        expected = theirs.predict_proba_one({**scaler.transform_one(x), "bias": 1.0})[True]
        assert ours.predict_proba_one(x)[True] == pytest.approx(expected, abs=1e-9)
        scaler.learn_one(x)
        theirs.learn_one({**scaler.transform_one(x), "bias": 1.0}, y)
        ours.learn_one(x, y)


def test_is_a_classifier_for_rivers_pipelines(examples: tuple[Floats, list[bool]]) -> None:
    pipeline = compose.Pipeline(compose.Select("silent_log", "visits"), OnlineLogistic(("silent_log", "visits")))
    for row, y in zip(*examples, strict=True):
        pipeline.learn_one(as_dict(row), y)
    assert pipeline.predict_one({**as_dict(examples[0][0]), "silent_log": 6.0}) is True


@pytest.mark.parametrize("batch", [3, 32])
def test_batches_learn_as_much_as_one_by_one(examples: tuple[Floats, list[bool]], batch: int) -> None:
    x, labels = examples
    y = np.array(labels, float)
    losses = []
    for size in (1, batch):
        model, loss = unclipped(), 0.0
        for start in range(0, len(x), size):
            some = slice(start, start + size)
            before = model.learn_many(x[some], y[some])
            loss += float(np.logaddexp(0.0, np.where(y[some] > 0.0, -before, before)).sum())
        losses.append(loss / len(x))
    assert losses[1] == pytest.approx(losses[0], abs=0.1)
    assert losses[1] < math.log(2.0)


def test_moments_are_those_of_all_examples(examples: tuple[Floats, list[bool]]) -> None:
    x, labels = examples
    model = unclipped()
    model.learn_many(x, np.array(labels, float))
    np.testing.assert_allclose(model.scaler.mean, x.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.scaler.variance, x.var(axis=0), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 50])
def test_a_constant_feature_has_no_say(batch: int) -> None:
    chance = np.random.default_rng(1)
    x = np.column_stack([chance.normal(size=500), np.full(500, 0.1)])
    y = (x[:, 0] > 0.0).astype(float)
    model = OnlineLogistic(("signal", "constant"))
    for start in range(0, 500, batch):
        model.learn_many(x[start : start + batch], y[start : start + batch])
    assert model.scaler.variance[1] == 0.0
    assert model.weights[1] == 0.0
    assert model.standardise(np.array([0.0, 99.0]))[1] == 0.0


def test_an_absurd_example_is_clipped() -> None:
    chance = np.random.default_rng(2)
    model = OnlineLogistic(("a",))
    x = chance.normal(size=(300, 1))
    model.learn_many(x, (x[:, 0] > 0.0).astype(float))
    assert model.standardise(np.array([1e12])).tolist() == [4.0]
    before = model.logit(model.standardise(np.array([1.0])))
    model.learn_many(np.array([[1e12]]), np.zeros(1))
    assert np.isfinite(model.weights).all()
    assert abs(model.weights[0]) < 10.0
    assert math.isfinite(before)


def test_no_answer_is_certain() -> None:
    assert 0.0 < sigmoid(-1e9) < sigmoid(0.0) == 0.5 < sigmoid(1e9) < 1.0
    assert sigmoids(np.array([-1e9, 0.0, 1e9])).tolist() == [sigmoid(-1e9), 0.5, sigmoid(1e9)]
    assert 0.0 < sigmoid(math.nan) < 1.0


def test_dot_products_do_not_depend_on_where_an_array_lies() -> None:
    # A restored learner's arrays lie elsewhere in memory; a vector loop that peels to alignment would sum otherwise.
    chance = np.random.default_rng(6)
    width = len(NAMES)
    buffers = [np.zeros(width + 16) for _ in range(2)]
    w, z = chance.normal(size=width), chance.normal(size=width)
    found = set()
    for shift in range(9):
        views = [buffer[shift : shift + width] for buffer in buffers]
        views[0][:], views[1][:] = w, z
        found.add(float(views[0].dot(views[1])))
    assert len(found) == 1


def test_an_intercept_is_shrunk_and_follows_its_practice() -> None:
    intercept = Intercept()
    for _ in range(4):
        intercept.learn(0.25, 0.5)
    assert 0.0 < intercept.value < 0.2
    for _ in range(4000):
        probability = sigmoid(intercept.value)
        intercept.learn(probability * (1.0 - probability), 0.8 - probability)
    assert sigmoid(intercept.value) == pytest.approx(0.8, abs=0.02)
    assert intercept.information == Intercept.CAP
