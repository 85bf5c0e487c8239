"""One process leads: it alone runs the consumers and the jobs, however many processes there are.

The leader is who holds an advisory lock of PostgreSQL, on a connection of its own (not from the pool, not through a
transaction pooler). A lock dies with its session, so a killed leader is followed within a poll. One that hangs loses
its session after LEASE, because the server ends sessions that are silent for so long. What it still writes when it
wakes up is refused by fences where it matters: snapshots, cursors and job runs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg

from wellio.db import AWAY, connect
from wellio.metrics import Metrics
from wellio.tasks import end_tasks, wait_within

log = logging.getLogger(__name__)

# Spells "leader" (ASCII); any constant would do.
LOCK_KEY = 0x6C6561646572
POLL_S = 1.0
BEAT_S = 1.0
BEAT_TIMEOUT_S = 3.0
LEASE = "10s"
RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
LOST = (*AWAY, asyncpg.PostgresError)

# Never the blocking form: see wellio/migrations.py.
TRY_LOCK = "select pg_try_advisory_lock($1)"
SET_LEASE = "select set_config('idle_session_timeout', $1, false)"
BEAT = "select 1"


class Leadership:
    """Runs `lead()` for as long as this process leads; cancels it, and waits for its end, when it no longer does."""

    def __init__(self, database_url: str, lead: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
        self._url = database_url
        self._lead = lead
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None
        self.held = False

    async def start(self) -> None:
        """Returns at once; leadership is gained when nobody else has it."""
        self._metrics.leader.set(0)
        self._task = asyncio.create_task(self._campaign(), name="leadership")

    async def stop(self) -> None:
        """After it nothing of `lead()` runs any more, and another process may lead."""
        if self._task is not None:
            await end_tasks([self._task])
            self._task = None

    async def _campaign(self) -> None:
        """Terms of leading, one after another; never ends by itself."""
        away = False
        retry_s = RETRY_S
        while True:
            try:
                await self._term()
                away, retry_s = False, RETRY_S
            except LOST as error:
                if not away:
                    log.warning("No connection to lead by; trying again", extra={"error": type(error).__name__})
                away = True
            except Exception:
                log.exception("Leading failed; trying again", extra={"retry_s": retry_s})
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
            await asyncio.sleep(retry_s)

    async def _term(self) -> None:
        """From connecting until leadership is lost. Raises what `lead()` raised."""
        connection = await connect(self._url)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            await connection.fetchval(SET_LEASE, LEASE)
            while not await connection.fetchval(TRY_LOCK, LOCK_KEY, timeout=BEAT_TIMEOUT_S):  # noqa: ASYNC110 (nothing wakes us)
                await asyncio.sleep(POLL_S)
            await self._hold(connection, lost)
        finally:
            await _close(connection)

    async def _hold(self, connection: asyncpg.Connection, lost: asyncio.Event) -> None:
        log.info("This process leads")
        self._set_held(held=True)
        lead = asyncio.ensure_future(self._lead())
        beats = asyncio.create_task(_beat_until(connection, lost), name="leader heartbeat")
        try:
            await asyncio.wait({lead, beats}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._set_held(held=False)
            await end_tasks([beats, lead])
            log.info("This process no longer leads")
        if not lead.cancelled() and (error := lead.exception()) is not None:
            raise error

    def _set_held(self, *, held: bool) -> None:
        self.held = held
        self._metrics.leader.set(int(held))


async def _beat_until(connection: asyncpg.Connection, lost: asyncio.Event) -> None:
    """Returns when the connection is gone, or does not answer in time."""
    while not lost.is_set():
        if await wait_within(lost, BEAT_S):
            return
        try:
            await connection.fetchval(BEAT, timeout=BEAT_TIMEOUT_S)
        except LOST:
            return


async def _close(connection: asyncpg.Connection) -> None:
    """The lock goes with the session; a server that does not answer is not waited for."""
    with suppress(*LOST):
        await connection.close(timeout=BEAT_TIMEOUT_S)
    connection.terminate()
