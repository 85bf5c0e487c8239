"""What a member keeps of a conversation for themself: whether it is muted, or archived.

A muted conversation makes no notification, but for who is mentioned; what is unread is counted all the same. An
archived one is left out of the list until the next message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.errors import Invalid, NotFound
from wellio.live import Live
from wellio.outbox import Outbox
from wellio.values import Input, Moment

UPDATE_MUTE = """
update conversation_members m
set muted = $4, muted_until = $5
from conversations c
where m.practice_id = $1 and m.user_id = $2 and m.conversation_id = $3 and m.left_at is null
  and c.practice_id = m.practice_id and c.id = m.conversation_id
returning m.conversation_id, m.muted, m.muted_until, coalesce(m.archived_at_count = c.message_count, false) as archived
"""

UPDATE_ARCHIVED = """
update conversation_members m
set archived_at_count = case when $4 then c.message_count end
from conversations c
where m.practice_id = $1 and m.user_id = $2 and m.conversation_id = $3 and m.left_at is null
  and c.practice_id = m.practice_id and c.id = m.conversation_id
returning m.conversation_id, m.muted and coalesce(m.muted_until > now(), true) as muted, m.muted_until,
          coalesce(m.archived_at_count = c.message_count, false) as archived
"""


class Mute(Input):
    """`until` null: until it is unmuted."""

    until: Moment | None = None


@dataclass(frozen=True, slots=True)
class ConversationSettings:
    """Of the caller alone. `muted_until` is null for a conversation that is muted without an end."""

    conversation_id: UUID
    muted: bool
    muted_until: datetime | None
    archived: bool


async def mute_conversation(
    outbox: Outbox, live: Live, actor: Actor, conversation_id: UUID, mute: Mute
) -> ConversationSettings:
    """Raises NotFound, Invalid for an end that is past."""
    if mute.until is not None and mute.until <= datetime.now(UTC):
        raise Invalid.field("until", "Must be in the future.")
    return await _change(outbox, live, actor, conversation_id, UPDATE_MUTE, (True, mute.until))


async def unmute_conversation(outbox: Outbox, live: Live, actor: Actor, conversation_id: UUID) -> ConversationSettings:
    """Raises NotFound."""
    return await _change(outbox, live, actor, conversation_id, UPDATE_MUTE, (False, None))


async def archive_conversation(
    outbox: Outbox, live: Live, actor: Actor, conversation_id: UUID, *, archived: bool
) -> ConversationSettings:
    """Until the next message, or not any more. Raises NotFound."""
    return await _change(outbox, live, actor, conversation_id, UPDATE_ARCHIVED, (archived,))


async def _change(
    outbox: Outbox, live: Live, actor: Actor, conversation_id: UUID, statement: str, values: Sequence[Any]
) -> ConversationSettings:
    async with outbox.transaction() as tx:
        member = (actor.practice_id, actor.user_id, conversation_id)
        row = await tx.connection.fetchrow(statement, *member, *values)
        if row is None:
            raise NotFound("No such conversation.")
    settings = ConversationSettings(**row)
    live.publish([actor.user_id], "conversation:settings", settings)
    return settings
