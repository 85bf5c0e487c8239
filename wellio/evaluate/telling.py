"""What is told on the error output while a command works."""

import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeAlias

SHOWN_BAD_LINES = 20
TOLD_EVERY_S = 2.0

Progress: TypeAlias = Callable[[int], None]


def tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def tell_bad_lines(bad_lines: Sequence[tuple[int, str]]) -> None:
    """Number and reason of each."""
    for number, reason in bad_lines[:SHOWN_BAD_LINES]:
        tell(f"line {number:,} {reason}: left out")
    if len(bad_lines) > SHOWN_BAD_LINES:
        tell(f"… and {len(bad_lines) - SHOWN_BAD_LINES:,} more bad lines.")


def progress_of(what: str, total: int) -> Progress:
    """Tells every few seconds how far it is."""
    told_at = monotonic()

    def told(done: int) -> None:
        nonlocal told_at
        if monotonic() - told_at > TOLD_EVERY_S:
            told_at = monotonic()
            tell(f"{what}: {done:,} of {total:,}")

    return told
