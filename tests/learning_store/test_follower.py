"""Each event is learnt exactly once, whatever is killed when."""

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import House
from tests.learning_store.histories import learn_at_once, make_history, payment, read_log
from tests.owner import as_owner
from tests.waiting import eventually
from wellio.consumers import Superseded
from wellio.db import Connection, Database
from wellio.events import Cursor, Event, EventType
from wellio.learning import follower as followers
from wellio.learning import snapshots
from wellio.learning.answers import Outcome
from wellio.learning.container import SnapshotDamaged, SnapshotVersion
from wellio.learning.follower import Follower, ask_to_save, get_place, is_saved
from wellio.learning.snapshots import _decode, load_learner
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.outbox import Outbox
from wellio.subscriptions import learner as make_follower
from wellio.subscriptions import store_predictions


class Killed(Exception):
    """The process dies here."""


class Mortal(Database):
    """A database whose user dies at its `lives`-th use: before it, before its commit, or just after it."""

    def __init__(self, db: Database, lives: int, moment: str) -> None:
        super().__init__(db.pool)
        self.lives = lives
        self.moment = moment

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        self.lives -= 1
        if self.lives <= 0 and self.moment == "before":
            raise Killed
        async with super().connection() as connection:
            yield connection
        if self.lives <= 0:
            raise Killed

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.connection() as connection, connection.transaction():
            yield connection
            if self.lives <= 0 and self.moment == "within":
                raise Killed


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "BATCH", 60)
    monkeypatch.setattr(followers, "CHUNK", 40)
    monkeypatch.setattr(followers, "PREDICT_AT_ONCE", 7)
    monkeypatch.setattr(followers, "SAVE_EVERY_EVENTS", 150)
    monkeypatch.setattr(followers, "SAVE_SHARE", 1e9)
    monkeypatch.setattr(followers, "GATHER_PAST_S", 1e9)  # stored when saved, and at the end of the log
    monkeypatch.setattr(followers, "POLL_S", 0.005)
    monkeypatch.setattr(snapshots, "PIECE_BYTES", 1000)
    monkeypatch.setattr(followers, "GATHER_S", 0.001)


def follower_of(db: Database, live: Live | None = None) -> Follower:
    return make_follower(Outbox(db), live or Live(), Metrics())


@asynccontextmanager
async def following(follower: Follower) -> AsyncIterator[Follower]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(follower.run())
        yield follower
        task.cancel()


async def learn_to_the_end(db: Database) -> None:
    """A follower that takes what is there, and ends in order."""
    end = (await read_log(db))[-1].cursor
    await db.execute("delete from consumers")  # what one before has told
    async with following(follower_of(db)):
        await eventually(lambda: _has_learnt(db, end))


async def _has_learnt(db: Database, end: Cursor) -> bool:
    return await get_place(db) >= end


async def stored_state(db: Database) -> bytes:
    state = await db.fetchval("select state from learner_snapshots order by id desc limit 1")
    return zlib.decompress(state)


async def stored_outcomes(db: Database) -> list[tuple[Any, ...]]:
    rows = await db.fetch(
        "select practice_id, client_id, kind, asked_at, due_at, probability, rule, status, churned"
        " from prediction_outcomes order by seq"
    )
    return [tuple(row) for row in rows]


def as_stored(outcomes: Sequence[Outcome]) -> list[tuple[Any, ...]]:
    return [
        (
            o.practice,
            o.client,
            o.kind,
            datetime.fromtimestamp(o.asked_at, UTC),
            datetime.fromtimestamp(o.due_at, UTC),
            o.probability,
            o.rule,
            "ok" if o.shown else "not_enough_history",
            o.churned,
        )
        for o in outcomes
    ]


async def stored_predictions(db: Database) -> dict[Any, tuple[Any, ...]]:
    rows = await db.fetch("select client_id, probability, band, status, as_of from predictions")
    return {row["client_id"]: tuple(row)[1:] for row in rows}


