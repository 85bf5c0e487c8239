"""Whether a client will come to what is booked: an online logistic regression that learns each outcome once.

The weights' posterior is a normal distribution with full covariance, to which each outcome adds a normal factor (the
Laplace step of Spiegelhalter & Lauritzen 1990). So what one outcome has added can be taken off again, when a session
marked as missed was none: the factor is kept with its booking. The prior is narrow on purpose: outcomes of one day go
along with each other, and tell less than as many of many days. Its mean takes the client's shrunk rate, beside the
practice's, at its word: what was said of them while outcomes were too few still holds when they are enough.

A booking is asked when it is made, with what was known then, and its outcome is learnt with the very features it was
asked with. The state is a function of the inputs, to the last bit.
"""

import hashlib
import struct
from collections.abc import Hashable
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from wellio.learning.attendance_features import (
    ATTENDED,
    BOOKED,
    BOOKED_AT,
    HALF_LIFE,
    LAST,
    LAST_AT,
    MISSED,
    NAMES,
    PRACTICE_AT,
    PRIOR_RATE,
    RATE_AT,
    SLOT_FEATURES,
    SLOTS,
    UPDATED,
    WAITED_ATTENDED,
    WAITED_MISSED,
    WEEKDAYS,
    Booking,
    decay,
    features_of,
    logit,
    new_history,
    rate_of,
)
from wellio.learning.container import SnapshotDamaged, SnapshotVersion
from wellio.learning.features import Floats
from wellio.learning.model import sigmoid

VERSION = 2
# Variances of the prior: of the weight of a standardised feature, of a weekday or band (they rarely matter), of what
# other systems know, of the level.
WEIGHT_VARIANCE, SLOT_VARIANCE, EXTRA_VARIANCE, LEVEL_VARIANCE = 0.003, 0.0005, 0.0007, 1.0
OWN_WEIGHT, OWN_VARIANCE = 1.0, 0.1  # of the client's shrunk rate beside the practice's, in log-odds
CLIP = 8.0
# Of the log-odds beside their level: outcomes come late, and in a changing world such answers are too sure.
HEDGE = 0.95
# Answers before so many outcomes are the client's shrunk rate alone.
MIN_OUTCOMES = 200

_HEADER = struct.Struct("<8sIIqq")
_MAGIC = b"WLATTND\0"
_DIGEST = 16


@dataclass(frozen=True, slots=True)
class Factor:
    """What an outcome added to a normal posterior: along `z`, so much `information`, and `pull` on the weights."""

    z: Floats
    information: float
    pull: float


class Posterior:
    """N(weights, covariance) of a logistic regression."""

    def __init__(self, variances: Floats) -> None:
        self.weights = np.zeros(len(variances))
        self.covariance = np.diag(variances)

    def learn(self, z: Floats, y: float) -> Factor:
        score = float(self.weights.dot(z))
        probability = sigmoid(score)
        information = probability * (1.0 - probability)
        factor = Factor(z, information, y - probability + information * score)
        self._add(factor, 1.0)
        return factor

    def take_back(self, factor: Factor) -> None:
        self._add(factor, -1.0)

    def _add(self, factor: Factor, sign: float) -> None:
        """Times or through exp(pull · s - information · s² / 2), s = weights · z: by Sherman & Morrison (1950)."""
        z, information = factor.z, sign * factor.information
        spread = self.covariance.dot(z)
        share = 1.0 / (1.0 + information * float(spread.dot(z)))
        self.weights += spread * (share * (sign * factor.pull - information * float(self.weights.dot(z))))
        self.covariance -= np.multiply.outer(spread, spread * (information * share))

    def variance(self, z: Floats) -> float:
        """Of weights · z."""
        return max(float(self.covariance.dot(z).dot(z)), 0.0)


@dataclass(slots=True)
class Asked:
    """A booking that was asked, and, once it came out, what was learnt of it and how to take that back."""

    booking: Booking
    x: Floats
    probability: float
    known: bool  # whether the model had outcomes enough
    attended: bool | None = None
    settled_at: float = 0.0
    factor: Factor | None = None
    expected: float = 0.0  # of its outcome, when it was learnt, whatever the weekday and the hour
    counted: bool = False  # in the moments of the features, where it stays
    before: tuple[float, float] = (0.0, 0.0)  # the client's last outcome and its time


