"""Work that waits in rows, taken by lease: some workers look for what is due, and what has ended is put on record.

A row is leased to one attempt by moving its next time past the attempt's longest duration; killed in between, it is
due again when the lease ends. `outreach/mail_sender.py` and its kin say what the work is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from wellio.consumers import next_retry
from wellio.errors import Unavailable

MEASURE_S = 15.0
# Unrecorded means done again: it is tried for about a minute.
RECORD_AGAIN_S = (0.2, 1.0, 5.0, 15.0, 30.0)


async def keep_working(take_next: Callable[[], Awaitable[bool]], *, poll_s: float) -> None:
    """Never ends by itself. `take_next` says whether there was anything to do."""
    retry_s = 0.0
    while True:
        try:
            found = await take_next()
            retry_s = 0.0
        except Unavailable:
            found, retry_s = False, next_retry(retry_s)
        if not found:
            await asyncio.sleep(retry_s or poll_s)


async def keep_measuring(measure: Callable[[], Awaitable[None]]) -> None:
    while True:
        with suppress(Unavailable):
            await measure()
        await asyncio.sleep(MEASURE_S)


async def record_patiently(record: Callable[[], Awaitable[None]]) -> None:
    """Also when the database is away for a moment. Raises Unavailable when it stays away."""
    for pause_s in RECORD_AGAIN_S:
        try:
            return await record()
        except Unavailable:
            await asyncio.sleep(pause_s)
    await record()
