"""Messages that are edited or deleted. What is deleted keeps its place in the log, and nothing of what it held."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.conversations import list_member_ids
from wellio.chat.held_messages import Changed, HeldMessage, hold_message
from wellio.chat.log import Entry, append, publish_entry
from wellio.chat.mentions import change_mentions
from wellio.chat.pins import drop_pin
from wellio.errors import Forbidden, Invalid
from wellio.live import Live
from wellio.outbox import Outbox, Transaction
from wellio.values import Input, Text

UPDATE_BODY = "update messages set body = $3, edited_at = $4, changed_seq = $5 where practice_id = $1 and id = $2"

ERASE_MESSAGE = """
with reactions as (
    delete from message_reactions where message_id = $2
), mentions as (
    delete from message_mentions where message_id = $2
), stars as (
    delete from starred_messages where message_id = $2
), files as (
    update uploads set state = 'erased', name = '', conversation_id = null, message_id = null, place = null
    where message_id = $2
)
update messages
set body = '', reaction_count = 0, attachment_count = 0, deleted_at = $3, changed_seq = $4
where practice_id = $1 and id = $2
"""


class MessageEdit(Input):
    body: Text


async def edit_message(outbox: Outbox, live: Live, actor: Actor, message_id: UUID, edit: MessageEdit) -> Changed:
    """By its sender; the same words again change nothing. Raises NotFound, Forbidden, Conflict (deleted), Invalid."""
    async with outbox.transaction() as tx:
        held = await hold_message(tx, actor, message_id)
        _check_edit(actor, held, edit)
        if edit.body == held.message.body:
            return Changed(held.message, held.changed_seq)
        message = replace(held.message, body=edit.body, edited_at=datetime.now(UTC))
        told = {"message": message}
        entry = await append(tx, actor, message.conversation_id, "message:updated", told, message_id=message.id)
        await tx.connection.execute(
            UPDATE_BODY, actor.practice_id, message.id, message.body, message.edited_at, entry.seq
        )
        audience = await list_member_ids(tx.connection, actor, message.conversation_id)
        await change_mentions(tx, actor, message, audience)
    publish_entry(live, audience, entry)
    return Changed(message, entry.seq)


async def delete_message(outbox: Outbox, live: Live, actor: Actor, message_id: UUID) -> Changed:
    """By its sender, in a group also by its admins; what is deleted stays so. Raises NotFound, Forbidden."""
    async with outbox.transaction() as tx:
        held = await hold_message(tx, actor, message_id)
        _check_delete(actor, held)
        if held.message.deleted_at is not None:
            return Changed(held.message, held.changed_seq)
        entries = await erase(tx, actor, held)
        audience = await list_member_ids(tx.connection, actor, held.message.conversation_id)
        message = (await hold_message(tx, actor, message_id)).message
    for entry in entries:
        publish_entry(live, audience, entry)
    return Changed(message, entries[0].seq)


async def erase(tx: Transaction, actor: Actor, held: HeldMessage) -> list[Entry]:
    """Of a message that is there: the entry of its deletion, and that of the pins where it was pinned."""
    message_id, deleted_at = held.message.id, datetime.now(UTC)
    told = {"message_id": message_id, "deleted_at": deleted_at}
    entry = await append(tx, actor, held.message.conversation_id, "message:deleted", told, message_id=message_id)
    await tx.connection.execute(ERASE_MESSAGE, actor.practice_id, message_id, deleted_at, entry.seq)
    unpinned = await drop_pin(tx, actor, held)
    return [entry] if unpinned is None else [entry, unpinned]


def _check_edit(actor: Actor, held: HeldMessage, edit: MessageEdit) -> None:
    if held.message.sender_id != actor.user_id:
        raise Forbidden("Only its sender edits a message.")
    held.must_be_there()
    held.must_be_open_to(actor)
    if not edit.body.strip() and not held.message.attachments:
        raise Invalid.field("body", "Must not be empty; delete the message instead.")


def _check_delete(actor: Actor, held: HeldMessage) -> None:
    admin = held.kind == "group" and held.role == "admin"
    if held.message.sender_id != actor.user_id and not admin:
        raise Forbidden("Only its sender, or an admin of the group, deletes a message.")
