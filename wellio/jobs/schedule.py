"""The schedule: each job with its time. It runs in the process that leads, and the only use of APScheduler is here.

APScheduler tells when; what is due is claimed in `job_runs` by (name, due time), so no due time has two runs, and one
that passed while nobody led is run late, once. Times are UTC: no hour is skipped or doubled by daylight saving.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from wellio.consumers import told
from wellio.errors import NotFound, Unavailable
from wellio.jobs.charge_periods import charge_periods
from wellio.jobs.clean_up import clean_up
from wellio.jobs.end_holds import end_holds
from wellio.jobs.expire_credits import expire_credits
from wellio.jobs.follow_zones import follow_zones
from wellio.jobs.mark_no_shows import mark_no_shows
from wellio.jobs.mature_labels import mature_labels
from wellio.jobs.move_waitlists import move_waitlists
from wellio.jobs.remove_uploads import remove_uploads
from wellio.jobs.roll_up_days import rebuild_rollups, roll_up_days
from wellio.jobs.rotate_keys import rotate_keys
from wellio.jobs.runs import abandon_runs, claim_run, finish_run
from wellio.jobs.save_snapshot import save_snapshot
from wellio.jobs.send_reminders import send_reminders
from wellio.jobs.sum_client_counts import sum_client_counts
from wellio.jobs.work import Counts, Function, Work
from wellio.metrics import Metrics
from wellio.tasks import end_tasks

log = logging.getLogger(__name__)

# APScheduler's own default is one second: a loop that is late by more would skip the run without a word.
MISFIRE_GRACE_S = 3600


@dataclass(frozen=True, slots=True)
class Job:
    """`by_learner`: it is the learner that does the work, so some process must lead. `at_start`: also when a process
    begins to lead."""

    name: str
    function: Function
    trigger: Any  # of APScheduler
    about: str
    by_learner: bool = False
    at_start: bool = False


JOBS = (
    Job("mature_labels", mature_labels, CronTrigger(minute=7, timezone=UTC), "hourly: let silence be seen"),
    Job(
        "save_snapshot",
        save_snapshot,
        CronTrigger(second=0, timezone=UTC),
        "each minute: save the learner",
        by_learner=True,
    ),
    Job(
        "charge_periods",
        charge_periods,
        CronTrigger(minute="2-59/15", timezone=UTC),
        "each quarter of an hour, as days begin in every zone: charge subscriptions",
    ),
    Job("expire_credits", expire_credits, CronTrigger(minute=22, timezone=UTC), "hourly: write off ended credits"),
    Job(
        "move_waitlists", move_waitlists, CronTrigger(second=30, timezone=UTC), "each minute: free places for who waits"
    ),
    Job("clean_up", clean_up, CronTrigger(hour=3, minute=17, timezone=UTC), "nightly: delete what has served"),
    Job(
        "rotate_keys",
        rotate_keys,
        CronTrigger(minute=37, timezone=UTC),
        "hourly: seal anew what an earlier key has sealed",
    ),
    Job(
        "send_reminders",
        send_reminders,
        CronTrigger(second=20, timezone=UTC),
        "each minute: remind people of their sessions",
    ),
    Job(
        "follow_zones",
        follow_zones,
        CronTrigger(hour=2, minute=41, timezone=UTC),
        "nightly and at start: keep the wall times of sessions when a zone's rules change",
        at_start=True,
    ),
    Job(
        "mark_no_shows",
        mark_no_shows,
        CronTrigger(minute="*/5", second=40, timezone=UTC),
        "every five minutes: sessions that nobody joined were missed, where the policy says so",
    ),
    Job(
        "sum_client_counts",
        sum_client_counts,
        CronTrigger(second=50, timezone=UTC),
        "each minute: put together what changes have added to the counts of clients",
    ),
    Job(
        "roll_up_days",
        roll_up_days,
        CronTrigger(second=5, timezone=UTC),
        "each minute: count the days anew on which something changed",
    ),
    Job(
        "rebuild_rollups",
        rebuild_rollups,
        CronTrigger(day="1st sun", hour=4, minute=11, timezone=UTC),
        "monthly: count every day anew, as time zones may have got other rules",
    ),
    Job(
        "remove_uploads",
        remove_uploads,
        CronTrigger(minute="*/10", second=50, timezone=UTC),
        "every ten minutes: files of deleted messages, and those that nobody attached",
    ),
    Job("end_holds", end_holds, CronTrigger(second=20, timezone=UTC), "each minute: end holds that nobody confirmed"),
)


class Schedule:
    """Runs the jobs at their times for as long as `run` is not cancelled."""

    def __init__(self, work: Work, metrics: Metrics, jobs: tuple[Job, ...] = JOBS) -> None:
        self._work = work
        self._metrics = metrics
        self._jobs = {job.name: job for job in jobs}

    async def run(self) -> None:
        await abandon_runs(self._work.db)
        executor = _TaskExecutor(self._run_due)
        scheduler = AsyncIOScheduler(timezone=UTC, executors={"default": executor})
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": MISFIRE_GRACE_S}
        for job in self._jobs.values():
            scheduler.add_job(_never_called, job.trigger, id=job.name, **defaults)
        scheduler.start()
        try:
            for job in self._jobs.values():
                if due_at := last_due(job.trigger, datetime.now(UTC)):
                    executor.begin(job.name, due_at)
                if job.at_start:
                    executor.begin(job.name, datetime.now(UTC))
            await asyncio.Event().wait()
        finally:
            scheduler.shutdown(wait=False)
            await executor.end()

    async def _run_due(self, name: str, due_at: datetime) -> None:
        """Raises nothing: a job that fails is recorded, and is due again at its next time."""
        try:
            run_id = await claim_run(self._work.db, name, due_at)
            if run_id:
                await run_job(self._jobs[name], self._work, run_id, self._metrics)
        except Unavailable:
            log.warning("A job could not be run or recorded: the database is away", extra={"job": name})
        except Exception:
            log.exception("A job failed", extra={"job": name})


async def run_job(job: Job, work: Work, run_id: Any, metrics: Metrics) -> Counts:
    """Runs a claimed run and records how it ended. Raises what the job raised."""
    outcome, counts, error = "abandoned", {}, None
    try:
        counts = await job.function(work)
        outcome = "done"
        return counts
    except Exception as failure:
        outcome, error = "failed", told(failure)
        raise
    finally:
        metrics.job_runs.labels(job.name, outcome).inc()
        await finish_run(work.db, run_id, outcome, counts=counts, error=error)


def find_job(name: str) -> Job:
    """Raises NotFound."""
    for job in JOBS:
        if job.name == name:
            return job
    raise NotFound(f"No job is called {name!r}; there are {', '.join(job.name for job in JOBS)}.")


async def run_by_hand(name: str, work: Work, metrics: Metrics) -> Counts:
    """Runs one job now, recorded as the others. Raises NotFound for no job's name, and what the job raises."""
    job = find_job(name)
    run_id = await claim_run(work.db, name, datetime.now(UTC), by_hand=True)
    return await run_job(job, work, run_id, metrics)


