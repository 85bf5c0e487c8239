"""Rescheduling: a session goes to another time and stays the same session. Where it was before is kept.

A client moves their own, alone with the coach, to a start that is offered, as early and as often as the policy allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Database
from wellio.errors import Conflict, Forbidden
from wellio.ids import uuid7
from wellio.practice.bookable import Buffers, Place, check_place
from wellio.practice.cancellations import window_closed
from wellio.practice.policies import BookingPolicy
from wellio.practice.session_types import get_type_of_session
from wellio.practice.sessions import Session, get_session

MOVABLE = frozenset({"held", "scheduled"})

INSERT_MOVE = """
insert into session_moves (id, practice_id, session_id, starts_at, ends_at, moved_by)
values ($1, $2, $3, $4, $5, $6)
"""

LIST_MOVES = """
select starts_at, ends_at, moved_by, moved_at
from session_moves
where practice_id = $1 and session_id = $2
order by moved_at, id
"""


@dataclass(frozen=True, slots=True)
class Move:
    """Where the session was until `moved_at`. `moved_by`: a user."""

    starts_at: datetime
    ends_at: datetime
    moved_by: UUID | None
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class SessionHistory:
    """The moves in their order; where the session is now, `starts_at` and `ends_at` say."""

    session_id: UUID
    client_id: UUID | None
    starts_at: datetime
    ends_at: datetime
    sequence: int
    moves: Sequence[Move]


async def get_history(db: Database, actor: Actor, session_id: UUID) -> SessionHistory:
    """Raises NotFound."""
    async with db.connection() as connection:
        session = await get_session(connection, actor, session_id)
        rows = await connection.fetch(LIST_MOVES, actor.practice_id, session_id)
    moves = [Move(**dict(row)) for row in rows]
    return SessionHistory(session.id, session.client_id, session.starts_at, session.ends_at, session.sequence, moves)


def check_may_move(actor: Actor, session: Session, policy: BookingPolicy, now: datetime) -> None:
    """Raises Conflict for a session that is over, and Forbidden: RESCHEDULE_WINDOW_CLOSED, RESCHEDULE_LIMIT_REACHED."""
    if session.status not in MOVABLE:
        raise Conflict(f"A session that is {session.status} can't be moved.", code="SESSION_CLOSED")
    if actor.role is not Role.CLIENT:
        return
    if session.kind == "group":
        raise Forbidden("Only its coach moves a group.", code="GROUP_SESSION")
    if policy.max_reschedules is not None and session.reschedule_count >= policy.max_reschedules:
        raise _limit_reached(policy)
    until = session.starts_at - timedelta(minutes=policy.reschedule_notice_minutes)
    if now > until:
        raise window_closed("RESCHEDULE_WINDOW_CLOSED", "moved", until, session.timezone, policy)


def _limit_reached(policy: BookingPolicy) -> Forbidden:
    limit = f"A client may move a session at most {policy.max_reschedules} times."
    contact = policy.contact or "Speak with your coach."
    details = {"max_reschedules": policy.max_reschedules, "contact": policy.contact}
    return Forbidden(f"{limit} {contact}", code="RESCHEDULE_LIMIT_REACHED", details=details)


async def check_new_place(connection: Connection, actor: Actor, after: Session, reason: str | None) -> Buffers:
    """A session that moves is checked like a new one, and does not stand in its own way."""
    place = Place(
        coach_id=after.coach_id,
        client_id=after.client_id,
        starts_at=after.starts_at,
        ends_at=after.ends_at,
        session_id=after.id,
    )
    session_type = await get_type_of_session(connection, actor, after.session_type_id)
    return await check_place(connection, actor, place, session_type, override_reason=reason)


async def keep_move(connection: Connection, actor: Actor, before: Session) -> None:
    await connection.execute(
        INSERT_MOVE, uuid7(), actor.practice_id, before.id, before.starts_at, before.ends_at, actor.user_id
    )
