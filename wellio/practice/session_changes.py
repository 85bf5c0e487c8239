"""Changing sessions: rescheduling, starting, completing, cancelling, marking missed and undoing it, editing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from wellio.accounts.actors import EVERYONE, Actor, Role
from wellio.db import Connection
from wellio.errors import Conflict, Forbidden, Invalid, PreconditionFailed
from wellio.events import Event, EventType
from wellio.outbox import Outbox
from wellio.practice.bookable import Buffers
from wellio.practice.cancellations import CANCELLED, cancelled
from wellio.practice.clients import touch_clients
from wellio.practice.holds import take_calendars
from wellio.practice.participants import check_capacity_of, follow_group
from wellio.practice.policies import BookingPolicy, get_policy
from wellio.practice.reschedules import check_may_move, check_new_place, keep_move
from wellio.practice.session_notes import Notes, keep_notes
from wellio.practice.sessions import (
    Capacity,
    Reason,
    Session,
    check_length,
    get_missed_at,
    get_session,
    session_event,
)
from wellio.practice.settlements import settle_sessions
from wellio.practice.wall_clock import reading_of
from wellio.sealing import Sealer
from wellio.values import Input, Line, Minor, Moment, Url, Zone, changed_values

NextStatus = Literal["scheduled", "in_progress", "completed", "cancelled", "no_show"]


@dataclass(frozen=True, slots=True)
class Transition:
    """From which statuses it leads, and the event that tells of it. `after_start`: it is known only then."""

    before: frozenset[str]
    event: EventType
    after_start: bool = False


# Cancelling has rules of its own (cancellations.py), and confirming what was held (holds.py).
TRANSITIONS: Mapping[str, Transition] = {
    "scheduled": Transition(frozenset({"no_show"}), EventType.SESSION_NO_SHOW_UNDONE),
    "in_progress": Transition(frozenset({"scheduled"}), EventType.SESSION_STARTED),
    "completed": Transition(
        frozenset({"scheduled", "in_progress", "no_show"}), EventType.SESSION_COMPLETED, after_start=True
    ),
    "no_show": Transition(frozenset({"scheduled", "in_progress"}), EventType.SESSION_MISSED, after_start=True),
}
TIMES = frozenset({"starts_at", "ends_at", "duration_minutes"})
# What a client may send together.
BY_CLIENTS = (frozenset({"status", "cancel_reason"}), frozenset({"starts_at"}))

LOCK_SESSION = "select id from sessions where practice_id = $1 and id = $2 for update"

UPDATE_SESSION = """
update sessions
set title = $3, status = $4, starts_at = $5, ends_at = $6, timezone = $7, location = $8, meeting_url = $9,
    price_minor = $10, cancel_reason = $11, sequence = $12, reschedule_count = $13, cancelled_at = $14,
    cancelled_by = coalesce($15, cancelled_by), buffer_before_minutes = coalesce($16, buffer_before_minutes),
    buffer_after_minutes = coalesce($17, buffer_after_minutes), override_reason = coalesce($18, override_reason),
    -- Where neither time nor zone changes, the wall time stays as agreed, also one that clocks skip on that day.
    wall_starts_at = case when (starts_at, timezone) = ($5, $7) then wall_starts_at else $19 end,
    wall_fold = case when (starts_at, timezone) = ($5, $7) then wall_fold else $20 end,
    shifted = shifted and (starts_at, timezone) = ($5, $7),
    series_exception = series_exception or (series_id is not null and
        (title, starts_at, ends_at, timezone, location, meeting_url, price_minor) <> ($3, $5, $6, $7, $8, $9, $10)),
    capacity = $21, version = version + 1, updated_at = now()
