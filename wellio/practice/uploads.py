"""Uploads: files that people send, with what is known of each. A file is there when its row says that it is ready.

The row comes before the file and goes after it, so that a crash leaves no file that no row tells of.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound, TooLarge
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.practice.file_types import HEAD_BYTES, MIB, Beginning, clean_name, look_at_beginning, type_of
from wellio.practice.upload_files import UploadFiles

KEEP_LOOSE_HOURS, KEEP_ARRIVING_HOURS = 24, 1
REMOVED_AT_ONCE = 200

INSERT_UPLOAD = "insert into uploads (id, practice_id, uploader_id, name) values ($1, $2, $3, '')"

COMPLETE_UPLOAD = """
update uploads set state = 'ready', name = $3, content_type = $4, size_bytes = $5, sha256 = $6
where practice_id = $1 and id = $2 and state = 'arriving'
returning id, uploader_id, name, content_type, size_bytes, sha256, message_id, created_at
"""

# One's own, and what is attached in a conversation of one's own.
GET_UPLOAD = """
select u.id, u.uploader_id, u.name, u.content_type, u.size_bytes, u.sha256, u.message_id, u.created_at
from uploads u
where u.practice_id = $1 and u.id = $3 and u.state = 'ready'
  and (u.uploader_id = $2
       or exists (select from conversation_members m
                  where m.conversation_id = u.conversation_id and m.user_id = $2 and m.left_at is null))
"""

ERASE_LOOSE = """
update uploads set state = 'erased', name = ''
where practice_id = $1 and id = $2 and uploader_id = $3 and state = 'ready' and message_id is null
returning id
"""

ERASE_ARRIVING = "update uploads set state = 'erased' where id = $1 and state = 'arriving' returning id"

# Those that nothing needs any more, and those that were to be removed before.
ERASE_OLD = """
update uploads set state = 'erased', name = ''
where id in (
    select id from uploads
    where message_id is null
      and (state = 'erased'
           or (state = 'arriving' and created_at < now() - make_interval(hours => $1))
           or (state = 'ready' and created_at < now() - make_interval(hours => $2)))
    limit $3
    for update skip locked
)
returning id
"""

DELETE_ERASED = "delete from uploads where id = any($1::uuid[]) and state = 'erased'"


@dataclass(frozen=True, slots=True)
class Upload:
    """`content_type` is what the bytes say, `sha256` in hex; `message_id`: whose attachment it is."""

    id: UUID
    uploader_id: UUID
    name: str
    content_type: str
    size_bytes: int
    sha256: str
    message_id: UUID | None
    created_at: datetime


async def store_upload(
    outbox: Outbox, files: UploadFiles, actor: Actor, name: str, chunks: AsyncIterator[bytes]
) -> Upload:
    """Reads no further than it must. Raises Invalid (empty), UnsupportedMedia, TooLarge, and what `chunks` raises."""
    head = await _read_head(chunks)
    beginning = await asyncio.to_thread(look_at_beginning, head)
    upload_id = uuid7()
    await outbox.db.execute(INSERT_UPLOAD, upload_id, actor.practice_id, actor.user_id)
    try:
        written = await files.write(upload_id, _bounded(head, chunks, beginning))
        content_type = type_of(beginning, written.tail)
        known = (clean_name(name, content_type), content_type, written.size_bytes, written.sha256)
        async with outbox.transaction() as tx:
            row = await tx.connection.fetchrow(COMPLETE_UPLOAD, actor.practice_id, upload_id, *known)
            if row is None:
                raise Conflict("The upload took too long and was given up; send it again.")
            return await tx.answer(_upload(row))
    except BaseException:
        await _remove(outbox.db, files, await outbox.db.fetch(ERASE_ARRIVING, upload_id))
        raise


async def get_upload(db: Database | Connection, actor: Actor, upload_id: UUID) -> Upload:
    """Raises NotFound."""
    row = await db.fetchrow(GET_UPLOAD, actor.practice_id, actor.user_id, upload_id)
    if row is None:
        raise NotFound("No such upload.")
    return _upload(row)


async def delete_upload(outbox: Outbox, files: UploadFiles, actor: Actor, upload_id: UUID) -> None:
    """One's own that is not attached. Raises NotFound, Conflict (attached: delete the message)."""
    async with outbox.transaction() as tx:
        rows = await tx.connection.fetch(ERASE_LOOSE, actor.practice_id, upload_id, actor.user_id)
        if not rows:
            upload = await get_upload(tx.connection, actor, upload_id)
            if upload.uploader_id != actor.user_id:
                raise NotFound("No such upload.")
            raise Conflict("It is attached to a message; delete that.", code="UPLOAD_ATTACHED")
    await _remove(outbox.db, files, rows)


async def remove_old_uploads(db: Database, files: UploadFiles) -> int:
    """Files of deleted messages, those that were never attached, and what interrupted uploads left; how many."""
    count = 0
    while rows := await db.fetch(ERASE_OLD, KEEP_ARRIVING_HOURS, KEEP_LOOSE_HOURS, REMOVED_AT_ONCE):
        await _remove(db, files, rows)
        count += len(rows)
    return count


async def _remove(db: Database, files: UploadFiles, rows: Sequence[Row]) -> None:
    """The files, then the rows."""
    ids = [row["id"] for row in rows]
    if ids:
        await files.remove(ids)
        await db.execute(DELETE_ERASED, ids)


async def _read_head(chunks: AsyncIterator[bytes]) -> bytes:
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    if not head:
        raise Invalid.field("file", "Must not be empty.")
    return head


async def _bounded(head: bytes, chunks: AsyncIterator[bytes], beginning: Beginning) -> AsyncIterator[bytes]:
    size = len(head)
    yield head
    async for chunk in chunks:
        size += len(chunk)
        if size > beginning.max_bytes:
            raise TooLarge(f"Such a file may have {beginning.max_bytes // MIB} MiB.")
        yield chunk


def _upload(row: Row) -> Upload:
    known = {name: row[name] for name in Upload.__slots__ if name != "sha256"}
    return Upload(**known, sha256=row["sha256"].hex())
