"""The command's run, from the file to the figures."""

import asyncio
import gc
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

from rich.console import Console

from wellio.accounts.passwords import Passwords
from wellio.accounts.practices import DEFAULT_HORIZON_DAYS
from wellio.consumers import next_retry
from wellio.db import Database
from wellio.embedded import EmbeddedError
from wellio.errors import StartupError, Unavailable, WellioError
from wellio.events import Cursor
from wellio.jobs.command import find_database, migrated
from wellio.leader import Leadership
from wellio.learning.follower import ask_to_save, get_place
from wellio.learning.quality import score_predictions, warm_up
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.outbox import Outbox
from wellio.practice.history import (
    History,
    NewOwner,
    Replay,
    end_replay,
    find_practice,
    get_last_cursor,
    get_replay,
    new_practice,
    register_with_history,
    start_replay,
)
from wellio.practice.history_files import Batch, Batches, HistoryError, Survey, first_time, open_history, skip, survey
from wellio.practice.history_lines import LineParser, kinds_of
from wellio.replay.options import DEFAULT_CURRENCY, Options, read_options
from wellio.replay.report import SHOWN_BAD_LINES, Teller, calibration_table, quality_table
from wellio.subscriptions import learner

ROOT = Path(__file__).parent.parent.parent
# Events in the log that are not learnt yet: so many at most, because what happens in other practices waits behind them.
MOST_AHEAD = 1500
POLL_S = 0.02
# Without a step of the learner for so long nobody learns.
STALL_S = 60.0
# How long the database may be away: a restart, a failover.
PATIENCE_S = 180.0

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process: 0 when all was taken, 1 when not, 2 for a wrong command, 130 when interrupted."""
    options = read_options(arguments)
    out, told = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with ExitStack() as stack:
            url = find_database(stack)
            gc.freeze()  # what is loaded by now stays; walking it again and again would cost 50 ms each time
            asyncio.run(_replay(url, options, Teller(out, told)))
    except (StartupError, HistoryError, WellioError, EmbeddedError) as error:
        told.print(f"replay: {error}", markup=False)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        told.print("replay: stopped; the same command goes on after the last whole batch.", markup=False)
        raise SystemExit(130) from None


async def _replay(url: str, options: Options, teller: Teller) -> None:
    found = await asyncio.to_thread(survey, options.path)
    _refuse_unknown_types(found, options)
    async with migrated(url) as db:
        outbox = Outbox(db)
        replay = await _open_replay(outbox, options, found, teller)
        if replay.lines_done < found.lines:
            replay = await _take(url, outbox, options, found, replay, teller)
        else:
            teller.say(f"All {replay.events_done:,} events of this file were taken before.")
        await _score(outbox, replay, teller)
    if found.damaged_at is not None:
        raise HistoryError(
            f"The file is damaged at line {found.damaged_at:,} ({found.damage}). Taken are the whole batches before, "
            f"up to line {replay.lines_done:,}; with a sound copy the same command goes on from there."
        )


def _refuse_unknown_types(found: Survey, options: Options) -> None:
    known = kinds_of(active=options.active, context=options.context)
    unknown = {name: line for name, line in found.types.items() if name not in known}
    if unknown:
        listed = ", ".join(f"{name!a} (line {line:,})" for name, line in list(unknown.items())[:SHOWN_BAD_LINES])
        raise HistoryError(
            f"The file has types of events that Wellio does not know: {listed}. Nothing was taken. Say what each is: "
            "--active TYPE for what clients do (it shows that they stay), --context TYPE for the rest."
        )


async def _open_replay(outbox: Outbox, options: Options, found: Survey, teller: Teller) -> Replay:
    """The practice's history, as far as it is there; for a new practice its beginning."""
    practice = await find_practice(outbox.db, options.practice)
    if practice is None:
        return await _register(outbox, options, found, teller)
    for name, wanted, has in (
        ("--horizon", options.horizon_days, practice.churn_horizon_days),
        ("--currency", options.currency, practice.currency),
    ):
        if wanted not in (None, has):
            raise HistoryError(f"The practice {practice.name} has {name} {has} already, and keeps it.")
    before = await get_replay(outbox.db, practice)
    if before and before.lines_done:
        await asyncio.to_thread(_check_beginning, options.path, before)
        if before.lines_done >= found.lines:
            return before
        teller.say(f"{practice.name}: going on after line {before.lines_done:,}.")
    return await start_replay(outbox, practice, options.path.name)


async def _register(outbox: Outbox, options: Options, found: Survey, teller: Teller) -> Replay:
    currency = options.currency or DEFAULT_CURRENCY
    since = await asyncio.to_thread(first_time, options.path, _parser(options, found, currency))
    practice = await new_practice(
        outbox.db,
        options.practice,
        currency=currency,
        horizon_days=options.horizon_days or DEFAULT_HORIZON_DAYS,
        since=since,
    )
    owner = NewOwner(f"owner.{practice.id.hex[-12:]}@wellio.example", secrets.token_urlsafe(18))
    replay = await register_with_history(outbox, Passwords(), practice, options.path.name, owner=owner, since=since)
    teller.say(f"New practice {practice.name} ({practice.id}). Its owner logs in with")
    teller.say(f"  {owner.email}  {owner.password}   (shown this once)")
    return replay


def _check_beginning(path: Path, before: Replay) -> None:
    with open_history(path) as reader:
        skip(reader, before.lines_done, before.digest)


