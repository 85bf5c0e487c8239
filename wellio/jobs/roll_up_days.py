"""Keeps what each day of a practice came to (`wellio/practice/rollups.py`)."""

from wellio.jobs.work import Counts, Work
from wellio.practice.rollups import roll_up


async def roll_up_days(work: Work) -> Counts:
    practices, days = await roll_up(work.db, work.told)
    return {"practices": practices, "days": days}


async def rebuild_rollups(work: Work) -> Counts:
    """Counts every day there is anew."""
    practices, days = await roll_up(work.db, work.told, anew=True)
    return {"practices": practices, "days": days}
