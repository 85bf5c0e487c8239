"""Deletes what has served: answers kept for repeats, sessions long ended, old runs of jobs, old mails. Never events."""

from wellio.accounts.auth_sessions import DELETE_OLD_SESSIONS
from wellio.idempotency import DELETE_OLD_KEYS, KEEP_HOURS
from wellio.jobs.runs import DELETE_OLD_RUNS
from wellio.jobs.work import Counts, Work
from wellio.outreach.mail_sender import DELETE_OLD_MAILS, KEEP_DAYS

KEEP_RUNS_DAYS = 90


async def clean_up(work: Work) -> Counts:
    return {
        "idempotency_keys": _deleted(await work.db.execute(DELETE_OLD_KEYS, KEEP_HOURS)),
        "auth_sessions": _deleted(await work.db.execute(DELETE_OLD_SESSIONS)),
        "job_runs": _deleted(await work.db.execute(DELETE_OLD_RUNS, KEEP_RUNS_DAYS)),
        "mails": _deleted(await work.db.execute(DELETE_OLD_MAILS, KEEP_DAYS)),
    }


def _deleted(status: str) -> int:
    """The 12 of `DELETE 12`."""
    return int(status.rpartition(" ")[2])
