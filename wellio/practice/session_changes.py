"""Changing sessions: rescheduling, starting, completing, cancelling, marking missed, editing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from wellio.accounts.actors import EVERYONE, Actor, Role
from wellio.db import Connection
from wellio.errors import Conflict, Forbidden, Invalid, PreconditionFailed
from wellio.events import EventType
from wellio.outbox import Outbox
from wellio.practice.bookable import Buffers, Place, check_place
from wellio.practice.clients import touch_clients
from wellio.practice.session_types import find_session_type
from wellio.practice.sessions import Reason, Session, check_length, get_session, session_event
from wellio.practice.settlements import settle_session
from wellio.practice.wall_clock import reading_of
from wellio.values import Input, Line, Minor, Moment, Url, Zone

NextStatus = Literal["in_progress", "completed", "cancelled", "no_show"]
# Which status may follow which, and the event that tells of it.
STEPS: dict[str, tuple[frozenset[str], EventType]] = {
    "in_progress": (frozenset({"scheduled"}), EventType.SESSION_STARTED),
    "completed": (frozenset({"scheduled", "in_progress"}), EventType.SESSION_COMPLETED),
    "no_show": (frozenset({"scheduled", "in_progress"}), EventType.SESSION_MISSED),
    "cancelled": (frozenset({"held", "scheduled"}), EventType.SESSION_CANCELLED),
}
AFTER_START = frozenset({"completed", "no_show"})

LOCK_SESSION = "select id from sessions where practice_id = $1 and id = $2 for update"

UPDATE_SESSION = """
update sessions
set title = $3, status = $4, starts_at = $5, ends_at = $6, timezone = $7, location = $8, meeting_url = $9,
    price_minor = $10, cancel_reason = $11, buffer_before_minutes = coalesce($12, buffer_before_minutes),
    buffer_after_minutes = coalesce($13, buffer_after_minutes), override_reason = coalesce($14, override_reason),
    -- Where neither time nor zone changes, the wall time stays as agreed, also one that clocks skip on that day.
    wall_starts_at = case when (starts_at, timezone) = ($5, $7) then wall_starts_at else $15 end,
    wall_fold = case when (starts_at, timezone) = ($5, $7) then wall_fold else $16 end,
    shifted = shifted and (starts_at, timezone) = ($5, $7),
    series_exception = series_exception or (series_id is not null and
        (title, starts_at, ends_at, timezone, location, meeting_url, price_minor) <> ($3, $5, $6, $7, $8, $9, $10)),
    version = version + 1, updated_at = now()
