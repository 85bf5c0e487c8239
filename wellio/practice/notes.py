"""Notes that staff keep on a client: private to them, and sealed, so that a copy of the database tells none.

Whoever coaches the client reads them, and the practice's owners. Words belong to who wrote them: only the author
changes a note; an owner may delete it. Anybody who reads it may pin it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.db import Connection, Database, Row
from wellio.errors import Forbidden, NotFound, PreconditionFailed
from wellio.events import EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.clients import event_about, get_client
from wellio.sealing import SealBroken, Sealer
from wellio.values import Flag, Input, Text, check_not_null

log = logging.getLogger(__name__)

COLUMN = "client_notes.body"

LIST_NOTES = """
select n.id, n.client_id, n.author_id, u.name as author_name, n.body, n.pinned, n.version, n.created_at, n.updated_at
from client_notes n
join users u on u.practice_id = n.practice_id and u.id = n.author_id
where n.practice_id = $1 and n.client_id = $2 and ($3::uuid is null or n.id = $3)
order by n.pinned desc, n.created_at desc, n.id
limit $4 offset $5
"""

COUNT_NOTES = "select count(*) from client_notes where practice_id = $1 and client_id = $2"

LOCK_NOTE = "select id from client_notes where practice_id = $1 and client_id = $2 and id = $3 for update"

INSERT_NOTE = """
insert into client_notes (id, practice_id, client_id, author_id, body, pinned)
values ($1, $2, $3, $4, $5, $6)
"""

UPDATE_NOTE = """
update client_notes
set body = coalesce($3, body), pinned = coalesce($4, pinned), version = version + 1, updated_at = now()
where practice_id = $1 and id = $2
"""

DELETE_NOTE = "delete from client_notes where practice_id = $1 and id = $2"


def _written(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


NoteText = Annotated[Text, AfterValidator(_written), Field(min_length=1)]


class NewNote(Input):
    body: NoteText
    pinned: Flag = False


class NoteChanges(Input):
    """Only the named fields change."""

    body: NoteText | None = None
    pinned: Flag | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """`body` null: it can't be opened, because the key that sealed it is not known any more."""

    id: UUID
    client_id: UUID
    author_id: UUID
    author_name: str
    body: str | None
    pinned: bool
    version: int
    created_at: datetime
    updated_at: datetime


async def list_notes(db: Database, sealer: Sealer, actor: Actor, client_id: UUID, query: PageQuery) -> Page[Note]:
    """Pinned ones first, then the newest. Raises NotFound."""
    actor.must_be(STAFF)
    async with db.connection() as connection:
        await get_client(connection, actor, client_id)
        rows = await connection.fetch(LIST_NOTES, actor.practice_id, client_id, None, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_NOTES, actor.practice_id, client_id)
    return page_of([_note(sealer, row) for row in rows], query=query, total=total)


async def get_note(db: Database, sealer: Sealer, actor: Actor, client_id: UUID, note_id: UUID) -> Note:
    """Raises NotFound."""
    actor.must_be(STAFF)
    async with db.connection() as connection:
        await get_client(connection, actor, client_id)
        return await _get(connection, sealer, actor, client_id, note_id)


async def write_note(
    outbox: Outbox, sealer: Sealer, actor: Actor, client_id: UUID, new: NewNote, *, once: Once | None = None
) -> Note:
    """Raises NotFound."""
    actor.must_be(STAFF)
    note_id = uuid7()
    sealed = sealer.seal(new.body.encode(), column=COLUMN, row_id=note_id)
    async with outbox.transaction(once) as tx:
        await get_client(tx.connection, actor, client_id)
        await tx.connection.execute(
            INSERT_NOTE, note_id, actor.practice_id, client_id, actor.user_id, sealed, new.pinned
        )
        tx.record(event_about(EventType.NOTE_CHANGED, actor, client_id, note_id, how="added"))
        return await tx.answer(await _get(tx.connection, sealer, actor, client_id, note_id))


async def change_note(
    outbox: Outbox,
    sealer: Sealer,
    actor: Actor,
    client_id: UUID,
    note_id: UUID,
    changes: NoteChanges,
    *,
    if_version: int | None = None,
) -> Note:
    """Raises NotFound, Forbidden for another's words, Invalid, PreconditionFailed."""
    actor.must_be(STAFF)
    check_not_null(changes)
    sealed = None
    if changes.body is not None:
        sealed = sealer.seal(changes.body.encode(), column=COLUMN, row_id=note_id)
    async with outbox.transaction() as tx:
        before = await _lock(tx.connection, sealer, actor, client_id, note_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The note was changed since you read it; read it again.")
        if sealed is not None and before.author_id != actor.user_id:
            raise Forbidden("Only its author changes what a note says; write one of your own.")
        await tx.connection.execute(UPDATE_NOTE, actor.practice_id, note_id, sealed, changes.pinned)
        tx.record(event_about(EventType.NOTE_CHANGED, actor, client_id, note_id, how="changed"))
        return await _get(tx.connection, sealer, actor, client_id, note_id)


async def delete_note(outbox: Outbox, sealer: Sealer, actor: Actor, client_id: UUID, note_id: UUID) -> None:
    """By its author or an owner. Raises NotFound, Forbidden."""
    actor.must_be(STAFF)
    async with outbox.transaction() as tx:
        note = await _lock(tx.connection, sealer, actor, client_id, note_id)
        if note.author_id != actor.user_id and actor.role is not Role.OWNER:
            raise Forbidden("Only its author or an owner deletes a note.")
        await tx.connection.execute(DELETE_NOTE, actor.practice_id, note_id)
        tx.record(event_about(EventType.NOTE_CHANGED, actor, client_id, note_id, how="deleted"))


async def _lock(connection: Connection, sealer: Sealer, actor: Actor, client_id: UUID, note_id: UUID) -> Note:
    try:
        await get_client(connection, actor, client_id)
    except NotFound:
        raise NotFound("No such note.") from None
    await connection.execute(LOCK_NOTE, actor.practice_id, client_id, note_id)
    return await _get(connection, sealer, actor, client_id, note_id)


async def _get(connection: Connection, sealer: Sealer, actor: Actor, client_id: UUID, note_id: UUID) -> Note:
    rows: Sequence[Row] = await connection.fetch(LIST_NOTES, actor.practice_id, client_id, note_id, 1, 0)
    if not rows:
        raise NotFound("No such note.")
    return _note(sealer, rows[0])


def _note(sealer: Sealer, row: Row) -> Note:
    return Note(**{**dict(row), "body": _opened(sealer, row)})


def _opened(sealer: Sealer, row: Row) -> str | None:
    try:
        return sealer.unseal(row["body"], column=COLUMN, row_id=row["id"]).decode()
    except SealBroken:
        log.exception("A note can't be opened", extra={"note_id": str(row["id"])})
        return None
