"""Passwords: argon2id with OWASP's minimum parameters, hashed in threads, two at a time.

One hash takes about 25 ms of a core and 19 MiB; two at once leave the event loop and memory alone.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wellio.errors import Invalid, Unavailable

# OWASP Password Storage Cheat Sheet: m = 19 MiB, t = 2, p = 1. ASVS 6.2: long, no composition rules, no truncation.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
MIN_CHARS, MAX_BYTES = 15, 1024
AT_ONCE, QUEUE = 2, 40

T = TypeVar("T")


def check_new_password(password: str, *, path: str = "password") -> None:
    """Raises Invalid for a password that is too short or too long to hash."""
    if len(password) < MIN_CHARS:
        raise Invalid.field(path, f"Use at least {MIN_CHARS} characters; a few words in a row do well.")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise Invalid.field(path, f"Use at most {MAX_BYTES} bytes.")


class Passwords:
    """Hashes and verifies off the event loop. Raises Unavailable when too many wait already."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        # Verified when there is no such user, so that both answers take the same time.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one behind `stored`; as slow when there is no stored one."""
        if len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            password = ""
        matches = await self._run(lambda: self._matches(stored or self._nobody, password))
        return matches and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Whether it was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= QUEUE:
            raise Unavailable("Too many people are signing in at this moment; try again shortly.", retry_after_s=3)
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
