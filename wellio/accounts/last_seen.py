"""When people were last there: kept for who asks once they are offline. Who may know it is the caller's to say.

The clock is the database's, so that several processes agree; it only moves forward.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from wellio.db import Database

# In one order for every process, so that two can't wait for each other.
UPDATE_LAST_SEEN = """
with held as (
    select u.id, now() - make_interval(secs => g.age_s) as seen_at
    from unnest($1::uuid[], $2::uuid[], $3::float8[]) g (practice_id, user_id, age_s)
    join users u on u.practice_id = g.practice_id and u.id = g.user_id
    order by u.id
    for no key update of u
)
update users u
set last_seen_at = h.seen_at
from held h
where u.id = h.id and (u.last_seen_at is null or u.last_seen_at < h.seen_at)
"""

LIST_LAST_SEEN = """
select id, last_seen_at
from users
where practice_id = any($1::uuid[]) and id = any($2::uuid[]) and share_last_seen and last_seen_at is not null
"""


async def move_last_seen(db: Database, seen: Sequence[tuple[UUID, UUID, float]]) -> None:
    """Of each (practice_id, user_id, age_s): they were there `age_s` seconds ago."""
    await db.execute(UPDATE_LAST_SEEN, [p for p, _, _ in seen], [u for _, u, _ in seen], [age for _, _, age in seen])


async def list_last_seen(db: Database, people: Sequence[tuple[UUID, UUID]]) -> dict[UUID, datetime]:
    """Of those of `people` (practice_id, user_id) who were seen, and who show it."""
    if not people:
        return {}
    rows = await db.fetch(LIST_LAST_SEEN, [p for p, _ in people], [u for _, u in people])
    return {row["id"]: row["last_seen_at"] for row in rows}
