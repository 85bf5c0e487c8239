"""How much a device may send, and how many devices an address may have. Counted in this process, by its clock: a
device is on one process, and what a refused event costs is a comparison.

What a user may do however many devices they have is counted in `wellio/limits.py`.
"""

import time
from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from wellio.errors import TooMany
from wellio.limits import customer_of

MAX_TYPING = 64  # conversations that a device's typing is remembered of


@dataclass(frozen=True, slots=True)
class Rate:
    per_s: float
    burst: int

    def scaled(self, scale: float) -> "Rate":
        return Rate(self.per_s * scale, max(1, round(self.burst * scale)))


EVENTS = Rate(20, 40)
# Of those that were refused. Who goes on all the same is cut off.
REFUSALS = Rate(10, 100)
TYPING = Rate(0.5, 1)
STATUS = Rate(0.1, 5)


class Pace:
    """A bucket of tokens as one number, the time at which it is full (see `wellio/limits.py`)."""

    __slots__ = ("_full_at", "_interval_s", "_room_s")

    def __init__(self, rate: Rate) -> None:
        self._interval_s = 1 / rate.per_s
        self._room_s = rate.burst * self._interval_s
        self._full_at = 0.0

    def take(self) -> float:
        """0 when there was a token, else in how many seconds there is one."""
        now = time.monotonic()
        full_at = max(self._full_at, now) + self._interval_s
        wait_s = full_at - now - self._room_s
        if wait_s > 1e-6:
            return wait_s
        self._full_at = full_at
        return 0.0


class Flood:
    """What one device sends."""

    __slots__ = ("_events", "_refusals", "_scale", "_status", "_typing")

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._events, self._refusals, self._status = (Pace(each.scaled(scale)) for each in (EVENTS, REFUSALS, STATUS))
        self._typing: dict[UUID, tuple[Pace, bool]] = {}

    def take_event(self) -> None:
        """Raises TooMany."""
        _refuse(self._events.take(), "Too many events. Wait, then send them again.")

    def goes_on(self) -> bool:
        """To be asked at each refusal: whether there were too many of them."""
        return self._refusals.take() > 0

    def take_status(self) -> None:
        """Raises TooMany."""
        _refuse(self._status.take(), "The status was changed too often.")

    def tells_typing(self, conversation_id: UUID, *, on: bool) -> bool:
        """Whether the others are to be told. That somebody stopped is told whenever it was told that they began."""
        new = (Pace(TYPING.scaled(self._scale)), False)
        pace, told = self._typing.pop(conversation_id, new)
        tells = told if not on else pace.take() == 0
        self._typing[conversation_id] = (pace, on if tells else told)
        if len(self._typing) > MAX_TYPING:
            del self._typing[next(iter(self._typing))]
        return tells


def _refuse(wait_s: float, message: str) -> None:
    if wait_s:
        raise TooMany(message, retry_after_s=wait_s)


class Crowds:
    """How many connections each address has, whatever it has for TCP connections: long polling holds none.

    `most`: of an address, `most_local`: of one of this machine's.
    """

    def __init__(self, *, most: int, most_local: int) -> None:
        self._most, self._most_local = most, most_local
        self._customers: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def check(self, address: str) -> None:
        """Raises TooMany."""
        customer, local = customer_of(address)
        if self._counts[customer] >= (self._most_local if local else self._most):
            message = "Too many connections from your address."
            raise TooMany(message, code="TOO_MANY_CONNECTIONS", retry_after_s=30)

    def enter(self, connection: str, address: str) -> None:
        customer, _ = customer_of(address)
        self._customers[connection] = customer
        self._counts[customer] += 1

    def leave(self, connection: str) -> None:
        customer = self._customers.pop(connection, None)
        if customer is not None:
            self._counts[customer] -= 1
            if not self._counts[customer]:
                del self._counts[customer]
