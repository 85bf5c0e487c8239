"""Changing a series from one of its sessions on, or as a whole: moving, editing, cancelling.

Moves are by wall time: an hour later is an hour later by the clock, on either side of a change of clocks. Only sessions
to come that nobody has changed by themselves move; what is past, cancelled or an exception stays, and nothing that was
cancelled ever comes back. Sessions keep their ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.accounts.actors import STAFF, Actor
from wellio.db import Connection, Row
from wellio.errors import Conflict, Invalid, PreconditionFailed
from wellio.events import EventType
from wellio.ids import uuid7
from wellio.outbox import Outbox, Transaction
from wellio.practice.holds import take_calendars
from wellio.practice.recurrence import Rule, occurrences_of, parse_rule, shift_rule
from wellio.practice.series import INSERT_SERIES, list_occurrences, record_series, whole_minutes
from wellio.practice.series_places import SeriesPlace, check_series, series_conflict, shorten_neighbours
from wellio.practice.session_changes import SessionChanges
from wellio.practice.session_types import find_session_type
from wellio.practice.sessions import Session, check_length, get_session
from wellio.practice.settlements import settle_sessions
from wellio.practice.wall_clock import Reading, instant_read, is_skipped, reading_of
from wellio.values import Input, changed_values

Scope = Literal["this", "following", "all"]
EDITS = ("title", "location", "meeting_url", "price_minor")
NO_TIME = timedelta(0)

LOCK_SERIES = """
select id, coach_id, client_id, rrule, local_start, timezone, duration_minutes
from session_series
where practice_id = $1 and id = $2
for update
"""

LOCK_OCCURRENCES = """
select id, series_exception, wall_starts_at, wall_fold
from sessions
where practice_id = $1 and series_id = $2
order by id
for update
"""

INSERT_MOVES = """
insert into session_moves (id, practice_id, session_id, starts_at, ends_at, moved_by)
select m.id, s.practice_id, s.id, s.starts_at, s.ends_at, $2
from unnest($3::uuid[], $4::uuid[]) m (id, session_id)
join sessions s on s.practice_id = $1 and s.id = m.session_id
"""

# Out of each other's way first: a session may go where another one of its series still stands.
PARK_OCCURRENCES = """
update sessions
set starts_at = starts_at + interval '365000 days', ends_at = ends_at + interval '365000 days'
where practice_id = $1 and id = any($2::uuid[])
"""

MOVE_OCCURRENCES = """
update sessions s
set starts_at = m.starts_at, ends_at = m.starts_at + $3::interval, original_starts_at = m.original,
    wall_starts_at = m.wall, wall_fold = m.fold, shifted = m.shifted, buffer_before_minutes = $4,
    buffer_after_minutes = $5, override_reason = coalesce($6, s.override_reason), sequence = s.sequence + 1
from unnest($2::uuid[], $7::timestamptz[], $8::timestamptz[], $9::timestamp[], $10::smallint[], $11::boolean[])
     m (id, starts_at, original, wall, fold, shifted)
where s.practice_id = $1 and s.id = m.id
"""

EDIT_OCCURRENCES = """
update sessions
set title = coalesce($3, title), location = coalesce($4, location), meeting_url = coalesce($5, meeting_url),
    price_minor = coalesce($6, price_minor), version = version + 1, updated_at = now()
where practice_id = $1 and id = any($2::uuid[])
"""

CANCEL_OCCURRENCES = """
update sessions
set status = 'cancelled_by_coach', cancel_reason = $3, cancelled_at = now(), cancelled_by = $4,
    version = version + 1, updated_at = now()