where practice_id = $1 and id = $2
"""


class SessionChanges(Input):
    """Only the named fields change. A new `starts_at` alone keeps the length."""

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
    override_reason: Reason | None = None


async def change_session(
    outbox: Outbox, actor: Actor, session_id: UUID, changes: SessionChanges, *, if_version: int | None = None
) -> Session:
    """Reschedules, starts, completes, cancels, marks missed, or edits. Raises NotFound, Conflict, Invalid."""
    actor.must_be(EVERYONE)
    values = _changed_values(actor, changes)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_SESSION, actor.practice_id, session_id)
        before = await get_session(tx.connection, actor, session_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The session was changed since you read it; read it again.")
        after = _after(actor, before, values)
        if after == before:
            return before
        buffers = None
        if (after.starts_at, after.ends_at) != (before.starts_at, before.ends_at):
            buffers = await _check_new_place(tx.connection, actor, after, changes.override_reason)
        await _update(tx.connection, actor.practice_id, after, buffers, changes.override_reason)
        session = await get_session(tx.connection, actor, session_id)
        if session.status != before.status:
            await settle_session(tx.connection, actor.practice_id, session_id)
        tx.record(session_event(_what_happened(before, session), actor, session, before=before))
        if session.status == "completed" and session.client_id:
            await touch_clients(tx.connection, actor.practice_id, {session.client_id: session.ends_at})
        return session


async def _check_new_place(connection: Connection, actor: Actor, after: Session, reason: str | None) -> Buffers:
    """A session that moves is checked like a new one, and does not stand in its own way."""
    place = Place(
        coach_id=after.coach_id,
        client_id=after.client_id,
        starts_at=after.starts_at,
        ends_at=after.ends_at,
        session_id=after.id,
    )
    session_type = await find_session_type(connection, actor, after.session_type_id) if after.session_type_id else None
    return await check_place(connection, actor, place, session_type, override_reason=reason)


def _changed_values(actor: Actor, changes: SessionChanges) -> dict[str, Any]:
    values = {name: getattr(changes, name) for name in changes.model_fields_set}
    for name, value in values.items():
        if value is None:
            raise Invalid.field(name, "Must not be null.")
    moves = {"starts_at", "ends_at", "duration_minutes"} & set(values)
    if values.pop("override_reason", None) is not None and not moves:
        raise Invalid.field("override_reason", "Goes with a new time only.")
    if actor.role is Role.CLIENT and (values.get("status") != "cancelled" or set(values) - {"status", "cancel_reason"}):
        raise Forbidden("A client may only cancel a session.")
    if "cancel_reason" in values and values.get("status") != "cancelled":
        raise Invalid.field("cancel_reason", "Goes with status cancelled only.")
    if "ends_at" in values and "duration_minutes" in values:
        raise Invalid.field("ends_at", "Give either ends_at or duration_minutes.")
    return values


def _after(actor: Actor, before: Session, values: dict[str, Any]) -> Session:
    """The session with the changes made. Raises Conflict for a step its status does not allow."""
    values = dict(values)
    moves = bool({"starts_at", "ends_at", "duration_minutes"} & set(values))
    if moves:
        if before.status not in ("held", "scheduled"):
            raise Conflict(f"A session that is {before.status} can't be moved.", code="SESSION_CLOSED")
        values |= _times(before, values)
    values.pop("duration_minutes", None)
    status = values.get("status")
    if status is not None and status != before.status:
        values["status"] = _next_status(actor, before, status)
    return replace(before, **values)


def _times(before: Session, values: dict[str, Any]) -> dict[str, datetime]:
    starts_at = values.get("starts_at", before.starts_at)
    length = before.ends_at - before.starts_at
    if "duration_minutes" in values:
        length = timedelta(minutes=values["duration_minutes"])
    ends_at = values.get("ends_at", starts_at + length)
    check_length(starts_at, ends_at)
    return {"starts_at": starts_at, "ends_at": ends_at}


def _next_status(actor: Actor, before: Session, status: str) -> str:
    allowed, _ = STEPS[status]
    if before.status not in allowed:
        raise Conflict(f"A session that is {before.status} can't become {status}.", code="SESSION_CLOSED")
    if status in AFTER_START and before.starts_at > datetime.now(UTC):
        raise Conflict(f"A session can be {status} only after its start.", code="SESSION_NOT_STARTED")
    if status == "cancelled" and actor.role is not Role.CLIENT:
        return "cancelled_by_coach"
    return status


def _what_happened(before: Session, after: Session) -> EventType:
    if after.status != before.status:
        return STEPS["cancelled" if "cancelled" in after.status else after.status][1]
    if (after.starts_at, after.ends_at) != (before.starts_at, before.ends_at):
        return EventType.SESSION_RESCHEDULED
    return EventType.SESSION_UPDATED


async def _update(
    connection: Connection, practice_id: UUID, session: Session, buffers: Buffers | None, reason: str | None
) -> None:
    reading = reading_of(ZoneInfo(session.timezone), session.starts_at)
    await connection.execute(
        UPDATE_SESSION,
        practice_id,
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
        buffers.before if buffers else None,
        buffers.after if buffers else None,
        reason,
        reading.wall,
        reading.fold,
    )
