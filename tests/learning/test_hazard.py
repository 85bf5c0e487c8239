"""The weekly hazard: it finds the weeks' chances, makes a horizon of them, and forgets what is no longer so."""

import numpy as np
import pytest

from wellio.learning.features import COUNT, NAMES, Floats
from wellio.learning.hazard import LEVELS, WeeklyHazard

A = NAMES.index("visits_90")
WEEK = 7 * 86_400.0


def clients(n: int, chance: np.random.Generator) -> Floats:
    x = np.zeros((n, COUNT))
    x[:, A] = chance.normal(size=n)
    return x


def teach(model: WeeklyHazard, weeks: range, slope: float, chance: np.random.Generator, n: int = 2000) -> None:
    """Questions followed for four weeks; the chance of a return falls from week to week."""
    for number in weeks:
        weekly = model.start(number * WEEK)
        x = clients(n, chance)
        silent = np.ones(n, bool)
        for week in range(4):
            p = 1.0 / (1.0 + np.exp(-(slope * x[:, A] - 1.0 - 0.3 * week)))
            returned = chance.random(n) < p
            weekly.add(x[silent], np.full(int(silent.sum()), week), returned[silent])
            silent &= ~returned
        model.finish(weekly)


def stays(x: Floats, slope: float, weeks: int) -> Floats:
    out: Floats = np.ones(len(x))
    for week in range(weeks):
        out *= 1.0 - 1.0 / (1.0 + np.exp(-(slope * x[:, A] - 1.0 - 0.3 * week)))
    return out


def said(model: WeeklyHazard, x: Floats, days: float) -> Floats:
    logits = model.logits(model.scores(model.standardise(x)), np.zeros(len(x)), days)
    out: Floats = 1.0 / (1.0 + np.exp(-logits))
    return out


def test_a_horizon_is_made_of_its_weeks() -> None:
    chance = np.random.default_rng(5)
    model = WeeklyHazard(COUNT)
    teach(model, range(1, 30), 0.8, chance)
    x = clients(200, chance)
    for weeks in (1, 2, 4):
        np.testing.assert_allclose(said(model, x, 7.0 * weeks), stays(x, 0.8, weeks), atol=0.03)
    between = said(model, x, 24.0)
    assert (between < said(model, x, 21.0)).all()
    assert (between > said(model, x, 28.0)).all()
    # Weeks nobody saw are like the last one seen, however long the horizon.
    assert np.isfinite(model.logits(np.array([-8.0, 8.0]), np.ones(2), 730.0)).all()
    assert LEVELS > 4


def test_what_is_no_longer_so_is_forgotten_in_weeks() -> None:
    chance = np.random.default_rng(6)
    model = WeeklyHazard(COUNT)
    teach(model, range(1, 30), 0.8, chance)
    teach(model, range(30, 46), -0.8, chance)
    x = clients(200, chance)
    np.testing.assert_allclose(said(model, x, 28.0), stays(x, -0.8, 4), atol=0.15)


def test_few_examples_are_remembered_longer_and_the_past_is_no_new_week() -> None:
    chance = np.random.default_rng(7)
    small = WeeklyHazard(COUNT)
    teach(small, range(1, 60), 0.8, chance, n=20)
    assert np.trace(small.information - WeeklyHazard(COUNT).information) > 0.1 * small.total
    before = small.information.copy()
    small.finish(small.start(5 * WEEK))  # a practice whose past is replayed
    assert (small.information == before).all()
    assert small.week == 59 * WEEK
    small.finish(small.start(60 * WEEK))
    assert np.trace(small.information) < np.trace(before)
    assert said(small, clients(3, chance), 28.0) == pytest.approx([0.5] * 3, abs=0.5)
