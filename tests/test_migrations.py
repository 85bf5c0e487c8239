"""Migrations: each once, in order, by one process at a time; the schema file tells what they give."""

import asyncio
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import ADMIN_URL, url_of
from wellio.errors import StartupError
from wellio.migrations import migrate, read_migrations
from wellio.schema_file import FILE, dump_schema, find_pg_dump


@pytest.fixture
async def empty_url() -> object:
    name = f"empty_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(ADMIN_URL)
    await admin.execute(f'create database "{name}"')
    yield url_of(name)
    await admin.execute(f'drop database "{name}" with (force)')
    await admin.close()


def write(folder: Path, name: str, sql: str) -> None:
    (folder / name).write_text(sql)


async def test_migrations_give_the_schema_file(database_url: str) -> None:
    dumped = await asyncio.to_thread(lambda: dump_schema(database_url, find_pg_dump()))
    assert dumped == FILE.read_text(), "run bin/schema"


async def test_second_run_applies_nothing(empty_url: str) -> None:
    assert await migrate(empty_url) == len(read_migrations())
    assert await migrate(empty_url) == 0


async def test_three_at_once_apply_each_file_once(empty_url: str) -> None:
    counts = await asyncio.gather(*(migrate(empty_url) for _ in range(3)))
    assert sorted(counts) == [0, 0, len(read_migrations())]


async def test_changed_file_is_refused(empty_url: str, tmp_path: Path) -> None:
    write(tmp_path, "0001_one.sql", "create table one ()")
    await migrate(empty_url, tmp_path)
    write(tmp_path, "0001_one.sql", "create table other ()")
    with pytest.raises(StartupError, match="changed after it was applied"):
        await migrate(empty_url, tmp_path)


async def test_database_newer_than_the_code_is_refused(empty_url: str, tmp_path: Path) -> None:
    write(tmp_path, "0001_one.sql", "create table one ()")
    await migrate(empty_url, tmp_path)
    (tmp_path / "0001_one.sql").unlink()
    with pytest.raises(StartupError, match="lacks"):
        await migrate(empty_url, tmp_path)


async def test_failing_file_leaves_nothing_and_can_be_mended(empty_url: str, tmp_path: Path) -> None:
    write(tmp_path, "0001_one.sql", "create table one (); select nonsense")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await migrate(empty_url, tmp_path)
    write(tmp_path, "0001_one.sql", "create table one ()")
    assert await migrate(empty_url, tmp_path) == 1


async def test_file_outside_a_transaction_runs_concurrently(empty_url: str, tmp_path: Path) -> None:
    write(tmp_path, "0001_one.sql", "create table one (id int)")
    write(tmp_path, "0002_index.sql", "-- no-transaction\ncreate index concurrently if not exists one_idx on one (id)")
    assert sorted(await asyncio.gather(migrate(empty_url, tmp_path), migrate(empty_url, tmp_path))) == [0, 2]


def test_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "0002_two.sql", "select 1")
    with pytest.raises(StartupError, match="0001"):
        read_migrations(tmp_path)
