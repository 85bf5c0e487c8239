"""Cancelling: what becomes of a session that is called off, by whom and how late.

A client is in time until the policy's notice before the start, at that very moment too. Later it is the policy that
decides. Staff cancel whenever they have to. What was cancelled once stays as it is.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from wellio.accounts.actors import Actor, Role
from wellio.errors import Conflict, Forbidden
from wellio.practice.policies import BookingPolicy
from wellio.practice.sessions import Session

CANCELLED = frozenset({"cancelled", "late_cancelled", "cancelled_by_coach"})
STAFF_CANCEL = frozenset({"held", "scheduled", "in_progress"})
CLIENTS_CANCEL = frozenset({"held", "scheduled"})


def cancelled(actor: Actor, session: Session, policy: BookingPolicy, now: datetime) -> Mapping[str, Any]:
    """The fields of a session that is cancelled now. Raises Forbidden CANCEL_WINDOW_CLOSED, and Conflict."""
    if session.status not in (CLIENTS_CANCEL if actor.role is Role.CLIENT else STAFF_CANCEL):
        raise Conflict(f"A session that is {session.status} can't be cancelled.", code="SESSION_CLOSED")
    return {"status": _status(actor, session, policy, now), "cancelled_at": now}


def _status(actor: Actor, session: Session, policy: BookingPolicy, now: datetime) -> str:
    if actor.role is not Role.CLIENT:
        return "cancelled_by_coach"
    if session.kind == "group":
        raise Forbidden("A client leaves a group; only its coach cancels it.", code="GROUP_SESSION")
    if session.status == "held":
        return "cancelled"
    return status_of_clients_cancellation(policy, session.starts_at, session.timezone, now)


def status_of_clients_cancellation(
    policy: BookingPolicy, starts_at: datetime, zone: str, now: datetime
) -> Literal["cancelled", "late_cancelled"]:
    """In time or late. Raises Forbidden CANCEL_WINDOW_CLOSED where the policy blocks, and Conflict after the start."""
    until = starts_at - timedelta(minutes=policy.cancel_notice_minutes)
    if now <= until:
        return "cancelled"
    if policy.late_cancel == "block":
        raise window_closed("CANCEL_WINDOW_CLOSED", "cancelled", until, zone, policy)
    if now > starts_at:
        raise Conflict("The session has begun: it can't be cancelled any more.", code="SESSION_STARTED")
    return "late_cancelled"


def window_closed(code: str, done: str, until: datetime, zone: str, policy: BookingPolicy) -> Forbidden:
    """Says until when the client could have, and what they may do now."""
    local = until.astimezone(ZoneInfo(zone))
    message = f"This session could be {done} until {local:%Y-%m-%d %H:%M} ({zone})."
    contact = policy.contact or "Speak with your coach."
    details = {"until": until.astimezone(UTC), "contact": policy.contact}
    return Forbidden(f"{message} {contact}", code=code, details=details)
