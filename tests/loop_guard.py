"""Fails a test whose code blocks the event loop or leaves a task behind."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, SupportsIndex

PRODUCT = str(Path(__file__).parent.parent / "wellio")
# Audit events (sys.audit) of calls that wait for something outside.
BLOCKING = frozenset({"time.sleep", "subprocess.Popen", "socket.getaddrinfo", "os.system", "urllib.Request"})
LOOKED_AT_FRAMES = 12

_found: list[str] = []
_on = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _on or event not in BLOCKING or asyncio._get_running_loop() is None:
        return
    frame: FrameType | None = sys._getframe(1)
    for _ in range(LOOKED_AT_FRAMES):
        if frame is None or frame.f_code.co_filename.startswith("<frozen importlib"):
            return  # an import's own reading
        if frame.f_code.co_filename.startswith(PRODUCT):
            _found.append(f"{event} in {frame.f_code.co_filename}:{frame.f_lineno}")
            return
        frame = frame.f_back


sys.addaudithook(_hook)


@contextmanager
def nothing_blocks() -> Iterator[None]:
    """The audit hook can't raise where it is called, for the product would swallow it: it is told at the end."""
    global _on, _found
    before, sleep = (_on, _found), time.sleep

    def told_sleep(seconds: float | SupportsIndex, /) -> None:
        _hook("time.sleep", ())  # an audit event of its own only from Python 3.13 on
        sleep(seconds)

    _on, _found, time.sleep = True, [], told_sleep
    try:
        yield
    finally:
        found = _found
        (_on, _found), time.sleep = before, sleep
    assert not found, f"blocks the event loop: {found}"


def open_tasks() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if not task.done()} - {asyncio.current_task()}
