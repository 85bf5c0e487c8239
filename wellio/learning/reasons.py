"""Why a prediction is what it is, in words with figures.

A logistic regression's log-odds are a sum: weight × (x - mean) / sd of each feature. Single weights of collinear
features have odd signs, so they are summed within a reason; and a reason is said only where its figures point the way
its sum does ("silent for longer than usual" may raise the risk, never lower it).
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from wellio.learning.answers import Reason
from wellio.learning.clients import ATTENDED, CANCELLED, GAP_SUM, GAP_WEIGHT, LN2, MESSAGES, MISSED, UNANSWERED, WAITING
from wellio.learning.features import FEATURES, GROUPS, NAMES, Floats

Numbers: TypeAlias = Sequence[float]
Up: TypeAlias = bool

MIN_WEIGHT = 0.2  # of log-odds: five points of probability
MIN_LONG_TENURE = 0.5  # that somebody has been there for long holds for most, and is nothing to act on
CLEARLY = 0.3  # standard deviations from the mean, for "than most" to be true
MIN_AMOUNT = 0.25  # of the logarithm: a quarter more or less at a time
MOST = 3

_new = tuple.__new__

_RHYTHM = GROUPS.index("rhythm")
_STARTS = np.array([[group for _, group in FEATURES].index(group) for group in GROUPS])
_AT = {name: i for i, name in enumerate(NAMES)}
_SILENT, _TYPICAL, _VISITS_90, _TREND = _AT["silent_log"], _AT["typical_gap"], _AT["visits_90"], _AT["trend"]
_MISSED, _CANCELLED, _AMOUNT, _LATENESS = _AT["missed_rate"], _AT["cancelled_rate"], _AT["amount"], _AT["lateness"]
_TENURE = _AT["tenure"]


def sum_groups(contributions: Floats) -> Floats:
    """Contributions to the log-odds by feature [n, COUNT] to those by reason [n, len(GROUPS)]."""
    out: Floats = np.add.reduceat(contributions, _STARTS, axis=1)
    return out


def reasons_of(weights: Sequence[float], state: Numbers, x: Numbers, z: Numbers) -> tuple[Reason, ...]:
    """The heaviest reasons that can be said, heaviest first; but who is late is told first, because a coach can see
    that in the calendar, and act on it.

    `weights` by group; `state`, features and standardised features of the client.
    """
    least = _LEAST
    heavy = [(abs(weight), i) for i, weight in enumerate(weights) if weight >= MIN_WEIGHT or weight <= least[i]]
    if weights[_RHYTHM] >= MIN_WEIGHT:
        heavy = [(math.inf if i == _RHYTHM else size, i) for size, i in heavy]
    heavy.sort(reverse=True)
    reasons: list[Reason] = []
    for _, i in heavy:
        say = _SAY[i]
        text = say(weights[i] > 0.0, state, x, z) if say is not None else None
        if text is not None:
            reasons.append(_new(Reason, (GROUPS[i], text, weights[i])))
            if len(reasons) == MOST:
                break
    return tuple(reasons)


def simple_reason(silent_days: float) -> tuple[Reason, ...]:
    """What to say while the simple rule answers."""
    return (_new(Reason, ("silence", f"silent for {days(silent_days)}; not enough history for more", 0.0)),)


def days(count: float) -> str:
    if count < 1.0:
        return "less than a day"
    whole = round(count)
    return "1 day" if whole == 1 else f"{whole} days"


# Each says its reason for a higher risk (`up`) or a lower one, or None where the figures say otherwise.


def _rhythm(up: Up, state: Numbers, x: Numbers, z: Numbers) -> str | None:
    silent, weight = math.expm1(x[_SILENT]), state[GAP_WEIGHT]
    # The client's own gap, where there is one: the feature's is drawn to the population's.
    typical = math.exp(state[GAP_SUM] / weight if weight else x[_TYPICAL])
    if up != (silent > typical):
        return None
    if not weight:
        return f"one visit, then silent for {days(silent)}"
    return f"usually every {days(max(typical, 1.0))}, silent for {days(silent)}"


def _engagement(up: Up, state: Numbers, x: Numbers, z: Numbers) -> str | None:
    if (z[_VISITS_90] > -CLEARLY) if up else (z[_VISITS_90] < CLEARLY):
        return None
    # A steady rate r a day gives a decayed count of r × 90 / ln 2.
    monthly = max(math.exp(x[_VISITS_90]) - 0.1, 0.0) * 30.0 * LN2 / 90.0
    return f"{_often(monthly)} over the last months, {'fewer' if up else 'more'} than most"


def _often(monthly: float) -> str:
    if monthly < 1.0 / 12.0:
        return "hardly a visit"
    if monthly >= 0.95:
        return f"about {monthly:.1f} visits a month"
    weeks = 30.0 / 7.0 / monthly
    return f"about one visit in {weeks:.0f} weeks" if weeks < 9.0 else f"about one visit in {1.0 / monthly:.0f} months"


def _trend(up: Up, state: Numbers, x: Numbers, z: Numbers) -> str | None:
    change = 3.0 * math.exp(x[_TREND]) - 1.0
    if math.expm1(x[_TENURE]) < 60.0 or up != (z[_TREND] < 0.0) or up != (change < 0.0):
        return None
    return f"visits {'down' if up else 'up'} {abs(change):.0%} on the months before"


def _attendance(up: Up, state: Numbers, x: Numbers, z: Numbers) -> str | None:
    absent, held = state[MISSED] + state[CANCELLED], state[ATTENDED] + state[MISSED] + state[CANCELLED]
    if round(held) < 1 or up != (z[_MISSED] + z[_CANCELLED] > 0.0):
        return None
    if round(absent) < 1:
        return None if up else f"kept about all of the last {round(held)} sessions"
    return f"missed or cancelled about {round(absent)} of the last {round(held)} sessions"


def _money(up: Up, state: Numbers, x: Numbers, z: Numbers) -> str | None:
    late = math.expm1(x[_LATENESS])
    if up and late >= 1.0:
        return f"pays about {days(late)} late"
    if abs(x[_AMOUNT]) < MIN_AMOUNT or up != (x[_AMOUNT] < 0.0):
        return None
    return f"spends {'less' if up else 'more'} at a time than most"


def _messages(up: Up, state: Numbers, x: Numbers, z: Numbers) -> str | None:
    unanswered, waiting = round(state[UNANSWERED]), round(state[WAITING])
    if not up:
        return "answers messages" if unanswered == 0 and state[MESSAGES] > 0.0 else None
    if unanswered > 0:
        return f"{unanswered} {'message' if unanswered == 1 else 'messages'} not answered"
    return f"waits for an answer to {waiting} {'message' if waiting == 1 else 'messages'}" if waiting else None


def _tenure(up: Up, state: Numbers, x: Numbers, z: Numbers) -> str | None:
    if up != (z[_TENURE] < 0.0):
        return None
    return f"{'only ' if up else ''}{days(math.expm1(x[_TENURE]))} with the practice"


_PHRASES: dict[str, Callable[[Up, Numbers, Numbers, Numbers], str | None]] = {
    "rhythm": _rhythm,
    "engagement": _engagement,
    "trend": _trend,
    "attendance": _attendance,
    "money": _money,
    "messages": _messages,
    "tenure": _tenure,
}
# What a weight that lowers the risk must come to.
_LEAST = [-MIN_LONG_TENURE if group == "tenure" else -MIN_WEIGHT for group in GROUPS]
_SAY = [_PHRASES.get(group) for group in GROUPS]
