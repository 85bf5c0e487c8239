"""The funnel of onboarding: how far the clients came who were added in a period, and how long it took them.

It begins with the client's entry; of the steps between there are those that leave a trace today.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from wellio.accounts.actors import Actor
from wellio.db import Database, Row
from wellio.practice.report_scope import PeriodQuery, report_scope
from wellio.practice.summary import rate

Step = Literal["added", "invited", "joined", "booked", "attended", "paid"]
STEPS: tuple[Step, ...] = ("added", "invited", "joined", "booked", "attended", "paid")

# When each step was taken first; a step that came before the entry (an imported history) took no time.
COUNT_STEPS = """
with added as materialized (
    select c.id, c.user_id, c.created_at
    from clients c
    where c.practice_id = $1 and ($2::uuid is null or c.coach_id = $2) and c.created_at >= $3 and c.created_at < $4
), invitations_of as (
    select i.client_id, min(i.created_at) as invited_at, min(i.accepted_at) as accepted_at
    from invitations i
    where i.practice_id = $1 and i.client_id is not null
    group by i.client_id
), steps as (
    select v.step, v.at, v.taken,
           extract(epoch from greatest(v.at - a.created_at, interval '0'))::float8 / 86400 as days
    from added a
    left join invitations_of i on i.client_id = a.id
    left join lateral (
        select min(least(p.booked_at, p.starts_at)) as booked_at,
               min(p.starts_at) filter (where p.status = 'attended') as attended_at
        from session_participants p
        where p.practice_id = $1 and p.client_id = a.id
    ) s on true
    left join lateral (
        select min(m.paid_at) as paid_at from payments m
        where m.practice_id = $1 and m.client_id = a.id and m.kind = 'payment'
    ) m on true
    cross join lateral (values
        ('added', a.created_at, true),
        ('invited', i.invited_at, i.invited_at is not null),
        ('joined', i.accepted_at, i.accepted_at is not null or a.user_id is not null),
        ('booked', s.booked_at, s.booked_at is not null),
        ('attended', s.attended_at, s.attended_at is not null),
        ('paid', m.paid_at, m.paid_at is not null)
    ) v (step, at, taken)
)
select step, count(*) filter (where taken) as clients,
       percentile_cont(0.5) within group (order by days) filter (where at is not null) as median_days
from steps
group by step
"""


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """`rate`: of all who were added. `median_days`: from the entry to the step, of those who took it."""

    step: Step
    clients: int
    rate: float | None
    median_days: float | None


@dataclass(frozen=True, slots=True)
class OnboardingFunnel:
    """Every step counts by itself: who was never invited may still have booked."""

    timezone: str
    from_date: date
    to_date: date
    steps: Sequence[FunnelStep]


async def onboarding_funnel(db: Database, actor: Actor, query: PeriodQuery) -> OnboardingFunnel:
    """An owner's is of all clients or of a coach's, a coach's of their own. Raises Invalid. Three queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        span = scope.spans(query)[0]
        rows = await connection.fetch(COUNT_STEPS, scope.practice_id, scope.coach_id, *span.instants(scope.zone))
    found = {row["step"]: row for row in rows}
    return OnboardingFunnel(scope.zone.key, span.first, span.end, [_step(step, found) for step in STEPS])


def _step(step: Step, found: dict[Step, Row]) -> FunnelStep:
    row = found.get(step)
    if row is None:
        return FunnelStep(step, 0, None, None)
    days = row["median_days"]
    added = found["added"]["clients"]
    return FunnelStep(step, row["clients"], rate(row["clients"], added), None if days is None else round(days, 2))
