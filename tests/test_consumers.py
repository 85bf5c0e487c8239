"""Consumers take every event once it is committed, in order, and an event they can't take stops no other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from time import time
from uuid import UUID, uuid4

import pytest
from asyncpg import UniqueViolationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import make_practice
from tests.owner import as_owner
from tests.waiting import eventually
from wellio import consumers
from wellio.accounts.practices import Practice
from wellio.consumers import Consumer, LogAhead, Superseded, check_log, is_history, recorded_at_s, told
from wellio.db import Connection, Database
from wellio.events import Event, EventType
from wellio.live import Live, Push
from wellio.metrics import Metrics
from wellio.outbox import Outbox, insert_events

TYPES = (EventType.CLIENT_CREATED, EventType.CLIENT_UPDATED)
SOMEBODY = UUID(int=7)


class Taker:
    """Remembers what it was handed in committed transactions, in a table: as an effect would."""

    def __init__(self, outbox: Outbox, *, live: Live | None = None) -> None:
        self.outbox = outbox
        self.fail_on: set[UUID] = set()
        self.fail_times = 0
        self.handed: list[UUID] = []
        self.metrics = Metrics()
        self.consumer = Consumer("taker", TYPES, self.take, outbox=outbox, live=live or Live(), metrics=self.metrics)

    async def take(self, connection: Connection, events: Sequence[Event]) -> Sequence[Push]:
        self.handed += [event.id for event in events]
        await connection.executemany("insert into taken (event_id) values ($1)", [(e.id,) for e in events])
        if self.fail_on & {event.id for event in events}:
            raise RuntimeError("can't be taken")
        if self.fail_times:
            self.fail_times -= 1
            raise RuntimeError("not this time")
        return [Push(user_ids=(SOMEBODY,), event="taken", data={"id": event.id}) for event in events]

    async def has_taken(self, count: int) -> bool:
        return len(await self.taken()) >= count

    async def taken(self) -> list[UUID]:
        rows = await self.outbox.db.fetch("select event_id from taken order by nr")
        return [row["event_id"] for row in rows]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_S", "GATHER_S", "RETRY_S"):
        monkeypatch.setattr(consumers, name, 0.005)


@pytest.fixture
async def practice(db: Database) -> Practice:
    await as_owner(db, "create table taken (nr bigint generated always as identity, event_id uuid not null)")
    return await make_practice(db)


@asynccontextmanager
async def running(run: Callable[[], Awaitable[None]]) -> AsyncIterator["asyncio.Future[None]"]:
    task = asyncio.ensure_future(run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def record(outbox: Outbox, practice: Practice, *, kind: EventType = EventType.CLIENT_CREATED) -> UUID:
    event = Event(type=kind, practice_id=practice.id)
    async with outbox.transaction() as tx:
        tx.record(event)
    return event.id


async def test_events_of_its_types_are_taken_in_order(outbox: Outbox, practice: Practice) -> None:
    taker = Taker(outbox)
    ids = [await record(outbox, practice) for _ in range(3)]
    await record(outbox, practice, kind=EventType.CLOCK_TICKED)
    async with running(taker.consumer.run):
        await eventually(lambda: taker.has_taken(3))
        ids.append(await record(outbox, practice, kind=EventType.CLIENT_UPDATED))
        await eventually(lambda: taker.has_taken(4))
    assert await taker.taken() == ids
    assert taker.metrics.consumed.labels("taker")._value.get() == 4


async def test_event_of_a_transaction_that_commits_late_is_taken(outbox: Outbox, practice: Practice) -> None:
    taker = Taker(outbox)
    late = Event(type=EventType.CLIENT_UPDATED, practice_id=practice.id)
    async with running(taker.consumer.run), outbox.db.connection() as slow:
        held = slow.transaction()
        await held.start()
        await insert_events(slow, [late])
        early = [await record(outbox, practice) for _ in range(3)]
        await asyncio.sleep(0.1)  # twenty looks at the log
        assert not taker.handed
        await held.commit()
        await eventually(lambda: taker.has_taken(4))
    assert await taker.taken() == [late.id, *early]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), rolled_back=st.sets(st.integers(0, 5), max_size=3))
async def test_none_is_skipped_in_whatever_order_transactions_commit(
    outbox: Outbox, practice: Practice, order: list[int], rolled_back: set[int]
) -> None:
    """Six transactions take their numbers in one order and end in another, while the consumer looks."""
    taker = Taker(outbox)
    events = [Event(type=EventType.CLIENT_CREATED, practice_id=practice.id) for _ in order]
    async with running(taker.consumer.run), AsyncExitStack() as connections:
        transactions = []
        for event in events:
            connection = await connections.enter_async_context(outbox.db.connection())
            transactions.append(connection.transaction())
            await transactions[-1].start()
            await insert_events(connection, [event])
        for i in order:
            await (transactions[i].rollback() if i in rolled_back else transactions[i].commit())
            await asyncio.sleep(0.006)
        expected = [event.id for i, event in enumerate(events) if i not in rolled_back]
        await eventually(lambda: ends_with(taker, expected))


async def ends_with(taker: Taker, expected: list[UUID]) -> bool:
    return (await taker.taken())[-len(expected) :] == expected


async def test_restarted_consumer_repeats_nothing_that_was_stored(outbox: Outbox, practice: Practice) -> None:
    ids = []
    for _ in range(4):
        taker = Taker(outbox)
        ids.append(await record(outbox, practice))
        async with running(taker.consumer.run):
            await eventually(partial(taker.has_taken, len(ids)))
    assert await taker.taken() == ids


async def test_failing_event_is_recorded_and_left_behind(
    outbox: Outbox, practice: Practice, caplog: pytest.LogCaptureFixture
) -> None:
    taker = Taker(outbox)
    first, bad, last = [await record(outbox, practice) for _ in range(3)]
    taker.fail_on = {bad}
    async with running(taker.consumer.run):
        await eventually(lambda: taker.has_taken(2))
    assert await taker.taken() == [first, last]
    assert taker.handed.count(bad) == 1 + consumers.TRIES  # once with the batch
    row = await outbox.db.fetchrow("select consumer, event_id, error from consumer_failures")
    assert row is not None
    assert dict(row) == {"consumer": "taker", "event_id": bad, "error": "RuntimeError: can't be taken"}
    assert len([r for r in caplog.records if r.exc_info]) == 1


async def test_event_that_fails_once_is_taken_all_the_same(outbox: Outbox, practice: Practice) -> None:
    taker = Taker(outbox)
    taker.fail_times = 3
    ids = [await record(outbox, practice) for _ in range(2)]
    async with running(taker.consumer.run):
        await eventually(lambda: taker.has_taken(2))
    assert await taker.taken() == ids
    assert await outbox.db.fetchval("select count(*) from consumer_failures") == 0


async def test_devices_are_told_after_the_commit_only(outbox: Outbox, practice: Practice) -> None:
    live, heard = Live(), list[UUID]()
    taker = Taker(outbox, live=live)
    live.attach(lambda push: heard.append(push.data["id"]))
    good, bad = await record(outbox, practice), await record(outbox, practice)
    taker.fail_on = {bad}
    async with running(taker.consumer.run):
        await eventually(lambda: taker.handed.count(bad) == 1 + consumers.TRIES)
    assert heard == [good]


async def test_listener_that_fails_stops_nothing(outbox: Outbox, practice: Practice) -> None:
    live = Live()
    taker = Taker(outbox, live=live)

    def fail(push: Push) -> None:
        raise RuntimeError(push.event)

    live.attach(fail)
    async with running(taker.consumer.run):
        ids = [await record(outbox, practice) for _ in range(3)]
        await eventually(lambda: taker.has_taken(3))
    assert await taker.taken() == ids


async def test_second_consumer_of_the_name_stops_rather_than_take_an_event_twice(
    outbox: Outbox, practice: Practice
) -> None:
    """A hung leader that wakes up believes the cursor to stand where it left it."""
    hung, leader = Taker(outbox), Taker(outbox)
    await record(outbox, practice)
    async with running(hung.consumer.run):
        await eventually(lambda: hung.has_taken(1))
    ids = [await record(outbox, practice) for _ in range(2)]
    async with running(leader.consumer.run):
        await eventually(lambda: leader.has_taken(3))
    await eventually(lambda: _takes_nothing(hung))
    assert (await leader.taken())[1:] == ids


async def _takes_nothing(hung: Taker) -> bool:
    with pytest.raises(Superseded):
        await hung.consumer.step()
    return True


async def test_consumer_waits_for_the_database_and_goes_on(outbox: Outbox, practice: Practice) -> None:
    taker = Taker(outbox)
    async with running(taker.consumer.run):
        ids = [await record(outbox, practice)]
        await eventually(lambda: taker.has_taken(1))
        await as_owner(
            outbox.db,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()",
        )
        ids.append(await record(outbox, practice))
        await eventually(lambda: taker.has_taken(2))
    assert await taker.taken() == ids


async def test_log_from_another_cluster_is_not_followed(db: Database, outbox: Outbox, practice: Practice) -> None:
    """After a restore into a new cluster its events would come before every cursor, and be skipped."""
    await record(outbox, practice)
    await check_log(db)
    await db.execute("update events set xid = xid + 1000000")
    with pytest.raises(LogAhead, match="restored from a dump"):
        await check_log(db)


def test_event_knows_when_it_was_recorded() -> None:
    event = Event(type=EventType.CLIENT_CREATED, practice_id=SOMEBODY)
    assert abs(recorded_at_s(event) - time()) < 60
    past = Event(type=EventType.CLIENT_CREATED, practice_id=SOMEBODY, occurred_at=datetime(2011, 1, 1, tzinfo=UTC))
    assert is_history(past)
    assert not is_history(event)
    foreign = Event(type=EventType.CLIENT_CREATED, practice_id=SOMEBODY, id=uuid4(), occurred_at=past.occurred_at)
    assert recorded_at_s(foreign) == past.occurred_at.timestamp()


def test_stored_error_is_one_line() -> None:
    assert told(ValueError("first\nDETAIL: Klara Client")) == "ValueError: first"
    assert told(ValueError()) == "ValueError"
    assert told(UniqueViolationError("Key (email)=(klara@example.org) exists")) == "UniqueViolationError"
