"""Series of sessions: one rule, and sessions of their own for each of its dates, made at once.

What is agreed on is the wall time in a zone; each occurrence keeps its own id and where the rule had put it
(`original_starts_at`), so that one that was moved or cancelled is still the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from wellio.accounts.actors import STAFF, Actor
from wellio.db import Connection, Database
from wellio.errors import Conflict, Invalid, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox, Transaction
from wellio.practice.bookable import Buffers
from wellio.practice.bookings import NewSession, Terms, terms_of
from wellio.practice.credits import use_credits
from wellio.practice.holds import take_calendars
from wellio.practice.recurrence import Occurrence, Rule, occurrences_of, parse_rule
from wellio.practice.series_places import (
    Obstacle,
    SeriesPlace,
    check_series,
    series_conflict,
    shorten_neighbours,
)
from wellio.practice.sessions import Session, session_event, session_of
from wellio.practice.wall_clock import reading_of

# Somebody else may take one of the dates between the look and the booking; then it is looked at again.
TRIES = 3
MIN_MINUTES = 5

INSERT_SERIES = """
insert into session_series (id, practice_id, coach_id, client_id, rrule, local_start, timezone, duration_minutes,
                            split_from)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

INSERT_OCCURRENCES = """
insert into sessions (id, practice_id, coach_id, client_id, title, starts_at, ends_at, timezone, location,
                      meeting_url, price_minor, currency, session_type_id, buffer_before_minutes,
                      buffer_after_minutes, override_reason, series_id, original_starts_at, wall_starts_at, wall_fold,
                      shifted)
select o.id, $1, $2, $3, $4, o.starts_at, o.starts_at + $5::interval, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
       o.starts_at, o.wall, o.fold, o.shifted
from unnest($16::uuid[], $17::timestamptz[], $18::timestamp[], $19::smallint[], $20::boolean[])
     o (id, starts_at, wall, fold, shifted)
"""

# Who sees a session of a series sees the series.
GET_SERIES = """
select r.id, r.coach_id, r.client_id, r.rrule, r.local_start, r.timezone, r.duration_minutes, r.split_from, r.version,
       r.created_at
from session_series r
where r.practice_id = $1 and r.id = $4
  and exists (select 1 from visible_sessions($1, $2, $3) s where s.series_id = r.id)
"""

LIST_OCCURRENCES = """
select s.*, p.participants, p.booked
from visible_sessions($1, $2, $3) s
cross join lateral session_places($1, s.id, $2, $3) p
where s.series_id = $4
order by s.starts_at, s.id
"""


@dataclass(frozen=True, slots=True)
class Series:
    """`local_start`: the first wall time in `timezone`, without an offset. `split_from`: the series whose later part
    this is. `skipped`: dates that could not be taken when it was booked with on_conflict=skip."""

    id: UUID
    coach_id: UUID
    client_id: UUID | None
    rrule: str
    local_start: datetime
    timezone: str
    duration_minutes: int
    split_from: UUID | None
    version: int
    created_at: datetime
    sessions: Sequence[Session]
    skipped: Sequence[Obstacle] = ()


async def book_series(outbox: Outbox, actor: Actor, new: NewSession, *, once: Once | None = None) -> Series:
    """Raises Invalid, also at `rrule`; Conflict SERIES_CONFLICT with the dates that can't be taken, unless they are to
    be skipped."""
    actor.must_be(STAFF)
    if new.hold:
        raise Invalid.field("hold", "A series can't be held.")
    rule = parse_rule(new.rrule or "")
    series_id = uuid7()
    async with outbox.transaction(once) as tx:
        terms = await terms_of(tx.connection, actor, new)
        if terms.capacity is not None:
            raise Invalid.field("rrule", "Groups are booked one by one; leave rrule out.")
        await take_calendars(tx, actor.practice_id, terms.place.coach_id, terms.place.client_id)
        occurrences = first_as_asked(occurrences_of(rule, *_start(terms)), terms.place.starts_at)
        await _insert_series(tx.connection, actor.practice_id, series_id, rule, terms)
        skipped = await _book(tx, actor, series_id, terms, occurrences, new)
        series = replace(await read_series(tx.connection, actor, series_id), skipped=skipped)
        record_series(tx, EventType.SERIES_BOOKED, actor, series.id, series.sessions)
        return await tx.answer(series)


async def get_series(db: Database, actor: Actor, series_id: UUID) -> Series:
    """With the sessions that the actor sees. Raises NotFound."""
    async with db.connection() as connection:
        return await read_series(connection, actor, series_id)


async def read_series(connection: Connection, actor: Actor, series_id: UUID) -> Series:
    """Raises NotFound."""
    row = await connection.fetchrow(GET_SERIES, *actor.scope, series_id)
    if row is None:
        raise NotFound("No such series.")
    return Series(**dict(row), sessions=await list_occurrences(connection, actor, series_id))


async def list_occurrences(connection: Connection, actor: Actor, series_id: UUID) -> list[Session]:
    return [session_of(row) for row in await connection.fetch(LIST_OCCURRENCES, *actor.scope, series_id)]


