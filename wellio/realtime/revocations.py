"""Connections of ended sessions are closed, on every process, within two seconds: by log-out, a changed password, a
suspension, whatever ended them, plain SQL included.

PostgreSQL is asked, not told of through Redis: so it holds while Redis is away. Most looks are for what was revoked
lately; `revoked_at` is when a transaction began, and it may commit late, so they overlap widely. All sessions that are
connected here are looked up now and then, and whenever looks were missed: the database or this process was held up.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from wellio.accounts.auth_sessions import list_ended, list_revoked
from wellio.db import Database
from wellio.errors import Unavailable
from wellio.realtime.devices import Device, Devices
from wellio.tasks import end_tasks

log = logging.getLogger(__name__)

EVERY_S = 0.75
LOOK_BACK_S = 20.0
# A look that comes later than this after the one before looks at everything.
MISSED_S = 5.0
COMPLETE_EVERY_S = 60.0
CHUNK = 500


class Revocations:
    """Gives the devices of ended sessions to `close`."""

    def __init__(self, db: Database, devices: Devices, close: Callable[[Sequence[Device]], None]) -> None:
        self._db, self._devices, self._close = db, devices, close
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="revocations")

    async def stop(self) -> None:
        if self._task is not None:
            await end_tasks([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        looked_at = complete_at = loop.time()
        while True:
            await asyncio.sleep(EVERY_S)
            now = loop.time()
            complete = now - looked_at > MISSED_S or now - complete_at > COMPLETE_EVERY_S
            if not await self._look(complete=complete):
                looked_at = 0.0
                continue
            looked_at, complete_at = now, now if complete else complete_at

    async def _look(self, *, complete: bool) -> bool:
        """Whether it was looked to the end."""
        try:
            ended = await (self._ended() if complete else list_revoked(self._db, LOOK_BACK_S))
            if devices := [device for device in self._devices if device.actor.session_id in ended]:
                self._close(devices)
        except Unavailable:
            return False
        except Exception:
            log.exception("looking for revoked sessions failed")
            return False
        return True

    async def _ended(self) -> set[UUID]:
        session_ids = list({device.actor.session_id for device in self._devices})
        ended: set[UUID] = set()
        for start in range(0, len(session_ids), CHUNK):
            ended |= await list_ended(self._db, session_ids[start : start + CHUNK])
        return ended
