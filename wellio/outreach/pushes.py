"""What devices are told of the log's events. Hints only: who missed one reads it from the database."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Row
from wellio.errors import NotFound
from wellio.events import Event
from wellio.learning.predictions import Change
from wellio.live import Push
from wellio.practice.sessions import Session, get_session

SESSION_CHANGED = "session:updated"
PREDICTION_CHANGED = "churn:updated"
LOOK_AGAIN = "sync:required"
NOBODY = UUID(int=0)

# With the client that a user is there as; null for staff.
LIST_AUDIENCES = """
select s.id as session_id, p.user_id, p.client_id
from unnest($1::uuid[], $2::uuid[]) t (practice_id, session_id)
join sessions s on s.practice_id = t.practice_id and s.id = t.session_id
cross join lateral (
    select s.coach_id as user_id, null::uuid as client_id
    union
    select c.user_id, c.id from clients c
    where c.practice_id = s.practice_id and c.user_id is not null and c.id in (
        select sp.client_id from session_participants sp
        where sp.practice_id = s.practice_id and sp.session_id = s.id
        union all
        select w.client_id from waitlist_entries w
        where w.practice_id = s.practice_id and w.session_id = s.id and w.status in ('waiting', 'offered'))
    union
    select u.id, null from users u where u.practice_id = s.practice_id and u.role = 'owner' and u.status = 'active'
) p
"""

LIST_STAFF = """
select id, practice_id, role
from users
where practice_id = any($1::uuid[]) and role in ('owner', 'coach') and status = 'active'
"""


class Staff:
    """Who works in some practices: whom a client's figures may be told."""

    def __init__(self, people: Iterable[tuple[UUID, UUID, str]]) -> None:
        self._owners: dict[UUID, list[UUID]] = {}
        self._coaches: dict[UUID, list[UUID]] = {}
        for user_id, practice_id, role in people:
            (self._owners if role == "owner" else self._coaches).setdefault(practice_id, []).append(user_id)

    def all_of(self, practice_id: UUID) -> tuple[UUID, ...]:
        return (*self._owners.get(practice_id, ()), *self._coaches.get(practice_id, ()))

    def who_sees(self, change: Change) -> tuple[UUID, ...]:
        """The owners, and the client's coach."""
        return tuple(dict.fromkeys([*self._owners.get(change.practice_id, ()), *self._coach(change)]))

    def who_acts(self, change: Change) -> tuple[UUID, ...]:
        """The client's coach, or the owners of a client who has none."""
        return self._coach(change) or tuple(self._owners.get(change.practice_id, ()))

    def _coach(self, change: Change) -> tuple[UUID, ...]:
        there = change.coach_id is not None and change.coach_id in self.all_of(change.practice_id)
        return (change.coach_id,) if there and change.coach_id else ()


async def list_staff(connection: Connection, practice_ids: Iterable[UUID]) -> Staff:
    rows = await connection.fetch(LIST_STAFF, list(practice_ids))
    return Staff((row["id"], row["practice_id"], row["role"]) for row in rows)


async def push_sessions(connection: Connection, events: Sequence[Event]) -> list[Push]:
    """Each changed session once, as it is now, to its coach, its clients and the owners. Of a group a client is shown
    their own place alone."""
    changed = list({(e.practice_id, e.subject_id): None for e in events if e.subject_id is not None})
    rows = await connection.fetch(LIST_AUDIENCES, [p for p, _ in changed], [s for _, s in changed])
    audiences: dict[UUID, list[Row]] = {}
    for row in rows:
        audiences.setdefault(row["session_id"], []).append(row)
    pushes = []
    for practice_id, session_id in changed:
        # One by one: people change sessions, a few in a batch at most.
        try:
            session = await get_session(connection, _wellio(practice_id), session_id)
        except NotFound:
            continue
        pushes += _push_session(session, audiences[session_id])
    return pushes


def _push_session(session: Session, audience: Sequence[Row]) -> list[Push]:
    if session.kind == "one_to_one":
        return [Push(user_ids=tuple(row["user_id"] for row in audience), event=SESSION_CHANGED, data=session)]
    staff = tuple(row["user_id"] for row in audience if row["client_id"] is None)
    clients = [row for row in audience if row["client_id"] is not None]
    return [
        Push(user_ids=staff, event=SESSION_CHANGED, data=session),
        *[Push(user_ids=(c["user_id"],), event=SESSION_CHANGED, data=_as_seen_by(c, session)) for c in clients],
    ]


def _as_seen_by(client: Row, session: Session) -> Session:
    return replace(session, participants=[p for p in session.participants if p.client_id == client["client_id"]])


def push_prediction(change: Change, staff: Staff) -> Push:
    return Push(user_ids=staff.who_sees(change), event=PREDICTION_CHANGED, data=change.prediction)


def push_look_again(practice_id: UUID, staff: Staff) -> Push:
    """In place of more predictions than a screen shows."""
    return Push(user_ids=staff.all_of(practice_id), event=LOOK_AGAIN, data={"reason": "churn"})


def _wellio(practice_id: UUID) -> Actor:
    """Wellio itself, which sees the whole practice."""
    return Actor(NOBODY, practice_id, Role.OWNER, NOBODY, "Wellio")
