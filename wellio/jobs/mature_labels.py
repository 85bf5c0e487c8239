"""Lets silence be seen: writes the hour into the log of each practice that is in use.

A silent client emits nothing, so labels that fall due and weekly questions wait for the practice's next event. This is
that event. The learner reads no clock: what it learns stays a function of the log.
"""

from datetime import UTC, datetime

from wellio.events import Event, EventType
from wellio.jobs.work import Counts, Work

# After three weeks without any event the learner takes a practice for closed; ticks go on a little longer.
LIVELY_DAYS = 35

# Not while a past is being replayed into it: a tick of today would end that past.
LIST_LIVELY_PRACTICES = """
select p.id
from practices p
where not exists (select from replays r where r.practice_id = p.id and r.ended_at is null)
  and exists (
      select from clients c
      where c.practice_id = p.id
        and exists (
            select from events e
            where e.practice_id = c.practice_id and e.client_id = c.id
              and e.occurred_at > now() - make_interval(days => $1)
        )
  )
order by p.id
"""


async def mature_labels(work: Work) -> Counts:
    now = datetime.now(UTC)
    async with work.outbox.transaction() as tx:
        rows = await tx.connection.fetch(LIST_LIVELY_PRACTICES, LIVELY_DAYS)
        tx.record(*[Event(type=EventType.CLOCK_TICKED, practice_id=row["id"], occurred_at=now) for row in rows])
    return {"practices": len(rows)}