where practice_id = $1 and id = any($2::uuid[])
"""

UPDATE_SERIES = """
update session_series
set rrule = $3, local_start = $4, duration_minutes = $5, version = version + 1
where practice_id = $1 and id = $2
"""

SPLIT_OFF = """
update sessions
set series_id = $3
where practice_id = $1 and series_id = $2 and (original_starts_at >= $4 or id = any($5::uuid[]))
"""


class ScopeQuery(Input):
    """Of an occurrence of a series: it alone (which makes it an exception), it and the following, or all to come."""

    scope: Scope = "this"


@dataclass(frozen=True, slots=True)
class _Part:
    """What is being changed: a session of a series, and those that change with it. `walls` by session."""

    anchor: Session
    series: Row
    rule: Rule
    chosen: Sequence[Session]
    walls: Mapping[UUID, Row]
    from_the_beginning: bool


@dataclass(frozen=True, slots=True)
class _Move:
    """Where a session goes; `original` is where the rule puts it now."""

    session_id: UUID
    starts_at: datetime
    original: datetime
    reading: Reading
    shifted: bool


async def change_series(
    outbox: Outbox,
    actor: Actor,
    session_id: UUID,
    changes: SessionChanges,
    *,
    scope: Scope,
    if_version: int | None = None,
) -> Session:
    """Changes the session and those that `scope` says; returns the session. Raises NotFound, Invalid, and Conflict
    SERIES_CONFLICT with the dates that can't be taken: then nothing was changed."""
    actor.must_be(STAFF)
    values = _values(changes)
    async with outbox.transaction() as tx:
        anchor = await get_session(tx.connection, actor, session_id)
        if anchor.series_id is None:
            raise Invalid.field("query.scope", "This session is not of a series; leave scope out.")
        if if_version is not None and if_version != anchor.version:
            raise PreconditionFailed("The session was changed since you read it; read it again.")
        await take_calendars(tx, actor.practice_id, anchor.coach_id, anchor.client_id)
        part = await _part(tx.connection, actor, anchor, scope, cancels="status" in values)
        if "status" in values:
            await _cancel(tx, actor, part, values.get("cancel_reason"))
        elif values:
            await _edit(tx, actor, part, values, changes.override_reason)
        return await get_session(tx.connection, actor, session_id)


def _values(changes: SessionChanges) -> dict[str, Any]:
    """What changes. Raises Invalid for what only one session can be given."""
    values = changed_values(changes)
    if "status" in values:
        if values["status"] != "cancelled" or set(values) - {"status", "cancel_reason"}:
            raise Invalid.field("status", "Of several sessions only cancelled can be set, and nothing with it.")
        return values
    moves = {"starts_at", "ends_at", "duration_minutes"} & set(values)
    if values.pop("override_reason", None) is not None and not moves:
        raise Invalid.field("override_reason", "Goes with a new time only.")
    if unknown := set(values) - moves - set(EDITS):
        raise Invalid.field(min(unknown), "Can't be changed of several sessions at once.")
    if "ends_at" in values and "duration_minutes" in values:
        raise Invalid.field("ends_at", "Give either ends_at or duration_minutes.")
    return values


async def _part(connection: Connection, actor: Actor, anchor: Session, scope: Scope, *, cancels: bool) -> _Part:
    series = await connection.fetchrow(LOCK_SERIES, actor.practice_id, anchor.series_id)
    assert series is not None
    walls = {r["id"]: r for r in await connection.fetch(LOCK_OCCURRENCES, actor.practice_id, series["id"])}
    sessions = await list_occurrences(connection, actor, series["id"])
    anchor = next((s for s in sessions if s.id == anchor.id), anchor)  # as it is now that it is locked
    now, since = datetime.now(UTC), _position(anchor)

    def changes(session: Session) -> bool:
        free = cancels or session.id == anchor.id or not walls[session.id]["series_exception"]
        in_scope = scope == "all" or _position(session) >= since
        return session.status in ("held", "scheduled") and session.starts_at > now and in_scope and free

    chosen = [session for session in sessions if changes(session)]
    if not chosen:
        raise Conflict("None of these sessions is still to come.", code="SESSION_CLOSED")
    from_the_beginning = scope == "all" or not any(_position(s) < since for s in sessions)
    return _Part(anchor, series, parse_rule(series["rrule"]), chosen, walls, from_the_beginning)


