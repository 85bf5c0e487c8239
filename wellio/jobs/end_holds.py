"""Ends the holds that nobody confirmed (`wellio/practice/holds.py`); their times are free already."""

from wellio.jobs.work import Counts, Work
from wellio.practice.holds import ENDED_AT_ONCE, end_expired_holds


async def end_holds(work: Work) -> Counts:
    ended = 0
    while True:
        count = await end_expired_holds(work.outbox)
        ended += count
        if count < ENDED_AT_ONCE:
            return {"ended": ended}
