"""Crowds: many who book one and the same time at the same moment, of whom one can have it.

One of them goes first. Who came while it was being booked is told the outcome, and costs the database nothing: so a
crowd neither waits for connections nor keeps others from them. Across processes the calendar's lock decides (holds.py).
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.constraints import COACH_TAKEN, coach_taken
from wellio.errors import Conflict
from wellio.idempotency import Once
from wellio.outbox import Outbox
from wellio.practice.bookable import find_own_client
from wellio.practice.bookings import NewSession, book_session
from wellio.practice.sessions import Session


@dataclass(frozen=True, slots=True)
class _Asked:
    """The same for all who would stand in each other's way."""

    practice_id: UUID
    coach_id: UUID
    session_type_id: UUID | None
    starts_at: datetime
    ends_at: datetime | None
    duration_minutes: int | None


class Bookings:
    """Books sessions for one process."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        # Whether the coach turned out to be taken then.
        self._first: dict[_Asked, asyncio.Future[bool]] = {}

    async def book(self, actor: Actor, new: NewSession, *, once: Once | None = None) -> Session:
        """As `book_session`. A keyed request never waits for another: it may be the same one again."""
        asked = None if once or new.override_reason else await self._asked(actor, new)
        if asked is None:
            return await book_session(self._outbox, actor, new, once=once)
        if first := self._first.get(asked):
            if await asyncio.shield(first):
                raise coach_taken()
            return await book_session(self._outbox, actor, new)
        return await self._go_first(asked, actor, new)

    async def _go_first(self, asked: _Asked, actor: Actor, new: NewSession) -> Session:
        outcome = self._first[asked] = asyncio.get_running_loop().create_future()
        taken = False
        try:
            session = await book_session(self._outbox, actor, new)
            taken = session.kind == "one_to_one"
            return session
        except Conflict as conflict:
            taken = conflict.details == COACH_TAKEN
            raise
        finally:
            del self._first[asked]
            outcome.set_result(taken)

    async def _asked(self, actor: Actor, new: NewSession) -> _Asked | None:
        """None where it takes more to know whose time it is."""
        if actor.role is Role.CLIENT:
            async with self._outbox.db.connection() as connection:
                coach_id = (await find_own_client(connection, actor)).coach_id
        else:
            coach_id = actor.user_id
        if new.coach_id not in (None, coach_id):
            return None
        times: dict[str, Any] = {"ends_at": new.ends_at, "duration_minutes": new.duration_minutes}
        return _Asked(actor.practice_id, coach_id, new.session_type_id, new.starts_at, **times)
