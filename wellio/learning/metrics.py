"""How good probabilities are: exact, in numpy, on arrays of probabilities p [n] in (0, 1) and labels y [n] of bool."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wellio.learning.features import Floats

Labels = NDArray[np.bool_]

ECE_BINS = 15


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """`probability`: mean of the predicted; `rate`: the share that came true."""

    n: int
    probability: float
    rate: float


def auc(p: Floats, y: Labels) -> float:
    """Area under the ROC curve: P(p of a positive > p of a negative), ties counting half (Mann & Whitney 1947).

    NaN where a class is missing.
    """
    positives = int(np.count_nonzero(y))
    negatives = len(y) - positives
    if not positives or not negatives:
        return float("nan")
    rank_sum = float(mean_ranks(p)[y].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def mean_ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means = last - (counts - 1) / 2
    ranks: Floats = means[inverse.reshape(-1)]
    return ranks


def mean_group_auc(p: Floats, y: Labels, group: NDArray[np.int64]) -> float:
    """Mean of the groups' AUC, over groups with both labels; NaN for none."""
    aucs = [auc(p[group == g], y[group == g]) for g in np.unique(group)]
    known = [value for value in aucs if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def log_loss(p: Floats, y: Labels) -> float:
    """Mean of -log of the probability given to what happened, in nats."""
    return float(-np.mean(np.log(np.where(y, p, 1.0 - p))))


def brier(p: Floats, y: Labels) -> float:
    """Mean squared error of the probability (Brier 1950)."""
    return float(np.mean((p - y) ** 2))


def calibration(p: Floats, y: Labels, bins: int = ECE_BINS) -> list[CalibrationBin]:
    """Bins of equal mass, by probability, sizes differing by one at most; ties in the order given."""
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [CalibrationBin(len(part), float(p[part].mean()), float(y[part].mean())) for part in parts]


def ece(p: Floats, y: Labels, bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean over the bins, by size, of |mean probability - rate| (Naeini et al. 2015)."""
    found = calibration(p, y, bins)
    return sum(b.n * abs(b.probability - b.rate) for b in found) / len(p)


def average_precision(p: Floats, y: Labels) -> float:
    """Area under the precision-recall curve as a step function: sum of precision × gain of recall, ties at once."""
    positives = int(np.count_nonzero(y))
    if not positives:
        return float("nan")
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(y[order])
    ends = np.flatnonzero(np.append(np.diff(p[order]) != 0.0, [True]))
    gains = np.diff(hits[ends], prepend=0)
    return float(np.sum(hits[ends] / (ends + 1.0) * gains) / positives)
