"""The attendance model at work on a file's bookings: what it said of each, and how long that took.

At one instant outcomes come before bookings, and among themselves in an order that says nothing of them: by the hash of
the client.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from time import process_time
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from wellio.evaluate.attendance_columns import Columns, columns_of
from wellio.evaluate.attendance_file import Line, Lines
from wellio.evaluate.telling import Progress
from wellio.learning.attendance import Attendance
from wellio.learning.attendance_features import Booking
from wellio.learning.attendance_rows import restored
from wellio.learning.features import Floats

PRACTICE = UUID(int=1)
LOOKED_AT = 20_000  # bookings, to see what the columns hold
LOOKED_AT_LEAST = 1000
WARMUP_SHARE = 10  # one outcome in so many is known before scoring begins
CUT_SEED = 20_261_123


@dataclass(frozen=True, slots=True)
class Step:
    """A line is booked, or has come out."""

    booked: bool
    place: int


@dataclass(slots=True)
class Answers:
    """Of bookings whose outcome is known, in order of booking [n]. `outcome_at`: when it was known."""

    asked: Floats
    outcome_at: Floats
    lead: Floats
    probability: Floats
    attended: NDArray[np.bool_]
    x: NDArray[np.float32]
    booking_s: float = 0.0
    outcome_s: float = 0.0
    columns: Columns = field(default_factory=lambda: Columns([]))


def steps_of(lines: Sequence[Line]) -> list[Step]:
    found: list[tuple[float, int, bytes, int]] = []
    for place, line in enumerate(lines):
        found.append((line.booked_at, 1, b"", place))
        if line.outcome_at is not None:
            found.append((line.outcome_at, 0, line.client, place))
    found.sort()
    return [Step(kind == 1, place) for _, kind, _, place in found]


def columns_known(found: Lines) -> Columns:
    """From bookings made before any outcome, or the first thousand."""
    first = min(line.outcome_at for line in found.lines if line.outcome_at is not None)
    early = sum(line.booked_at < first for line in found.lines)
    some = found.lines[: min(max(early, LOOKED_AT_LEAST), LOOKED_AT)]
    return columns_of(found.names, [line.extra for line in some])


def answer(found: Lines, progress: Progress) -> Answers:
    columns = columns_known(found)
    model, lines = Attendance(columns.width), found.lines
    said: dict[int, tuple[float, NDArray[np.float32]]] = {}
    booking_s = outcome_s = 0.0
    for done, step in enumerate(steps_of(lines)):
        before = process_time()
        told = take(model, lines, columns, step)
        took = process_time() - before
        if step.booked:
            booking_s += took
            if lines[step.place].attended is not None:
                said[step.place] = told, model.asked[step.place].x.astype(np.float32)
        else:
            outcome_s += took
        progress(done)
    known = sorted(said)
    return Answers(
        asked=np.array([lines[place].booked_at for place in known]),
        outcome_at=np.array([lines[place].outcome_at for place in known]),
        lead=np.array([lines[place].lead_days for place in known]),
        probability=np.array([said[place][0] for place in known]),
        attended=np.array([lines[place].attended for place in known], bool),
        x=np.array([said[place][1] for place in known]),
        booking_s=booking_s / len(lines),
        outcome_s=outcome_s / len(known),
        columns=columns,
    )


def take(model: Attendance, lines: Sequence[Line], columns: Columns, step: Step) -> float:
    """The probability said of a booking; of an outcome, how many are learnt."""
    line = lines[step.place]
    if step.booked:
        return model.book(step.place, booking_of(line, columns)).probability
    model.settle(step.place, attended=bool(line.attended), t=line.outcome_at or 0.0)
    model.cancel(step.place)  # a file takes nothing back
    return float(model.n)


def booking_of(line: Line, columns: Columns) -> Booking:
    return Booking(
        practice=PRACTICE,
        client=UUID(bytes=line.client),
        booked_at=line.booked_at,
        starts_at=line.starts_at,
        lead_days=line.lead_days,
        booked_hour=line.booked_hour,
        starts_hour=line.starts_hour,
        weekday=line.weekday,
        priced=line.amount > 0.0,
        extra=columns.features(line.extra, same_day=line.lead_days == 0.0),
    )


def scored_from(answers: Answers, warmup_days: float | None) -> float:
    """So long after the first outcome; without `warmup_days`, when a tenth of the outcomes is known."""
    outcomes = np.sort(answers.outcome_at)
    if warmup_days is None:
        return float(outcomes[len(outcomes) // WARMUP_SHARE])
    return float(outcomes[0] + warmup_days * 86_400.0)


def check_restore(found: Lines, cuts: int, progress: Progress) -> dict[str, Any]:
    """Beside an uninterrupted model another goes from what is stored of it to the next; both must say the same."""
    columns, steps = columns_known(found), steps_of(found.lines)
    whole, cut = Attendance(columns.width), Attendance(columns.width)
    places = sorted(random.Random(CUT_SEED).sample(range(1, len(steps)), min(cuts, len(steps) - 1)))  # noqa: S311
    ahead: Iterator[int] = iter([*places, -1])
    place, compared, differing = next(ahead), 0, 0
    for done, step in enumerate(steps):
        if done == place:
            cut, place = restored(cut), next(ahead)
        said, again = (take(model, found.lines, columns, step) for model in (whole, cut))
        if places and done >= places[0]:
            compared += 1
            differing += said != again
        progress(done)
    same_rows = _rows(whole) == _rows(cut)
    equal = whole.dump() == cut.dump() and same_rows
    return {"cuts": places, "compared": compared, "steps_differing": differing, "last_state_equal": equal}


def _rows(model: Attendance) -> list[Any]:
    return [sorted(model.clients.items(), key=itemgetter(0)), sorted(model.practices.items(), key=itemgetter(0))]
