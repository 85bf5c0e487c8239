"""Who is erased leaves the stored learner as well: every snapshot, every figure, whatever is killed when."""

import zlib

import pytest

from tests.factories import make_house
from tests.learning_store.histories import learn_at_once, make_history, payment, read_log
from tests.learning_store.test_follower import _small_steps, follower_of, learn_to_the_end
from tests.waiting import eventually
from wellio.db import Database
from wellio.events import Event, EventType
from wellio.learning.snapshots import load_learner
from wellio.outbox import Outbox

__all__ = ["_small_steps"]
TABLES = ("predictions", "prediction_history", "prediction_outcomes")


async def counts_of(db: Database, client_id: object) -> list[int]:
    return [await db.fetchval(f"select count(*) from {table} where client_id = $1", client_id) for table in TABLES]


async def stored_states(db: Database) -> list[bytes]:
    rows = await db.fetch("select state from learner_snapshots order by id desc")
    return [zlib.decompress(row["state"]) for row in rows]


async def test_erased_client_leaves_snapshots_and_figures(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    practice = await make_history(db, clients=12, events=600)
    await learn_to_the_end(db)
    client_id = await db.fetchval("select client_id from prediction_outcomes group by 1 order by count(*) desc limit 1")
    assert all(await counts_of(db, client_id))
    assert all(client_id.bytes in state for state in await stored_states(db))
    others = await db.fetchval("select count(*) from prediction_outcomes where client_id <> $1", client_id)
    erased = Event(type=EventType.CLIENT_ERASED, practice_id=practice.id, client_id=client_id)
    last = (await read_log(db))[-1].occurred_at
    async with Outbox(db).transaction() as tx:
        tx.record(payment(practice, client_id, last), erased)

    # The process dies before it has saved: the next one comes by the event again.
    follower = follower_of(db)
    follower._begin(*await load_learner(db))

    async def dies() -> None:
        raise RuntimeError("dies")

    async def comes_to_its_end() -> bool:
        """Transactions of other databases of the cluster hold the log back."""
        await follower.step()
        return False

    monkeypatch.setattr(follower, "save", dies)
    with pytest.raises(RuntimeError, match="dies"):
        await eventually(comes_to_its_end)
    await learn_to_the_end(db)

    assert await counts_of(db, client_id) == [0, 0, 0]
    assert await db.fetchval("select count(*) from prediction_outcomes") == others
    (state,) = await stored_states(db)
    assert client_id.bytes not in state
    assert str(client_id).encode() not in state
    rebuilt, _ = await learn_at_once(db)
    assert state == rebuilt.dump()


async def test_figures_go_with_their_client(db: Database) -> None:
    practice = await make_history(db, clients=8, events=400)
    await learn_to_the_end(db)
    client_id = await db.fetchval("select client_id from prediction_outcomes limit 1")
    assert all(await counts_of(db, client_id))
    await db.execute("delete from clients where id = $1", client_id)
    assert await counts_of(db, client_id) == [0, 0, 0]
    stranger = await make_house(db, "Other")
    async with Outbox(db).transaction() as tx:  # the row is gone, the event is to come
        tx.record(payment(practice, client_id, (await read_log(db))[-1].occurred_at))
        tx.record(payment(stranger.practice, stranger.client_id, (await read_log(db))[-1].occurred_at))
    await db.execute("delete from learner_snapshots")
    await learn_to_the_end(db)
    assert await counts_of(db, client_id) == [0, 0, 0]
    assert (await counts_of(db, stranger.client_id))[0] == 1
