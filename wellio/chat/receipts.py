"""How far people have read, and what is unread."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor
from wellio.db import Connection, Database
from wellio.errors import NotFound
from wellio.live import Live
from wellio.values import Input

Seq = Annotated[int, Field(ge=0, le=2**62, strict=True)]
MAX_DELIVERED = 100

# Neither moves back, nor past the end of the conversation. What was read was delivered.
UPDATE_READ = """
update conversation_members m
set last_read_seq = least($4, c.last_seq),
    last_delivered_seq = greatest(m.last_delivered_seq, least($4, c.last_seq))
from conversations c
where m.practice_id = $1 and m.user_id = $2 and m.conversation_id = $3 and m.left_at is null
  and c.practice_id = m.practice_id and c.id = m.conversation_id
  and m.last_read_seq < least($4, c.last_seq)
"""

UPDATE_DELIVERED = """
update conversation_members m
set last_delivered_seq = least(d.seq, c.last_seq)
from unnest($3::uuid[], $4::bigint[]) d (conversation_id, seq), conversations c
where m.practice_id = $1 and m.user_id = $2 and m.conversation_id = d.conversation_id and m.left_at is null
  and c.practice_id = m.practice_id and c.id = m.conversation_id
  and m.last_delivered_seq < least(d.seq, c.last_seq)
returning m.conversation_id, m.last_read_seq, m.last_delivered_seq
"""

# Of two people one of whom has blocked the other, nobody but $3, whose receipts they are.
LIST_AUDIENCES = """
select m.conversation_id, array_agg(m.user_id) as user_ids
from conversation_members m
join conversations c on c.practice_id = m.practice_id and c.id = m.conversation_id
where m.practice_id = $1 and m.conversation_id = any($2::uuid[]) and m.left_at is null
  and (c.blocked_by = '{}' or m.user_id = $3)
group by m.conversation_id
"""

GET_READ_STATE = """
select m.last_read_seq, m.last_delivered_seq,
       (select count(*) from messages x
        where x.conversation_id = m.conversation_id and x.seq > m.last_read_seq and x.sender_id <> m.user_id
          and x.deleted_at is null) as unread
from conversation_members m
where m.practice_id = $1 and m.user_id = $2 and m.conversation_id = $3 and m.left_at is null
"""

COUNT_ALL_UNREAD = """
select count(*)
from conversation_members m
join messages x on x.conversation_id = m.conversation_id and x.seq > m.last_read_seq
where m.practice_id = $1 and m.user_id = $2 and m.left_at is null
  and x.sender_id <> m.user_id and x.deleted_at is null
"""


class ReadUpTo(Input):
    """Everything up to `seq` was read; a seq past the end means all there is."""

    seq: Seq


class DeliveredUpTo(Input):
    """A device has everything up to `seq`; a seq past the end means all there is."""

    seq: Seq


class Delivered(Input):
    conversation_id: UUID
    seq: Seq


@dataclass(frozen=True, slots=True)
class ReadState:
    """`unread`: others' messages after `last_read_seq`, exactly."""

    last_read_seq: int
    unread: int


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """As far as any device of the caller has a conversation."""

    last_delivered_seq: int


@dataclass(frozen=True, slots=True)
class UnreadCount:
    unread: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """How far a member has received and read a conversation; pushed to all of its members."""

    conversation_id: UUID
    user_id: UUID
    delivered_seq: int
    read_seq: int


async def mark_read(db: Database, live: Live, actor: Actor, conversation_id: UUID, read: ReadUpTo) -> ReadState:
    """Raises NotFound."""
    member = (actor.practice_id, actor.user_id, conversation_id)
    async with db.transaction() as connection:
        moved = await connection.execute(UPDATE_READ, *member, read.seq) != "UPDATE 0"
        row = await connection.fetchrow(GET_READ_STATE, *member)
        if row is None:
            raise NotFound("No such conversation.")
        audience = await _list_audiences(connection, actor, [conversation_id] if moved else [])
    if moved:
        receipt = Receipt(conversation_id, actor.user_id, row["last_delivered_seq"], row["last_read_seq"])
        _publish(live, audience, receipt)
    return ReadState(row["last_read_seq"], row["unread"])


async def mark_delivered(db: Database, live: Live, actor: Actor, items: Sequence[Delivered]) -> None:
    """What of it is new is told to the others; a conversation the actor is not in is passed over."""
    highest: dict[UUID, int] = {}
    for item in items:
        highest[item.conversation_id] = max(item.seq, highest.get(item.conversation_id, 0))
    ids = sorted(highest)
    async with db.transaction() as connection:
        rows = await connection.fetch(
            UPDATE_DELIVERED, actor.practice_id, actor.user_id, ids, [highest[i] for i in ids]
        )
        audiences = await _list_audiences(connection, actor, [row["conversation_id"] for row in rows])
    for row in rows:
        receipt = Receipt(row["conversation_id"], actor.user_id, row["last_delivered_seq"], row["last_read_seq"])
        _publish(live, audiences, receipt)


async def mark_conversation_delivered(
    db: Database, live: Live, actor: Actor, conversation_id: UUID, delivered: DeliveredUpTo
) -> DeliveryState:
    """`mark_delivered` for one conversation. Raises NotFound."""
    await mark_delivered(db, live, actor, [Delivered(conversation_id=conversation_id, seq=delivered.seq)])
    row = await db.fetchrow(GET_READ_STATE, actor.practice_id, actor.user_id, conversation_id)
    if row is None:
        raise NotFound("No such conversation.")
    return DeliveryState(row["last_delivered_seq"])


async def count_unread(db: Database | Connection, actor: Actor) -> UnreadCount:
    """Over all of the actor's conversations."""
    return UnreadCount(await db.fetchval(COUNT_ALL_UNREAD, actor.practice_id, actor.user_id))


async def _list_audiences(connection: Connection, actor: Actor, ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    if not ids:
        return {}
    rows = await connection.fetch(LIST_AUDIENCES, actor.practice_id, ids, actor.user_id)
    return {row["conversation_id"]: row["user_ids"] for row in rows}


def _publish(live: Live, audiences: dict[UUID, list[UUID]], receipt: Receipt) -> None:
    # Ephemeral: a device that misses one learns the state from its next chat:sync.
    live.publish(audiences[receipt.conversation_id], "receipt", receipt, ephemeral=True)
