"""What the learner says: predictions with their reasons, and how earlier ones turned out."""

from typing import Literal, NamedTuple
from uuid import UUID

from wellio.learning.features import V

Band = Literal["low", "medium", "high"]
Status = Literal["ok", "not_enough_history"]

# Cut at odds of one to two and two to one: "low" leaves at most one in three, "high" at least two in three.
LOW_BELOW = 1 / 3
HIGH_FROM = 2 / 3

MIN_LABELS = 200
MIN_ACTIVES = 3


class Key(NamedTuple):
    practice: UUID
    client: UUID


class Reason(NamedTuple):
    """`weight` is the reason's share of the log-odds: the model's own sum, not an approximation."""

    code: str
    text: str
    weight: float


class Prediction(NamedTuple):
    """P(no active event in the next `horizon_days`) at `as_of` (unix seconds). Tuples: made five times per event.

    `usual`: what it was on the client's usual day, of one who is later than that; else None. `engagement`: 0 to 100.
    """

    practice: UUID
    client: UUID
    probability: float
    band: Band
    status: Status
    reasons: tuple[Reason, ...]
    horizon_days: float
    as_of: float
    usual: float | None
    engagement: float


class Outcome(NamedTuple):
    """A question whose time is up, scored before it was learnt.

    `probability` is the model's own when asked; `shown` is whether people saw it, or `rule`, the simple rule's.
    """

    practice: UUID
    client: UUID
    asked_at: float
    due_at: float
    kind: str
    probability: float
    rule: float
    shown: bool
    churned: bool


def band_of(probability: float) -> Band:
    if probability < LOW_BELOW:
        return "low"
    return "medium" if probability < HIGH_FROM else "high"


def rule_of(silent_days: V, horizon_days: float) -> V:
    """The simple rule: silent for s days, P(silent for h more) = (s + h/2) / (s + h/2 + h).

    Lindy's law (Gott 1993): what has lasted s lasts h more with probability s / (s + h), whatever the scale. Half a
    horizon is added to s because somebody seen today is not certain to come back: the rule starts at one in three.
    """
    return (silent_days + 0.5 * horizon_days) / (silent_days + 1.5 * horizon_days)
