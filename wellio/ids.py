"""Identifiers: UUIDv7, so that rows made one after the other lie side by side in an index, in that order."""

import os
import time
from uuid import UUID

_RANDOM_BITS = 74
_STEP_BYTES = 4
_last = 0  # milliseconds and random bits of the newest


def uuid7() -> UUID:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, 74 random bits. Each is greater than those before it in
    this process: within a millisecond by a random step (6.2, method 2)."""
    global _last
    milliseconds = time.time_ns() // 1_000_000
    if milliseconds > _last >> _RANDOM_BITS:
        number = milliseconds << _RANDOM_BITS | int.from_bytes(os.urandom(10)) >> 80 - _RANDOM_BITS
    else:
        number = _last + 1 + int.from_bytes(os.urandom(_STEP_BYTES))
    _last = number
    head, tail = number >> 62, number & (1 << 62) - 1
    return UUID(int=(head >> 12) << 80 | 0x7 << 76 | (head & 0xFFF) << 64 | 0b10 << 62 | tail)