def _position(session: Session) -> datetime:
    return session.original_starts_at or session.starts_at


async def _cancel(tx: Transaction, actor: Actor, part: _Part, reason: str | None) -> None:
    ids = [session.id for session in part.chosen]
    await tx.connection.execute(CANCEL_OCCURRENCES, actor.practice_id, ids, reason, actor.user_id)
    await settle_sessions(tx.connection, actor.practice_id, ids)
    if not part.from_the_beginning:
        await _end_before(tx.connection, actor, part)
    await _record(tx, actor, EventType.SERIES_CANCELLED, part.series["id"], part.chosen)


async def _edit(tx: Transaction, actor: Actor, part: _Part, values: dict[str, Any], reason: str | None) -> None:
    """Moves, then edits; when it is not the whole series, what follows becomes a series of its own."""
    delta, length = _delta(part, values), _length(part, values)
    moves = delta != NO_TIME or length != timedelta(minutes=part.series["duration_minutes"])
    if moves:
        await _move(tx.connection, actor, part, [_moved(part, s, delta, values) for s in part.chosen], length, reason)
    ids = [session.id for session in part.chosen]
    await tx.connection.execute(EDIT_OCCURRENCES, actor.practice_id, ids, *(values.get(name) for name in EDITS))
    if part.from_the_beginning:
        await _update_series(tx.connection, actor, part, delta, length)
        series_id = part.series["id"]
    else:
        series_id = await _split(tx.connection, actor, part, delta, length)
    told = EventType.SERIES_MOVED if moves else EventType.SERIES_UPDATED
    await _record(tx, actor, told, series_id, part.chosen)


async def _record(tx: Transaction, actor: Actor, told: EventType, series_id: UUID, before: Sequence[Session]) -> None:
    changed = {session.id for session in before}
    sessions = await list_occurrences(tx.connection, actor, series_id)
    record_series(tx, told, actor, series_id, [s for s in sessions if s.id in changed], before=before)


def _delta(part: _Part, values: Mapping[str, Any]) -> timedelta:
    """By how much clocks shall show another time."""
    anchor, starts_at = part.anchor, values.get("starts_at", part.anchor.starts_at)
    if starts_at == anchor.starts_at:
        return NO_TIME
    if anchor.status not in ("held", "scheduled"):
        raise Conflict(f"A session that is {anchor.status} can't be moved.", code="SESSION_CLOSED")
    return reading_of(ZoneInfo(anchor.timezone), starts_at).wall - _reading(part, anchor).wall


def _length(part: _Part, values: Mapping[str, Any]) -> timedelta:
    if "duration_minutes" in values:
        return timedelta(minutes=values["duration_minutes"])
    if "ends_at" not in values:
        return timedelta(minutes=part.series["duration_minutes"])
    starts_at = values.get("starts_at", part.anchor.starts_at)
    check_length(starts_at, values["ends_at"])
    length: timedelta = values["ends_at"] - starts_at
    whole_minutes(length)
    return length


def _reading(part: _Part, session: Session) -> Reading:
    row = part.walls[session.id]
    if row["wall_starts_at"] is None:
        return reading_of(ZoneInfo(session.timezone), session.starts_at)
    return Reading(row["wall_starts_at"], row["wall_fold"])


def _moved(part: _Part, session: Session, delta: timedelta, values: Mapping[str, Any]) -> _Move:
    zone = ZoneInfo(session.timezone)
    before = _reading(part, session)
    after = Reading(before.wall + delta, 0 if delta else before.fold)
    starts_at = instant_read(zone, after)
    if session.id == part.anchor.id:  # of two same wall times the one that was asked for
        starts_at = values.get("starts_at", session.starts_at)
        after = after if is_skipped(zone, after.wall) else reading_of(zone, starts_at)
    put = starts_at
    if part.walls[session.id]["series_exception"]:
        put = instant_read(zone, Reading(reading_of(zone, _position(session)).wall + delta))
    return _Move(session.id, starts_at, put, after, is_skipped(zone, after.wall))


