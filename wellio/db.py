"""The connection pool: where connections come from, how long anyone waits, and what a failure is called."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import orjson

from wellio.constraints import error_for_constraint
from wellio.encoding import to_json
from wellio.errors import Unavailable

# Nobody waits longer while no connection comes back; in a crowd that moves, they wait for their turn.
ACQUIRE_TIMEOUT_S, CROWD_TIMEOUT_S = 2.0, 10.0
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 10.0
POOL_MIN, POOL_MAX = 2, 10

# reliability: no statement, lock or forgotten transaction holds a connection for long.
SERVER_SETTINGS = {
    "application_name": "wellio",
    "timezone": "UTC",
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
}
# What the app may not do (change the schema, the audit log), no bug and no injected SQL can: see sql/migrations.
APP_ROLE = "wellio_app"
DERIVED_SETTINGS = {"synchronous_commit": "off"}
# Short OLTP statements: compiling them takes longer than running them.
SERVER_SETTINGS |= {"jit": "off"}

if TYPE_CHECKING:  # generic in the stubs only
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.Connection
Row: TypeAlias = asyncpg.Record

AWAY_MESSAGE = "The database does not answer. Nothing was changed; try again shortly."
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,
    asyncpg.TransactionRollbackError,  # deadlock, serialization failure: whole, and worth another try
)


class Database:
    """Reads and transactions on a bounded pool. Raises Unavailable when no connection is to be had in time."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self._given_back = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        with told_plainly():
            connection = await self.acquire()
            try:
                yield connection
            finally:
                await self.release(connection)

    async def release(self, connection: "asyncpg.pool.PoolConnectionProxy[Row]") -> None:
        await self.pool.release(connection)
        self._given_back += 1

    async def acquire(self) -> "asyncpg.pool.PoolConnectionProxy[Row]":
        until = time.monotonic() + CROWD_TIMEOUT_S
        while True:
            before = self._given_back
            try:
                return await self.pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
            except TimeoutError:
                if self._given_back == before or time.monotonic() > until:
                    raise
            except asyncpg.PostgresError as error:  # whatever refuses a connection: wrong password, shutting down…
                raise Unavailable(AWAY_MESSAGE) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Commits when the block ends, rolls back when it raises; constraint violations become named errors."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        async with self.connection() as connection:
            return list(await connection.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        async with self.connection() as connection:
            return str(await connection.execute(sql, *args))

    async def close(self) -> None:
        await self.pool.close()


class KeptConnection:
    """One connection for one task's statements, while they follow on one another: the pool makes each that is given
    back as it was, which is a round trip, and whoever waits for the result would wait for that too."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._connection: asyncpg.pool.PoolConnectionProxy[Row] | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Kept after the block; given back when the block raises, as it may have been lost."""
        with told_plainly():
            try:
                if self._connection is None:
                    self._connection = await self._db.acquire()
                yield self._connection
            except BaseException:
                await self.give_back()
                raise

    async def give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*AWAY):  # the pool has closed it then
                await self._db.release(connection)


@contextmanager
def told_plainly() -> Iterator[None]:
    """Driver exceptions as Wellio's errors: a violated constraint by its name, a lost server as Unavailable."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        known = error_for_constraint(error.constraint_name or "")
        if known is None:
            raise
        raise known from error
    except AWAY as error:
        raise Unavailable(AWAY_MESSAGE) from error


async def open_database(
    url: str, *, min_size: int = POOL_MIN, max_size: int = POOL_MAX, derived: bool = False
) -> Database:
    """A pool on `url`. Raises the driver's exception when the server can't be reached.

    `derived`: for what only follows from the event log, with the place in the log that it has come to. Its commits do
    not wait for the disk, so they don't keep those waiting that do: if PostgreSQL crashes, the last ones are lost
    whole (PostgreSQL, "Asynchronous Commit"), and are made again from the log.
    """
    pool = await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        max_inactive_connection_lifetime=300,
        server_settings=SERVER_SETTINGS | {"role": APP_ROLE} | (DERIVED_SETTINGS if derived else {}),
        init=_prepare_connection,
    )
    return Database(pool)


async def connect(url: str, *, statement_timeout: str = "60s") -> asyncpg.Connection:
    """A connection outside the pool, for what holds one long: locks, migrations, jobs."""
    settings = SERVER_SETTINGS | {"statement_timeout": statement_timeout}
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    await _prepare_connection(connection)
    return connection


async def _prepare_connection(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda v: to_json(v).decode(), decoder=orjson.loads
    )
