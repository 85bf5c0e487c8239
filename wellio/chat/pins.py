"""Pinned messages: what all of a conversation keep at hand."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wellio.accounts.actors import STAFF, Actor
from wellio.chat.conversations import Conversation, get_conversation, list_member_ids
from wellio.chat.held_messages import HeldMessage, hold_message
from wellio.chat.log import Entry, append, publish_entry
from wellio.chat.values import Message, message_of
from wellio.db import Database
from wellio.errors import Conflict, Forbidden, NotFound
from wellio.live import Live
from wellio.outbox import Outbox, Transaction
from wellio.pages import Page, PageQuery, page_of

MAX_PINS = 50

INSERT_PIN = """
insert into pinned_messages (practice_id, conversation_id, message_id, pinned_by, pinned_at)
values ($1, $2, $3, $4, $5)
"""

DELETE_PIN = "delete from pinned_messages where practice_id = $1 and message_id = $2 returning message_id"

LIST_PIN_IDS = """
select message_id from pinned_messages where conversation_id = $1 order by pinned_at desc, message_id
"""

LIST_PINS = """
select m.id, m.conversation_id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to, m.attachments,
       m.reactions, m.edited_at, m.deleted_at, m.created_at
from pinned_messages p
join shown_messages m on m.id = p.message_id
where p.conversation_id = $1
order by p.pinned_at desc, p.message_id
limit $2 offset $3
"""

COUNT_PINS = "select count(*) from pinned_messages where conversation_id = $1"


async def set_pin(
    outbox: Outbox, live: Live, actor: Actor, conversation_id: UUID, message_id: UUID, *, on: bool
) -> Conversation:
    """By members of a direct conversation; in a group by its admins and staff. What is so already stays so.

    Raises NotFound, Forbidden (also where one has blocked the other), Conflict (deleted, or too many).
    """
    entry = None
    async with outbox.transaction() as tx:
        held = await hold_message(tx, actor, message_id)
        if held.message.conversation_id != conversation_id:
            raise NotFound("No such message.")
        _check_pin(actor, held)
        pinned = await list_pin_ids(tx, conversation_id)
        if (message_id in pinned) != on:
            entry = await (_pin if on else _unpin)(tx, actor, held, pinned)
        conversation = await get_conversation(tx.connection, actor, conversation_id)
        audience = await list_member_ids(tx.connection, actor, conversation_id)
    if entry is not None:
        publish_entry(live, audience, entry)
    return conversation


async def list_pins(db: Database, actor: Actor, conversation_id: UUID, query: PageQuery) -> Page[Message]:
    """The last pinned first. Raises NotFound."""
    async with db.connection() as connection:
        await list_member_ids(connection, actor, conversation_id)
        rows = await connection.fetch(LIST_PINS, conversation_id, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_PINS, conversation_id)
    return page_of([message_of(row) for row in rows], query=query, total=total)


async def list_pin_ids(tx: Transaction, conversation_id: UUID) -> list[UUID]:
    return [row["message_id"] for row in await tx.connection.fetch(LIST_PIN_IDS, conversation_id)]


async def drop_pin(tx: Transaction, actor: Actor, held: HeldMessage) -> Entry | None:
    """Of a message that is being deleted; None when it was not pinned."""
    if not await tx.connection.fetch(DELETE_PIN, actor.practice_id, held.message.id):
        return None
    return await _append(tx, actor, held, await list_pin_ids(tx, held.message.conversation_id))


async def _pin(tx: Transaction, actor: Actor, held: HeldMessage, pinned: Sequence[UUID]) -> Entry:
    held.must_be_there()
    held.must_be_open_to(actor)
    if len(pinned) >= MAX_PINS:
        raise Conflict(f"A conversation has at most {MAX_PINS} pinned messages; unpin one.", code="TOO_MANY_PINS")
    message = held.message
    place = (actor.practice_id, message.conversation_id, message.id)
    await tx.connection.execute(INSERT_PIN, *place, actor.user_id, datetime.now(UTC))
    return await _append(tx, actor, held, [message.id, *pinned])


async def _unpin(tx: Transaction, actor: Actor, held: HeldMessage, pinned: Sequence[UUID]) -> Entry:
    await tx.connection.execute(DELETE_PIN, actor.practice_id, held.message.id)
    return await _append(tx, actor, held, [each for each in pinned if each != held.message.id])


async def _append(tx: Transaction, actor: Actor, held: HeldMessage, pinned: Sequence[UUID]) -> Entry:
    conversation_id = held.message.conversation_id
    told: Mapping[str, Any] = {
        "id": conversation_id, "kind": held.kind, "title": held.title, "pinned_message_ids": pinned,
    }  # fmt: skip
    return await append(tx, actor, conversation_id, "conversation:updated", {"conversation": told})


def _check_pin(actor: Actor, held: HeldMessage) -> None:
    if held.kind == "group" and held.role != "admin" and actor.role not in STAFF:
        raise Forbidden("In a group, its admins and staff pin messages.")
