"""A client's state: one row of float64, updated by each fact in constant time.

Times are unix seconds, gaps and decays are in days. Rows hold finite numbers only, whatever the facts were.
"""

import math
from hashlib import blake2b
from uuid import UUID

from wellio.learning import inputs
from wellio.learning.inputs import Fact

STATE_VERSION = 3

COLUMNS = (
    "order",  # in [0, 1), a hash of the client's id: an order from which no label can be told
    "first",  # start of tenure: created or first seen
    "updated",  # moment to which the decayed counts are decayed
    "last",  # last active event (or, before any, the start of tenure)
    "visit",  # start of the visit that `last` belongs to
    "ended",  # last end of contract or programme; 0 for none
    "actives",  # active events ever
    "visits",  # visits ever: active events, those within VISIT_DAYS of a visit's first counted once
    "last_gap",  # days between the last two visits; 0 for none
    "gap_weight",  # EWMA of log gaps as sums: weights,
    "gap_sum",  # values,
    "gap_square",  # and squared deviations from the mean before each
    "recent_7",  # visits, decayed with half-lives of 7,
    "recent_30",  # 30
    "recent_90",  # and 90 days
    "sessions",  # active events by category, half-life 30 days
    "messages",
    "payments",
    "logins",
    "records",
    "others",
    "attended",  # sessions by outcome, half-life 90 days
    "missed",
    "cancelled",
    "refunds",
    "unanswered",  # the coach's messages since the client last wrote
    "waiting",  # the client's messages since the coach last wrote
    "amount_weight",  # EWMA of log1p(amount) as sums
    "amount_sum",
    "last_amount",  # log1p of the last one
    "late_weight",  # EWMA of log1p(days late) as sums
    "late_sum",
    "spent",  # log1p of the amounts, half-life 180 days
    "week_first",  # first active event of the week (from Monday 00:00 UTC) of the latest one
    "visit_actives",  # active events of the visit that `last` belongs to
)
WIDTH = len(COLUMNS)
(
    ORDER,
    FIRST,
    UPDATED,
    LAST,
    VISIT,
    ENDED,
    ACTIVES,
    VISITS,
    LAST_GAP,
    GAP_WEIGHT,
    GAP_SUM,
    GAP_SQUARE,
    RECENT_7,
    RECENT_30,
    RECENT_90,
    SESSIONS,
    MESSAGES,
    PAYMENTS,
    LOGINS,
    RECORDS,
    OTHERS,
    ATTENDED,
    MISSED,
    CANCELLED,
    REFUNDS,
    UNANSWERED,
    WAITING,
    AMOUNT_WEIGHT,
    AMOUNT_SUM,
    LAST_AMOUNT,
    LATE_WEIGHT,
    LATE_SUM,
    SPENT,
    WEEK_FIRST,
    VISIT_ACTIVES,
) = range(WIDTH)

DAY = 86_400.0
WEEK = 7 * DAY
FIRST_MONDAY = 4 * DAY  # 1970-01-05
VISIT_DAYS = 0.5
GAP_DECAY = 0.8  # of the EWMAs, per value
MAX_AMOUNT = 1e9
SPENT_HALF_LIFE = 180.0
LN2 = math.log(2.0)

_CATEGORY = {
    inputs.SESSION_BOOKED: SESSIONS,
    inputs.SESSION_ATTENDED: SESSIONS,
    inputs.MESSAGE_SENT: MESSAGES,
    inputs.PAYMENT: PAYMENTS,
    inputs.LOGGED_IN: LOGINS,
    inputs.DIARY_ENTRY: RECORDS,
    inputs.ONBOARDING_STEP: RECORDS,
}
_OUTCOME = {
    inputs.SESSION_ATTENDED: ATTENDED,
    inputs.SESSION_MISSED: MISSED,
    inputs.SESSION_CANCELLED: CANCELLED,
    inputs.REFUND: REFUNDS,
}


def new_row(client: UUID, t: float) -> list[float]:
    row = [0.0] * WIDTH
    row[FIRST] = row[UPDATED] = row[LAST] = row[VISIT] = t
    # Python's own hash is salted for each process; 52 bits of this one are exact in a float.
    row[ORDER] = (int.from_bytes(blake2b(client.bytes, digest_size=8).digest()) >> 12) / 2.0**52
    return row


