"""Offsets: what a device says it has, when it comes back (connection state recovery of Socket.IO).

The stock client keeps the last argument of the last event it got, if that is a string, and gives it back when it
reconnects. So each entry of a log is pushed with one more argument: the time of the newest entry that the device has,
and which entries of the last seconds before it (ranges of seqs). What is older than those seconds has arrived; of
what is younger, the ranges tell. The time alone would not do: processes push what they commit at once, and what others
commit a moment later, so entries do not arrive in the order of their times.

    1764000000000000;AZqA9hM2c1yVYQ0cHcL1Zg,4,17,0;…      microseconds; conversation, from, to, age in milliseconds

Devices that have the same get the same bytes, encoded once: so a room is served by one frame.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from uuid import UUID

from wellio.live import Place
from wellio.realtime.outgoing import Encoded

# Longer than a statement may take until it has committed, and its push on the way to another process.
OVERLAP = timedelta(seconds=15)
OVERLAP_MS = int(OVERLAP / timedelta(milliseconds=1))
# A device that got entries of more conversations in those seconds may get some of them again.
MAX_RANGES = 12
MAX_CHARS = 1500
FORM = re.compile(r"\d{16}(;[A-Za-z0-9_-]{22}(,\d{1,18}){3})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Range:
    """Entries `low` to `high` of a conversation; the newest is from `at_ms`."""

    conversation_id: UUID
    low: int
    high: int
    at_ms: int

    def touches(self, place: Place) -> bool:
        return self.conversation_id == place.conversation_id and self.low - 1 <= place.seq <= self.high + 1

    def has(self, conversation_id: UUID, seq: int) -> bool:
        return self.conversation_id == conversation_id and self.low <= seq <= self.high


@dataclass(frozen=True, eq=False)
class Offset:
    """`ranges`: what came last comes first. Those with the same `text` are alike; devices that are share one, which is
    told by its identity."""

    at_us: int
    ranges: tuple[Range, ...]

    @cached_property
    def text(self) -> str:
        at_ms = self.at_us // 1000
        ranges = (f";{_name(r.conversation_id)},{r.low},{r.high},{max(0, at_ms - r.at_ms)}" for r in self.ranges)
        return f"{self.at_us:016}{''.join(ranges)}"

    @property
    def since(self) -> datetime:
        """What was made before has arrived."""
        return datetime.fromtimestamp(self.at_us / 1_000_000, UTC) - OVERLAP

    def has(self, conversation_id: UUID, seq: int) -> bool:
        return any(each.has(conversation_id, seq) for each in self.ranges)

    def after(self, place: Place, place_at_us: int | None = None) -> "Offset":
        """When the entry there has arrived too. `place_at_us`: its time, for who has it in microseconds already."""
        if place_at_us is None:
            place_at_us = _microseconds(place.at)
        at_us = max(self.at_us, place_at_us)
        oldest_ms = at_us // 1000 - OVERLAP_MS
        touched: Range | None = None
        others = []
        for each in self.ranges:
            if touched is None and each.touches(place):
                touched = each
            elif each.at_ms >= oldest_ms:
                others.append(each)
        return Offset(at_us, (_extended(touched, place, place_at_us // 1000), *others[: MAX_RANGES - 1]))

    def going_on(self, conversation_id: UUID, seq: int) -> "Offset":
        """As `after`, for one of the entries that were missed: others of that time are still to come."""
        at = datetime.fromtimestamp(self.at_us / 1_000_000, UTC)
        return self.after(Place(conversation_id, seq, at), self.at_us)


def offset_from_heads(at: datetime, recent: Mapping[UUID, int]) -> Offset:
    """Of a device that was just told all heads. `recent`: those that were written to within OVERLAP before `at`."""
    at_us = _microseconds(at)
    ranges = (Range(conversation_id, 0, seq, at_us // 1000) for conversation_id, seq in recent.items())
    return Offset(at_us, tuple(ranges)[:MAX_RANGES])


def parse_offset(text: object) -> Offset | None:
    """None for what is not of this form, whatever it is."""
    if not isinstance(text, str) or len(text) > MAX_CHARS or not FORM.fullmatch(text):
        return None
    time, *ranges = text.split(";")
    at_us = int(time)
    return Offset(at_us, tuple(_range(each, at_us // 1000) for each in ranges))


class Placed(Encoded):
    """An EVENT of a conversation's log, once for those who take one argument, and once for each offset after it."""

    def __init__(self, payload: bytes, place: Place) -> None:
        super().__init__(payload)
        self.place = place
        self._at_us = _microseconds(place.at)
        self._after: dict[Offset, tuple[Offset, Encoded]] = {}
        self._with: dict[str, tuple[Offset, Encoded]] = {}

    def after(self, offset: Offset) -> tuple[Offset, Encoded]:
        """The next offset of a device that stands at `offset`, and the packet that tells it."""
        found = self._after.get(offset)
        if found is None:
            new = offset.after(self.place, self._at_us)
            found = self._with.get(new.text)
            if found is None:
                found = self._with[new.text] = (new, with_offset(self, new))
            self._after[offset] = found
        return found


def with_offset(packet: Encoded, offset: Offset) -> Encoded:
    """The same EVENT with one argument more."""
    return Encoded(b'%s,"%s"]' % (packet.payload[:-1], offset.text.encode()))


def _extended(touched: Range | None, place: Place, at_ms: int) -> Range:
    if touched is None:
        return Range(place.conversation_id, place.seq, place.seq, at_ms)
    low, high = min(touched.low, place.seq), max(touched.high, place.seq)
    return Range(place.conversation_id, low, high, max(touched.at_ms, at_ms))


def _range(text: str, at_ms: int) -> Range:
    name, low, high, age_ms = text.split(",")
    return Range(UUID(bytes=base64.urlsafe_b64decode(name + "==")), int(low), int(high), at_ms - int(age_ms))


def _name(conversation_id: UUID) -> str:
    return base64.urlsafe_b64encode(conversation_id.bytes).rstrip(b"=").decode()


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
