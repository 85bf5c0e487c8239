"""Waiting and ending: every background task has an owner, and the owner ends it here."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

PATIENCE_S = 1.0


async def wait_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether `event` was set in time. asyncio's wait_for is not used: before Python 3.12 it swallows a
    cancellation that comes together with the event or the time-out."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
            return True
    return False


async def end_tasks(tasks: Iterable["asyncio.Future[Any]"], *, patience_s: float = PATIENCE_S) -> None:
    """Cancels and awaits. What the tasks raised is for whoever started them to look at.

    Again and again: some libraries turn a cancellation that comes at a bad moment into a time-out of their own
    (redis-py while it connects), and the task would go on for ever. `patience_s` is for what a task does at its end,
    which the next cancellation would interrupt.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=patience_s)
