"""Marks sessions as missed that nobody joined, in practices that want it (`auto_no_show_minutes` of the policy)."""

from wellio.jobs.work import Counts, Work
from wellio.practice.attendance import MARKED_AT_ONCE, mark_missed


async def mark_no_shows(work: Work) -> Counts:
    marked = 0
    while True:
        count = await mark_missed(work.outbox)
        marked += count
        if count < MARKED_AT_ONCE:
            return {"marked": marked}
