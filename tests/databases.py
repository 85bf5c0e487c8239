"""Databases for tests: each test gets an empty one under a name of its own.

To clone the template takes hundreds of milliseconds of the operating system's time (a file for each of its 560
relations), to delete what a test wrote a few. So a database is emptied and given out again, unless the test changed
its schema or left much: then it is dropped, and the next test gets a new clone.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

# More rows than this are dropped with their database: dead rows would slow the tests down that come after.
MAX_ROWS = 5_000

LIST_TABLES = """
select format('%I.%I', schemaname, tablename) as name
from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations'
order by 1
"""

# Whoever changes a schema writes new rows into these; statistics are updated in place.
SCHEMA_STATE = """
select array[
    (select coalesce(sum(xmin::text::bigint), 0) from pg_class where relpersistence = 'p'),
    (select count(*) from pg_class where relpersistence = 'p'),
    (select coalesce(sum(a.xmin::text::bigint), 0) from pg_attribute a join pg_class c on c.oid = a.attrelid
     where c.relpersistence = 'p'),
    (select coalesce(sum(xmin::text::bigint), 0) from pg_constraint),
    (select coalesce(sum(xmin::text::bigint), 0) from pg_trigger),
    (select coalesce(sum(xmin::text::bigint), 0) from pg_proc),
    (select coalesce(sum(xmin::text::bigint), 0) from pg_namespace),
    (select coalesce(sum(xmin::text::bigint), 0) from pg_extension)
]
"""

END_CONNECTIONS = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1"


def address_of(database: str, *, admin_url: str) -> str:
    return urlunsplit(urlsplit(admin_url)._replace(path=f"/{database}"))


@dataclass(slots=True)
class Databases:
    """Those of one test process. `spare`: an empty one that waits for its next test; `state`: what its schema was."""

    admin: asyncpg.Connection
    admin_url: str
    template: str
    spare: str | None = None
    state: list[int] | None = None

    async def take(self) -> str:
        """The name of an empty database with the current schema."""
        name = f"test_{uuid4().hex[:12]}"
        spare, self.spare = self.spare, None
        if spare is not None:
            await self.admin.execute(f'alter database "{spare}" rename to "{name}"')
        else:
            await self.admin.execute(f'create database "{name}" template "{self.template}"')
        return name

    async def give_back(self, name: str) -> None:
        """Ends every connection to it, and empties it, or drops it."""
        await self.admin.fetch(END_CONNECTIONS, name)
        if self.spare is None and await self._emptied(name):
            self.spare = name
        else:
            await self.drop(name)

    async def drop(self, name: str) -> None:
        await self.admin.execute(f'drop database "{name}" with (force)')

    async def stop(self) -> None:
        if self.spare is not None:
            await self.drop(self.spare)

    async def _emptied(self, name: str) -> bool:
        try:
            connection = await asyncpg.connect(address_of(name, admin_url=self.admin_url))
        except asyncpg.PostgresError:  # the test has closed it to everybody
            return False
        try:
            state = await connection.fetchval(SCHEMA_STATE)
            if self.state is None:
                self.state = await self._template_state()
            return state == self.state and await _empty(connection)
        finally:
            await connection.close()

    async def _template_state(self) -> list[int]:
        connection = await asyncpg.connect(address_of(self.template, admin_url=self.admin_url))
        try:
            return list(await connection.fetchval(SCHEMA_STATE))
        finally:
            await connection.close()


async def _empty(connection: asyncpg.Connection) -> bool:
    """Whether it could be emptied. As a replica does it: without triggers, which keep ledgers from being deleted."""
    tables = [row["name"] for row in await connection.fetch(LIST_TABLES)]
    left = await connection.fetch(
        " union all ".join(f"(select '{t}' as name, count(*) as rows from {t} having count(*) > 0)" for t in tables)
    )
    if sum(row["rows"] for row in left) > MAX_ROWS:
        return False
    deletions = [f"delete from {row['name']}" for row in left]
    await connection.execute("; ".join(["set session_replication_role = replica", *deletions]))
    return True