def last_due(trigger: Any, now: datetime) -> datetime | None:
    """The trigger's last time up to `now`; None when it has none within a year."""
    back = timedelta(minutes=2)
    while back < timedelta(days=400):
        due, later = None, trigger.get_next_fire_time(None, now - back)
        while later is not None and later <= now:
            due, later = later, trigger.get_next_fire_time(later, later + timedelta(microseconds=1))
        if due is not None:
            return due.astimezone(UTC)  # type: ignore[no-any-return]
        back *= 8
    return None


class _TaskExecutor(BaseExecutor):  # type: ignore[misc]
    """Runs a due job as a task that this process owns, and hands it the due time, which APScheduler's own keeps."""

    def __init__(self, run_due: Callable[[str, datetime], Awaitable[None]]) -> None:
        super().__init__()
        self._run_due = run_due
        self._tasks: set[asyncio.Future[None]] = set()

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        task = self.begin(job.id, run_times[-1].astimezone(UTC))
        task.add_done_callback(lambda _: self._run_job_success(job.id, []))

    def begin(self, name: str, due_at: datetime) -> "asyncio.Future[None]":
        task = asyncio.ensure_future(self._run_due(name, due_at))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        await end_tasks(self._tasks)


def _never_called() -> None:
    """APScheduler wants a function; `_TaskExecutor` goes by the job's name."""
