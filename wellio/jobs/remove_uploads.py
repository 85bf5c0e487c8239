"""Removes files that nothing needs: of deleted messages, never attached for a day, or left by interrupted uploads."""

from wellio.jobs.work import Counts, Work
from wellio.practice.uploads import remove_old_uploads


async def remove_uploads(work: Work) -> Counts:
    if work.files is None:
        return {"uploads": 0}
    return {"uploads": await remove_old_uploads(work.db, work.files)}
