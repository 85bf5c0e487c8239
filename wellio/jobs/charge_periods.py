"""Charges the periods of subscriptions as they begin, by the local date of each practice, and grants their credits.

What was due while nothing ran is charged late, period by period. The database lets no period be charged twice.
"""

from datetime import UTC, datetime

from wellio.jobs.work import Counts, Work
from wellio.practice.subscriptions import charge_due_periods, list_practices_with_due

# In one transaction, so that it stays short.
AT_ONCE = 100


async def charge_periods(work: Work) -> Counts:
    return {"subscriptions": await charge_periods_at(work, datetime.now(UTC))}


async def charge_periods_at(work: Work, now: datetime) -> int:
    charged = 0
    for practice_id, zone in await list_practices_with_due(work.db, now):
        while count := await charge_due_periods(work.outbox, practice_id, zone, now, at_most=AT_ONCE):
            charged += count
    return charged
