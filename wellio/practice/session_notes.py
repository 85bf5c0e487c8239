"""Notes on a session: what its coach wrote down, for staff alone. Sealed at rest; in no event, log or audit detail."""

from dataclasses import dataclass
from uuid import UUID

from wellio.accounts.actors import STAFF, Actor
from wellio.db import Connection, Database
from wellio.errors import PreconditionFailed
from wellio.outbox import Outbox
from wellio.practice.sessions import get_session
from wellio.sealing import Sealer
from wellio.values import Input, Text

COLUMN = "sessions.notes"

GET_NOTES = "select notes from sessions where practice_id = $1 and id = $2"

LOCK_SESSION = "select id from sessions where practice_id = $1 and id = $2 for update"

UPDATE_NOTES = "update sessions set notes = $3 where practice_id = $1 and id = $2"

TOUCH_SESSION = "update sessions set version = version + 1, updated_at = now() where practice_id = $1 and id = $2"


Notes = Text


class NewNotes(Input):
    text: Notes


@dataclass(frozen=True, slots=True)
class SessionNotes:
    """`version` is the session's."""

    session_id: UUID
    client_id: UUID | None
    text: str
    version: int


async def get_notes(db: Database, sealer: Sealer, actor: Actor, session_id: UUID) -> SessionNotes:
    """Raises NotFound."""
    actor.must_be(STAFF)
    async with db.connection() as connection:
        return await _read(connection, sealer, actor, session_id)


async def set_notes(
    outbox: Outbox, sealer: Sealer, actor: Actor, session_id: UUID, new: NewNotes, *, if_version: int | None = None
) -> SessionNotes:
    """Raises NotFound and PreconditionFailed."""
    actor.must_be(STAFF)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_SESSION, actor.practice_id, session_id)
        session = await get_session(tx.connection, actor, session_id)
        if if_version is not None and if_version != session.version:
            raise PreconditionFailed("The session was changed since you read it; read it again.")
        await keep_notes(tx.connection, sealer, actor, session_id, new.text)
        await tx.connection.execute(TOUCH_SESSION, actor.practice_id, session_id)
        return await _read(tx.connection, sealer, actor, session_id)


async def keep_notes(connection: Connection, sealer: Sealer, actor: Actor, session_id: UUID, text: str) -> None:
    """In the caller's transaction, which has locked the session. No text, no notes."""
    sealed = sealer.seal(text.encode(), column=COLUMN, row_id=session_id) if text else None
    await connection.execute(UPDATE_NOTES, actor.practice_id, session_id, sealed)


async def _read(connection: Connection, sealer: Sealer, actor: Actor, session_id: UUID) -> SessionNotes:
    session = await get_session(connection, actor, session_id)
    sealed = await connection.fetchval(GET_NOTES, actor.practice_id, session_id)
    text = sealer.unseal(sealed, column=COLUMN, row_id=session_id).decode() if sealed else ""
    return SessionNotes(session.id, session.client_id, text, session.version)
