"""Sends the reminders that are due. What was sent is kept until long after the start."""

from datetime import UTC, datetime

from wellio.jobs.work import Counts, Work
from wellio.practice.reminders import send_due_reminders


async def send_reminders(work: Work) -> Counts:
    return {"sent": await send_due_reminders(work.outbox, datetime.now(UTC))}
