"""Deletes what has served: answers for repeats, ended sessions, links, and what is old of runs, mails, deliveries.

Never events.
"""

from wellio.accounts.auth_sessions import DELETE_OLD_REFRESH_TOKENS, DELETE_OLD_SESSIONS
from wellio.accounts.invitations import DELETE_OLD_INVITATIONS
from wellio.accounts.one_time_tokens import DELETE_OLD_TOKENS
from wellio.chat.scheduled_messages import DELETE_OLD_SCHEDULED
from wellio.chat.scheduled_messages import KEEP_DAYS as KEEP_SCHEDULED_DAYS
from wellio.idempotency import DELETE_OLD_KEYS, KEEP_HOURS
from wellio.jobs.runs import DELETE_OLD_RUNS
from wellio.jobs.work import Counts, Work
from wellio.learning.risk_history import DELETE_OLD_HISTORY
from wellio.learning.risk_history import KEEP_DAYS as KEEP_HISTORY_DAYS
from wellio.outreach.mail_sender import DELETE_OLD_MAILS
from wellio.outreach.mail_sender import KEEP_DAYS as KEEP_MAILS_DAYS
from wellio.outreach.webhook_deliveries import DELETE_OLD_DELIVERIES
from wellio.outreach.webhook_deliveries import KEEP_DAYS as KEEP_DELIVERIES_DAYS
from wellio.practice.reminders import DELETE_OLD_REMINDERS

KEEP_RUNS_DAYS = 90
KEEP_REMINDERS_DAYS = 30


async def clean_up(work: Work) -> Counts:
    return {
        "idempotency_keys": _deleted(await work.db.execute(DELETE_OLD_KEYS, KEEP_HOURS)),
        "auth_sessions": _deleted(await work.db.execute(DELETE_OLD_SESSIONS)),
        "refresh_tokens": _deleted(await work.db.execute(DELETE_OLD_REFRESH_TOKENS)),
        "one_time_tokens": _deleted(await work.db.execute(DELETE_OLD_TOKENS)),
        "invitations": _deleted(await work.db.execute(DELETE_OLD_INVITATIONS)),
        "job_runs": _deleted(await work.db.execute(DELETE_OLD_RUNS, KEEP_RUNS_DAYS)),
        "reminders_sent": _deleted(await work.db.execute(DELETE_OLD_REMINDERS, KEEP_REMINDERS_DAYS)),
        "mails": _deleted(await work.db.execute(DELETE_OLD_MAILS, KEEP_MAILS_DAYS)),
        "scheduled_messages": _deleted(await work.db.execute(DELETE_OLD_SCHEDULED, KEEP_SCHEDULED_DAYS)),
        "prediction_history": _deleted(await work.db.execute(DELETE_OLD_HISTORY, KEEP_HISTORY_DAYS)),
        "webhook_deliveries": _deleted(await work.db.execute(DELETE_OLD_DELIVERIES, KEEP_DELIVERIES_DAYS)),
    }


def _deleted(status: str) -> int:
    """The 12 of `DELETE 12`."""
    return int(status.rpartition(" ")[2])
