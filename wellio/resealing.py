"""Sealed columns, and sealing them anew when there is a new key: in small batches, while everything runs.

A value names the key that sealed it, so nothing is noted down: interrupted anywhere, the next run goes on. Rows that
somebody works on at the moment are left to the next run. What can't be opened is reported, and left as it is.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from wellio.db import Connection, Database, Row
from wellio.sealing import SealBroken, Sealer, key_id_of

log = logging.getLogger(__name__)

BATCH_ROWS = 100
NO_ROW = UUID(int=0)


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """`row_key`: the uuid that its values are bound to."""

    table: str
    column: str
    row_key: str = "id"

    @property
    def name(self) -> str:
        """As `Sealer.seal` and `unseal` are told."""
        return f"{self.table}.{self.column}"


# Every column that holds sealed values: a new one is a new line.
SEALED = (
    SealedColumn("users", "totp_secret"),
    SealedColumn("external_calendars", "url"),
    SealedColumn("webhooks", "secret"),
    SealedColumn("webhooks", "former_secret"),
    SealedColumn("client_notes", "body"),
    SealedColumn("sessions", "notes"),
    SealedColumn("scheduled_messages", "body"),
    SealedColumn("drafts", "body"),
    SealedColumn("message_reports", "body"),
    SealedColumn("message_reports", "note"),
)

COUNT_SEALED = "select key_id, how_many from count_sealed($1, $2)"

LOCK_SEALED = "select row_id, sealed from lock_sealed($1, $2, $3, $4, $5, $6)"

UPDATE_SEALED = "select update_sealed($1, $2, $3, $4, $5)"


@dataclass(frozen=True, slots=True)
class Holding:
    """How many values of a column a key has sealed. An empty `key_id`: they are not sealed at all."""

    column: str
    key_id: str
    count: int


@dataclass(slots=True)
class Resealed:
    """`not_opened` counts by column and key."""

    count: int = 0
    not_opened: Counter[tuple[str, str]] = field(default_factory=Counter)


async def list_holdings(db: Database, columns: Sequence[SealedColumn] = SEALED) -> list[Holding]:
    found = []
    for column in columns:
        for row in await db.fetch(COUNT_SEALED, column.table, column.column):
            found.append(Holding(column.name, row["key_id"], row["how_many"]))
    return sorted(found, key=lambda holding: (holding.column, holding.key_id))


async def reseal(
    db: Database,
    sealer: Sealer,
    *,
    columns: Sequence[SealedColumn] = SEALED,
    batch_rows: int = BATCH_ROWS,
    told: Callable[[int], None] = lambda rows: None,
) -> Resealed:
    """Seals with the first key what another has sealed. `told` hears of each batch how many rows were looked at."""
    total = Resealed()
    for column in columns:
        after: UUID | None = NO_ROW
        while after is not None:
            async with db.transaction() as connection:
                after, looked_at = await _reseal_batch(connection, sealer, column, after, batch_rows, total)
            told(looked_at)
    for (name, key_id), count in total.not_opened.items():
        log.error("Sealed values can't be opened", extra={"column": name, "key_id": key_id, "values": count})
    return total


async def _reseal_batch(
    connection: Connection, sealer: Sealer, column: SealedColumn, after: UUID, batch_rows: int, total: Resealed
) -> tuple[UUID | None, int]:
    """Where the next batch begins, None after the last, and how many rows this one had."""
    place = (column.table, column.row_key, column.column)
    rows = await connection.fetch(LOCK_SEALED, *place, sealer.key_id, after, batch_rows)
    fresh = {row["row_id"]: value for row in rows if (value := _sealed_anew(sealer, column, row, total)) is not None}
    if fresh:
        await connection.execute(UPDATE_SEALED, *place, list(fresh), list(fresh.values()))
        total.count += len(fresh)
    return (rows[-1]["row_id"] if rows else None), len(rows)


def _sealed_anew(sealer: Sealer, column: SealedColumn, row: Row, total: Resealed) -> bytes | None:
    try:
        value = sealer.unseal(row["sealed"], column=column.name, row_id=row["row_id"])
    except SealBroken:
        total.not_opened[column.name, _key_named(row["sealed"])] += 1
        return None
    return sealer.seal(value, column=column.name, row_id=row["row_id"])


def _key_named(sealed: bytes) -> str:
    try:
        return key_id_of(sealed)
    except SealBroken:
        return ""
