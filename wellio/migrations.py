"""Brings a database to the schema in `sql/migrations`: plain SQL files, in order, each once.

Each file runs in one transaction with its bookkeeping row. A file that begins with `-- no-transaction`
holds exactly one idempotent statement (`create index concurrently if not exists …`) and runs outside one.
An applied file that was changed since is refused.
"""

import asyncio
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import asyncpg

from wellio.errors import StartupError

FOLDER = Path(__file__).parent.parent / "sql" / "migrations"
# Any constant would do; this one spells "wellio" (ASCII).
LOCK_KEY = 0x77656C6C696F
LOCK_WAIT_S = 60.0
FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

CREATE_BOOKKEEPING = """
create table if not exists schema_migrations (
    version integer primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now()
)
"""
LIST_APPLIED = "select version, sha256 from schema_migrations"
INSERT_APPLIED = "insert into schema_migrations (version, name, sha256) values ($1, $2, $3)"
# Polled, never the blocking form: waiting inside a statement deadlocks with `create index concurrently`.
TRY_LOCK = "select pg_try_advisory_lock($1)"
UNLOCK = "select pg_advisory_unlock($1)"


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return sha256(self.sql.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        return not self.sql.startswith("-- no-transaction")


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """In order of their numbers, which begin at 1 and have no gaps."""
    migrations = []
    for expected, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        match = FILE_NAME.fullmatch(path.name)
        if not match or int(match[1]) != expected:
            raise StartupError(f"{path.name}: migrations are named {expected:04d}_what_it_does.sql, in order.")
        migrations.append(Migration(expected, path.stem, path.read_text()))
    return migrations


async def migrate(url: str, folder: Path = FOLDER) -> int:
    """How many files were applied. Raises StartupError when an applied file differs, is unknown or the lock is held."""
    migrations = read_migrations(folder)
    connection = await asyncpg.connect(url, server_settings={"lock_timeout": "5s", "timezone": "UTC"})
    try:
        await _lock(connection)
        try:
            return await _apply_pending(connection, migrations)
        finally:
            await connection.execute(UNLOCK, LOCK_KEY)
    finally:
        await connection.close()


async def _lock(connection: asyncpg.Connection) -> None:
    deadline = asyncio.get_running_loop().time() + LOCK_WAIT_S
    while not await connection.fetchval(TRY_LOCK, LOCK_KEY):
        if asyncio.get_running_loop().time() > deadline:
            raise StartupError("Another Wellio has been migrating this database for a minute; see what it is doing.")
        await asyncio.sleep(0.1)


async def _apply_pending(connection: asyncpg.Connection, migrations: list[Migration]) -> int:
    await connection.execute(CREATE_BOOKKEEPING)
    applied = {row["version"]: row["sha256"] for row in await connection.fetch(LIST_APPLIED)}
    _refuse_drift(migrations, applied)
    pending = [m for m in migrations if m.version not in applied]
    for migration in pending:
        await _apply(connection, migration)
    return len(pending)


def _refuse_drift(migrations: list[Migration], applied: dict[int, str]) -> None:
    known = {m.version: m for m in migrations}
    for version, digest in sorted(applied.items()):
        if version not in known:
            raise StartupError(f"The database has migration {version}, which this version of Wellio lacks: update it.")
        if known[version].digest != digest:
            raise StartupError(f"{known[version].name}.sql was changed after it was applied: add a new file instead.")


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    row = (migration.version, migration.name, migration.digest)
    if migration.transactional:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(INSERT_APPLIED, *row)
    else:
        await connection.execute(migration.sql)
        await connection.execute(INSERT_APPLIED, *row)
