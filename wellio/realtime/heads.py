"""chat:heads: how far each conversation has come, so that a device finds out what no push told it.

A gap is found by the next message; the loss of the last one of a quiet conversation is not. So everybody is told
the heads now and then, and at once when the link between processes was lost, from the database.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from uuid import UUID

from wellio.chat.history import list_heads
from wellio.db import Database
from wellio.errors import Unavailable
from wellio.realtime.devices import Devices
from wellio.realtime.fanout import Fanout, encode_event
from wellio.tasks import end_tasks, wait_within

log = logging.getLogger(__name__)

EVERY_S, JITTER_S = 45.0, 5.0
# While other processes can't reach us, the database is asked instead; that they can't is noticed soon.
CUT_OFF_EVERY_S, NOTICE_S = 1.0, 0.25
CHUNK = 500


class Heads:
    """`cut_off` says whether the link to the other processes is down, or hangs."""

    def __init__(self, db: Database, devices: Devices, fanout: Fanout, cut_off: Callable[[], bool]) -> None:
        self._db, self._devices, self._fanout = db, devices, fanout
        self._cut_off = cut_off
        self._told: dict[UUID, int] = {}
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="chat heads")

    async def stop(self) -> None:
        if self._task is not None:
            await end_tasks([self._task])

    def tell_everybody(self) -> None:
        """Soon: something may have been missed."""
        self._wanted.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + EVERY_S
        while True:
            cut_off = self._cut_off()
            wait_s = CUT_OFF_EVERY_S if cut_off else max(0.0, min(due - loop.time(), NOTICE_S))
            wanted = await self._wanted_within(wait_s)
            complete = wanted or loop.time() >= due
            if complete:
                due = loop.time() + EVERY_S + random.uniform(-JITTER_S, JITTER_S)  # noqa: S311 - only spread
            if complete or cut_off:
                await self._sweep(changed_only=not complete)

    async def _wanted_within(self, wait_s: float) -> bool:
        wanted = await wait_within(self._wanted, wait_s)
        if wanted:
            self._wanted.clear()
        return wanted

    async def _sweep(self, *, changed_only: bool) -> None:
        people = self._devices.people()
        if not changed_only:
            self._told = {}
        try:
            for start in range(0, len(people), CHUNK):
                await self._tell(people[start : start + CHUNK], changed_only=changed_only)
        except Unavailable:
            self._wanted.set()
            await asyncio.sleep(CUT_OFF_EVERY_S)
        except Exception:
            log.exception("chat heads failed")

    async def _tell(self, people: list[tuple[UUID, UUID]], *, changed_only: bool) -> None:
        for user_id, heads in (await list_heads(self._db, people)).items():
            # Seqs only rise, so their sum tells whether any has.
            total = sum(heads.values())
            if changed_only and self._told.get(user_id) == total:
                continue
            self._told[user_id] = total
            packet = encode_event("chat:heads", {"heads": heads_json(heads)})
            self._fanout.deliver([user_id], packet, event="chat:heads", ephemeral=True)


def heads_json(heads: Mapping[UUID, int]) -> dict[str, int]:
    return {str(conversation_id): seq for conversation_id, seq in heads.items()}