def _parser(options: Options, found: Survey, currency: str) -> LineParser:
    kinds = kinds_of(active=options.active, context=options.context)
    return LineParser(found.columns, kinds, currency, datetime.now(UTC))


async def _take(url: str, outbox: Outbox, options: Options, found: Survey, replay: Replay, teller: Teller) -> Replay:
    """Takes the lines after those done, and has them learnt."""
    history = History(outbox, replay)
    metrics = Metrics()
    leadership = Leadership(url, learner(outbox, Live(), metrics).run, metrics)
    await leadership.start()
    try:
        async with teller.progress(found.lines, replay.lines_done):
            await _write(outbox, options, found, history, teller)
            if found.damaged_at is None:
                await patiently(partial(end_replay, outbox, history.replay))
            await patiently(partial(_wait_until_learnt, outbox, history.replay, replay.events_done, teller))
        elsewhere = "" if leadership.held else " They were learnt by the Wellio that is running."
        teller.summary()
        after = history.replay
        teller.say(f"{after.lines_done - 1:,} lines done, {after.lines_refused:,} of them refused.{elsewhere}")
        return after
    finally:
        await leadership.stop()


async def _write(outbox: Outbox, options: Options, found: Survey, history: History, teller: Teller) -> None:
    before = history.replay.events_done
    parser = _parser(options, found, history.replay.practice.currency)
    pace = Pace(outbox.db)
    with ExitStack() as stack:
        batches = await asyncio.to_thread(_open_batches, stack, options, history.replay, parser)
        while (batch := await asyncio.to_thread(batches.next)) is not None:
            _stop_on_error(options, batch)
            await patiently(pace.wait)
            pace.wrote(await patiently(partial(history.take, batch)), len(batch.entries))
            teller.bad_lines(batch.refused)
            teller.show(history.replay.lines_done, history.replay.events_done - before - pace.ahead)


def _open_batches(stack: ExitStack, options: Options, replay: Replay, parser: LineParser) -> Batches:
    reader = stack.enter_context(open_history(options.path))
    skip(reader, max(1, replay.lines_done), replay.digest if replay.lines_done else None)
    return Batches(reader, parser, size=options.batch_lines, last_at=replay.last_at)


def _stop_on_error(options: Options, batch: Batch) -> None:
    if options.stop_on_error and batch.refused:
        number, reason = batch.refused[0]
        raise HistoryError(f"line {number:,} {reason}. Its batch was refused whole, as --on-error stop wants.")


async def _wait_until_learnt(outbox: Outbox, replay: Replay, before: int, teller: Teller) -> None:
    """Until the practice's last event is learnt, and all that was learnt of it is saved."""
    end = await get_last_cursor(outbox.db, replay.practice)
    pace = Pace(outbox.db)
    while await pace.look() < end:  # noqa: ASYNC110 (it may be another process that learns)
        await asyncio.sleep(POLL_S)
    teller.show(replay.lines_done, replay.events_done - before)
    if not await ask_to_save(outbox.db, end, within_s=STALL_S):
        raise HistoryError("The learner was not saved: no process leads. Run the same command again.")


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Does `work` again while the database is away, for some minutes. Raises Unavailable when it stays away."""
    until = monotonic() + PATIENCE_S
    retry_s = 0.0
    while True:
        try:
            return await work()
        except Unavailable:
            if monotonic() > until:
                raise
            retry_s = next_retry(retry_s)
            await asyncio.sleep(retry_s)


class Pace:
    """Keeps the writer near the learner, and notices when nobody learns any more."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._place = Cursor()
        self._moved_at = monotonic()
        self._waiting: deque[tuple[int, int]] = deque()  # batches not known to be learnt: transaction, events
        self.ahead = 0

    def wrote(self, xid: int, events: int) -> None:
        self._waiting.append((xid, events))
        self.ahead += events

    async def wait(self) -> None:
        """Until the learner is no further behind than it may be."""
        while self.ahead >= MOST_AHEAD:
            place = await self.look()
            while self._waiting and self._waiting[0][0] < place.xid:
                self.ahead -= self._waiting.popleft()[1]
            if self.ahead >= MOST_AHEAD:
                await asyncio.sleep(POLL_S)

    async def look(self) -> Cursor:
        """The learner's place. Raises HistoryError when it has long been the same."""
        try:
            place = await get_place(self._db)
        except Unavailable:
            self._moved_at = monotonic()  # nor can the learner move
            raise
        if place != self._place:
            self._place, self._moved_at = place, monotonic()
        elif monotonic() - self._moved_at > STALL_S:
            raise HistoryError(f"Nobody has learnt for {STALL_S:.0f} s: see what the running Wellio is doing.")
        return place


async def _score(outbox: Outbox, replay: Replay, teller: Teller) -> None:
    """Figures of the predictions made along the way."""
    if replay.first_at is None:
        return
    horizon = replay.practice.churn_horizon_days
    since = replay.first_at + warm_up(horizon)
    qualities = await score_predictions(outbox.db, replay.practice.id, since=since)
    if not qualities:
        teller.say(f"Nothing to score yet: the first questions count {2 * horizon + 28} days after the first event.")
        return
    teller.say(f"\nPredictions of no activity in {horizon} days, each scored before it was learnt:")
    teller.out.print(quality_table(qualities))
    teller.say("Calibration of the weekly ones:" if qualities[0].kind == "weekly" else "Calibration:")
    teller.out.print(calibration_table(qualities[0]))
