"""Each due time of a job has one run, recorded, on whichever process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import eventually
from wellio.db import Database
from wellio.errors import NotFound, Unavailable
from wellio.jobs.runs import abandon_runs, claim_run, finish_run, list_last_runs
from wellio.jobs.schedule import JOBS, Job, Schedule, last_due, run_by_hand, run_job
from wellio.jobs.work import Counts, Work
from wellio.metrics import Metrics
from wellio.outbox import Outbox

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


class Task:
    """A job that counts its runs."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.runs = 0
        self.failure = failure

    async def __call__(self, work: Work) -> Counts:
        self.runs += 1
        if self.failure:
            raise self.failure
        return {"things": 3}

    def job(self, trigger: Any = None) -> Job:
        return Job("task", self, trigger or CronTrigger(hour=3, timezone=UTC), "for the test")


@asynccontextmanager
async def running(*schedules: Schedule) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(schedule.run()) for schedule in schedules]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def outcomes(db: Database) -> list[str]:
    return [row["outcome"] for row in await db.fetch("select outcome from job_runs order by started_at")]


def has_run(db: Database, count: int) -> Callable[[], Any]:
    async def check() -> bool:
        return (await outcomes(db)).count("done") >= count

    return check


async def test_due_time_that_passed_while_nobody_led_is_run_late_once(db: Database) -> None:
    task = Task()
    for _ in range(2):  # the second leader finds it done
        async with running(Schedule(Work(Outbox(db)), Metrics(), (task.job(),))):
            await eventually(has_run(db, 1))
    assert task.runs == 1
    row = await db.fetchrow("select name, due_at, outcome, counts, error, by_hand, ended_at from job_runs")
    assert row is not None
    due_at = row["due_at"]
    assert (due_at.hour, due_at.minute) == (3, 0)
    assert datetime.now(UTC) - due_at < timedelta(days=1)
    assert row["ended_at"] is not None
    assert (row["name"], row["outcome"], row["counts"]) == ("task", "done", {"things": 3})
    assert (row["error"], row["by_hand"]) == (None, False)


async def test_two_processes_run_each_due_time_once(db: Database) -> None:
    """As when a hung leader wakes up beside its successor."""
    task = Task()
    schedules = [Schedule(Work(Outbox(db)), Metrics(), (task.job(),)) for _ in range(2)]
    dues = [NOON + timedelta(days=i) for i in range(20)]
    await asyncio.gather(*[schedule._run_due("task", due) for due in dues for schedule in schedules])
    assert task.runs == 20
    assert await outcomes(db) == ["done"] * 20


async def test_runs_go_by_the_time_they_were_due(db: Database) -> None:
    task = Task()
    every = IntervalTrigger(seconds=1, start_date=datetime(2026, 1, 1, tzinfo=UTC), timezone=UTC)
    async with running(Schedule(Work(Outbox(db)), Metrics(), (task.job(every),))):
        await eventually(has_run(db, 3))
    dues = [row["due_at"] for row in await db.fetch("select due_at from job_runs order by due_at")]
    assert task.runs == len(dues) == len(set(dues))
    assert all(due.microsecond == 0 for due in dues)


async def test_failure_is_recorded_logged_once_and_the_job_is_due_again(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    task, metrics = Task(ValueError("the reason\nand more")), Metrics()
    async with running(Schedule(Work(Outbox(db)), metrics, (task.job(),))):
        await eventually(lambda: _ended(db))
    row = await db.fetchrow("select outcome, error, ended_at from job_runs")
    assert row is not None
    assert (row["outcome"], row["error"]) == ("failed", "ValueError: the reason")
    assert len([r for r in caplog.records if r.exc_info]) == 1
    assert metrics.job_runs.labels("task", "failed")._value.get() == 1
    task.failure = None
    run_id = await claim_run(db, "task", datetime.now(UTC))
    assert await run_job(task.job(), Work(Outbox(db)), run_id, metrics) == {"things": 3}


async def _ended(db: Database) -> bool:
    return bool(await db.fetchval("select exists (select from job_runs where ended_at is not null)"))


async def test_run_of_a_dead_process_is_abandoned_and_begun_again(db: Database) -> None:
    task = Task()
    due_at = last_due(task.job().trigger, datetime.now(UTC))
    assert due_at is not None
    assert await claim_run(db, "task", due_at)  # …and here its process was killed
    assert await claim_run(db, "task", due_at) is None
    async with running(Schedule(Work(Outbox(db)), Metrics(), (task.job(),))):
        await eventually(has_run(db, 1))
    assert task.runs == 1
    assert await outcomes(db) == ["done"]


async def test_late_end_of_an_abandoned_run_changes_nothing(db: Database) -> None:
    run_id = await claim_run(db, "task", NOON)
    assert run_id is not None
    await abandon_runs(db)
    await finish_run(db, run_id, "done", counts={})
    assert await outcomes(db) == ["abandoned"]


async def test_run_by_hand_is_left_alone_by_a_new_leader(db: Database) -> None:
    assert await claim_run(db, "task", NOON, by_hand=True)
    await abandon_runs(db)
    assert await outcomes(db) == ["running"]
    await db.execute("update job_runs set started_at = now() - interval '7 hours'")
    await abandon_runs(db)
    assert await outcomes(db) == ["abandoned"]


async def test_cancelled_run_is_recorded_as_abandoned(db: Database) -> None:
    begun = asyncio.Event()

    async def never_ends(work: Work) -> Counts:
        begun.set()
        await asyncio.Event().wait()
        return {}

    job = Job("task", never_ends, CronTrigger(hour=3, timezone=UTC), "for the test")
    async with running(Schedule(Work(Outbox(db)), Metrics(), (job,))):
        await begun.wait()
    assert await outcomes(db) == ["abandoned"]


async def test_job_by_hand_is_recorded_and_told(db: Database) -> None:
    work = Work(Outbox(db))
    assert await run_by_hand("mature_labels", work, Metrics()) == {"practices": 0}
    (run,) = await list_last_runs(db)
    assert (run.name, run.outcome, run.by_hand, run.counts) == ("mature_labels", "done", True, {"practices": 0})
    with pytest.raises(NotFound, match="there are mature_labels, save_snapshot, "):
        await run_by_hand("mature_label", work, Metrics())


async def test_database_that_is_away_is_no_failure_of_the_job(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    task = Task(Unavailable("away"))
    schedule = Schedule(Work(Outbox(db)), Metrics(), (task.job(),))
    await schedule._run_due("task", NOON)
    assert not [r for r in caplog.records if r.exc_info]
    assert await outcomes(db) == ["failed"]


@given(minutes=st.integers(0, 60 * 24 * 30))
def test_last_due_time_is_the_latest_that_has_passed(minutes: int) -> None:
    now = NOON + timedelta(minutes=minutes, seconds=30)
    for job in JOBS:
        due = last_due(job.trigger, now)
        assert due is not None
        assert due <= now
        after = job.trigger.get_next_fire_time(None, due + timedelta(microseconds=1))
        assert after > now
        assert job.trigger.get_next_fire_time(None, due) == due


def test_trigger_that_never_fires_has_no_last_due_time() -> None:
    assert last_due(CronTrigger(year=1999, timezone=UTC), NOON) is None
