"""Which of the times that can be booked a client most likely comes to: a pure ranking.

A time's attendance is the mean of all that are offered, and what sets it apart: the model's answer (how far ahead it
is, above all), what the practice's clients did on that weekday and at those hours beyond what the model expected, and
what this client did beside them; rates shrunk to the practice's and those to none, each by PSEUDO outcomes. Of each
cause only what exceeds its uncertainty is claimed (the positive part of James & Stein 1961), so no preference is shown
where there is none. Among times that claim the same, the client's own leaning decides.

A time that leaves a gap too short for anything costs FRAGMENT_COST of the session's worth.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from wellio.learning.attendance import MIN_OUTCOMES, Attendance
from wellio.learning.attendance_features import (
    PSEUDO,
    SLOT_FEATURES,
    SLOTS,
    WEEKDAYS,
    Booking,
    features_of,
    new_history,
    rate_of,
)
from wellio.learning.features import Floats

FRAGMENT_COST = 0.05
# Standard deviations that a difference must have to be claimed at all: the best of many times is soon one off.
SURE = 2.5
# The same for the order of times that claim alike.
LEANING = 1.0
# One in so many recommendations is drawn by lot.
EXPLORED = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """`gaps`: how many stretches too short for a session the time would leave, 0 to 2."""

    booking: Booking
    gaps: int


@dataclass(frozen=True, slots=True)
class Effect:
    """Of a weekday or a band of hours, in points of attendance beyond what the model expects: `practice`, of all its
    clients in `all_outcomes`, and `own`, of the client beside them in `outcomes`. Both are shrunk."""

    own: float
    practice: float
    outcomes: int
    all_outcomes: int


@dataclass(frozen=True, slots=True)
class Part:
    """One cause of differences between the candidates [n]: points beside their mean, and the variances of these."""

    points: Floats
    variances: Floats


@dataclass(frozen=True, slots=True)
class Ranked:
    """`place`: among the candidates. `uncertainty`: standard deviation of what sets it apart. `score`: attendance,
    less what gaps cost. `…_claimed`: points of attendance beside the other times."""

    place: int
    candidate: Candidate
    probability: float
    uncertainty: float
    score: float
    lead_claimed: float
    weekday_claimed: float
    band_claimed: float
    weekday: Effect
    band: Effect


@dataclass(frozen=True, slots=True)
class Ranking:
    """Best first. `mean`: attendance over all that is offered; `outcomes`: of the client."""

    ranked: Sequence[Ranked]
    mean: float
    outcomes: int

    @property
    def spread(self) -> float:
        """Between the most and the least likely time."""
        found = [one.probability for one in self.ranked]
        return max(found) - min(found) if found else 0.0


def rank(model: Attendance, candidates: Sequence[Candidate]) -> Ranking:
    """Of one client's candidates."""
    if not candidates:
        return Ranking((), 0.0, 0)
    practice, client = candidates[0].booking.practice, candidates[0].booking.client
    own = model.clients.get((practice, client)) or new_history(candidates[0].booking.booked_at)
    theirs = model.practices.get(practice) or new_history(0.0)
    lead, base = _of_model(model, candidates, own)
    effects = [_effects(candidate.booking, own, theirs) for candidate in candidates]
    weekday, band = (_of_slots([pair[at] for pair in effects], base * (1.0 - base)) for at in range(2))
    parts = (lead, *weekday, *band)
    claims = [_claimed(part, SURE) for part in parts]
    probability = np.clip(base + sum(claims, np.zeros(len(candidates))), 0.01, 0.99)
    score = np.maximum(probability - FRAGMENT_COST * np.array([candidate.gaps for candidate in candidates]), 0.0)
    leaning = sum((_claimed(part, LEANING) for part in parts), weekday[1].points + band[1].points)
    uncertainty = np.sqrt(sum((part.variances for part in parts), np.zeros(len(candidates))))
    causes = np.stack([claims[0], claims[1] + claims[2], claims[3] + claims[4]], axis=1)
    numbers = np.column_stack([probability, uncertainty, score, causes]).tolist()
    ranked = [Ranked(at, candidates[at], *numbers[at], *effects[at]) for at in np.lexsort((-leaning, -score)).tolist()]
    outcomes = round(sum(own[SLOTS + 2 * day] for day in range(WEEKDAYS)))
    return Ranking(ranked, base, outcomes)


