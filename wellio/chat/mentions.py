"""Mentions: people whom a message names, written `<@user_id>` in its body. Only members of its conversation count."""

import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.values import Message, message_of
from wellio.db import Database
from wellio.events import Event, EventType
from wellio.outbox import Transaction
from wellio.pages import Page, PageQuery, fetch_page

OPENING = "<@"
MENTION = re.compile(r"<@([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>", re.IGNORECASE)

INSERT_MENTIONS = """
insert into message_mentions (practice_id, conversation_id, message_id, user_id, seq)
select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[])
on conflict on constraint message_mentions_pkey do nothing
"""

# An edit's: those that it takes away, and whom the message named before.
DELETE_OTHER_MENTIONS = "delete from message_mentions where message_id = $1 and user_id <> all($2::uuid[])"
LIST_MENTIONED = "select user_id from message_mentions where message_id = $1"

LIST_MENTIONS = """
select m.id, m.conversation_id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to, m.attachments,
       m.reactions, m.edited_at, m.deleted_at, m.created_at
from message_mentions x
join conversation_members me on me.conversation_id = x.conversation_id and me.user_id = x.user_id and me.left_at is null
join shown_messages m on m.id = x.message_id
where x.practice_id = $1 and x.user_id = $2
order by x.message_id desc
limit $3 offset $4
"""

COUNT_MENTIONS = """
select count(*)
from message_mentions x
join conversation_members me on me.conversation_id = x.conversation_id and me.user_id = x.user_id and me.left_at is null
where x.practice_id = $1 and x.user_id = $2
"""


def mentioned_in(body: str) -> set[UUID]:
    """Whom it names, members or not."""
    return {UUID(found) for found in MENTION.findall(body)} if OPENING in body else set()


async def store_mentions(
    tx: Transaction, said: Sequence[tuple[Actor, Message]], audiences: Mapping[UUID, Sequence[UUID]]
) -> None:
    """Of new messages, with the event that those who are named hear of. `audiences`: who is in each conversation."""
    for sender, message in said:
        if named := mentioned_in(message.body):
            users = named & set(audiences[message.conversation_id]) - {sender.user_id}
            await _insert(tx, sender, message, sorted(users))


async def change_mentions(tx: Transaction, sender: Actor, message: Message, audience: Sequence[UUID]) -> None:
    """After an edit. Who was named before hears nothing again."""
    users = mentioned_in(message.body) & set(audience) - {sender.user_id}
    before = {row["user_id"] for row in await tx.connection.fetch(LIST_MENTIONED, message.id)}
    if before - users:
        await tx.connection.execute(DELETE_OTHER_MENTIONS, message.id, sorted(users))
    await _insert(tx, sender, message, sorted(users - before))


async def list_mentions(db: Database, actor: Actor, query: PageQuery) -> Page[Message]:
    """Messages that name the actor, the newest first; of the conversations that they are in."""
    viewer = (actor.practice_id, actor.user_id)
    return await fetch_page(db, query, LIST_MENTIONS, COUNT_MENTIONS, viewer, message_of)


async def _insert(tx: Transaction, sender: Actor, message: Message, users: Sequence[UUID]) -> None:
    if not users:
        return
    rows = [(sender.practice_id, message.conversation_id, message.id, user_id, message.seq) for user_id in users]
    await tx.connection.execute(INSERT_MENTIONS, *(list(column) for column in zip(*rows, strict=True)))
    tx.record(
        Event(
            type=EventType.MEMBERS_MENTIONED,
            practice_id=sender.practice_id,
            actor_id=sender.user_id,
            subject_id=message.id,
            payload={"conversation_id": message.conversation_id, "seq": message.seq, "user_ids": users},
        )
    )