def observe(row: list[float], fact: Fact, t: float) -> float | None:
    """Fold `fact`, which happened at `t`, into `row`; return the log of the gap in days if it closed one.

    A fact older than the row is taken at its age: it counts less, and never makes a negative gap.
    """
    weight = _pass_time(row, t)
    row[FIRST] = min(row[FIRST], t)
    kind = fact.kind
    outcome = _OUTCOME.get(kind)
    if outcome is not None:
        row[outcome] += 0.5 ** ((row[UPDATED] - t) / 90.0 / DAY)
    elif kind == inputs.MISS_UNDONE:
        # At the age it has by now the miss weighs as much as is left of it.
        row[MISSED] = max(0.0, row[MISSED] - 0.5 ** ((row[UPDATED] - t) / 90.0 / DAY))
    if kind == inputs.CLIENT_ENDED:
        row[ENDED] = max(row[ENDED], t)
    elif kind == inputs.MESSAGE_SENT:
        _exchange(row, by_client=fact.active)
    if not fact.active:
        return None
    row[_CATEGORY.get(kind, OTHERS)] += weight
    _pay(row, fact, t)
    _mark_week(row, t)
    return _visit(row, t)


def _pass_time(row: list[float], t: float) -> float:
    """Decay the counts to `t` and return the weight (half-life 30 days) of what happened then."""
    days = (t - row[UPDATED]) / DAY
    if days <= 0.0:
        return float(0.5 ** (-days / 30.0))
    row[UPDATED] = t
    month = math.exp(days * (-LN2 / 30.0))
    season = math.exp(days * (-LN2 / 90.0))
    row[RECENT_7] *= math.exp(days * (-LN2 / 7.0))
    row[RECENT_30] *= month
    row[RECENT_90] *= season
    row[SPENT] *= math.exp(days * (-LN2 / SPENT_HALF_LIFE))
    for column in range(SESSIONS, ATTENDED):
        row[column] *= month
    for column in range(ATTENDED, UNANSWERED):
        row[column] *= season
    return 1.0


def _exchange(row: list[float], *, by_client: bool) -> None:
    mine, theirs = (WAITING, UNANSWERED) if by_client else (UNANSWERED, WAITING)
    row[mine] += 1.0
    row[theirs] = 0.0


def _pay(row: list[float], fact: Fact, t: float) -> None:
    size = abs(fact.amount)
    if 0.0 < size < math.inf:
        row[LAST_AMOUNT] = math.log1p(min(size, MAX_AMOUNT))
        row[SPENT] += row[LAST_AMOUNT] * 0.5 ** ((row[UPDATED] - t) / SPENT_HALF_LIFE / DAY)
        row[AMOUNT_WEIGHT] = GAP_DECAY * row[AMOUNT_WEIGHT] + 1.0
        row[AMOUNT_SUM] = GAP_DECAY * row[AMOUNT_SUM] + row[LAST_AMOUNT]
    if fact.kind == inputs.PAYMENT and -math.inf < fact.late_days < math.inf:
        late = math.log1p(min(max(fact.late_days, 0.0), 3650.0))
        row[LATE_WEIGHT] = GAP_DECAY * row[LATE_WEIGHT] + 1.0
        row[LATE_SUM] = GAP_DECAY * row[LATE_SUM] + late


def _mark_week(row: list[float], t: float) -> None:
    monday = t - (t - FIRST_MONDAY) % WEEK
    if row[WEEK_FIRST] < monday:
        row[WEEK_FIRST] = t
    elif row[WEEK_FIRST] < monday + WEEK:
        row[WEEK_FIRST] = min(row[WEEK_FIRST], t)


def _visit(row: list[float], t: float) -> float | None:
    row[ACTIVES] += 1.0
    first = row[ACTIVES] == 1.0
    gap = (t - row[VISIT]) / DAY
    if not first and gap <= VISIT_DAYS:
        row[LAST] = max(row[LAST], t)
        row[VISIT_ACTIVES] += 1.0
        return None
    row[LAST] = row[VISIT] = t
    row[VISIT_ACTIVES] = 1.0
    row[VISITS] += 1.0
    row[RECENT_7] += 1.0
    row[RECENT_30] += 1.0
    row[RECENT_90] += 1.0
    return None if first else _close_gap(row, gap)


def _close_gap(row: list[float], gap: float) -> float:
    log_gap = math.log(gap)
    weight = row[GAP_WEIGHT]
    if weight > 0.0:
        deviation = log_gap - row[GAP_SUM] / weight
        row[GAP_SQUARE] = GAP_DECAY * row[GAP_SQUARE] + deviation * deviation
    row[GAP_WEIGHT] = GAP_DECAY * weight + 1.0
    row[GAP_SUM] = GAP_DECAY * row[GAP_SUM] + log_gap
    row[LAST_GAP] = gap
    return log_gap