async def check_equal_to_uninterrupted(db: Database) -> None:
    learner, outcomes = await learn_at_once(db)
    keys = learner.drain_changed()
    predicted = {
        p.client: (p.probability, p.band, p.status, datetime.fromtimestamp(p.as_of, UTC)) for p in learner.predict(keys)
    }
    assert await stored_state(db) == learner.dump()
    assert await stored_outcomes(db) == as_stored(outcomes)
    assert len(outcomes) > 500
    stored = await stored_predictions(db)
    assert stored.keys() == predicted.keys()
    last_asked = {c: p for c, p in stored.items() if p[3] == max(as_of for *_, as_of in stored.values())}
    assert last_asked.items() <= predicted.items()
    assert last_asked
    seen = {event.client_id: event.occurred_at for event in await read_log(db)}
    assert all(stored[client][3] >= at for client, at in seen.items())


async def test_uninterrupted_follower_learns_what_the_learner_alone_does(db: Database) -> None:
    await make_history(db)
    await learn_to_the_end(db)
    await check_equal_to_uninterrupted(db)
    assert await db.fetchval("select count(*) from learner_snapshots") == 3


MOMENTS = st.sampled_from(["before", "within", "after"])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=st.lists(st.tuples(st.integers(3, 90), MOMENTS), min_size=1, max_size=6))
async def test_killed_and_restarted_it_comes_to_the_same_bits(db: Database, kills: list[tuple[int, str]]) -> None:
    await as_owner(db, "truncate learner_snapshots, prediction_outcomes, predictions, consumers")
    if not await db.fetchval("select count(*) from events"):
        await make_history(db)
    for lives, moment in kills:
        with pytest.raises(Killed):
            await follower_of(Mortal(db, lives, moment)).run()
    await learn_to_the_end(db)
    await check_equal_to_uninterrupted(db)


async def test_cancelled_at_any_time_it_saves_whole_events(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "SLICE_S", 0.0)  # gives way at each chance, so that it is cancelled at any of them
    await make_history(db)
    for pause_s in (0.05, 0.1, 0.15, 0.2):
        task = asyncio.ensure_future(follower_of(db).run())
        await asyncio.sleep(pause_s)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        place = await db.fetchrow("select xid, position, events from learner_snapshots order by id desc limit 1")
        assert place is None or place["events"] == await db.fetchval(
            "select count(*) from events where (xid, position) <= ($1, $2)", place["xid"], place["position"]
        )
    await learn_to_the_end(db)
    await check_equal_to_uninterrupted(db)


