"""Attendance: who came to a session, told by their joining it; and who did not, where nobody joined.

A session is joined by its coach and by who is booked, from a quarter of an hour before its start until its end. The
first who joins, whoever it is, begins it; joining again changes nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from wellio.accounts.actors import EVERYONE, Actor
from wellio.db import Connection
from wellio.errors import Conflict, Forbidden
from wellio.events import EventType
from wellio.outbox import Outbox
from wellio.practice.meetings import Rooms, meeting_url
from wellio.practice.sessions import Session, get_session, session_event, system_event
from wellio.practice.settlements import settle_sessions

OPENS_BEFORE = timedelta(minutes=15)
JOINABLE = frozenset({"scheduled", "in_progress"})
MARKED_AT_ONCE = 200

LOCK_SESSION = "select id from sessions where practice_id = $1 and id = $2 for update"

BEGIN_SESSION = """
update sessions
set status = 'in_progress', version = version + 1, updated_at = now()
where practice_id = $1 and id = $2 and status = 'scheduled'
returning id
"""

# The first time counts.
CHECK_IN = """
update session_participants p
set joined_at = coalesce(p.joined_at, $4)
from clients c
where p.practice_id = $1 and p.session_id = $2 and p.status = 'booked'
  and c.practice_id = $1 and c.id = p.client_id and c.user_id = $3
returning p.client_id
"""

# Sessions that nobody joined are still `scheduled`. What is a week overdue was left as it is on purpose.
MARK_MISSED = """
update sessions
set status = 'no_show', version = version + 1, updated_at = now()
where (practice_id, id) in (
    select s.practice_id, s.id
    from booking_policies p
    join sessions s on s.practice_id = p.practice_id
    where p.auto_no_show_minutes is not null
      and s.status = 'scheduled' and s.kind = 'one_to_one'
      and s.ends_at <= now() - make_interval(mins => p.auto_no_show_minutes)
      and s.ends_at > now() - make_interval(mins => p.auto_no_show_minutes) - interval '7 days'
    order by s.ends_at
    limit $1
    for update of s skip locked)
returning id, practice_id, client_id, status, coach_id, starts_at, ends_at, price_minor, version, sequence
"""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where to go. `meeting_url` is the caller's own and may hold a token: it is not for passing on. Empty: the session
    is at `location`."""

    session_id: UUID
    client_id: UUID | None
    status: str
    meeting_url: str
    location: str
    starts_at: datetime
    ends_at: datetime


async def join_session(outbox: Outbox, rooms: Rooms, actor: Actor, session_id: UUID) -> Meeting:
    """Raises NotFound; Forbidden NOT_A_PARTICIPANT; Conflict JOIN_TOO_EARLY, JOIN_CLOSED, SESSION_CLOSED."""
    actor.must_be(EVERYONE)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_SESSION, actor.practice_id, session_id)
        before = await get_session(tx.connection, actor, session_id)
        now = datetime.now(UTC)
        await _check_in(tx.connection, actor, before, now)
        began = await tx.connection.fetchval(BEGIN_SESSION, actor.practice_id, session_id)
        session = await get_session(tx.connection, actor, session_id)
        if began:
            tx.record(session_event(EventType.SESSION_STARTED, actor, session))
        url = await meeting_url(tx.connection, rooms, actor, session)
        return Meeting(
            session.id, session.client_id, session.status, url, session.location, session.starts_at, session.ends_at
        )


async def mark_missed(outbox: Outbox) -> int:
    """Those that nobody joined, in practices that want it: how many there were, up to MARKED_AT_ONCE."""
    async with outbox.transaction() as tx:
        rows = await tx.connection.fetch(MARK_MISSED, MARKED_AT_ONCE)
        for practice_id in dict.fromkeys(row["practice_id"] for row in rows):
            missed = [row["id"] for row in rows if row["practice_id"] == practice_id]
            await settle_sessions(tx.connection, practice_id, missed)
        tx.record(*[system_event(EventType.SESSION_MISSED, row) for row in rows])
    return len(rows)


async def _check_in(connection: Connection, actor: Actor, session: Session, now: datetime) -> None:
    """Who comes too early or too late is told so only if they are expected at all."""
    expected = actor.user_id == session.coach_id or any(
        p.user_id == actor.user_id and p.status == "booked" for p in session.participants
    )
    if not expected and session.status in JOINABLE:
        raise Forbidden("Only the coach and those who are booked join a session.", code="NOT_A_PARTICIPANT")
    _check_open(session, now)
    await connection.fetchval(CHECK_IN, actor.practice_id, session.id, actor.user_id, now)


def _check_open(session: Session, now: datetime) -> None:
    if session.status not in JOINABLE:
        raise Conflict(f"A session that is {session.status} can't be joined.", code="SESSION_CLOSED")
    opens_at = session.starts_at - OPENS_BEFORE
    if now < opens_at:
        raise Conflict(
            f"The session can be joined from {opens_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC on.",
            code="JOIN_TOO_EARLY",
            details={"opens_at": opens_at},
        )
    if now > session.ends_at:
        raise Conflict("The session is over.", code="JOIN_CLOSED")
