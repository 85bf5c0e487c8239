"""What a booking says of whether its client will come: when it was made and for when, and how the client did before.

All of it is known at the moment of booking, and costs the same whatever came before: a client's past is one row of
numbers. Times are unix seconds, leads days; weekdays (0 is Monday) and hours are those of the wall clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

DAY = 86_400.0
HALF_LIFE = 180.0 * DAY  # of what a client did
PSEUDO = 20.0  # bookings that a rate is worth before its own: a client's is the practice's, a practice's the prior
PRIOR_RATE = 0.85
LAST_DAYS = 400.0

# A client's history, and a practice's. Counts are decayed; those by weekday and band of hours are not.
COLUMNS = (
    "updated",
    "attended",
    "missed",
    "waited_attended",  # of bookings for a later day
    "waited_missed",
    "last",  # outcome: 1 attended, -1 missed, 0 none yet
    "last_at",
    "booked",
    "booked_at",
)
UPDATED, ATTENDED, MISSED, WAITED_ATTENDED, WAITED_MISSED, LAST, LAST_AT, BOOKED, BOOKED_AT = range(len(COLUMNS))
WEEKDAYS, BANDS = 7, 4
BAND_STARTS = (0, 11, 14, 17)  # o'clock: morning, midday, afternoon, evening
# Two numbers for each weekday, then for each band: outcomes, and how many more were attended than was expected.
SLOTS = len(COLUMNS)
WIDTH = SLOTS + 2 * (WEEKDAYS + BANDS)

_HOURS = (6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0)
_PERSON = (
    "attended",
    "missed",
    "waited_attended",
    "waited_missed",
    "rate",
    "last",
    "last_since",
    "no_outcome",
    "pending",
    "pending_same_day",
    "pending_earlier",
    "booked",
    "booked_since",
    "first_booking",
    *(f"booked_at_{hour:g}" for hour in _HOURS),
)
_LEAD = ("same_day", "lead_log", "lead_root", "lead_few")
_KIND = ("practice_rate", "group", "by_client", "priced", "minutes")
_SLOT = (*(f"weekday_{day}" for day in range(WEEKDAYS)), *(f"from_{hour}" for hour in BAND_STARTS))
# What is told of the person means something else when the session is on the very day it was booked.
NAMES = (*_LEAD, *_KIND, *_SLOT, *_PERSON, *(f"{name}_same_day" for name in _PERSON))
PRACTICE_AT, RATE_AT = NAMES.index("practice_rate"), NAMES.index("rate")
SLOT_FEATURES = slice(NAMES.index(_SLOT[0]), NAMES.index(_SLOT[-1]) + 1)


@dataclass(frozen=True, slots=True)
class Booking:
    """`booked_hour`, `starts_hour`: of the wall clock, with fractions. `lead_days`: from date to date.

    `extra`: more features, already numbers, for what other systems know of a booking.
    """

    practice: UUID
    client: UUID
    booked_at: float
    starts_at: float
    lead_days: float
    booked_hour: float
    starts_hour: float
    weekday: int
    minutes: float = 60.0
    group: bool = False
    by_client: bool = False
    priced: bool = False
    extra: tuple[float, ...] = ()

    @property
    def waited(self) -> bool:
        return self.lead_days > 0.0

    @property
    def band(self) -> int:
        return band_of(self.starts_hour)


def band_of(hour: float) -> int:
    return sum(hour >= start for start in BAND_STARTS) - 1


def new_history(t: float) -> list[float]:
    return [t, *[0.0] * (WIDTH - 1)]


def decay(history: list[float], t: float) -> None:
    """Bring the decayed counts to `t`; a moment that is past changes nothing."""
    if t > history[UPDATED]:
        factor = 0.5 ** ((t - history[UPDATED]) / HALF_LIFE)
        for column in (ATTENDED, MISSED, WAITED_ATTENDED, WAITED_MISSED):
            history[column] *= factor
        history[UPDATED] = t


def rate_of(history: Sequence[float] | None, towards: float) -> float:
    """The share attended, shrunk."""
    if history is None:
        return towards
    attended, missed = history[ATTENDED], history[MISSED]
    return (attended + PSEUDO * towards) / (attended + missed + PSEUDO)


def features_of(
    booking: Booking, history: Sequence[float], practice_rate: float, pending: Sequence[float]
) -> list[float]:
    """In the order of NAMES, `extra` after them. `history`: decayed to the booking; `pending`: the starts of what else
    the client has booked and is to come."""
    same, band = 0.0 if booking.waited else 1.0, booking.band
    person = _person(booking, history, practice_rate, pending)
    lead = booking.lead_days
    return [
        *(same, math.log1p(lead), math.sqrt(lead), min(lead, 3.0)),
        *(logit(practice_rate), float(booking.group), float(booking.by_client), float(booking.priced)),
        math.log(max(booking.minutes, 1.0)),
        *(float(day == booking.weekday) for day in range(WEEKDAYS)),
        *(float(each == band) for each in range(BANDS)),
        *person,
        *(value * same for value in person),
        *booking.extra,
    ]


def _person(booking: Booking, h: Sequence[float], practice_rate: float, pending: Sequence[float]) -> list[float]:
    t, day = booking.booked_at, booking.starts_at // DAY
    log = math.log1p
    return [
        log(h[ATTENDED]),
        log(h[MISSED]),
        log(h[WAITED_ATTENDED]),
        log(h[WAITED_MISSED]),
        logit(rate_of(h, practice_rate)),
        h[LAST],
        log(min(max(t - h[LAST_AT], 0.0) / DAY, LAST_DAYS)) if h[LAST] else 0.0,
        float(h[LAST] == 0.0),
        log(len(pending)),
        log(sum(starts // DAY == day for starts in pending)),
        float(any(starts < booking.starts_at for starts in pending)),
        log(h[BOOKED]),
        log(min(max(t - h[BOOKED_AT], 0.0) / DAY, LAST_DAYS)) if h[BOOKED] else 0.0,
        float(h[BOOKED] == 0.0),
        *hats(booking.booked_hour, _HOURS),
    ]


def hats(value: float, knots: Sequence[float]) -> list[float]:
    """The value as shares of the knots on both sides of it: sums to 1, piecewise linear in between."""
    found = [0.0] * len(knots)
    value = min(max(value, knots[0]), knots[-1])
    at = 0
    while at < len(knots) - 2 and value >= knots[at + 1]:
        at += 1
    share = (value - knots[at]) / (knots[at + 1] - knots[at])
    found[at], found[at + 1] = 1.0 - share, share
    return found


def logit(rate: float) -> float:
    return math.log(rate / (1.0 - rate))
