#!/usr/bin/env python3
"""For how long the event loop waits during a Monday of 100,000 clients: labels due, hazard learning, questions,
ranking, predictions stored, the state saved, all by the leading process's own follower on a real PostgreSQL.

    .venv/bin/python bench/checkpoint_lag.py [--clients 100000] [--practices 1]      own PostgreSQL in a new folder

The horizon is four weeks, so that a Monday's labels fall due on the Monday as well: more at once than there ever is
with 30 days. Lag is how long after it should a timer goes off that is due each millisecond; one held up for 100 ms
makes 100 late ones, as many as there would be requests. `own` is the same without what other programs of the machine
took: no longer than the loop's thread computed meanwhile. Prints one JSON object, milliseconds: of the state's loading,
of the Monday until all is stored, of saving.
"""

import argparse
import asyncio
import gc
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

sys.path.insert(0, str(Path(__file__).parent.parent))

from wellio.accounts.practices import Practice, insert_practice
from wellio.app import spare_garbage_collection
from wellio.db import Database, open_database
from wellio.embedded import start
from wellio.events import Cursor, Event, EventType
from wellio.ids import uuid7
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY, FIRST_MONDAY, WEEK
from wellio.learning.follower import ask_to_save, get_place
from wellio.learning.inputs import ACTIVITY, MESSAGE_SENT, PAYMENT, Fact
from wellio.learning.snapshots import Place, save_learner
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.migrations import migrate
from wellio.outbox import Outbox
from wellio.subscriptions import FOLLOWERS, learner

HORIZON_DAYS = 28
HISTORY_DAYS = 70
VISITS = 4
TICK_S = 0.001
POLL_S = 0.1
WITHIN_S = 600.0

INSERT_CLIENTS = """
insert into clients (id, practice_id, first_name, last_name, timezone)
select id, practice_id, 'Ada', 'Lovelace', 'UTC' from unnest($1::uuid[], $2::uuid[]) t (practice_id, id)
"""
INSERT_OWNERS = """
insert into users (id, practice_id, role, name, email, password_hash, timezone)
select gen_random_uuid(), id, 'owner', 'Owner', id || '@example.org', 'none', 'UTC' from practices
"""


def crowd(practices: list[UUID], clients: int, monday: float) -> list[Fact]:
    """Visits at random, of three kinds, in the weeks to the day before `monday`; some clients come no more."""
    chance = random.Random(1)
    facts = []
    for number in range(clients):
        practice, client = practices[number % len(practices)], uuid7()
        last = chance.choice([1.0, 1.0, 0.6])
        for _ in range(VISITS):
            t = monday - DAY - (1.0 - chance.random() * last) * HISTORY_DAYS * DAY
            facts.append(Fact(practice, client, t, chance.choice([ACTIVITY, MESSAGE_SENT, PAYMENT]), True, 20.0))
    facts.sort(key=lambda fact: fact.t)
    return facts


async def fill(db: Database, options: argparse.Namespace, monday: float) -> Place:
    """A database with these clients, and with the learner's state as of the day before `monday`."""
    practices = [Practice(uuid7(), "Practice", "UTC", "EUR", HORIZON_DAYS) for _ in range(options.practices)]
    for practice in practices:
        await insert_practice(db, practice)
    await db.execute(INSERT_OWNERS)
    facts = crowd([practice.id for practice in practices], options.clients, monday)
    clients = list({fact.client: fact.practice for fact in facts}.items())
    for some in range(0, len(clients), 5000):
        part = clients[some : some + 5000]
        await db.execute(INSERT_CLIENTS, [practice for _, practice in part], [client for client, _ in part])
    built = Learner(horizon_days=HORIZON_DAYS)
    for fact in facts:
        built.apply_all([fact])
        built.drain_outcomes()
        built.drain_changed()
    return await save_learner(db, built, Place())


