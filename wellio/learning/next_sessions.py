"""When a client is next expected, which the learner does not know: it is told beside the reasons, and changes none."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from wellio.db import Connection, Database

# Whoever the session is with. The day is the practice's.
LIST_NEXT_SESSIONS = """
select n.client_id, n.starts_at, 'has a session booked on '
       || to_char(n.starts_at at time zone r.timezone, 'FMDay, FMDD FMMonth YYYY') as text
from (
    select p.practice_id, p.client_id, min(p.starts_at) as starts_at
    from unnest($1::uuid[], $2::uuid[]) t (practice_id, client_id)
    join session_participants p using (practice_id, client_id)
    join sessions s on s.practice_id = p.practice_id and s.id = p.session_id and s.status = 'scheduled'
    where p.status = 'booked' and p.starts_at > now()
    group by p.practice_id, p.client_id
) n
join practices r on r.id = n.practice_id
"""


class NextSession(NamedTuple):
    starts_at: datetime
    text: str


async def list_next_sessions(
    db: Database | Connection, practice_ids: Sequence[UUID], client_ids: Sequence[UUID]
) -> dict[UUID, NextSession]:
    """By client, of those who have one. Whether the clients may be seen, the caller has checked."""
    rows = await db.fetch(LIST_NEXT_SESSIONS, practice_ids, client_ids)
    return {row["client_id"]: NextSession(row["starts_at"], row["text"]) for row in rows}
