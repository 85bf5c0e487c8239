"""Whether the sessions of a series can stand where they are to stand: all of them asked at once, by the engine that
checks one (slots.py). What stands in the way is told date by date.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Connection, Row
from wellio.errors import Conflict
from wellio.practice.availability import LOCK_AVAILABILITY, find_availability, opening_of
from wellio.practice.bookable import NO_BUFFERS, WIDEN, Buffers, buffers_of
from wellio.practice.external_busy import list_external_busy
from wellio.practice.session_types import SessionType
from wellio.practice.slots import Interval, Limits, Taken, Verdict, Wanted, place_series

Reason = Literal["SLOT_TAKEN", "OUTSIDE_AVAILABILITY"]
REASONS: dict[Verdict, Reason] = {"taken": "SLOT_TAKEN", "closed": "OUTSIDE_AVAILABILITY"}

# $6: the sessions that move themselves, and stand in nobody's way. With $5 what the sessions take without buffers.
LIST_SERIES_BUSY = """
select case when $5 then starts_at else lower(busy) end as starts_at,
       case when $5 then ends_at else upper(busy) end as ends_at
from sessions
where practice_id = $1 and coach_id = $2 and status in ('held', 'scheduled', 'in_progress')
  and busy && tstzrange($3, $4) and id <> all($6::uuid[])
"""

LIST_SERIES_ATTENDING = """
select starts_at, ends_at
from session_participants
where practice_id = $1 and status = 'booked' and session_open
  and client_id = any($2::uuid[]) and starts_at < $4 and ends_at > $3 and session_id <> all($5::uuid[])
"""

LIST_SERIES_COUNTED = """
select starts_at
from sessions
where practice_id = $1 and coach_id = $2
  and status in ('held', 'scheduled', 'in_progress', 'completed', 'no_show')
  and starts_at >= $3 and starts_at < $4 and id <> all($5::uuid[])
"""

# As for one session (bookable.py): the neighbours' buffers are cut to what the new ones leave of them.
SHORTEN_SERIES_BUFFERS = """
update sessions s
set buffer_before_minutes = least(s.buffer_before_minutes, coalesce((
        select min(floor(extract(epoch from s.starts_at - o.ends_at) / 60)::integer)
        from unnest($3::timestamptz[], $4::timestamptz[]) o (starts_at, ends_at)
        where o.ends_at <= s.starts_at), s.buffer_before_minutes)),
    buffer_after_minutes = least(s.buffer_after_minutes, coalesce((
        select min(floor(extract(epoch from o.starts_at - s.ends_at) / 60)::integer)
        from unnest($3::timestamptz[], $4::timestamptz[]) o (starts_at, ends_at)
        where o.starts_at >= s.ends_at), s.buffer_after_minutes))
where s.practice_id = $1 and s.coach_id = $2 and s.status in ('held', 'scheduled', 'in_progress')
  and s.id <> all($5::uuid[])
  and exists (select 1 from unnest($3::timestamptz[], $4::timestamptz[]) o (starts_at, ends_at)
              where s.busy && tstzrange(o.starts_at, o.ends_at))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPlace:
    """Where the sessions of a series are to go: rising `starts`. `moving`: those of them that exist already."""

    coach_id: UUID
    client_ids: Sequence[UUID]
    starts: Sequence[datetime]
    duration: timedelta
    moving: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A start that can't be taken. `code` as booking that one alone would say."""

    starts_at: datetime
    code: Reason


@dataclass(frozen=True, slots=True)
class Placed:
    """What each session keeps free around itself, and the starts that can't be taken."""

    buffers: Buffers
    obstacles: Sequence[Obstacle]


async def check_series(
    connection: Connection,
    actor: Actor,
    place: SeriesPlace,
    session_type: SessionType | None,
    *,
    override_reason: str | None = None,
) -> Placed:
    """By a fixed number of queries, however many there are. For staff only."""
    now = datetime.now(UTC)
    availability = await find_availability(
        connection, actor.practice_id, place.coach_id, since=min(now, place.starts[0])
    )
    overrides = override_reason is not None
    buffers = NO_BUFFERS if overrides else buffers_of(availability, session_type)
    opening = None if overrides or availability.version == 0 else opening_of(availability)
    counts = opening is not None and opening.limits != Limits()
    if counts:
        # Whoever books next counts what this one has booked.
        await connection.execute(LOCK_AVAILABILITY, actor.practice_id, place.coach_id)
    taken = await _taken(connection, actor.practice_id, place, bare=overrides, counts=counts)
    if opening is not None:
        # Other calendars of the coach bind as far as the hours do: an override sets both aside.
        first, last = place.starts[0] - WIDEN, place.starts[-1] + place.duration + WIDEN
        elsewhere = await list_external_busy(connection, actor.practice_id, place.coach_id, first, last)
        taken = replace(taken, busy=[*taken.busy, *elsewhere])
    wanted = Wanted(
        duration=place.duration,
        buffer_before=timedelta(minutes=buffers.before),
        buffer_after=timedelta(minutes=buffers.after),
    )
    verdicts = place_series(opening, wanted, taken, now=now, starts=place.starts)
    pairs = zip(place.starts, verdicts, strict=True)
    return Placed(buffers, [Obstacle(start, REASONS[verdict]) for start, verdict in pairs if verdict != "free"])


async def shorten_neighbours(
    connection: Connection, practice_id: UUID, place: SeriesPlace, starts: Sequence[datetime]
) -> None:
    """What an override of the buffers does to the sessions around."""
    ends = [start + place.duration for start in starts]
    await connection.execute(SHORTEN_SERIES_BUFFERS, practice_id, place.coach_id, starts, ends, list(place.moving))


def series_conflict(obstacles: Sequence[Obstacle]) -> Conflict:
    return Conflict(
        f"{len(obstacles)} of the dates can't be taken; nothing was changed. Choose other dates, skip these with"
        " on_conflict=skip where that is offered, or give override_reason for those outside of the availability.",
        code="SERIES_CONFLICT",
        details={"conflicts": [{"starts_at": o.starts_at, "code": o.code} for o in obstacles]},
    )


async def _taken(connection: Connection, practice_id: UUID, place: SeriesPlace, *, bare: bool, counts: bool) -> Taken:
    moving = list(place.moving)
    first, last = place.starts[0] - WIDEN, place.starts[-1] + place.duration + WIDEN
    busy = await connection.fetch(LIST_SERIES_BUSY, practice_id, place.coach_id, first, last, bare, moving)
    clients = list(place.client_ids)
    attending = await connection.fetch(LIST_SERIES_ATTENDING, practice_id, clients, first, last, moving)
    counted: list[datetime] = []
    if counts:
        from_year = datetime(first.year, 1, 1, tzinfo=UTC) - WIDEN
        to_year = datetime(last.year + 1, 1, 1, tzinfo=UTC) + WIDEN
        rows = await connection.fetch(LIST_SERIES_COUNTED, practice_id, place.coach_id, from_year, to_year, moving)
        counted = [row["starts_at"] for row in rows]
    # A reason sets other calendars aside, as it does buffers.
    elsewhere = [] if bare else await list_external_busy(connection, practice_id, place.coach_id, first, last)
    return Taken(busy=[*map(_span, busy), *elsewhere], attending=[_span(r) for r in attending], counted=counted)


def _span(row: Row) -> Interval:
    return row["starts_at"], row["ends_at"]
