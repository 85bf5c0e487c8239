"""When the rules of a time zone change: sessions to come keep the wall time that was agreed on.

The instants were derived by the rules as they were known; a release of tzdata may know better. What differs is moved,
logged and recorded. Read by pages of ids, so that no run holds much; run twice, it finds nothing to do.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.db import Connection, Row
from wellio.errors import Conflict
from wellio.events import Event, EventType
from wellio.outbox import Outbox
from wellio.practice.wall_clock import Reading, instant_read, is_skipped

log = logging.getLogger(__name__)

PAGE = 1000
NO_ID = UUID(int=0)

LIST_WALLS = """
select id, practice_id, coach_id, client_id, timezone, starts_at, wall_starts_at, wall_fold
from sessions
where status in ('held', 'scheduled') and starts_at > now() and wall_starts_at is not null and id > $1
order by id
limit $2
"""

# Unless somebody has moved or ended it meanwhile.
MOVE_TO_WALL = """
update sessions
set starts_at = $4, ends_at = $4::timestamptz + (ends_at - starts_at), shifted = $5,
    original_starts_at = case when original_starts_at = starts_at then $4 else original_starts_at end,
    sequence = sequence + 1, version = version + 1, updated_at = now()
where practice_id = $1 and id = $2 and starts_at = $3 and status in ('held', 'scheduled')
returning status, ends_at, price_minor, sequence, version
"""


@dataclass(frozen=True, slots=True)
class Stray:
    """A session that does not stand where its wall time is now."""

    id: UUID
    practice_id: UUID
    coach_id: UUID
    client_id: UUID | None
    timezone: str
    starts_at: datetime
    belongs_at: datetime
    shifted: bool


@dataclass(frozen=True, slots=True)
class Followed:
    """`stuck`: whose new time is taken; they stay where they are."""

    moved: int
    stuck: Sequence[Stray]


async def follow_zone_rules(outbox: Outbox) -> Followed:
    """Moves each stray in a transaction of its own."""
    strays = [stray async for stray in _strays(outbox)]
    moved, stuck = await _move_all(outbox, _in_order(strays))
    if stuck and moved:  # what stood in the way may have moved
        more, stuck = await _move_all(outbox, stuck)
        moved += more
    for stray in stuck:
        log.warning("A session can't follow its zone: its new time is taken", extra=_told(stray))
    return Followed(moved, stuck)


async def _strays(outbox: Outbox) -> AsyncIterator[Stray]:
    after = NO_ID
    while rows := await outbox.db.fetch(LIST_WALLS, after, PAGE):
        after = rows[-1]["id"]
        for row in rows:
            stray = _stray(row)
            if stray.belongs_at != stray.starts_at:
                yield stray


def _stray(row: Row) -> Stray:
    zone, wall = ZoneInfo(row["timezone"]), row["wall_starts_at"]
    return Stray(
        id=row["id"],
        practice_id=row["practice_id"],
        coach_id=row["coach_id"],
        client_id=row["client_id"],
        timezone=row["timezone"],
        starts_at=row["starts_at"],
        belongs_at=instant_read(zone, Reading(wall, row["wall_fold"])),
        shifted=is_skipped(zone, wall),
    )


def _in_order(strays: Sequence[Stray]) -> list[Stray]:
    """So that each finds the place of the one before it left: the last first of those that move later."""
    on = sorted((s for s in strays if s.belongs_at > s.starts_at), key=lambda s: s.starts_at, reverse=True)
    back = sorted((s for s in strays if s.belongs_at < s.starts_at), key=lambda s: s.starts_at)
    return on + back


async def _move_all(outbox: Outbox, strays: Sequence[Stray]) -> tuple[int, list[Stray]]:
    moved = 0
    stuck: list[Stray] = []
    for stray in strays:
        try:
            moved += await _move(outbox, stray)
        except Conflict:
            stuck.append(stray)
    return moved, stuck


async def _move(outbox: Outbox, stray: Stray) -> bool:
    async with outbox.transaction() as tx:
        row = await _moved_row(tx.connection, stray)
        if row is None:
            return False
        tx.record(
            Event(
                type=EventType.SESSION_RESCHEDULED,
                practice_id=stray.practice_id,
                client_id=stray.client_id,
                subject_id=stray.id,
                payload={
                    "by": "system",
                    "coach_id": stray.coach_id,
                    "previous_start_at": stray.starts_at,
                    "starts_at": stray.belongs_at,
                    **dict(row),
                },
            )
        )
    log.info("A session follows its zone", extra=_told(stray))
    return True


async def _moved_row(connection: Connection, stray: Stray) -> Row | None:
    return await connection.fetchrow(
        MOVE_TO_WALL, stray.practice_id, stray.id, stray.starts_at, stray.belongs_at, stray.shifted
    )


def _told(stray: Stray) -> dict[str, str]:
    return {
        "session_id": str(stray.id),
        "zone": stray.timezone,
        "from": stray.starts_at.astimezone(UTC).isoformat(),
        "to": stray.belongs_at.isoformat(),
    }
