"""Identifiers: UUIDv7, so that rows made one after the other lie side by side in an index."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, 74 random bits."""
    ms = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    value = (ms & 0xFFFF_FFFF_FFFF) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)
