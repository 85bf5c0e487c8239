"""Starred messages: what a person keeps for themself. Nobody else learns of it."""

from datetime import UTC, datetime
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.held_messages import hold_message
from wellio.chat.values import Message, message_of
from wellio.db import Database
from wellio.live import Live
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, fetch_page

INSERT_STAR = """
insert into starred_messages (practice_id, user_id, conversation_id, message_id, starred_at)
values ($1, $2, $3, $4, $5)
on conflict on constraint starred_messages_pkey do nothing
"""

DELETE_STAR = "delete from starred_messages where practice_id = $1 and user_id = $2 and message_id = $3"

LIST_STARRED = """
select m.id, m.conversation_id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to, m.attachments,
       m.reactions, m.edited_at, m.deleted_at, m.created_at
from starred_messages s
join conversation_members me on me.conversation_id = s.conversation_id and me.user_id = s.user_id and me.left_at is null
join shown_messages m on m.id = s.message_id
where s.practice_id = $1 and s.user_id = $2
order by s.starred_at desc, s.message_id
limit $3 offset $4
"""

COUNT_STARRED = """
select count(*)
from starred_messages s
join conversation_members me on me.conversation_id = s.conversation_id and me.user_id = s.user_id and me.left_at is null
where s.practice_id = $1 and s.user_id = $2
"""


async def set_star(outbox: Outbox, live: Live, actor: Actor, message_id: UUID, *, on: bool) -> Message:
    """What is so already stays so. Raises NotFound, Conflict (deleted)."""
    async with outbox.transaction() as tx:
        held = await hold_message(tx, actor, message_id)
        message = held.message
        if on:
            held.must_be_there()
            place = (actor.practice_id, actor.user_id, message.conversation_id, message.id)
            done = await tx.connection.execute(INSERT_STAR, *place, datetime.now(UTC))
        else:
            done = await tx.connection.execute(DELETE_STAR, actor.practice_id, actor.user_id, message.id)
    if not done.endswith(" 0"):
        told = {"message_id": message.id, "conversation_id": message.conversation_id, "on": on}
        live.publish([actor.user_id], "message:starred", told, ephemeral=True)
    return message


async def list_starred(db: Database, actor: Actor, query: PageQuery) -> Page[Message]:
    """The last starred first; of the conversations that the actor is in."""
    viewer = (actor.practice_id, actor.user_id)
    return await fetch_page(db, query, LIST_STARRED, COUNT_STARRED, viewer, message_of)