where practice_id = $1 and id = $2
"""


class SessionChanges(Input):
    """Only the named fields change. A new `starts_at` alone keeps the length. `scheduled` takes back a no-show.

    `notes`, for staff alone, go with `completed`.
    """

    starts_at: Moment | None = None
    ends_at: Moment | None = None
    duration_minutes: Annotated[int, Field(ge=5, le=1440)] | None = None
    status: NextStatus | None = None
    cancel_reason: Line | None = None
    title: Line | None = None
    timezone: Zone | None = None
    location: Line | None = None
    meeting_url: Url | None = None
    price_minor: Minor | None = None
    capacity: Capacity | None = None
    override_reason: Reason | None = None
    notes: Notes | None = None


async def change_session(
    outbox: Outbox,
    actor: Actor,
    session_id: UUID,
    changes: SessionChanges,
    *,
    sealer: Sealer | None = None,
    if_version: int | None = None,
) -> Session:
    """Raises NotFound, Conflict, Invalid, PreconditionFailed; Forbidden for what the policy keeps a client from.

    `sealer`: for the notes, where some come along."""
    actor.must_be(EVERYONE)
    values = _changed_values(actor, changes)
    async with outbox.transaction() as tx:
        if TIMES & set(values):
            place = await get_session(tx.connection, actor, session_id)
            await take_calendars(tx, actor.practice_id, place.coach_id, place.client_id)
        await tx.connection.execute(LOCK_SESSION, actor.practice_id, session_id)
        before = await get_session(tx.connection, actor, session_id)
        if before.status in CANCELLED and values.get("status") == "cancelled":
            return before
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The session was changed since you read it; read it again.")
        policy = await get_policy(tx.connection, actor.practice_id)
        after = _after(actor, before, values, policy, datetime.now(UTC))
        if after == before and not changes.notes:
            return before
        session = await _store(tx.connection, actor, before, after, changes.override_reason)
        if changes.notes and sealer:
            await keep_notes(tx.connection, sealer, actor, session_id, changes.notes)
        if session.status != before.status:
            await settle_sessions(tx.connection, actor.practice_id, [session_id])
        missed_at = None
        if before.status == "no_show" != session.status:
            missed_at = await get_missed_at(tx.connection, actor, session_id, session.client_id)
        tx.record(*_what_happened(actor, before, session, missed_at))
        if session.kind == "group":
            await follow_group(tx, actor, before, session)
        if session.status == "completed" and session.client_id:
            await touch_clients(tx.connection, actor.practice_id, {session.client_id: session.ends_at})
        return session


def _changed_values(actor: Actor, changes: SessionChanges) -> dict[str, Any]:
    values = changed_values(changes)
    if values.pop("notes", None) is not None and values.get("status") != "completed":
        raise Invalid.field("notes", "Go with status completed only; see PUT /sessions/{session_id}/notes.")
    if values.pop("override_reason", None) is not None and not TIMES & set(values):
        raise Invalid.field("override_reason", "Goes with a new time only.")
    if actor.role is Role.CLIENT:
        _check_clients_values(values, changes)
    if "cancel_reason" in values and values.get("status") != "cancelled":
        raise Invalid.field("cancel_reason", "Goes with status cancelled only.")
    if "ends_at" in values and "duration_minutes" in values:
        raise Invalid.field("ends_at", "Give either ends_at or duration_minutes.")
    return values


def _check_clients_values(values: Mapping[str, Any], changes: SessionChanges) -> None:
    named = changes.model_fields_set
    if not any(named <= together for together in BY_CLIENTS) or values.get("status", "cancelled") != "cancelled":
        raise Forbidden("A client may cancel a session, or move it with starts_at, and nothing else.")


def _after(actor: Actor, before: Session, values: Mapping[str, Any], policy: BookingPolicy, now: datetime) -> Session:
    """The session with the changes made. Raises what its status, or the policy, does not allow."""
    plain = {name: value for name, value in values.items() if name not in TIMES and name != "status"}
    if "capacity" in values and before.kind != "group":
        raise Invalid.field("capacity", "Only a group has a capacity.")
    status = values.get("status", before.status)
    if status == "cancelled":
        plain |= cancelled(actor, before, policy, now)
    elif status != before.status:
        plain["status"] = _next_status(before, status, now)
    times = _times(before, values)
    if times != (before.starts_at, before.ends_at):
        check_may_move(actor, before, policy, now)
        plain |= {"starts_at": times[0], "ends_at": times[1], "sequence": before.sequence + 1}
        plain["reschedule_count"] = before.reschedule_count + (actor.role is Role.CLIENT)
    return replace(before, **plain)


def _times(before: Session, values: Mapping[str, Any]) -> tuple[datetime, datetime]:
    if not TIMES & set(values):
        return before.starts_at, before.ends_at
    starts_at = values.get("starts_at", before.starts_at)
    length = before.ends_at - before.starts_at
    if "duration_minutes" in values:
        length = timedelta(minutes=values["duration_minutes"])
    ends_at = values.get("ends_at", starts_at + length)
    check_length(starts_at, ends_at)
    return starts_at, ends_at


def _next_status(before: Session, status: str, now: datetime) -> str:
    transition = TRANSITIONS[status]
    if before.status not in transition.before:
        raise Conflict(f"A session that is {before.status} can't become {status}.", code="SESSION_CLOSED")
    if transition.after_start and before.starts_at > now:
        raise Conflict(f"A session can be {status} only after its start.", code="SESSION_NOT_STARTED")
    return status


def _what_happened(actor: Actor, before: Session, after: Session, missed_at: str | None) -> Iterator[Event]:
    if (before.status, after.status) == ("no_show", "completed"):
        yield session_event(EventType.SESSION_NO_SHOW_UNDONE, actor, after, missed_at=missed_at)
    if before.status == "held" and after.status in CANCELLED:
        yield session_event(EventType.SESSION_HOLD_ENDED, actor, after)
    elif after.status in CANCELLED:
        yield session_event(EventType.SESSION_CANCELLED, actor, after)
    elif after.status != before.status:
        yield session_event(TRANSITIONS[after.status].event, actor, after, missed_at=missed_at)
    elif after.sequence != before.sequence:
        yield session_event(EventType.SESSION_RESCHEDULED, actor, after, before=before)
    else:
        yield session_event(EventType.SESSION_UPDATED, actor, after)


async def _store(
    connection: Connection, actor: Actor, before: Session, after: Session, override_reason: str | None
) -> Session:
    if after.capacity is not None and after.capacity != before.capacity:
        await check_capacity_of(connection, actor, after.id, after.capacity)
    buffers = None
    if after.sequence != before.sequence:
        buffers = await check_new_place(connection, actor, after, override_reason)
        await keep_move(connection, actor, before)
    cancels = after.cancelled_at != before.cancelled_at
    await _update(connection, actor, after, buffers, override_reason, actor.user_id if cancels else None)
    return await get_session(connection, actor, after.id)


async def _update(
    connection: Connection,
    actor: Actor,
    session: Session,
    buffers: Buffers | None,
    reason: str | None,
    cancelled_by: UUID | None,
) -> None:
    reading = reading_of(ZoneInfo(session.timezone), session.starts_at)
    await connection.execute(
        UPDATE_SESSION,
        actor.practice_id,
        session.id,
        session.title,
        session.status,
        session.starts_at,
        session.ends_at,
        session.timezone,
        session.location,
        session.meeting_url,
        session.price_minor,
        session.cancel_reason,
        session.sequence,
        session.reschedule_count,
        session.cancelled_at,
        cancelled_by,
        buffers.before if buffers else None,
        buffers.after if buffers else None,
        reason,
        reading.wall,
        reading.fold,
        session.capacity,
    )
