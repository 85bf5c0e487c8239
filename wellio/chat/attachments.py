"""Files of messages: uploads that are linked to a message in the transaction that stores it."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.values import Attachment, Message, NewMessage
from wellio.db import Connection

# What may be attached, kept from being attached elsewhere or removed meanwhile; in one order for every process.
LOCK_UPLOADS = """
select u.id, u.practice_id, u.uploader_id, u.name, u.content_type, u.size_bytes, u.sha256
from uploads u
where u.id = any($1::uuid[]) and u.state = 'ready' and u.message_id is null
order by u.id
for update
"""

ATTACH_UPLOADS = """
update uploads u
set conversation_id = a.conversation_id, message_id = a.message_id, place = a.place
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::smallint[]) a (id, conversation_id, message_id, place)
where u.id = a.id
"""


async def hold_uploads(
    connection: Connection, asked: Sequence[tuple[Actor, NewMessage]]
) -> list[Sequence[Attachment] | None]:
    """The attachments of each message; None where one of its uploads is not its sender's, or not free."""
    wanted = sorted({upload_id for _, new in asked for upload_id in new.upload_ids})
    if not wanted:
        return [() for _ in asked]
    free: dict[tuple[UUID, UUID, UUID], Attachment] = {}
    for row in await connection.fetch(LOCK_UPLOADS, wanted):
        attachment = Attachment(row["id"], row["name"], row["content_type"], row["size_bytes"], row["sha256"].hex())
        free[row["practice_id"], row["uploader_id"], row["id"]] = attachment
    return [_attachments(actor, new, free) for actor, new in asked]


def _attachments(
    actor: Actor, new: NewMessage, free: Mapping[tuple[UUID, UUID, UUID], Attachment]
) -> Sequence[Attachment] | None:
    found = [free.get((actor.practice_id, actor.user_id, upload_id)) for upload_id in new.upload_ids]
    attachments = [attachment for attachment in found if attachment is not None]
    return attachments if len(attachments) == len(found) else None


async def attach_uploads(connection: Connection, messages: Sequence[Message]) -> None:
    """What was held, to the messages that were stored."""
    links = [(a.id, m.conversation_id, m.id, place) for m in messages for place, a in enumerate(m.attachments)]
    if links:
        await connection.execute(ATTACH_UPLOADS, *(list(column) for column in zip(*links, strict=True)))
