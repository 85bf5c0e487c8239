"""A message that is about to be changed: its conversation is locked, so that changes are numbered as they commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.blocks import blocked
from wellio.chat.values import Message, message_of
from wellio.db import Row
from wellio.errors import Conflict, NotFound
from wellio.outbox import Transaction

# Only for members, so that strangers make nobody wait.
LOCK_CONVERSATION_OF = """
select c.id
from messages m
join conversations c on c.id = m.conversation_id
where m.practice_id = $1 and m.id = $3
  and exists (select from conversation_members me
              where me.conversation_id = c.id and me.user_id = $2 and me.left_at is null)
for no key update of c
"""

# A statement of its own, after the lock: it sees what those did who had the lock before.
GET_HELD = """
select m.id, m.conversation_id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to, m.attachments,
       m.reactions, m.edited_at, m.deleted_at, m.created_at, coalesce(m.changed_seq, m.seq) as changed_seq,
       c.kind, c.title, c.last_seq, c.blocked_by, me.role
from shown_messages m
join conversations c on c.id = m.conversation_id
join conversation_members me on me.conversation_id = c.id and me.user_id = $2 and me.left_at is null
where m.practice_id = $1 and m.id = $3
"""

# For an owner who settles a report, whether or not they are in the conversation.
LOCK_REPORTED = """
select c.id
from messages m
join conversations c on c.id = m.conversation_id
where m.practice_id = $1 and m.id = $2
for no key update of c
"""

GET_REPORTED = """
select m.id, m.conversation_id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to, m.attachments,
       m.reactions, m.edited_at, m.deleted_at, m.created_at, coalesce(m.changed_seq, m.seq) as changed_seq,
       c.kind, c.title, c.last_seq, c.blocked_by, 'member' as role
from shown_messages m
join conversations c on c.id = m.conversation_id
where m.practice_id = $1 and m.id = $2
"""


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """`changed_seq`: where in the log it was last sent, edited or deleted; `head_seq`: how far the log has come.

    `role` is the actor's in the conversation; `kind` and `title` are the conversation's.
    """

    message: Message
    changed_seq: int
    head_seq: int
    role: Literal["admin", "member"]
    kind: Literal["direct", "group"]
    title: str
    blocked_by: Sequence[UUID]

    def must_be_open_to(self, actor: Actor) -> None:
        """Raises Forbidden where one of two people has blocked the other: no edit or reaction passes either."""
        if self.blocked_by:
            raise blocked(actor, self.blocked_by)

    def must_be_there(self) -> None:
        """Raises Conflict for a message that was deleted."""
        if self.message.deleted_at is not None:
            raise Conflict("The message was deleted.", code="MESSAGE_DELETED")


@dataclass(frozen=True, slots=True)
class Changed:
    """A message as it is now. `seq`: where in the log it became so; what was so before keeps its place."""

    message: Message
    seq: int


async def hold_message(tx: Transaction, actor: Actor, message_id: UUID) -> HeldMessage:
    """Until the transaction ends. Raises NotFound, for who is not in its conversation too."""
    asked = (actor.practice_id, actor.user_id, message_id)
    await tx.connection.execute(LOCK_CONVERSATION_OF, *asked)
    row = await tx.connection.fetchrow(GET_HELD, *asked)
    if row is None:
        raise NotFound("No such message.")
    return _held(row)


async def hold_reported_message(tx: Transaction, practice_id: UUID, message_id: UUID) -> HeldMessage:
    """As `hold_message`, by the authority of a report: of a message that is known to be there."""
    await tx.connection.execute(LOCK_REPORTED, practice_id, message_id)
    row = await tx.connection.fetchrow(GET_REPORTED, practice_id, message_id)
    assert row is not None
    return _held(row)


def _held(row: Row) -> HeldMessage:
    return HeldMessage(
        message=message_of(row),
        changed_seq=row["changed_seq"],
        head_seq=row["last_seq"],
        role=row["role"],
        kind=row["kind"],
        title=row["title"],
        blocked_by=row["blocked_by"],
    )
