"""Writes off credits that have ended: they could not be used any more; now the ledger says so as well."""

from datetime import UTC, datetime

from wellio.jobs.work import Counts, Work
from wellio.practice.credit_lots import expire_lots

AT_ONCE = 200


async def expire_credits(work: Work) -> Counts:
    expired, now = 0, datetime.now(UTC)
    while count := await expire_lots(work.outbox, now, at_most=AT_ONCE):
        expired += count
    return {"lots": expired}
