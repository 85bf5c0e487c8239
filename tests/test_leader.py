"""One process leads, whatever happens to it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.waiting import eventually
from wellio import leader
from wellio.leader import Leadership
from wellio.metrics import Metrics

ROOT = Path(__file__).parent.parent
LOCK_HOLDERS = """
select pid from pg_locks
where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())
"""


class Candidate:
    """A process that may lead; `terms` counts how often it did, `leading` is whether its work runs now."""

    def __init__(self, url: str) -> None:
        self.leading = False
        self.terms = 0
        self.failure: Exception | None = None
        self.metrics = Metrics()
        self.leadership = Leadership(url, self.lead, self.metrics)

    async def lead(self) -> None:
        self.terms += 1
        self.leading = True
        try:
            if self.failure is not None:
                raise self.failure
            await asyncio.Event().wait()
        finally:
            self.leading = False


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "POLL_S", 0.02)
    monkeypatch.setattr(leader, "BEAT_S", 0.02)
    monkeypatch.setattr(leader, "RETRY_S", 0.02)


@asynccontextmanager
async def started(*candidates: Candidate) -> AsyncIterator[None]:
    for candidate in candidates:
        await candidate.leadership.start()
    try:
        yield
    finally:
        for candidate in candidates:
            await candidate.leadership.stop()


async def terminate_leader(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"select pg_terminate_backend(pid) from ({LOCK_HOLDERS}) holder")
    finally:
        await connection.close()


async def test_only_one_of_two_leads(database_url: str) -> None:
    one, two = Candidate(database_url), Candidate(database_url)
    async with started(one):
        await eventually(lambda: one.leading)
        async with started(two):
            await asyncio.sleep(0.2)  # ten polls of the second
            assert (one.leading, two.leading) == (True, False)
            assert one.leadership.held
            assert not two.leadership.held


async def test_other_takes_over_when_the_leaders_connection_is_ended(database_url: str) -> None:
    one, two = Candidate(database_url), Candidate(database_url)
    async with started(one):
        await eventually(lambda: one.leading)
        async with started(two):
            one_led_on = one.terms
            await terminate_leader(database_url)
            await eventually(lambda: one.terms + two.terms > one_led_on)
            # The one before notices it by its own connection, which may be a moment after the other has the lock.
            await eventually(lambda: one.leading != two.leading)
            assert one.leadership.held != two.leadership.held


async def test_stopped_leader_is_followed_by_the_other(database_url: str) -> None:
    one, two = Candidate(database_url), Candidate(database_url)
    async with started(two), started(one):
        await eventually(lambda: one.leading or two.leading)
        first = one if one.leading else two
        other = two if one.leading else one
        await first.leadership.stop()
        assert not first.leading
        await eventually(lambda: other.leading)


async def test_leader_resumes_by_itself_after_losing_the_database(database_url: str) -> None:
    one = Candidate(database_url)
    async with started(one):
        await eventually(lambda: one.leading)
        await terminate_leader(database_url)
        await eventually(lambda: one.terms == 2 and one.leading)
        assert one.metrics.leader._value.get() == 1
    assert one.metrics.leader._value.get() == 0


async def test_failing_work_releases_the_lock_and_is_tried_again(database_url: str) -> None:
    one, two = Candidate(database_url), Candidate(database_url)
    one.failure = RuntimeError("broken")
    async with started(one):
        await eventually(lambda: one.terms >= 1)
        async with started(two):
            await eventually(lambda: two.leading)
            await two.leadership.stop()
            one.failure = None
            await eventually(lambda: one.leading)


HANG = """
import asyncio, sys
from wellio import leader
from wellio.metrics import Metrics

async def lead():
    print("leading", flush=True)
    await asyncio.Event().wait()

async def main():
    leader.LEASE, leader.BEAT_S = "500ms", 0.1
    await leader.Leadership(sys.argv[1], lead, Metrics()).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_leader_that_hangs_is_followed_after_its_lease(database_url: str) -> None:
    hung = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANG, database_url, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert hung.stdout is not None
    other = Candidate(database_url)
    try:
        assert await hung.stdout.readline() == b"leading\n"
        async with started(other):
            hung.send_signal(signal.SIGSTOP)
            await eventually(lambda: other.leading)
    finally:
        hung.kill()
        await hung.wait()
