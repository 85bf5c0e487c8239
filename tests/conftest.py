"""What every test gets: a database of its own, cloned from a migrated template, and a Redis of its own.

`bin/test` starts the servers and names them in TEST_DATABASE_URL and TEST_REDIS_URL.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from tests.api import Api
from tests.databases import Databases, address_of
from tests.factories import House, make_house
from tests.loop_guard import nothing_blocks, open_tasks
from tests.waiting import eventually
from wellio.accounts.tokens import Tokens
from wellio.app import running
from wellio.config import Config
from wellio.db import Database, open_database
from wellio.jobs.schedule import Schedule
from wellio.limits import Limits
from wellio.migrations import migrate
from wellio.outbox import Outbox
from wellio.outreach import mail_sender, webhook_sender
from wellio.practice import calendar_fetcher
from wellio.shared_buckets import SharedBuckets

ADMIN_URL = os.environ.get("TEST_DATABASE_URL", "")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "")


# How long an example takes says what machine this is, not whether the code is right. The complete run tries the same
# examples each time; other runs look for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("complete", settings.get_profile("explore"), derandomize=True)
settings.load_profile("complete" if os.environ.get("WELLIO_REQUIRE_ALL") else "explore")


def pytest_configure() -> None:
    if not ADMIN_URL or not REDIS_URL:
        raise pytest.UsageError("Run the tests with bin/test: it starts the servers they need.")
    # Started in the background (nohup, a shell's &), signals are ignored, and so by every process a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def url_of(database: str) -> str:
    return address_of(database, admin_url=ADMIN_URL)


@pytest.fixture(scope="session")
async def admin() -> AsyncIterator[asyncpg.Connection]:
    """The test process's own connection, for making databases."""
    connection = await asyncpg.connect(ADMIN_URL)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def template(admin: asyncpg.Connection) -> AsyncIterator[str]:
    """A migrated, empty database, made once per test process."""
    name = f"template_{uuid4().hex[:12]}"
    await admin.execute(f'create database "{name}"')
    await migrate(url_of(name))
    yield name
    await admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture(scope="session")
async def databases(admin: asyncpg.Connection, template: str) -> AsyncIterator[Databases]:
    databases = Databases(admin, ADMIN_URL, template)
    yield databases
    await databases.stop()


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """The address of an empty database with the current schema."""
    name = await databases.take()
    yield url_of(name)
    await databases.give_back(name)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await open_database(database_url, min_size=1)
    yield database
    await asyncio.wait_for(database.close(), 5)


@pytest.fixture
async def outbox(db: Database) -> Outbox:
    return Outbox(db)


@pytest.fixture
async def limits() -> AsyncIterator[Limits]:
    """Rate limits that nothing reaches."""
    async with Redis.from_url(REDIS_URL) as redis:
        limits = Limits(SharedBuckets(redis, f"test_{uuid4().hex}"), secret=SECRET, scale=10_000)
        yield limits
        await limits.stop()


@pytest.fixture
async def redis_url() -> str:
    """The Redis of the test run; tests keep apart by the prefix of their own keys."""
    return REDIS_URL


SECRET = "a signing key for tests: 0123456789 abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def config(database_url: str, tmp_path: Path) -> Config:
    return Config(
        env="development",
        host="127.0.0.1",
        port=0,
        database_url=database_url,
        redis_url=REDIS_URL,
        jwt_secret=SECRET,
        cors_origin=("https://app.example.org",),
        data_dir=tmp_path,
        demo=False,
        log_level="info",
        encryption_keys={"k1": bytes(range(32))},
        rate_limit_scale=10_000,
    )


@pytest.fixture
async def api(config: Config, db: Database, jobs_wait: None) -> AsyncIterator[Api]:
    """Wellio as it is served, on a free port of loopback."""
    async with running(config) as (host, port), aiohttp.ClientSession() as session:
        yield Api(session, f"http://{host}:{port}", Tokens(SECRET), db)


@pytest.fixture
async def house(db: Database) -> House:
    return await make_house(db)


@pytest.fixture
def jobs_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Wellio that begins to lead makes up for each job's last time: what the test is about, it does itself."""
    monkeypatch.setattr(Schedule.__init__, "__defaults__", ((),))


@pytest.fixture(autouse=True)
def mails_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Wellio would mail meanwhile does not end the links that a test makes itself, nor change rows."""
    monkeypatch.setattr(mail_sender, "AT_ONCE", 0)


@pytest.fixture(autouse=True)
def nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test's Wellio calls webhooks or calendars by itself; tests of these ask for it."""
    monkeypatch.setattr(webhook_sender, "AT_ONCE", 0)
    monkeypatch.setattr(calendar_fetcher, "AT_ONCE", 0)


@pytest.fixture
def mails_leave(mails_wait: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that read what is mailed."""
    monkeypatch.setattr(mail_sender, "AT_ONCE", 4)
    monkeypatch.setattr(mail_sender, "POLL_S", 0.01)


@pytest.fixture(autouse=True)
async def nothing_blocks_or_is_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Set up first and torn down last: by then every task of the test and its fixtures has ended."""
    before = open_tasks()
    with nothing_blocks():
        yield
    if request.node.get_closest_marker("browser"):
        return  # the browser's driver keeps tasks for the whole session

    def left() -> set[str]:
        return {task.get_name() for task in open_tasks() - before}

    await eventually(lambda: not left(), within_s=5)
