"""The counting model finds the law that made its clients, from their counts alone."""

import random

import numpy as np
import pytest
from scipy.special import betaln, digamma, gammaln

from wellio.learning.clients import DAY
from wellio.learning.counting import CountingModel, _digamma, _scores
from wellio.learning.features import COUNT, NAMES, Floats

HORIZON, NOW = 60.0, 400.0
WEEK = 7 * DAY


def buyer(chance: random.Random, until: float) -> list[float]:
    rate, leaving = chance.gammavariate(1.2, 1.0 / 30.0), chance.betavariate(1.0, 3.0)
    t, times = 0.0, [0.0]
    while chance.random() > leaving and (t := t + chance.expovariate(rate)) < until:
        times.append(t)
    return times


def seen(people: list[list[float]], now: float) -> Floats:
    """Visits, days from the first to the last, days from the first to now."""
    return np.array([[len(b), b[-1], now] for times in people if (b := [t for t in times if t <= now])])


def log_likelihood(logs: Floats, x: Floats, last: Floats, age: Floats) -> float:
    """Equation 6 of Fader, Hardie & Lee (2005)."""
    r, alpha, a, b = np.exp(logs)
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    stayed = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    left = betaln(a + 1.0, b + np.maximum(x, 1.0) - 1.0) - betaln(a, b) - (r + x) * np.log(alpha + last)
    return float((common + np.where(x > 0, np.logaddexp(stayed, left), stayed)).sum())


def test_the_scores_are_the_derivatives_of_the_likelihood() -> None:
    chance = random.Random(1)
    visits, last, age = seen([buyer(chance, NOW) for _ in range(60)], NOW).T
    z = np.array([1e-3, 0.3, 1.0, 40.0, 1e5])
    np.testing.assert_allclose(_digamma(z), digamma(z), rtol=1e-7, atol=1e-8)
    for logs in np.log([[0.7, 40.0, 0.5, 4.0], [3.0, 5.0, 2.0, 1.0]]):
        by_hand = [
            (log_likelihood(logs + e, visits - 1, last, age) - log_likelihood(logs - e, visits - 1, last, age)) / 2e-5
            for e in np.eye(4) * 1e-5
        ]
        np.testing.assert_allclose(_scores(logs, visits - 1.0, last, age).sum(axis=0), by_hand, rtol=1e-4, atol=1e-3)


def test_it_foretells_who_stays_away_without_a_label() -> None:
    chance = random.Random(3)
    people = [buyer(chance, NOW + HORIZON) for _ in range(3000)]
    model = CountingModel()
    for week in range(10, 57):
        some = seen(people[:1000], min(7.0 * week, NOW))
        model.learn(week * WEEK, *some.T)
    counts = seen(people, NOW)
    x = np.zeros((len(counts), COUNT))
    for name, values in {"visits": counts[:, 0], "tenure": counts[:, 2], "silent_log": NOW - counts[:, 1]}.items():
        x[:, NAMES.index(name)] = np.log1p(values)
    p = 1.0 / (1.0 + np.exp(-model.logits(x, HORIZON)))
    silent = np.array([not any(t > NOW for t in times) for times in people])
    for low, high in ((0.0, 0.4), (0.4, 0.8), (0.8, 1.0)):
        there = (p >= low) & (p < high)
        assert p[there].mean() == pytest.approx(silent[there].mean(), abs=0.05)
        assert there.sum() > 150


def test_absurd_clients_leave_it_finite() -> None:
    model = CountingModel()
    for week in range(1, 30):
        model.learn(week * WEEK, np.array([1.0, 1e6, 2.0]), np.array([0.0, 1e-6, 2e4]), np.array([0.0, 1e-6, 4e4]))
    x = np.array([np.zeros(COUNT), np.full(COUNT, 30.0), np.full(COUNT, -5.0)])
    assert np.isfinite(model.logits(x, 730.0)).all()
    assert np.isfinite(model.logs).all()