async def test_damaged_snapshot_gives_way_to_the_one_before(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    await make_history(db)
    await learn_to_the_end(db)
    await db.execute(
        "update learner_snapshots set state = set_byte(state, 500, (get_byte(state, 500) + 1) % 256)"
        " where id = (select max(id) from learner_snapshots)"
    )
    follower = follower_of(db)
    async with following(follower):
        await eventually(lambda: follower.place.events)
    assert follower._snapshots_refused._value.get() == 1
    assert len([r for r in caplog.records if "can't be used" in r.getMessage()]) == 1
    await learn_to_the_end(db)
    await check_equal_to_uninterrupted(db)


async def test_any_flipped_byte_of_a_stored_state_is_noticed(db: Database) -> None:
    await make_history(db, clients=3, events=30)
    await learn_to_the_end(db)
    state = await db.fetchval("select state from learner_snapshots order by id desc limit 1")
    rng = random.Random(3)
    for place in [*range(20), *rng.sample(range(len(state)), 150), *range(len(state) - 8, len(state))]:
        damaged = bytearray(state)
        damaged[place] ^= rng.randrange(1, 256)
        try:
            learner = _decode(bytes(damaged))
        except (zlib.error, SnapshotDamaged, SnapshotVersion):
            continue
        assert learner.dump() == zlib.decompress(state)  # a byte of which nothing depends


async def test_without_any_sound_snapshot_it_begins_at_the_first_event(db: Database) -> None:
    await make_history(db)
    await learn_to_the_end(db)
    await db.execute("update learner_snapshots set state = 'nothing of the sort'")
    await learn_to_the_end(db)
    await check_equal_to_uninterrupted(db)


async def test_second_learner_stops_before_it_saves_over_the_first(db: Database) -> None:
    """A hung leader that wakes up holds a state from before its successor's."""
    await make_history(db)
    hung, idle = follower_of(db), follower_of(db)
    for follower in (hung, idle):
        follower._begin(*await load_learner(db))
    await learn_to_the_end(db)
    with pytest.raises(Superseded):
        await _step_and_save(hung)
    with pytest.raises(Superseded):
        await idle.save()
    await check_equal_to_uninterrupted(db)


async def _step_and_save(follower: Follower) -> None:
    while await follower.step():
        pass
    await follower.save()


async def test_others_run_while_a_state_is_on_its_way() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    sent = [piece async for piece in snapshots._copied((1, 2), [b"piece"] * 50)]
    task.cancel()
    await asyncio.wait({task})
    assert sent.count(b"piece") == 50
    assert turns >= 50


async def test_only_the_last_three_snapshots_are_kept(db: Database) -> None:
    await make_history(db)
    for _ in range(2):
        await learn_to_the_end(db)
    assert await db.fetchval("select count(*) from learner_snapshots") == 3


async def test_whoever_asks_has_the_leader_save(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "SAVE_EVERY_EVENTS", 1_000_000)
    await make_history(db, events=200)
    end = (await read_log(db))[-1].cursor
    assert not await ask_to_save(db, end, within_s=0.0)  # nobody learns
    async with following(follower_of(db)):
        await eventually(lambda: _has_learnt(db, end))
        assert not await is_saved(db, end)
        assert await ask_to_save(db, end, within_s=15.0)
        assert await is_saved(db, end)
        await eventually(lambda: db.fetchval("select not save_wanted from consumers where name = 'learner'"))


async def test_prediction_is_stored_and_told_within_a_second_of_its_event(
    db: Database, outbox: Outbox, house: House
) -> None:
    live = Live()
    heard: list[Any] = []
    live.attach(heard.append)
    async with following(follower_of(db, live)):
        await eventually(lambda: db.fetchval("select count(*) from consumers"))
        started = asyncio.get_running_loop().time()
        async with outbox.transaction() as tx:
            tx.record(payment(house.practice, house.client_id, datetime.now(UTC)))
        await eventually(lambda: heard)
        took_s = asyncio.get_running_loop().time() - started
    assert took_s < 1.0
    assert await db.fetchval("select count(*) from predictions") == 1


async def test_prediction_never_goes_back_in_time(db: Database, house: House) -> None:
    """A learner that begins again from an old snapshot comes by old predictions once more."""
    now = datetime.now(UTC)
    async with Outbox(db).transaction() as tx:
        for days in (30, 20, 10, 0):
            tx.record(payment(house.practice, house.client_id, now - timedelta(days=days)))
    await learn_to_the_end(db)
    before = await db.fetchrow("select * from predictions")
    await as_owner(db, "truncate learner_snapshots")
    heard: list[Any] = []

    async def store(connection: Connection, moved: Any) -> Any:
        heard.extend(await store_predictions(connection, moved))
        return []

    events = (await read_log(db))[:2]
    learner = Follower(store, outbox=Outbox(db), live=Live(), metrics=Metrics())
    for event in events:
        await learner._learn(event)
    await learner._store_moved(everything=True)
    assert await db.fetchrow("select * from predictions") == before
    assert not heard


async def test_clock_alone_moves_predictions(db: Database, outbox: Outbox, house: House) -> None:
    now = datetime.now(UTC)
    async with outbox.transaction() as tx:
        tx.record(payment(house.practice, house.client_id, now - timedelta(days=15)))
    await learn_to_the_end(db)
    before = await db.fetchval("select probability from predictions")
    async with outbox.transaction() as tx:
        tx.record(Event(type=EventType.CLOCK_TICKED, practice_id=house.practice.id))
    await learn_to_the_end(db)
    assert await db.fetchval("select probability from predictions") > before


async def test_event_of_a_client_that_is_gone_stops_nothing(db: Database, outbox: Outbox, house: House) -> None:
    gone = Event(type=EventType.MESSAGE_SENT, practice_id=house.practice.id, client_id=house.owner.user_id)
    async with outbox.transaction() as tx:
        tx.record(gone, payment(house.practice, house.client_id, datetime.now(UTC)))
    await learn_to_the_end(db)
    assert await db.fetchval("select client_id from predictions") == house.client_id