async def _move(
    connection: Connection, actor: Actor, part: _Part, moves: Sequence[_Move], length: timedelta, reason: str | None
) -> None:
    moves = sorted(moves, key=lambda move: move.starts_at)
    ids, anchor = [move.session_id for move in moves], part.anchor
    place = SeriesPlace(
        coach_id=anchor.coach_id,
        client_ids=[anchor.client_id] if anchor.client_id else [],
        starts=[move.starts_at for move in moves],
        duration=length,
        moving=ids,
    )
    session_type = (
        await find_session_type(connection, actor, anchor.session_type_id) if anchor.session_type_id else None
    )
    placed = await check_series(connection, actor, place, session_type, override_reason=reason)
    if placed.obstacles:
        raise series_conflict(placed.obstacles)
    await connection.execute(INSERT_MOVES, actor.practice_id, actor.user_id, [uuid7() for _ in ids], ids)
    await connection.execute(PARK_OCCURRENCES, actor.practice_id, ids)
    if reason is not None:
        await shorten_neighbours(connection, actor.practice_id, place, place.starts)
    await connection.execute(
        MOVE_OCCURRENCES,
        actor.practice_id,
        ids,
        length,
        placed.buffers.before,
        placed.buffers.after,
        reason,
        [move.starts_at for move in moves],
        [move.original for move in moves],
        [move.reading.wall for move in moves],
        [move.reading.fold for move in moves],
        [move.shifted for move in moves],
    )


async def _update_series(
    connection: Connection, actor: Actor, part: _Part, delta: timedelta, length: timedelta
) -> None:
    start: datetime = part.series["local_start"]
    rule = part.rule
    if delta:
        dates = occurrences_of(rule, start, ZoneInfo(part.series["timezone"]))
        # By its number of dates, the end moves with them.
        rule = shift_rule(replace(rule, count=len(dates), until=None), _days(start, delta))
    minutes = whole_minutes(length)
    await connection.execute(UPDATE_SERIES, actor.practice_id, part.series["id"], str(rule), start + delta, minutes)


async def _split(connection: Connection, actor: Actor, part: _Part, delta: timedelta, length: timedelta) -> UUID:
    """Ends the series before the anchor, and makes one of the rest. Returns the new one's id."""
    series, since = part.series, _position(part.anchor)
    zone = ZoneInfo(series["timezone"])
    dates = occurrences_of(part.rule, series["local_start"], zone)
    start = reading_of(zone, since).wall
    left = sum(date.starts_at >= since for date in dates)
    rule = shift_rule(replace(part.rule, count=max(left, 1), until=None), _days(start, delta))
    series_id = uuid7()
    await connection.execute(
        INSERT_SERIES,
        series_id,
        actor.practice_id,
        series["coach_id"],
        series["client_id"],
        str(rule),
        start + delta,
        series["timezone"],
        whole_minutes(length),
        series["id"],
    )
    await _end_before(connection, actor, part)
    # By the places that the old rule gave: those moved have theirs by the new one.
    await connection.execute(SPLIT_OFF, actor.practice_id, series["id"], series_id, since, [s.id for s in part.chosen])
    return series_id


async def _end_before(connection: Connection, actor: Actor, part: _Part) -> None:
    series, since = part.series, _position(part.anchor)
    dates = occurrences_of(part.rule, series["local_start"], ZoneInfo(series["timezone"]))
    last = max((date.starts_at for date in dates if date.starts_at < since), default=since)
    rule = replace(part.rule, count=None, until=last)
    await connection.execute(
        UPDATE_SERIES, actor.practice_id, series["id"], str(rule), series["local_start"], series["duration_minutes"]
    )


def _days(start: datetime, delta: timedelta) -> int:
    return ((start + delta).date() - start.date()).days
