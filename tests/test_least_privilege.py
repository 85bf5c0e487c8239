"""What the app's connections may not do, no bug and no injected SQL can; and they carry nothing from call to call."""

import asyncio
import random
import re
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest

from tests.api import Api
from tests.factories import make_house
from tests.owner import as_owner
from tests.test_authorization import CANARY, make_scene
from wellio.db import APP_ROLE, Database, open_database
from wellio.jobs.command import migrated

STATE = """
select current_user::text as role, current_setting('statement_timeout') as timeout,
       current_setting('search_path') as path, coalesce(current_setting('app.practice', true), '') as practice,
       (select count(*) from pg_prepared_statements where from_sql) as prepared,
       (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
       (select count(*) from pg_class where relpersistence = 't') as temporary
"""


async def test_the_app_works_under_its_own_role(db: Database) -> None:
    row = await db.fetchrow(
        "select rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication from pg_roles"
        " where rolname = current_user"
    )
    assert row
    assert not any(row.values())
    assert await db.fetchval("select current_user::text") == APP_ROLE
    owned = await db.fetchval("select count(*) from pg_class where relowner = current_user::regrole")
    assert owned == 0


@pytest.mark.parametrize(
    "sql",
    [
        "create table mine (id int)", "create table public.mine (id int)", "alter table clients add column x int",
        "drop table messages", "truncate clients", "create index on clients (email)",
        "drop trigger audit_log_append_only on audit_log",
        "alter table audit_log disable trigger all", "create function f() returns int language sql as 'select 1'",
        "create or replace function refuse_change() returns trigger language plpgsql as 'begin return null; end'",
        "insert into schema_migrations values ('9999', 'x')", "delete from schema_migrations",
        "update schema_migrations set version = version", "create role mine",
        "alter role wellio_app superuser", "copy clients to '/tmp/clients'", "create extension dblink",
        "create schema mine", "alter system set fsync = off", "select pg_read_file('/etc/passwd')",
        "set session_replication_role = replica",
    ],
)  # fmt: skip
async def test_what_the_app_may_not_do(db: Database, sql: str) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
        async with db.pool.acquire() as connection:
            await connection.execute(sql)


async def test_commands_migrate_as_the_owner_and_work_as_the_login_role(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await asyncpg.connect(database_url)
    role = f"login_{uuid4().hex[:8]}"
    await owner.execute(f"create role {role} login noinherit; grant {APP_ROLE} to {role}")
    url = re.sub(r"//[^@/]*@", f"//{role}@", database_url)
    monkeypatch.setenv("MIGRATION_DATABASE_URL", database_url)
    try:
        async with migrated(url) as db:
            assert await db.fetchval("select session_user::text") == role
    finally:
        await owner.execute(f"revoke {APP_ROLE} from {role}; drop role {role}")
        await owner.close()


async def test_login_role_that_is_only_a_member_can_run_the_app_and_nothing_else(database_url: str) -> None:
    """As docs/operating.md sets two roles up."""
    owner = await asyncpg.connect(database_url)
    role = f"login_{uuid4().hex[:8]}"
    await owner.execute(f"create role {role} login noinherit; grant {APP_ROLE} to {role}")
    db = await open_database(re.sub(r"//[^@/]*@", f"//{role}@", database_url), min_size=1)
    try:
        house = await make_house(db)
        assert await db.fetchval("select count(*) from clients where practice_id = $1", house.practice.id) == 2
        for sql in ("select count(*) from clients", "alter table audit_log disable trigger all"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await as_owner(db, sql)
    finally:
        await db.close()
        await owner.execute(f"revoke {APP_ROLE} from {role}; drop role {role}")
        await owner.close()


async def test_connection_comes_back_as_it_was(database_url: str) -> None:
    db = await open_database(database_url, min_size=1, max_size=1)
    before = dict(await db.fetchrow(STATE) or {})
    for sql in (
        "set statement_timeout = 1; set search_path = nowhere",
        "select set_config('app.practice', 'somebody', false)",
        "select pg_advisory_lock(1)",
        "begin; select 1",
    ):
        with suppress(asyncpg.PostgresError):
            async with db.pool.acquire() as connection:
                await connection.execute(sql)
        assert dict(await db.fetchrow(STATE) or {}) == before, sql
    await db.close()


async def test_interleaved_calls_of_two_practices_never_mix(api: Api) -> None:
    """Z-08: 2,000 calls over one pool, a tenth of them given up half way."""
    house, foreign = await make_house(api.db), await make_house(api.db, "Other practice")
    await make_scene(api.db, house, foreign)
    await make_scene(api.db, foreign, house, "canary-of-the-others")
    chance = random.Random(8)
    paths = ("/api/v1/clients", "/api/v1/sessions", "/api/v1/payments", "/api/v1/conversations", "/api/v1/home/summary")
    seen = {"house": 0, "foreign": 0}

    async def ask(n: int) -> None:
        name, actor, other = (
            ("house", house.coach, b"canary-of-the-others") if n % 2 else ("foreign", foreign.coach, CANARY.encode())
        )
        call = api.get(paths[n // 2 % len(paths)], actor)
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0.0005, 0.01) if chance.random() < 0.1 else None):
                answer = await call
                assert answer.status == 200, answer.raw
                assert other not in answer.raw
                seen[name] += (CANARY if name == "house" else "canary-of-the-others").encode() in answer.raw

    gate = asyncio.Semaphore(24)

    async def one(n: int) -> None:
        async with gate:
            await ask(n)

    await asyncio.gather(*(one(n) for n in range(2000)))
    assert min(seen.values()) > 500  # each did see its own
