"""Passwords: what may be one, and argon2id with OWASP's minimum parameters, hashed in threads, two at a time.

Length is what counts (NIST SP 800-63B, ASVS 6.2): no rules of composition, no truncation, and every character counts,
spaces too. A password is hashed and verified in Unicode's form NFC, so that it does not depend on how a keyboard
composes its letters. One hash takes about 25 ms of a core and 19 MiB; two at once leave loop and memory alone.
"""

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from wellio.accounts.common_passwords import is_guessed_first
from wellio.errors import Invalid, Unavailable

# OWASP Password Storage Cheat Sheet: m = 19 MiB, t = 2, p = 1.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
MIN_CHARS, MIN_CHARS_BESIDE_SECOND_FACTOR = 15, 8
MAX_CHARS, MAX_BYTES = 256, 1024
AT_ONCE, QUEUE = 2, 40

T = TypeVar("T")


_UNUSABLE = re.compile("[\0\ud800-\udfff]")


async def check_new_password(
    password: str, *, known: Iterable[str] = (), second_factor: bool = False, path: str = "password"
) -> None:
    """Raises Invalid for a password that is too short, too long to hash, or guessed first.

    `known` is what attackers would try for this user: name, address, practice. `second_factor`: the user has one.
    """
    problem = _size_problem(password, MIN_CHARS_BESIDE_SECOND_FACTOR if second_factor else MIN_CHARS)
    if problem is None and await asyncio.to_thread(is_guessed_first, password, (*known, "wellio")):
        problem = (
            "This is one of the first passwords that would be tried. Use a few words that nobody would put together."
        )
    if problem is not None:
        raise Invalid.field(path, problem)


def _size_problem(password: str, min_chars: int) -> str | None:
    if len(password) > MAX_CHARS or len(password.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return f"Use at most {MAX_CHARS} characters."
    if _UNUSABLE.search(password):
        return "Must not hold NUL characters or lone surrogates."
    if len(unicodedata.normalize("NFC", password)) < min_chars:
        return f"Use at least {min_chars} characters; a few words in a row do well."
    return None


class Passwords:
    """Hashes and verifies off the event loop. Raises Unavailable when too many wait already."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=LANES)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        # Verified when there is no such user, so that both answers take the same time.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(unicodedata.normalize("NFC", password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one behind `stored`; as slow when there is no stored one."""
        if _size_problem(password, 0) is not None:
            password = ""  # no password is empty
        matches = await self._run(lambda: self._matches(stored or self._nobody, password))
        return matches and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Whether it was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, unicodedata.normalize("NFC", password))
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