@dataclass(slots=True)
class Lags:
    """Seconds, one for each `TICK_S` that goes by."""

    waited: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)

    def take(self) -> "Lags":
        taken = Lags(self.waited[:], self.own[:])
        self.waited.clear()
        self.own.clear()
        return taken

    def told(self) -> dict[str, Any]:
        return {**figures(self.waited), "own": figures(self.own), "whole": round(len(self.waited) * TICK_S * 1e3)}


def figures(lags: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(lags, n=1000, method="inclusive")
    shown = {"p50": cuts[499], "p99": cuts[989], "p99.9": cuts[998], "max": max(lags)}
    return {name: round(value * 1e3, 1) for name, value in shown.items()}


@asynccontextmanager
async def ticking() -> AsyncIterator[Lags]:
    lags = Lags()
    task = asyncio.create_task(tick(lags))
    try:
        yield lags
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def tick(lags: Lags) -> None:
    due, before = time.perf_counter() + TICK_S, time.thread_time()
    while True:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        now, computed = time.perf_counter(), time.thread_time() - before
        before += computed
        while due <= now:
            lags.waited.append(now - due)
            lags.own.append(min(now - due, computed))
            due += TICK_S


async def measure(url: str, options: argparse.Namespace) -> dict[str, Any]:
    monday = time.time() - (time.time() - FIRST_MONDAY) % WEEK
    db = await open_database(url, min_size=1, max_size=FOLLOWERS, derived=True)
    await fill(db, options, monday)
    await db.execute("vacuum analyze")
    gc.collect()
    spare_garbage_collection()
    outbox = Outbox(db)
    follower = learner(outbox, Live(), Metrics())
    lags: dict[str, Lags] = {}
    async with asyncio.TaskGroup() as group, ticking() as running:
        task = group.create_task(follower.run())
        while not await db.fetchval("select count(*) from consumers"):
            await asyncio.sleep(POLL_S)
        lags["load"] = running.take()
        end = await strike(outbox, monday)
        await stored(db, end)
        lags["monday"] = running.take()
        assert await ask_to_save(db, end, within_s=WITHIN_S)
        lags["save"] = running.take()
        task.cancel()
    counts = ("predictions", "prediction_outcomes")
    stored_rows = {table: await db.fetchval(f"select count(*) from {table}") for table in counts}
    await db.close()
    about = {"clients": options.clients, "practices": options.practices}
    return about | stored_rows | {name: each.told() for name, each in lags.items()}


async def strike(outbox: Outbox, monday: float) -> Cursor:
    """Each practice's clock goes to `monday`; returns the last event's place."""
    at = datetime.fromtimestamp(monday, UTC)
    practices = [row["id"] for row in await outbox.db.fetch("select id from practices order by id")]
    # Ids that tell no time of writing: it is news, though a bench runs on any day of the week.
    ticks = [Event(id=uuid4(), type=EventType.CLOCK_TICKED, practice_id=id_, occurred_at=at) for id_ in practices]
    async with outbox.transaction() as tx:
        tx.record(*ticks)
    row = await outbox.db.fetchrow("select xid, position from events order by xid desc, position desc limit 1")
    assert row
    return Cursor(row["xid"], row["position"])


async def stored(db: Database, end: Cursor) -> None:
    """Until all that follows of the events up to `end` is in the database: predictions, then outcomes."""
    async with asyncio.timeout(WITHIN_S):
        while await get_place(db) < end:
            await asyncio.sleep(POLL_S)
        before = -1
        while (now := await db.fetchval("select max(seq) from prediction_outcomes")) != before:
            before = now
            await asyncio.sleep(5 * POLL_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--practices", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("wellio").setLevel(logging.ERROR)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wellio-checkpoint-")))
        folder.chmod(0o711)
        url = stack.enter_context(start(folder / "data", postgres=True, redis=False)).running.database_url
        assert url
        asyncio.run(migrate(url))
        print(json.dumps(asyncio.run(measure(url, options)), indent=1))


if __name__ == "__main__":
    main()
