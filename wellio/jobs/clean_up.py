"""Deletes what has served: answers for repeats, ended sessions, links, and what is old of runs, mails, deliveries.

Never events. What there is much of goes a practice at a time and in batches: a long statement would hold up whoever
follows the log.
"""

from typing import Any

from wellio.accounts.auth_sessions import DELETE_OLD_REFRESH_TOKENS, DELETE_OLD_SESSIONS
from wellio.accounts.invitations import DELETE_OLD_INVITATIONS
from wellio.accounts.one_time_tokens import DELETE_OLD_TOKENS
from wellio.chat.scheduled_messages import DELETE_OLD_SCHEDULED
from wellio.chat.scheduled_messages import KEEP_DAYS as KEEP_SCHEDULED_DAYS
from wellio.idempotency import DELETE_OLD_KEYS, KEEP_HOURS
from wellio.jobs.runs import DELETE_OLD_RUNS
from wellio.jobs.work import Counts, Work
from wellio.learning.attendance_rows import STARTS_AT
from wellio.learning.attendance_store import DELETE_OLD_BOOKINGS
from wellio.learning.attendance_store import KEEP_DAYS as KEEP_BOOKINGS_DAYS
from wellio.learning.optimal_scheduling import DELETE_OLD_CHOICES
from wellio.learning.optimal_scheduling import KEEP_DAYS as KEEP_CHOICES_DAYS
from wellio.learning.quality import DELETE_OLD_OUTCOMES
from wellio.learning.quality import KEEP_DAYS as KEEP_OUTCOMES_DAYS
from wellio.learning.risk_history import DELETE_OLD_HISTORY
from wellio.learning.risk_history import KEEP_DAYS as KEEP_HISTORY_DAYS
from wellio.outreach.mail_sender import DELETE_OLD_MAILS
from wellio.outreach.mail_sender import KEEP_DAYS as KEEP_MAILS_DAYS
from wellio.outreach.webhook_deliveries import DELETE_OLD_DELIVERIES
from wellio.outreach.webhook_deliveries import KEEP_DAYS as KEEP_DELIVERIES_DAYS
from wellio.practice.reminders import DELETE_OLD_REMINDERS

AT_ONCE = 5_000
KEEP_RUNS_DAYS = 90
KEEP_REMINDERS_DAYS = 30

LIST_PRACTICES = "select id from practices order by id"


async def clean_up(work: Work, at_once: int = AT_ONCE) -> Counts:
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
        "prediction_history": await _in_batches(work, at_once, DELETE_OLD_HISTORY, KEEP_HISTORY_DAYS),
        "prediction_outcomes": await _in_batches(
            work, at_once, DELETE_OLD_OUTCOMES, KEEP_OUTCOMES_DAYS, KEEP_HISTORY_DAYS
        ),
        "attendance_bookings": await _in_batches(work, at_once, DELETE_OLD_BOOKINGS, KEEP_BOOKINGS_DAYS, STARTS_AT),
        "slot_choices": await _in_batches(work, at_once, DELETE_OLD_CHOICES, KEEP_CHOICES_DAYS),
        "webhook_deliveries": _deleted(await work.db.execute(DELETE_OLD_DELIVERIES, KEEP_DELIVERIES_DAYS)),
    }


async def _in_batches(work: Work, at_once: int, sql: str, *values: Any) -> int:
    """`sql` takes a practice, the values, and how many rows at once."""
    deleted = 0
    for practice in await work.db.fetch(LIST_PRACTICES):
        batch = at_once
        while batch == at_once:
            batch = _deleted(await work.db.execute(sql, practice["id"], *values, at_once))
            deleted += batch
    return deleted


def _deleted(status: str) -> int:
    """The 12 of `DELETE 12`."""
    return int(status.rpartition(" ")[2])
