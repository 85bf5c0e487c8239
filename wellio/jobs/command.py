"""`bin/job [NAME]`: runs one job by hand, or tells how each went the last time."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager

import asyncpg
from rich.console import Console
from rich.table import Table

from wellio.config import encryption_keys_of, load_config
from wellio.db import Database, open_database
from wellio.embedded import EmbeddedError, attach_or_start
from wellio.errors import StartupError, WellioError
from wellio.jobs.runs import Run, list_last_runs
from wellio.jobs.schedule import JOBS, find_job, run_by_hand
from wellio.jobs.work import Work
from wellio.leader import Leadership
from wellio.learning.follower import Follower
from wellio.live import Live
from wellio.logs import set_up_logging
from wellio.metrics import Metrics
from wellio.migrations import migrate
from wellio.outbox import Outbox
from wellio.practice.upload_files import uploads_in
from wellio.sealing import Sealer

# Makes the learner that stands in where no Wellio runs: see `wellio/subscriptions.py`.
MakeLearner = Callable[[Outbox, Live, Metrics], Follower]


def main(make_learner: MakeLearner, arguments: Sequence[str] | None = None) -> None:
    """Ends the process: 0 when the job is done, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="job", description="Runs one job now; without a name, lists them.")
    parser.add_argument("name", nargs="?", help=", ".join(job.name for job in JOBS))
    name = parser.parse_args(arguments).name
    try:
        with ExitStack() as stack:
            asyncio.run(_main(find_database(stack), name, make_learner))
    except (StartupError, WellioError, EmbeddedError) as error:
        sys.stderr.write(f"job: {error}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def find_database(stack: ExitStack) -> str:
    """DATABASE_URL, or the embedded server of the data folder, started when no Wellio runs there."""
    config = load_config()
    set_up_logging("warning", json=config.production or not sys.stderr.isatty())
    if config.database_url:
        return config.database_url
    return stack.enter_context(attach_or_start(config.data_dir, redis=False)).database_url


def find_sealer() -> Sealer:
    """With the keys that a Wellio started here would have."""
    return Sealer(encryption_keys_of(load_config()))


@asynccontextmanager
async def migrated(url: str) -> AsyncIterator[Database]:
    """Raises StartupError for a database that can't be reached or brought up to date."""
    try:
        await migrate(load_config().migration_database_url or url)
        db = await open_database(url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StartupError(f"Can't use the database: {error}") from error
    try:
        yield db
    finally:
        await db.close()


async def _main(url: str, name: str | None, make_learner: MakeLearner) -> None:
    console = Console(highlight=False, soft_wrap=True)
    async with migrated(url) as db:
        if name is None:
            console.print(_table(await list_last_runs(db)))
            return
        work = Work(Outbox(db), find_sealer(), uploads_in(load_config().data_dir), console.print)
        metrics = Metrics()
        # Looked for a name that is wrong before anything is started.
        leads = find_job(name).by_learner
        leadership = Leadership(url, make_learner(work.outbox, Live(), metrics).run, metrics)
        if leads:
            await leadership.start()
        try:
            counts = await run_by_hand(name, work, metrics)
        finally:
            await leadership.stop()
        figures = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items())
        console.print(f"{name}: done ({figures})", markup=False)


def _table(runs: Sequence[Run]) -> Table:
    last = {run.name: run for run in runs}
    table = Table("job", "when and what", "last run", "outcome", box=None)
    for job in JOBS:
        run = last.get(job.name)
        when = f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC" if run else "never"
        table.add_row(job.name, job.about, when, _outcome(run) if run else "")
    return table


def _outcome(run: Run) -> str:
    counts = ", ".join(f"{what} {count}" for what, count in run.counts.items())
    return " ".join(part for part in (run.outcome, counts and f"({counts})", run.error) if part)
