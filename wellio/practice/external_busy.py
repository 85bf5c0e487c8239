"""When coaches are busy by their calendars elsewhere, as it was last known. `calendar_fetcher.py` writes it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from wellio.db import Connection
from wellio.practice.slots import Interval

# An appointment keeps the coach's buffers free around itself, as a session does.
LIST_EXTERNAL_BUSY = """
select b.starts_at - make_interval(mins => coalesce(a.buffer_before_minutes, 0)) as starts_at,
       b.ends_at + make_interval(mins => coalesce(a.buffer_after_minutes, 0)) as ends_at
from external_busy b
left join availability a on a.practice_id = b.practice_id and a.coach_id = b.coach_id
where b.practice_id = $1 and b.coach_id = $2 and b.ends_at > $3 and b.starts_at < $4
"""

DELETE_EXTERNAL_BUSY = "delete from external_busy where practice_id = $1 and calendar_id = $2"

INSERT_EXTERNAL_BUSY = """
insert into external_busy (practice_id, calendar_id, coach_id, starts_at, ends_at)
select $1, $2, $3, t.starts_at, t.ends_at
from unnest($4::timestamptz[], $5::timestamptz[]) t (starts_at, ends_at)
"""


async def list_external_busy(
    connection: Connection, practice_id: UUID, coach_id: UUID, first: datetime, last: datetime
) -> list[Interval]:
    """With the coach's buffers. The bounds must be a day wider than what is asked about: buffers are that long."""
    rows = await connection.fetch(LIST_EXTERNAL_BUSY, practice_id, coach_id, first, last)
    return [(row["starts_at"], row["ends_at"]) for row in rows]


async def replace_external_busy(
    connection: Connection, practice_id: UUID, calendar_id: UUID, coach_id: UUID, spans: Sequence[Sequence[int]]
) -> None:
    """`spans` in Unix seconds, apart from each other."""
    await connection.execute(DELETE_EXTERNAL_BUSY, practice_id, calendar_id)
    columns: list[list[Any]] = [[_moment(low) for low, _ in spans], [_moment(high) for _, high in spans]]
    await connection.execute(INSERT_EXTERNAL_BUSY, practice_id, calendar_id, coach_id, *columns)


def _moment(unix_s: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=unix_s)
