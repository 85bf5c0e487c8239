"""A booking that was asked, as numbers to be stored and back again, to the last bit."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np

from wellio.learning.attendance import Asked, Attendance, Factor
from wellio.learning.attendance_features import Booking
from wellio.learning.container import SnapshotDamaged

_NUMBERS = 19
# Where the numbers hold the start, the answer and whether it was the model's own, as SQL counts.
STARTS_AT, PROBABILITY_AT, KNOWN_AT = 2, 11, 12


def numbers_of(asked: Asked) -> list[float]:
    """The booking, the answer, and what was learnt of it but for `x` and the factor's `z`."""
    b, factor = asked.booking, asked.factor
    return [
        *(b.booked_at, b.starts_at, b.lead_days, b.booked_hour, b.starts_hour, float(b.weekday), b.minutes),
        *(float(b.group), float(b.by_client), float(b.priced), asked.probability, float(asked.known)),
        *(asked.settled_at, *asked.before, float(asked.counted), asked.expected),
        *((factor.information, factor.pull) if factor else (0.0, 0.0)),
    ]


def asked_of(
    practice: UUID,
    client: UUID,
    numbers: Sequence[float],
    x: Sequence[float],
    z: Sequence[float] | None,
    *,
    attended: bool | None,
    extra: tuple[float, ...] = (),
) -> Asked:
    """Raises SnapshotDamaged."""
    if len(numbers) != _NUMBERS:
        raise SnapshotDamaged("A booking has too many numbers, or too few")
    at, starts, lead, hour, starts_hour, weekday, minutes, group, by_client, priced, p, known = numbers[:12]
    booking = Booking(
        practice=practice,
        client=client,
        booked_at=at,
        starts_at=starts,
        lead_days=lead,
        booked_hour=hour,
        starts_hour=starts_hour,
        weekday=int(weekday),
        minutes=minutes,
        group=bool(group),
        by_client=bool(by_client),
        priced=bool(priced),
        extra=extra,
    )
    asked = Asked(booking, np.array(x, float), p, bool(known), attended, numbers[12])
    asked.before = numbers[13], numbers[14]
    asked.counted, asked.expected = bool(numbers[15]), numbers[16]
    if z is not None:
        asked.factor = Factor(np.array(z, float), numbers[17], numbers[18])
    return asked


def restored(model: Attendance) -> Attendance:
    """The same by way of what is stored of it. Raises SnapshotDamaged, SnapshotVersion."""
    other = Attendance.load(model.dump())
    other.clients = {who: list(history) for who, history in model.clients.items()}
    other.practices = {practice: list(history) for practice, history in model.practices.items()}
    for key, asked in model.asked.items():
        b, factor = asked.booking, asked.factor
        z = factor.z.tolist() if factor else None
        row = numbers_of(asked), asked.x.tolist(), z
        other.keep(key, asked_of(b.practice, b.client, *row, attended=asked.attended, extra=b.extra))
    return other
