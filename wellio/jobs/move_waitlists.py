"""Moves the waitlists on: ends offers that have passed, and offers or gives the places that are free to the next.

Whoever uses a place does the same before; this is for those whom nobody's doing tells.
"""

from wellio.jobs.work import Counts, Work
from wellio.practice.waitlist import list_due_groups, move_waitlist


async def move_waitlists(work: Work) -> Counts:
    due = await list_due_groups(work.db)
    for practice_id, group_id in due:
        await move_waitlist(work.outbox, practice_id, group_id)
    return {"groups": len(due)}
