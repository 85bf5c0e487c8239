"""Puts the counts of clients together (`wellio/practice/client_counts.py`), so that few rows tell them."""

from wellio.jobs.work import Counts, Work
from wellio.practice.client_counts import SUMMED_AT_ONCE, sum_counts


async def sum_client_counts(work: Work) -> Counts:
    summed = 0
    while True:
        count = await sum_counts(work.db)
        summed += count
        if count < SUMMED_AT_ONCE:
            return {"rows": summed}
