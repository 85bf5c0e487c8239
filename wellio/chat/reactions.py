"""Reactions to messages: an emoji of a person on a message, set or not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import emoji as unicode_emoji
from pydantic import AfterValidator, Field

from wellio.accounts.actors import Actor
from wellio.chat.conversations import list_member_ids
from wellio.chat.held_messages import Changed, HeldMessage, hold_message
from wellio.chat.log import append, publish_entry
from wellio.chat.values import Message
from wellio.errors import Conflict
from wellio.live import Live
from wellio.outbox import Outbox, Transaction

# Different ones on a message.
MAX_EMOJIS = 20
VARIATION = "\ufe0f"
# Every emoji of Unicode's emoji-test.txt (UTS #51) that stands for itself: sequences with skin tones and joiners, flags
# and keycaps too. With and without the variation selectors that keyboards leave out, it is the same one.
EMOJIS: Mapping[str, str] = {
    form.replace(VARIATION, ""): form
    for form, data in unicode_emoji.EMOJI_DATA.items()
    if data["status"] == unicode_emoji.STATUS["fully_qualified"]
}

INSERT_REACTION = """
with counted as (update messages set reaction_count = reaction_count + 1 where practice_id = $1 and id = $3)
insert into message_reactions (practice_id, conversation_id, message_id, user_id, emoji, seq)
values ($1, $2, $3, $4, $5, $6)
"""

DELETE_REACTION = """
with counted as (update messages set reaction_count = reaction_count - 1 where practice_id = $1 and id = $2)
delete from message_reactions where message_id = $2 and user_id = $3 and emoji = $4
"""

GET_SEQ = "select seq from message_reactions where message_id = $1 and user_id = $2 and emoji = $3"


def one_emoji(text: str) -> str:
    """In its fully qualified form. Raises ValueError."""
    form = EMOJIS.get(text.replace(VARIATION, ""))
    if form is None:
        raise ValueError("must be one emoji")
    return form


Emoji = Annotated[str, Field(max_length=40, examples=["👍"]), AfterValidator(one_emoji)]


async def set_reaction(outbox: Outbox, live: Live, actor: Actor, message_id: UUID, emoji: str, *, on: bool) -> Changed:
    """What is so already changes nothing. Raises NotFound, Conflict (deleted, or too many different ones)."""
    async with outbox.transaction() as tx:
        held = await hold_message(tx, actor, message_id)
        message = held.message
        if (actor.user_id in message.reactions.get(emoji, ())) == on:
            return Changed(message, await _seq_before(tx, actor, held, emoji))
        if on:
            held.must_be_open_to(actor)
            _check_room(held, emoji)
        told: dict[str, Any] = {"message_id": message.id, "user_id": actor.user_id, "emoji": emoji, "on": on}
        entry = await append(tx, actor, message.conversation_id, "reaction:changed", told, message_id=message.id)
        await _store(tx, actor, message, emoji, seq=entry.seq if on else None)
        audience = await list_member_ids(tx.connection, actor, message.conversation_id)
    publish_entry(live, audience, entry)
    return Changed(replace(message, reactions=_changed(message, actor.user_id, emoji, on=on)), entry.seq)


async def _seq_before(tx: Transaction, actor: Actor, held: HeldMessage, emoji: str) -> int:
    """Where it was set; of what is not set, how far the log has come."""
    seq: int | None = await tx.connection.fetchval(GET_SEQ, held.message.id, actor.user_id, emoji)
    return seq or held.head_seq


def _check_room(held: HeldMessage, emoji: str) -> None:
    held.must_be_there()
    if len(held.message.reactions) >= MAX_EMOJIS and emoji not in held.message.reactions:
        raise Conflict(f"A message takes {MAX_EMOJIS} different emojis; use one of these.", code="TOO_MANY_EMOJIS")


async def _store(tx: Transaction, actor: Actor, message: Message, emoji: str, *, seq: int | None) -> None:
    if seq is None:
        await tx.connection.execute(DELETE_REACTION, actor.practice_id, message.id, actor.user_id, emoji)
    else:
        place = (actor.practice_id, message.conversation_id, message.id, actor.user_id)
        await tx.connection.execute(INSERT_REACTION, *place, emoji, seq)


def _changed(message: Message, user_id: UUID, emoji: str, *, on: bool) -> Mapping[str, Sequence[UUID]]:
    others = [other for other in message.reactions.get(emoji, ()) if other != user_id]
    changed = {**message.reactions, emoji: [*others, user_id] if on else others}
    return {each: users for each, users in changed.items() if users}
