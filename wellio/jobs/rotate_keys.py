"""Seals anew, with the first of ENCRYPTION_KEYS, what an earlier key has sealed (`wellio/resealing.py`)."""

from wellio.jobs.work import Counts, Work
from wellio.resealing import reseal


async def rotate_keys(work: Work) -> Counts:
    if work.sealer is None:
        return {"resealed": 0, "not_opened": 0}
    done = await reseal(work.db, work.sealer)
    return {"resealed": done.count, "not_opened": done.not_opened.total()}
