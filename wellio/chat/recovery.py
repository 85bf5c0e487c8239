"""What a device missed that comes back soon: the entries of its conversations' logs that were made since it went.

`sync` reads from where a device says it is in each conversation; here it says only since when, for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.history import read_on
from wellio.db import Connection

# More than this, and the device is better off asking for it by `chat:sync`, at its own pace: answers of `sync`, each
# of a limited size.
MAX_MISSED, MAX_ANSWERS = 1000, 4

# first_seq: of the entries made after $3, looking back over the newest $4. What was written before the person joined
# was never theirs to miss. Each entry is looked up by its key: heads first, and the log only where there is something.
LIST_RECENT = """
select m.conversation_id, c.last_seq, h.created_at as written_at,
       case when h.created_at > greatest($3, m.joined_at) then (
           select min(e.seq)
           from (select l.seq, l.created_at from conversation_events l
                 where l.conversation_id = m.conversation_id order by l.seq desc limit $4) e
           where e.created_at > greatest($3, m.joined_at))
       end as first_seq
from conversation_members m
join conversations c on c.practice_id = m.practice_id and c.id = m.conversation_id
left join lateral (
    select l.created_at from conversation_events l where l.conversation_id = c.id and l.seq = c.last_seq limit 1
) h on true
where m.practice_id = $1 and m.user_id = $2 and m.left_at is null
order by h.created_at desc
"""


@dataclass(frozen=True, slots=True)
class Recent:
    """`heads`: the last seq of each conversation of a person; `first`: of those written to, the first seq since;
    `written`: when last, those most lately written to first."""

    heads: Mapping[UUID, int]
    first: Mapping[UUID, int]
    written: Mapping[UUID, datetime]

    @property
    def count(self) -> int:
        return sum(self.heads[conversation_id] - seq + 1 for conversation_id, seq in self.first.items())

    def written_since(self, time: datetime) -> list[UUID]:
        return [conversation_id for conversation_id, written_at in self.written.items() if written_at > time]


async def list_recent(connection: Connection, actor: Actor, since: datetime) -> Recent:
    """How far the actor's conversations have come, and where each was at `since`."""
    rows = await connection.fetch(LIST_RECENT, actor.practice_id, actor.user_id, since, MAX_MISSED + 1)
    return Recent(
        heads={row["conversation_id"]: row["last_seq"] for row in rows},
        first={row["conversation_id"]: row["first_seq"] for row in rows if row["first_seq"] is not None},
        written={row["conversation_id"]: row["written_at"] for row in rows if row["written_at"] is not None},
    )


async def list_missed(connection: Connection, actor: Actor, recent: Recent) -> Sequence[Mapping[str, Any]] | None:
    """The entries since then, each as it would be pushed with its event's name as `type`; of each conversation in
    order. None when they are too many."""
    if recent.count > MAX_MISSED:
        return None
    cursors = {conversation_id: seq - 1 for conversation_id, seq in recent.first.items()}
    missed: list[Mapping[str, Any]] = []
    for _ in range(MAX_ANSWERS):
        synced = await read_on(connection, actor, cursors, limit=MAX_MISSED)
        missed += [event for each in synced for event in each.events]
        left = [each for each in synced if each.has_more]
        cursors = {each.id: each.events[-1]["seq"] if each.events else cursors[each.id] for each in left}
        if not cursors:
            return missed
    return None
