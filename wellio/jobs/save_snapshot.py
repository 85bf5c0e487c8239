"""Has the learner saved, so that little is to be learnt again after a crash.

The state lives in the process that leads, so this asks it to save and waits until it has; the same whether the schedule
or a person at the command line wants it.
"""

from wellio.errors import Unavailable
from wellio.jobs.work import Counts, Work
from wellio.learning.follower import ask_to_save, get_place, is_saved

WAIT_S = 45.0


async def save_snapshot(work: Work) -> Counts:
    """Raises Unavailable when no process learns, or not in time."""
    place = await get_place(work.db)
    if await is_saved(work.db, place):
        return {"saved": 0}
    if not await ask_to_save(work.db, place, within_s=WAIT_S):
        raise Unavailable(f"The learner was not saved within {WAIT_S:.0f} s: no process leads, or it is held up.")
    return {"saved": 1}