def _of_slots(effects: Sequence[Effect], noise: float) -> tuple[Part, Part]:
    """The practice's and the client's own; `noise`: the variance of one outcome."""
    practice = Part(_apart(e.practice for e in effects), noise / (PSEUDO + _array(e.all_outcomes for e in effects)))
    own = Part(_apart(e.own for e in effects), noise / (PSEUDO + _array(e.outcomes for e in effects)))
    return practice, own


def _of_model(model: Attendance, candidates: Sequence[Candidate], own: Sequence[float]) -> tuple[Part, float]:
    """What the model says of each time but for weekday and hour, and the mean of it."""
    first = candidates[0].booking
    rate = model.practice_rate(first.practice)
    pending = list(model.pending.get((first.practice, first.client), {}).values())
    pending = [starts for starts in pending if starts >= first.booked_at]
    x = np.array([features_of(candidate.booking, own, rate, pending) for candidate in candidates])
    z = model.standardise(x)
    z[:, SLOT_FEATURES] = 0.0  # weekdays and hours are told apart by the rates
    found = np.array([model.probability(row) for row in z])
    base = float(found.mean()) if model.n >= MIN_OUTCOMES else rate_of(own, rate)
    apart = z - z.mean(axis=0)
    variances = np.einsum("ij,jk,ik->i", apart, model.model.covariance, apart, optimize=True)
    slope = base * (1.0 - base)
    return Part(found - found.mean(), np.maximum(variances, 0.0) * slope * slope), base


def _effects(booking: Booking, own: Sequence[float], theirs: Sequence[float]) -> tuple[Effect, Effect]:
    return _effect(own, theirs, booking.weekday), _effect(own, theirs, WEEKDAYS + booking.band)


def _effect(own: Sequence[float], theirs: Sequence[float], slot: int) -> Effect:
    n, more = own[SLOTS + 2 * slot], own[SLOTS + 2 * slot + 1]
    all_n, all_more = theirs[SLOTS + 2 * slot], theirs[SLOTS + 2 * slot + 1]
    practice = all_more / (all_n + PSEUDO)
    return Effect((more - n * practice) / (n + PSEUDO), practice, round(n), round(all_n))


def _apart(points: Iterable[float]) -> Floats:
    found = _array(points)
    apart: Floats = found - found.mean()
    return apart


def _array(values: Iterable[float]) -> Floats:
    return np.array(list(values), float)


def _claimed(part: Part, sure: float) -> Floats:
    """What of the points exceeds `sure` standard deviations of theirs: points · (1 - (sure · sd / points)²), or 0."""
    noise, points = sure * sure * part.variances, part.points
    squares = points * points
    out: Floats = np.where(squares > noise, points - noise / np.where(squares > noise, points, 1.0), 0.0)
    return out


@dataclass(frozen=True, slots=True)
class Choice:
    """Which place of the ranking is shown first, and with what probability it would be."""

    first: int
    propensity: float
    drawn: bool


def choose(ranking: Ranking, lot: int) -> Choice:
    """`lot`: 64 bits that say nothing of the times. One in EXPLORED shows any of the times first, each as likely."""
    n = len(ranking.ranked)
    drawn = lot % EXPLORED == 0
    first = lot // EXPLORED % n if drawn else 0
    by_lot = 1.0 / (EXPLORED * n)
    return Choice(first, by_lot + (1.0 - 1.0 / EXPLORED if first == 0 else 0.0), drawn)
