"""Exports: a dataset as a file of any size, as it was at one moment, in constant memory.

Rows are read by a cursor, from a snapshot that locks nothing, on connections of their own: no export keeps a request
waiting for one. CSV and JSON Lines go out as their reader takes them; a workbook is written to the disk first, and its
connection given back before it is sent.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any, BinaryIO, cast
from zoneinfo import ZoneInfo

import asyncpg
from pydantic import Field

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.practices import get_practice
from wellio.db import Database
from wellio.errors import Invalid, Unavailable
from wellio.practice.export_datasets import DATASETS, DatasetName
from wellio.practice.export_formats import Encode, FormatName, Workbook, csv_head, csv_lines, json_lines
from wellio.practice.report_scope import FIRST_DAY, LAST_DAY
from wellio.practice.wall_clock import day_bounds
from wellio.values import Input

# In this process; each has a connection of its own.
AT_ONCE = 2
# Some milliseconds of work for a thread, and 200 kB.
ROWS_AT_ONCE = 1_000
BYTES_AT_ONCE = 256 * 1024
# The longest that a snapshot is held: PostgreSQL keeps what was deleted since.
WITHIN_S = 900.0
READ_TIMEOUT_S = 60.0

# A first row may have to wait until all are sorted, and a reader may be slow.
LET_TAKE_LONG = """
select set_config('statement_timeout', '60s', true), set_config('idle_in_transaction_session_timeout', '90s', true)
"""


class ExportQuery(Input):
    """The dates `from` (inclusive) and `to` (exclusive) of the practice's calendar bound the times of the dataset."""

    dataset: DatasetName
    format: FormatName = "csv"
    from_: date | None = Field(default=None, alias="from", ge=FIRST_DAY, le=LAST_DAY)
    to: date | None = Field(default=None, ge=FIRST_DAY, le=LAST_DAY)


class Exports:
    """Those of one process. `db`: a pool for nothing else, of AT_ONCE connections."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._under_way = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Raises Unavailable when too many are under way."""
        if self._under_way >= AT_ONCE:
            raise Unavailable("Other exports are under way; try again shortly.", retry_after_s=15, code="BUSY")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


@dataclass(frozen=True, slots=True)
class _Reading:
    """What an open cursor gives: the columns, and rows by the thousand."""

    columns: Sequence[str]
    batches: AsyncGenerator[Sequence[asyncpg.Record], None]


async def export(exports: Exports, actor: Actor, query: ExportQuery) -> AsyncGenerator[bytes, None]:
    """The file's bytes. Its first ones come when the database has answered, so what is refused is refused before.

    Raises Forbidden, Invalid and Unavailable.
    """
    actor.must_be(STAFF)
    if query.from_ and query.to and query.from_ >= query.to:
        raise Invalid.field("query.to", "Must be later than from.")
    async with exports.place():
        reading = partial(_reading, exports.db, actor, query)
        chunks = _workbook(reading(), query.dataset) if query.format == "xlsx" else _lines(reading(), query.format)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def _lines(reading: AbstractAsyncContextManager[_Reading], form: FormatName) -> AsyncGenerator[bytes, None]:
    async with reading as found:
        encode: Encode = csv_lines if form == "csv" else partial(json_lines, found.columns)
        head = csv_head(found.columns) if form == "csv" else b""
        async for rows in found.batches:
            yield head + await asyncio.to_thread(encode, rows)
            head = b""
        if head:
            yield head


async def _workbook(reading: AbstractAsyncContextManager[_Reading], name: str) -> AsyncGenerator[bytes, None]:
    with tempfile.TemporaryFile() as file:
        async with reading as found:
            book = Workbook(cast("BinaryIO", file), name, found.columns)
            async for rows in found.batches:
                await asyncio.to_thread(book.add, rows)
        await asyncio.to_thread(book.close)
        file.seek(0)
        while chunk := await asyncio.to_thread(file.read, BYTES_AT_ONCE):
            yield chunk


@asynccontextmanager
async def _reading(db: Database, actor: Actor, query: ExportQuery) -> AsyncIterator[_Reading]:
    async with db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(LET_TAKE_LONG)
        practice = await get_practice(connection, actor.practice_id)
        zone = await asyncio.to_thread(ZoneInfo, practice.timezone)
        statement = await connection.prepare(DATASETS[query.dataset])
        cursor = await statement.cursor(
            *actor.scope, _begin(zone, query.from_), _begin(zone, query.to), timeout=READ_TIMEOUT_S
        )
        async with aclosing(_batches(cursor)) as batches:
            yield _Reading([attribute.name for attribute in statement.get_attributes()], batches)


async def _batches(cursor: Any) -> AsyncGenerator[Sequence[asyncpg.Record], None]:
    until = asyncio.get_running_loop().time() + WITHIN_S
    while rows := await cursor.fetch(ROWS_AT_ONCE, timeout=READ_TIMEOUT_S):
        yield rows
        if asyncio.get_running_loop().time() > until:
            raise Unavailable("This export took too long; ask for a shorter time.")


def _begin(zone: ZoneInfo, day: date | None) -> datetime | None:
    return None if day is None else day_bounds(zone, day)[0]
