"""Runs of jobs, as recorded: a due time has one run, whoever asks and however often."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wellio.db import Database, Row
from wellio.ids import uuid7
from wellio.jobs.work import Counts

# A run by hand belongs to a process that nobody knows; after so long it can't be alive.
HAND_HOURS = 6

# A run that its process did not live to end may be begun again.
CLAIM_RUN = """
insert into job_runs (id, name, due_at, started_at, by_hand)
values ($1, $2, $3, now(), $4)
on conflict on constraint job_runs_due_key do update
set id = excluded.id, started_at = now(), ended_at = null, outcome = 'running', error = null
where job_runs.outcome = 'abandoned'
returning id
"""

FINISH_RUN = """
update job_runs
set ended_at = now(), outcome = $2, counts = $3, error = $4
where id = $1 and outcome = 'running'
"""

# The one leader runs the scheduled ones: what still runs when a leader begins has lost its process.
ABANDON_RUNS = """
update job_runs
set ended_at = now(), outcome = 'abandoned'
where outcome = 'running' and (not by_hand or started_at < now() - make_interval(hours => $1))
"""

LIST_LAST_RUNS = """
select distinct on (name) name, due_at, started_at, ended_at, outcome, counts, error, by_hand
from job_runs
order by name, started_at desc
"""

DELETE_OLD_RUNS = "delete from job_runs where started_at < now() - make_interval(days => $1)"


@dataclass(frozen=True, slots=True)
class Run:
    name: str
    due_at: datetime
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    counts: Counts
    error: str | None
    by_hand: bool


async def claim_run(db: Database, name: str, due_at: datetime, *, by_hand: bool = False) -> UUID | None:
    """The run's id; None when that due time has its run already."""
    run_id: UUID | None = await db.fetchval(CLAIM_RUN, uuid7(), name, due_at, by_hand)
    return run_id


async def finish_run(db: Database, run_id: UUID, outcome: str, *, counts: Counts, error: str | None = None) -> None:
    await db.execute(FINISH_RUN, run_id, outcome, counts, error)


async def abandon_runs(db: Database) -> None:
    """Marks the runs that a dead process left behind; called when a leader begins."""
    await db.execute(ABANDON_RUNS, HAND_HOURS)


async def list_last_runs(db: Database) -> list[Run]:
    """The latest run of each job that ever ran."""
    return [_run(row) for row in await db.fetch(LIST_LAST_RUNS)]


def _run(row: Row) -> Run:
    return Run(**dict(row))
