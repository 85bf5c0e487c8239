"""Who may know that a person is online: those who share a conversation or a coaching relation with them, and of whom
neither has blocked the other."""

from collections.abc import Sequence
from uuid import UUID

from wellio.db import Connection, Database

# $1, $2: the people (practice and user); $3: whom of the others it matters to. One row for each of those.
LIST_ACQUAINTANCES = """
with people as (select * from unnest($1::uuid[], $2::uuid[]) w (practice_id, user_id)),
pairs as (
    select o.user_id as viewer_id, p.user_id
    from people p
    join conversation_members m on m.practice_id = p.practice_id and m.user_id = p.user_id and m.left_at is null
    join conversation_members o on o.conversation_id = m.conversation_id and o.left_at is null
    union
    select c.coach_id, p.user_id
    from people p
    join clients c on c.practice_id = p.practice_id and c.user_id = p.user_id
    union
    select c.user_id, p.user_id
    from people p
    join clients c on c.practice_id = p.practice_id and c.coach_id = p.user_id
)
select viewer_id, array_agg(user_id) as user_ids
from pairs q
where viewer_id = any($3::uuid[])
  and not exists (
      select from user_blocks b
      where b.practice_id = any($1::uuid[])
        and ((b.user_id = q.viewer_id and b.blocked_id = q.user_id)
             or (b.user_id = q.user_id and b.blocked_id = q.viewer_id)))
group by viewer_id
"""

# All that one person ($2) is acquainted with, however many others are online.
LIST_ACQUAINTED = """
with others as (
    select o.user_id
    from conversation_members m
    join conversation_members o on o.conversation_id = m.conversation_id and o.left_at is null
    where m.practice_id = $1 and m.user_id = $2 and m.left_at is null
    union
    select c.coach_id from clients c where c.practice_id = $1 and c.user_id = $2
    union
    select c.user_id from clients c where c.practice_id = $1 and c.coach_id = $2
)
select array_agg(q.user_id)
from others q
where q.user_id <> $2
  and not exists (
      select from user_blocks b
      where b.practice_id = $1
        and ((b.user_id = $2 and b.blocked_id = q.user_id) or (b.user_id = q.user_id and b.blocked_id = $2)))
"""


async def list_acquainted(connection: Connection, practice_id: UUID, user_id: UUID) -> list[UUID]:
    """Everybody whose presence a person may see."""
    return await connection.fetchval(LIST_ACQUAINTED, practice_id, user_id) or []


async def list_acquaintances(
    db: Database, people: Sequence[tuple[UUID, UUID]], viewers: Sequence[UUID]
) -> dict[UUID, list[UUID]]:
    """Of each viewer: whom of `people` (practice_id, user_id) they are acquainted with."""
    rows = await db.fetch(LIST_ACQUAINTANCES, [p for p, _ in people], [u for _, u in people], viewers)
    return {row["viewer_id"]: row["user_ids"] for row in rows}
