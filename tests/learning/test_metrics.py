"""Metrics against values worked out by hand and against other people's code."""

import math

import numpy as np
import pytest
from scipy import stats

from wellio.learning import metrics

P = np.array([0.1, 0.4, 0.35, 0.8])
Y = np.array([False, False, True, True])


def test_auc_is_the_share_of_pairs_in_order() -> None:
    # Positives .35 and .8 against negatives .1 and .4: three of four pairs are in order.
    assert metrics.auc(P, Y) == 0.75


def test_ties_count_half() -> None:
    assert metrics.auc(np.array([0.5, 0.5, 0.5]), np.array([True, False, True])) == 0.5
    assert metrics.auc(np.array([0.2, 0.5, 0.5, 0.9]), np.array([False, True, False, True])) == 0.875


def test_auc_of_one_class_is_unknown() -> None:
    assert math.isnan(metrics.auc(P, np.ones(4, bool)))


def test_ranks_are_those_of_scipy() -> None:
    values = np.random.default_rng(3).integers(0, 20, 500) / 20.0
    assert np.array_equal(metrics.mean_ranks(values), stats.rankdata(values))


def test_auc_is_mann_whitneys_u() -> None:
    chance = np.random.default_rng(4)
    p, y = chance.integers(0, 30, 400) / 30.0, chance.random(400) < 0.3
    u = stats.mannwhitneyu(p[y], p[~y]).statistic
    assert metrics.auc(p, y) == pytest.approx(u / (y.sum() * (~y).sum()), abs=1e-12)


def test_log_loss_and_brier_by_hand() -> None:
    assert metrics.log_loss(P, Y) == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert metrics.brier(P, Y) == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)


def test_average_precision_by_hand() -> None:
    # From the top: .8 hits (1/1), .4 misses, .35 hits (2/3): (1 + 2/3) / 2.
    assert metrics.average_precision(P, Y) == pytest.approx(5 / 6)


def test_average_precision_takes_ties_at_once() -> None:
    assert metrics.average_precision(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
    assert metrics.average_precision(np.array([0.5, 0.5]), np.array([False, True])) == 0.5


def test_calibration_bins_have_equal_mass() -> None:
    p = np.linspace(0.01, 0.99, 32)
    bins = metrics.calibration(p, p > 0.5)
    assert [b.n for b in bins] == [3, 3] + [2] * 13
    assert bins[0].probability == pytest.approx(p[:3].mean())
    assert bins[-1].rate == 1.0


def test_ece_by_hand() -> None:
    # Two bins: mean .225 with rate .5, mean .6 with rate .5.
    assert metrics.ece(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]), 2) == pytest.approx(
        (abs(0.225 - 0.5) + abs(0.6 - 0.5)) / 2
    )


def test_ece_of_the_truth_is_small_and_of_a_shift_the_shift() -> None:
    chance = np.random.default_rng(5)
    p = chance.uniform(0.3, 0.6, 40_000)
    y = chance.random(40_000) < p
    assert metrics.ece(p, y) < 0.01
    assert metrics.ece(p + 0.2, y) == pytest.approx(0.2, abs=0.01)


def test_mean_group_auc_leaves_out_groups_of_one_class() -> None:
    groups = np.array([0, 0, 1, 1, 2])
    p, y = np.array([0.1, 0.9, 0.9, 0.1, 0.5]), np.array([False, True, False, True, True])
    assert metrics.mean_group_auc(p, y, groups) == 0.5
