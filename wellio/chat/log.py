"""The log of a conversation: all that happened in it, numbered 1, 2, 3… without holes. `chat:sync` reads it.

Messages write their own entries (`batches.py`); everything else that a client has to learn goes through here, in the
transaction that changes it, and is pushed after its commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Row
from wellio.errors import NotFound
from wellio.live import Live, Place
from wellio.outbox import Transaction

EntryType = Literal["message:updated", "message:deleted", "reaction:changed", "member:changed", "conversation:updated"]

# Whoever writes to the log holds this lock first: entries are numbered in the order in which they commit. The actor's
# own row too, so that who had to wait, and was removed meanwhile, is not taken for a member by an old snapshot.
LOCK_CONVERSATION = """
select c.id, c.kind, c.title, c.slow_mode_s, c.blocked_by, c.version, m.role
from conversations c
join conversation_members m on m.conversation_id = c.id and m.user_id = $2 and m.left_at is null
where c.practice_id = $1 and c.id = $3
for no key update of c, m
"""

APPEND = """
with head as (
    update conversations set last_seq = last_seq + cardinality($6::jsonb[]) where practice_id = $1 and id = $2
    returning last_seq - cardinality($6::jsonb[]) as before
)
insert into conversation_events (conversation_id, seq, practice_id, type, message_id, actor_id, data, created_at)
select $2, h.before + d.n, $1, $3, $4, $5, d.data, $7
from head h, unnest($6::jsonb[]) with ordinality d (data, n)
order by d.n
returning seq
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """`data`: what is told beside `conversation_id` and `seq`, as it is pushed."""

    type: EntryType
    conversation_id: UUID
    seq: int
    data: Mapping[str, Any]
    created_at: datetime


async def lock_conversation(tx: Transaction, actor: Actor, conversation_id: UUID) -> Row:
    """The row with `id, kind, title, slow_mode_s, blocked_by, version` and the actor's `role` in it.

    Raises NotFound, for strangers too.
    """
    row = await tx.connection.fetchrow(LOCK_CONVERSATION, actor.practice_id, actor.user_id, conversation_id)
    if row is None:
        raise NotFound("No such conversation.")
    return row


async def append(
    tx: Transaction,
    actor: Actor,
    conversation_id: UUID,
    entry_type: EntryType,
    data: Mapping[str, Any],
    *,
    message_id: UUID | None = None,
) -> Entry:
    """Writes the next entry of a conversation that is locked.

    A `message:updated` names its message and keeps no `data`: who catches up gets the message as it is by then.
    """
    (entry,) = await append_all(tx, actor, conversation_id, entry_type, [data], message_id=message_id)
    return entry


async def append_all(
    tx: Transaction,
    actor: Actor,
    conversation_id: UUID,
    entry_type: EntryType,
    data: Sequence[Mapping[str, Any]],
    *,
    message_id: UUID | None = None,
) -> list[Entry]:
    """As `append`, several entries of one type in their order."""
    kept = [None if entry_type == "message:updated" else each for each in data]
    now = datetime.now(UTC)
    rows = await tx.connection.fetch(
        APPEND, actor.practice_id, conversation_id, entry_type, message_id, actor.user_id, kept, now
    )
    return [Entry(entry_type, conversation_id, row["seq"], each, now) for row, each in zip(rows, data, strict=True)]


def publish_entry(live: Live, user_ids: Iterable[UUID], entry: Entry) -> None:
    """After the commit, to the members."""
    data = {"conversation_id": entry.conversation_id, "seq": entry.seq, **entry.data}
    place = Place(entry.conversation_id, entry.seq, entry.created_at)
    live.publish(user_ids, entry.type, data, place=place)
