"""Revenue from the bottom up: what each client may be expected to pay, and those who are still to come. Pure.

A visit is a day on which a client paid. How often one comes is their own count, shrunk to the practice's and that to a
prior (Gamma and Poisson), old visits counting less; what one pays is their own mean, shrunk likewise. Clients are lost
at the practice's rate, and new ones come as they came lately, then come again as others do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wellio.learning.features import Floats

HALF_LIFE = 180.0  # days after which a visit counts half
DECAY = np.log(2.0) / HALF_LIFE
PRIOR_RATE = 0.01  # visits a day
PRIOR_DAYS = 100.0  # of the practice's, that the prior counts for
SHRINK_DAYS = 90.0  # of a client's, that the practice's rate counts for
SHRINK_VISITS = 2.0  # of a client's, that the practice's spend counts for
PRIOR_LOSS = np.log(2.0) / 365.0  # half of the clients in a year
LOSS_COUNTS = 2.0  # what that counts for, in clients lost
SILENT_DAYS = 90.0  # and twice their own gap: then a client is lost
ARRIVAL_DAYS = 84.0  # the latest in which arrivals are counted


@dataclass(frozen=True, slots=True)
class Book:
    """Clients who have ever paid [n]: on how many days; days since the first and the last of them; the days after the
    first, each counting half after HALF_LIFE; net of all payments; and who has ended by the practice's own account."""

    visits: Floats
    first: Floats
    last: Floats
    recent: Floats
    paid: Floats
    ended: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Of all clients together: visits a day, paid at a visit, clients lost a day of each, and new clients a day."""

    rate: float
    spend: float
    loss: float
    arrivals: float


def pool(book: Book, history_days: float) -> Pooled:
    """All who come first in a short history look new: only its latter half tells of arrivals."""
    exposure = _exposure(book)
    rate = (book.recent.sum() + PRIOR_RATE * PRIOR_DAYS) / (exposure.sum() + PRIOR_DAYS)
    gap = 1.0 / rate_of(book, float(rate))
    lost = np.count_nonzero(book.last > SILENT_DAYS + 2.0 * gap)
    alive = np.maximum(book.first - np.maximum(book.last - gap, 0.0), 0.0)
    window = max(min(ARRIVAL_DAYS, history_days / 2.0), 1.0)
    return Pooled(
        rate=float(rate),
        spend=max(float(book.paid.sum()) / max(float(book.visits.sum()), 1.0), 0.0),
        loss=float((lost + LOSS_COUNTS) / (alive.sum() + LOSS_COUNTS / PRIOR_LOSS)),
        arrivals=float(np.count_nonzero(book.first <= window)) / window,
    )


def by_clients(book: Book, pooled: Pooled, periods: Floats) -> Floats:
    """Expected of each existing client in each period [n, p]."""
    spend = (book.paid + SHRINK_VISITS * pooled.spend) / (book.visits + SHRINK_VISITS)
    a_day = np.where(book.ended, 0.0, rate_of(book, pooled.rate) * np.maximum(spend, 0.0))
    return np.outer(a_day, _days_kept(pooled.loss, periods))


def by_arrivals(pooled: Pooled, periods: Floats) -> Floats:
    """Expected of clients who are still to come [p]: a visit each, and those that follow."""
    days = periods[:, 1] - periods[:, 0]
    followed = (days - _days_kept(pooled.loss, periods)) / pooled.loss
    found: Floats = pooled.arrivals * pooled.spend * (days + pooled.rate * followed)
    return found


def rate_of(book: Book, pooled: float) -> Floats:
    """Visits a day of each client [n]."""
    found: Floats = (book.recent + SHRINK_DAYS * pooled) / (_exposure(book) + SHRINK_DAYS)
    return found


def _exposure(book: Book) -> Floats:
    """Days in which a client could come again [n], as their visits are counted."""
    found: Floats = -np.expm1(-DECAY * book.first) / DECAY
    return found


def kept_share(loss: float, periods: Floats) -> Floats:
    """Share of each period's days for which a client of today is still there [p]."""
    found: Floats = _days_kept(loss, periods) / (periods[:, 1] - periods[:, 0])
    return found


def _days_kept(loss: float, periods: Floats) -> Floats:
    """Days of each period that a client of today is still there for [p]."""
    found: Floats = (np.exp(-loss * periods[:, 0]) - np.exp(-loss * periods[:, 1])) / loss
    return found