class Attendance:
    """`clients` and `practices` are histories; `asked` holds what is booked, and what came out until it is dropped."""

    def __init__(self, extra: int = 0) -> None:
        width = len(NAMES) + extra
        self.n = 0  # outcomes learnt
        self.moments = 0
        self.mean, self.variance = np.zeros(width), np.zeros(width)
        variances = np.full(width + 2, WEIGHT_VARIANCE)
        variances[SLOT_FEATURES], variances[len(NAMES) :] = SLOT_VARIANCE, EXTRA_VARIANCE
        variances[-2:] = OWN_VARIANCE, LEVEL_VARIANCE
        self.model = Posterior(variances)
        self.model.weights[-2:] = OWN_WEIGHT, logit(PRIOR_RATE)
        self.clients: dict[tuple[UUID, UUID], list[float]] = {}
        self.practices: dict[UUID, list[float]] = {}
        self.asked: dict[Hashable, Asked] = {}
        self.pending: dict[tuple[UUID, UUID], dict[Hashable, float]] = {}

    def book(self, key: Hashable, booking: Booking) -> Asked:
        """Ask whether the client will come. A key that is there already was moved: it is asked anew."""
        self.cancel(key)
        who = (booking.practice, booking.client)
        history = self.clients.setdefault(who, new_history(booking.booked_at))
        decay(history, booking.booked_at)
        asked = self.ask(booking)
        self.keep(key, asked)
        history[BOOKED] += 1.0
        history[BOOKED_AT] = booking.booked_at
        return asked

    def keep(self, key: Hashable, asked: Asked) -> None:
        """A booking that was asked before."""
        self.asked[key] = asked
        if asked.attended is None:
            who = (asked.booking.practice, asked.booking.client)
            self.pending.setdefault(who, {})[key] = asked.booking.starts_at

    def ask(self, booking: Booking) -> Asked:
        """The answer alone; nothing is kept."""
        who = (booking.practice, booking.client)
        history = self.clients.get(who) or new_history(booking.booked_at)
        towards = self.practice_rate(booking.practice)
        pending = [starts for starts in self.pending.get(who, {}).values() if starts >= booking.booked_at]
        x = np.array(features_of(booking, history, towards, pending))
        known = self.n >= MIN_OUTCOMES
        probability = self.probability(self.standardise(x)) if known else rate_of(history, towards)
        return Asked(booking, x, probability, known)

    def settle(self, key: Hashable, *, attended: bool, t: float) -> None:
        """Learn how a booking came out. One that came out before and differently is taken back first."""
        asked = self.asked.get(key)
        if asked is None or asked.attended is attended:
            return
        self.take_back(key)
        asked.attended, asked.settled_at = attended, t
        who = (asked.booking.practice, asked.booking.client)
        self.pending.get(who, {}).pop(key, None)
        if not asked.counted:
            self._learn_moments(asked.x)
            asked.counted = True
        z = self.standardise(asked.x)
        asked.expected = self.whenever(z) if asked.known else asked.probability
        asked.factor = self.model.learn(z, attended)
        self.n += 1
        history = self.clients[who]
        asked.before = (history[LAST], history[LAST_AT])
        for row in (history, self.practices.setdefault(who[0], new_history(t))):
            decay(row, t)
            _count(row, asked, 1.0)
        if t >= history[LAST_AT]:
            history[LAST], history[LAST_AT] = 1.0 if attended else -1.0, t

    def take_back(self, key: Hashable) -> None:
        """As if the booking had not come out yet. What was learnt of others since stands as it was learnt."""
        asked = self.asked.get(key)
        if asked is None or asked.attended is None or asked.factor is None:
            return
        who = (asked.booking.practice, asked.booking.client)
        self.model.take_back(asked.factor)
        self.n -= 1
        history = self.clients[who]
        for row in (history, self.practices[who[0]]):
            _count(row, asked, -1.0)
        if history[LAST_AT] == asked.settled_at:
            history[LAST], history[LAST_AT] = asked.before
        asked.attended = asked.factor = None
        self.pending.setdefault(who, {})[key] = asked.booking.starts_at

    def cancel(self, key: Hashable) -> None:
        """A booking that says nothing any more; one that came out is forgotten, not taken back."""
        asked = self.asked.pop(key, None)
        if asked is not None:
            self.pending.get((asked.booking.practice, asked.booking.client), {}).pop(key, None)

    def forget(self, practice: UUID, client: UUID) -> None:
        """All that is kept of a client. What the weights and the practice's counts have of them is nobody's."""
        who = practice, client
        self.clients.pop(who, None)
        self.pending.pop(who, None)
        gone = [key for key, asked in self.asked.items() if (asked.booking.practice, asked.booking.client) == who]
        for key in gone:
            del self.asked[key]

    def dump(self) -> bytes:
        """The weights, without clients, practices and bookings: they are rows of their own. Sealed by a checksum."""
        arrays = (self.mean, self.variance, self.model.weights, self.model.covariance)
        head = _HEADER.pack(_MAGIC, VERSION, len(self.mean), self.n, self.moments)
        body = head + b"".join(array.astype("<f8").tobytes() for array in arrays)
        return body + hashlib.blake2b(body, digest_size=_DIGEST).digest()

    @classmethod
    def load(cls, data: bytes) -> "Attendance":
        """Raises SnapshotDamaged, SnapshotVersion."""
        body = data[:-_DIGEST]
        if len(body) < _HEADER.size or hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[-_DIGEST:]:
            raise SnapshotDamaged("The checksum does not match")
        magic, version, width, n, moments = _HEADER.unpack_from(body)
        if magic != _MAGIC or version != VERSION or width < len(NAMES):
            raise SnapshotVersion(f"Version {version}, {width} features")
        self = cls(width - len(NAMES))
        self.n, self.moments = n, moments
        values = np.frombuffer(body, "<f8", offset=_HEADER.size).astype(float)
        sizes = [width, width, width + 2, (width + 2) ** 2]
        if len(values) != sum(sizes):
            raise SnapshotDamaged("Numbers are missing")
        mean, variance, weights, covariance = np.split(values, np.cumsum(sizes)[:-1])
        self.mean, self.variance = mean, variance
        self.model.weights, self.model.covariance = weights, covariance.reshape(width + 2, width + 2)
        return self

    def practice_rate(self, practice: UUID) -> float:
        return rate_of(self.practices.get(practice), PRIOR_RATE)

    def standardise(self, x: Floats) -> Floats:
        """Features [d] or [n, d], clipped; 0 where nothing has varied yet. At the end the client's rate beside the
        practice's, in log-odds, and a 1."""
        z = np.ones((*x.shape[:-1], x.shape[-1] + 2))
        z[..., -2] = x[..., RATE_AT] - x[..., PRACTICE_AT]
        sd = np.sqrt(self.variance)
        sd[sd < 1e-6] = np.inf
        np.clip((x - self.mean) / sd, -CLIP, CLIP, out=z[..., :-2])
        return z

    def probability(self, z: Floats) -> float:
        """Of a standardised example."""
        level = float(self.model.weights[-1])
        return sigmoid(level + HEDGE * (float(self.model.weights.dot(z)) - level))

    def whenever(self, z: Floats) -> float:
        """The same as if the weekday and the hour were not known."""
        some = z.copy()
        some[SLOT_FEATURES] = 0.0
        return self.probability(some)

    def _learn_moments(self, x: Floats) -> None:
        """Of the features of all bookings that came out, whatever came of them (Welford 1962)."""
        self.moments += 1
        before = x - self.mean
        self.mean = self.mean + before / self.moments
        self.variance = self.variance + (before * (x - self.mean) - self.variance) / self.moments


def _count(row: list[float], asked: Asked, sign: float) -> None:
    """In the decayed counts as old as it is; in those by weekday and band once."""
    booking, attended = asked.booking, asked.attended
    weight = sign * 0.5 ** (max(row[UPDATED] - asked.settled_at, 0.0) / HALF_LIFE)
    row[ATTENDED if attended else MISSED] += weight
    if booking.waited:
        row[WAITED_ATTENDED if attended else WAITED_MISSED] += weight
    more = sign * (float(bool(attended)) - asked.expected)
    for slot in (booking.weekday, WEEKDAYS + booking.band):
        row[SLOTS + 2 * slot] += sign
        row[SLOTS + 2 * slot + 1] += more