def record_series(
    tx: Transaction,
    told: EventType,
    actor: Actor,
    series_id: UUID,
    sessions: Sequence[Session],
    *,
    before: Sequence[Session] = (),
) -> None:
    """One event for each session, which says that it is one of many, and one for people to be told by. `before`: as
    the sessions were."""
    were = {session.id: session for session in before}
    each = {
        EventType.SERIES_BOOKED: EventType.SESSION_BOOKED,
        EventType.SERIES_MOVED: EventType.SESSION_RESCHEDULED,
        EventType.SERIES_UPDATED: EventType.SESSION_UPDATED,
        EventType.SERIES_CANCELLED: EventType.SESSION_CANCELLED,
    }[told]
    events = [session_event(each, actor, session, before=were.get(session.id)) for session in sessions]
    tx.record(*(replace(event, payload=event.payload | {"series_id": series_id}) for event in events))
    first = sessions[0]
    tx.record(
        Event(
            type=told,
            practice_id=actor.practice_id,
            actor_id=actor.user_id,
            client_id=first.client_id,
            subject_id=series_id,
            payload={
                "by": actor.role.value,
                "coach_id": first.coach_id,
                "session_ids": [session.id for session in sessions],
                "starts_at": first.starts_at,
                "count": len(sessions),
            },
        )
    )


def first_as_asked(occurrences: list[Occurrence], starts_at: datetime) -> list[Occurrence]:
    """Where clocks show the first wall time twice that day, the caller has said which one is meant."""
    return [replace(occurrences[0], starts_at=starts_at.astimezone(UTC)), *occurrences[1:]]


def whole_minutes(length: timedelta) -> int:
    """Raises Invalid for what a series can't last."""
    minutes, rest = divmod(length, timedelta(minutes=1))
    if rest or minutes < MIN_MINUTES:
        raise Invalid.field("ends_at", f"The sessions of a series last whole minutes, at least {MIN_MINUTES}.")
    return minutes


def _start(terms: Terms) -> tuple[datetime, ZoneInfo]:
    zone = ZoneInfo(terms.timezone)
    return reading_of(zone, terms.place.starts_at).wall, zone


async def _book(
    tx: Transaction, actor: Actor, series_id: UUID, terms: Terms, occurrences: list[Occurrence], new: NewSession
) -> Sequence[Obstacle]:
    """Inserts those that can be taken; returns the others."""
    place = SeriesPlace(
        coach_id=terms.place.coach_id,
        client_ids=[terms.place.client_id] if terms.place.client_id else [],
        starts=[o.starts_at for o in occurrences],
        duration=terms.place.ends_at - terms.place.starts_at,
    )
    for _ in range(TRIES):
        placed = await check_series(
            tx.connection, actor, place, terms.session_type, override_reason=new.override_reason
        )
        blocked = {obstacle.starts_at for obstacle in placed.obstacles}
        if blocked and (new.on_conflict != "skip" or len(blocked) == len(occurrences)):
            raise series_conflict(placed.obstacles)
        free = [o for o in occurrences if o.starts_at not in blocked]
        try:
            async with tx.connection.transaction():
                if new.override_reason is not None:
                    await shorten_neighbours(tx.connection, actor.practice_id, place, [o.starts_at for o in free])
                await _insert(tx.connection, actor.practice_id, series_id, terms, free, placed.buffers, new)
        except asyncpg.ExclusionViolationError:
            continue
        await _use_credits(tx.connection, actor, series_id, terms)
        return placed.obstacles
    raise Conflict("Others are booking the same times; try again shortly.", code="SLOT_TAKEN")


async def _use_credits(connection: Connection, actor: Actor, series_id: UUID, terms: Terms) -> None:
    """By date, as far as the client's credits go."""
    if terms.place.client_id is not None:
        ids = [session.id for session in await list_occurrences(connection, actor, series_id)]
        type_id = terms.session_type.id if terms.session_type else None
        await use_credits(connection, actor.practice_id, terms.place.client_id, ids, type_id)


async def _insert_series(connection: Connection, practice_id: UUID, series_id: UUID, rule: Rule, terms: Terms) -> None:
    place = terms.place
    start, _ = _start(terms)
    minutes = whole_minutes(place.ends_at - place.starts_at)
    await connection.execute(
        INSERT_SERIES,
        series_id,
        practice_id,
        place.coach_id,
        place.client_id,
        str(rule),
        start,
        terms.timezone,
        minutes,
        None,
    )


async def _insert(
    connection: Connection,
    practice_id: UUID,
    series_id: UUID,
    terms: Terms,
    occurrences: Sequence[Occurrence],
    buffers: Buffers,
    new: NewSession,
) -> None:
    zone, place = ZoneInfo(terms.timezone), terms.place
    await connection.execute(
        INSERT_OCCURRENCES,
        practice_id,
        place.coach_id,
        place.client_id,
        terms.title,
        place.ends_at - place.starts_at,
        terms.timezone,
        terms.location,
        terms.meeting_url,
        terms.price_minor,
        terms.currency,
        terms.session_type.id if terms.session_type else None,
        buffers.before,
        buffers.after,
        new.override_reason,
        series_id,
        [uuid7() for _ in occurrences],
        [o.starts_at for o in occurrences],
        [o.wall for o in occurrences],
        [0 if o.shifted else reading_of(zone, o.starts_at).fold for o in occurrences],
        [o.shifted for o in occurrences],
    )
