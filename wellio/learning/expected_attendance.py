"""Who is expected to come: what the attendance model said of places that are booked, when each was booked or moved.

Of whom the model knew too little to say (fewer than 200 outcomes on the installation), or was not asked (recorded after
it began), nothing is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Connection, Database
from wellio.learning.attendance_features import PRIOR_RATE
from wellio.learning.attendance_rows import KNOWN_AT, PROBABILITY_AT

SOON = timedelta(days=2)
# What is usual before anything is known: who is less likely to come may be worth a reminder.
UNLIKELY_BELOW = PRIOR_RATE
UNLIKELY_LIMIT = 5

# $6 and $7: where a booking's numbers hold the answer, and whether the model knew enough for it.
SUM_EXPECTED = """
select count(*) as booked, count(*) filter (where b.numbers[$7] = 1) as foretold,
       avg(b.numbers[$6]) filter (where b.numbers[$7] = 1) as probability
from sessions s
join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id and p.status = 'booked'
left join attendance_bookings b on b.practice_id = p.practice_id and b.session_id = p.session_id
    and b.client_id = p.client_id and b.attended is null
where s.practice_id = $1 and ($2::uuid is null or s.coach_id = $2) and s.starts_at >= $3 and s.starts_at < $4
  and s.ends_at > $5 and s.status in ('scheduled', 'in_progress')
"""

LIST_UNLIKELY = """
select s.id as session_id, p.client_id, c.first_name || ' ' || c.last_name as client_name, s.starts_at,
       b.numbers[$6] as probability
from visible_sessions($1, $2, $3) s
join session_participants p on p.practice_id = $1 and p.session_id = s.id and p.status = 'booked'
join attendance_bookings b on b.practice_id = $1 and b.session_id = s.id and b.client_id = p.client_id
    and b.attended is null
join clients c on c.practice_id = $1 and c.id = p.client_id
where s.starts_at > $4 and s.starts_at < $5 and s.status = 'scheduled' and b.numbers[$7] = 1 and b.numbers[$6] < $8
order by probability, s.starts_at, p.client_id
limit $9
"""


@dataclass(frozen=True, slots=True)
class ExpectedAttendance:
    """Of places `booked` in sessions that are not over. `probability`: that a client comes, the mean of those
    `foretold`; null where there are none. not_enough_history: places are booked, and none is foretold."""

    status: Literal["ok", "not_enough_history"]
    booked: int
    foretold: int
    probability: float | None


@dataclass(frozen=True, slots=True)
class UnlikelyPlace:
    """A booked place that may well be missed. `probability`: that the client comes."""

    session_id: UUID
    client_id: UUID
    client_name: str
    starts_at: datetime
    probability: float


async def expected_attendance(
    db: Database | Connection, practice_id: UUID, coach_id: UUID | None, first: datetime, end: datetime, now: datetime
) -> ExpectedAttendance:
    """Of sessions that begin in [first, end), of a coach or of all. The caller has checked who may see them."""
    row = await db.fetchrow(SUM_EXPECTED, practice_id, coach_id, first, end, now, PROBABILITY_AT, KNOWN_AT)
    assert row is not None  # an aggregate
    return ExpectedAttendance(
        status="not_enough_history" if row["booked"] and not row["foretold"] else "ok",
        booked=row["booked"],
        foretold=row["foretold"],
        probability=round(row["probability"], 4) if row["foretold"] else None,
    )


async def list_unlikely_places(db: Database, actor: Actor, now: datetime) -> Sequence[UnlikelyPlace]:
    """Of the sessions that begin soon and the actor sees, the likeliest to be missed first."""
    window = (now, now + SOON)
    rows = await db.fetch(
        LIST_UNLIKELY, *actor.scope, *window, PROBABILITY_AT, KNOWN_AT, UNLIKELY_BELOW, UNLIKELY_LIMIT
    )
    return [UnlikelyPlace(**dict(row)) for row in rows]
