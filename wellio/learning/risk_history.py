"""A client's risk over time: what was told and, of a past brought in, what was asked and came to pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wellio.db import Connection
from wellio.learning.answers import Band, Status, band_of

KEEP_DAYS = 400
MOST = 400

# So many of a practice's at once.
DELETE_OLD_HISTORY = """
delete from prediction_history
where (practice_id, client_id, day) in (
    select h.practice_id, h.client_id, h.day
    from prediction_history h
    where h.practice_id = $1 and h.day < current_date - $2::integer
    limit $3)
"""

# An outcome's probability is the one shown when it was asked, and its event, if it was asked after one, is the client's
# at that moment.
LIST_RISK_HISTORY = """
with told as (
    select h.day, h.as_of, h.probability, h.status, h.engagement, h.event_id
    from prediction_history h
    where h.practice_id = $1 and h.client_id = $2
    order by h.day desc
    limit $3::integer
),
asked as (
    select distinct on (day) (o.asked_at at time zone 'UTC')::date as day, o.asked_at as as_of,
           case when o.status = 'ok' then o.probability else o.rule end as probability, o.status,
           null::double precision as engagement,
           case when o.kind = 'event' then (
               select e.id
               from events e
               where e.practice_id = $1 and e.client_id = $2 and e.occurred_at = o.asked_at
               order by e.position desc
               limit 1
           ) end as event_id
    from prediction_outcomes o
    where o.practice_id = $1 and o.client_id = $2
      and o.asked_at > (select max(asked_at) from prediction_outcomes where practice_id = $1 and client_id = $2)
                       - make_interval(days => $3::integer)
    order by day, o.asked_at desc
)
select p.as_of, p.probability, p.status, p.engagement, p.event_id, e.type as event_type
from (
    select * from told
    union all
    select * from asked a where not exists (select from told t where t.day = a.day)
    order by day desc
    limit $3::integer
) p
left join events e on e.id = p.event_id
order by p.as_of
"""


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """The last prediction of a day. `event_type`, `event_id`: what moved it; null when only time had passed.

    `engagement` is null on days of a past that was brought in.
    """

    as_of: datetime
    probability: float
    band: Band
    status: Status
    engagement: float | None
    event_id: UUID | None
    event_type: str | None


async def list_risk_history(connection: Connection, practice_id: UUID, client_id: UUID) -> Sequence[RiskPoint]:
    """The newest MOST, the oldest of these first. Whether the client may be seen, the caller has checked."""
    rows = await connection.fetch(LIST_RISK_HISTORY, practice_id, client_id, MOST)
    return [RiskPoint(band=band_of(row["probability"]), **dict(row)) for row in rows]
