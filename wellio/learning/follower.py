"""The learner as a consumer of the event log.

Its cursor stands in its snapshot, so each event is learnt exactly once, whatever is killed when: what was learnt after
the last snapshot is learnt again from there, and gives the same bits, the same outcomes, the same predictions.

It learns in slices of a few milliseconds, so the event loop it shares stays responsive. Predictions that move by what
happens now are stored and told at once; those of a past being replayed are gathered, because most move many times.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar
from uuid import UUID

from wellio.consumers import GATHER_S, GET_CURSOR, POLL_S, Superseded, age_s, is_history, next_retry, publish
from wellio.db import Connection, Database
from wellio.errors import Unavailable
from wellio.events import Cursor, Event
from wellio.learning.answers import Key, Outcome
from wellio.learning.churn import Learner
from wellio.learning.facts import input_of
from wellio.learning.inputs import Fact, Forget
from wellio.learning.predictions import Moved
from wellio.learning.snapshots import Place, insert_outcomes, load_learner, save_learner
from wellio.live import Live, Push
from wellio.metrics import Metrics
from wellio.outbox import Outbox, list_events_after

log = logging.getLogger(__name__)

NAME = "learner"
BATCH = 500
# Between two slices the event loop turns once, and a message needs half a dozen turns until it is acknowledged.
SLICE_S = 0.0004
# How long a past's predictions are gathered before they are stored.
GATHER_PAST_S = 1.0
# Predictions and outcomes of one transaction: it must be short, because it holds back every consumer.
CHUNK = 250
# Besides when it is asked to (`wellio/jobs/save_snapshot.py`); a large state less often, so that saving takes at most
# this share of the time.
SAVE_EVERY_EVENTS = 20_000
SAVE_SHARE = 0.05
SAVE_AT_END_S = 5.0
PREDICT_AT_ONCE = 50

START_LEARNER = """
insert into consumers (name, xid, position)
values ($1, $2, $3)
on conflict (name) do update set xid = excluded.xid, position = excluded.position, updated_at = now()
"""

TELL_PLACE = """
update consumers
set xid = $2, position = $3, updated_at = now()
where name = $1
returning save_wanted
"""

IS_SAVE_WANTED = "select save_wanted from consumers where name = $1"
ASK_TO_SAVE = "update consumers set save_wanted = true where name = $1"
TELL_SAVED = "update consumers set save_wanted = false where name = $1"

GET_SAVED_CURSOR = "select xid, position from learner_snapshots order by id desc limit 1"

# Stores predictions in the transaction given; what it returns is published after the commit.
Store = Callable[[Connection, Sequence[Moved]], Awaitable[Sequence[Push]]]
T = TypeVar("T")


class Follower:
    """Learns for as long as `run` is not cancelled; then saves once more."""

    def __init__(self, store: Store, *, outbox: Outbox, live: Live, metrics: Metrics) -> None:
        self._store = store
        self._outbox = outbox
        self._db = outbox.db
        self._live = live
        self._consumed = metrics.consumed.labels(NAME)
        self._snapshots_refused = metrics.snapshots_refused
        self._lag = metrics.consumer_lag_seconds.labels(NAME)
        self._begin(Learner(), Place())

    def _begin(self, learner: Learner, place: Place) -> None:
        self._learner = learner
        self.place = place
        self._told = self._saved = place
        self._outcomes: list[Outcome] = []
        # Clients whose prediction has moved since it was stored, each with the event that moved it, by practice.
        self._moved: dict[UUID, dict[UUID, UUID | None]] = {}
        # Clients whom the learner has forgotten since it was saved.
        self._erased: list[Key] = []
        # Practices whose latest event was no history: their clients are told of at once.
        self._present: set[UUID] = set()
        self._save_wanted = False
        self._stored_at = self._saved_at = perf_counter()
        self._save_took_s = 0.0
        self._slice_end = 0.0

    async def run(self) -> None:
        """Never ends by itself. Raises Superseded when another process learns too."""
        self._begin(*await _patiently(lambda: load_learner(self._db, refused=self._snapshots_refused.inc)))
        place = self.place
        await _patiently(lambda: self._db.execute(START_LEARNER, NAME, place.cursor.xid, place.cursor.position))
        log.info("The learner goes on", extra={"events": place.events})
        try:
            while True:
                before = self._outbox.stored
                if not await _patiently(lambda: _to_its_end(self.step())):
                    await self._outbox.wait(before, POLL_S)
                    await asyncio.sleep(GATHER_S)
        except asyncio.CancelledError:
            await _to_its_end(self._save_at_the_end())
            raise

    async def step(self) -> bool:
        """Learns the next batch and stores what follows from it; False when there was none."""
        events = await list_events_after(self._db, self.place.cursor, BATCH)
        for event in events:
            await self._learn(event)
        if events:
            self._note_present(events)
            self.place = replace(self.place, cursor=events[-1].cursor, events=self.place.events + len(events))
            self._consumed.inc(len(events))
            self._lag.set(age_s(events[-1]))
        await self._gather()
        await self._store_moved(everything=perf_counter() - self._stored_at > GATHER_PAST_S)
        await self._tell_place()
        idle = len(events) < BATCH
        if self._erased or await self._is_save_due(idle=idle):
            await self.save()
        return not idle

    async def save(self) -> None:
        """Stores predictions, outcomes and the state; then all that was learnt is safe."""
        started = perf_counter()
        await self._gather()
        await self._store_moved(everything=True)
        await self._tell_place()
        self._saved = self.place = await save_learner(self._db, self._learner, self.place, erased=self._erased)
        self._erased = []
        await self._db.execute(TELL_SAVED, NAME)
        self._save_wanted = False
        self._saved_at = perf_counter()
        self._save_took_s = self._saved_at - started

    async def _learn(self, event: Event) -> None:
        item = input_of(event)
        if item is not None:
            for _ in self._learner.apply(item):
                await self._breathe()
            if isinstance(item, Fact):  # what else is learnt moves whom the learner says
                self._moved.setdefault(item.practice, {})[item.client] = event.id
            elif isinstance(item, Forget):
                self._moved.get(item.practice, {}).pop(item.client, None)
                self._erased.append(Key(item.practice, item.client))
        if perf_counter() > self._slice_end:
            await self._breathe()

    def _note_present(self, events: Sequence[Event]) -> None:
        for event in {event.practice_id: event for event in events}.values():
            if is_history(event):
                self._present.discard(event.practice_id)
            else:
                self._present.add(event.practice_id)

    async def _breathe(self) -> None:
        if perf_counter() > self._slice_end:
            await asyncio.sleep(0)
            self._slice_end = perf_counter() + SLICE_S

    async def _gather(self) -> None:
        """Takes from the learner whose prediction has changed."""
        while keys := self._learner.drain_changed(CHUNK):
            for practice, client in keys:
                self._moved.setdefault(practice, {}).setdefault(client, None)
            await self._breathe()

    async def _store_moved(self, *, everything: bool) -> None:
        """Stores the predictions of all practices, or of those in the present alone."""
        due = [practice for practice in self._moved if everything or practice in self._present]
        rows: list[Moved] = []
        for practice in due:
            clients = iter(self._moved[practice].items())
            while some := list(islice(clients, PREDICT_AT_ONCE)):
                rows += self._predict(practice, some)
                await self._breathe()
                if len(rows) >= CHUNK:
                    await self._store_rows(rows)
                    rows = []
        if rows:
            await self._store_rows(rows)
        for practice in due:
            del self._moved[practice]
        if everything:
            self._stored_at = perf_counter()

    def _predict(self, practice: UUID, clients: Sequence[tuple[UUID, UUID | None]]) -> list[Moved]:
        predictions = self._learner.predict([Key(practice, client) for client, _ in clients])
        present, event_ids = practice in self._present, dict(clients)
        return [Moved(p, event_ids[p.client], present) for p in predictions]

    async def _store_rows(self, rows: Sequence[Moved]) -> None:
        async with self._db.transaction() as connection:
            pushes = await self._store(connection, rows)
        publish(self._live, pushes)

    async def _tell_place(self) -> None:
        """Stores the outcomes that came out, and how far the learner is."""
        while self._next_outcomes() or self._told.cursor != self.place.cursor:
            some = self._outcomes
            async with self._db.transaction() as connection:
                await insert_outcomes(connection, some, after=self.place.outcomes)
                cursor = self.place.cursor
                self._save_wanted |= bool(await connection.fetchval(TELL_PLACE, NAME, cursor.xid, cursor.position))
            self._outcomes = []
            self._told = self.place = replace(self.place, outcomes=self.place.outcomes + len(some))

    def _next_outcomes(self) -> list[Outcome]:
        """Some that came out; the same again until they are stored."""
        self._outcomes = self._outcomes or self._learner.drain_outcomes(CHUNK)
        return self._outcomes

    async def _is_save_due(self, *, idle: bool) -> bool:
        if self.place.cursor == self._saved.cursor:
            return False
        if idle and not self._save_wanted:
            self._save_wanted = bool(await self._db.fetchval(IS_SAVE_WANTED, NAME))
        many = self.place.events - self._saved.events >= SAVE_EVERY_EVENTS
        rested = perf_counter() - self._saved_at > self._save_took_s / SAVE_SHARE
        return self._save_wanted or (many and rested)

    async def _save_at_the_end(self) -> None:
        """Spares the next leader some learning. May fail: nothing depends on it."""
        try:
            if self.place.cursor != self._saved.cursor:
                async with asyncio.timeout(SAVE_AT_END_S):
                    await self.save()
        except (Unavailable, Superseded, TimeoutError) as error:
            log.warning("The learner was not saved at the end", extra={"reason": str(error)})


async def ask_to_save(db: Database, cursor: Cursor, *, within_s: float) -> bool:
    """Has whoever leads save the learner, and waits until all up to `cursor` is saved; False when it is not in time."""
    deadline = perf_counter() + within_s
    while not await is_saved(db, cursor):
        if perf_counter() > deadline:
            return False
        await db.execute(ASK_TO_SAVE, NAME)
        await asyncio.sleep(POLL_S)
    return True


async def is_saved(db: Database, cursor: Cursor) -> bool:
    row = await db.fetchrow(GET_SAVED_CURSOR)
    return (Cursor(row["xid"], row["position"]) if row else Cursor()) >= cursor


async def get_place(db: Database) -> Cursor:
    """How far whoever leads has learnt, as it tells several times a second."""
    row = await db.fetchrow(GET_CURSOR, NAME)
    return Cursor(row["xid"], row["position"]) if row else Cursor()


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """However often cancelled, waits for the end of `work`: half a step can neither be saved nor gone on from."""
    task = asyncio.create_task(work, name="learner step")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled from task.exception()
    return task.result()


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Does `work` again for as long as the database is away; what was learnt stays in memory meanwhile."""
    retry_s = 0.0
    while True:
        try:
            return await work()
        except Unavailable:
            if not retry_s:
                log.warning("The learner waits for the database")
            retry_s = next_retry(retry_s)
            await asyncio.sleep(retry_s)
