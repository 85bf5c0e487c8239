"""The event log skips nothing, whatever the order of commits."""

import asyncio
from pathlib import Path

import pytest

from tests.factories import make_practice
from tests.waiting import eventually
from wellio.db import Database, open_database
from wellio.events import Cursor, Event, EventType
from wellio.outbox import Outbox, insert_events, list_events_after

AFTER_RESTORE = Path(__file__).parent.parent / "sql" / "after_restore.sql"


async def read_all(db: Database, count: int) -> list[Event]:
    """The log once it shows `count`: transactions of the cluster's other databases hold its horizon back too."""

    async def read() -> list[Event]:
        events = await list_events_after(db, Cursor(), 10)
        return events if len(events) >= count else []

    return await eventually(read)


async def test_event_of_a_transaction_that_commits_late_is_not_skipped(db: Database, outbox: Outbox) -> None:
    practice = await make_practice(db)
    early = Event(type=EventType.CLIENT_CREATED, practice_id=practice.id)
    late = Event(type=EventType.CLIENT_UPDATED, practice_id=practice.id)
    async with db.connection() as slow:
        held = slow.transaction()
        await held.start()
        await insert_events(slow, [late])  # takes its transaction number and position first…
        async with outbox.transaction() as tx:
            tx.record(early)  # …but this one commits first
        assert await list_events_after(db, Cursor(), 10) == []
        await held.commit()
    read = await read_all(db, 2)
    assert [e.id for e in read] == [late.id, early.id]
    assert await list_events_after(db, read[-1].cursor, 10) == []


async def test_restored_events_keep_their_order_and_come_before_new_ones(db: Database, outbox: Outbox) -> None:
    practice = await make_practice(db)
    restored = [Event(type=EventType.CLIENT_CREATED, practice_id=practice.id) for _ in range(3)]
    for event in restored:
        async with outbox.transaction() as tx:
            tx.record(event)
    # as from a cluster that had written a great deal more than this one
    await db.execute("update events set xid = xid + 1000000")
    await db.execute("insert into consumers (name, xid, position) select 'half way', xid, position from events limit 1")
    async with db.pool.acquire() as connection:
        await connection.execute("set role none")
        await connection.execute(AFTER_RESTORE.read_text())
    new = Event(type=EventType.CLIENT_UPDATED, practice_id=practice.id)
    async with outbox.transaction() as tx:
        tx.record(new)
    assert [e.id for e in await read_all(db, 4)] == [e.id for e in (*restored, new)]
    (row,) = await db.fetch("select xid, position from consumers")
    rest = await list_events_after(db, Cursor(row["xid"], row["position"]), 10)
    assert [e.id for e in rest] == [e.id for e in (*restored[1:], new)]


async def test_events_of_a_rolled_back_transaction_are_not_seen(db: Database, outbox: Outbox) -> None:
    practice = await make_practice(db)

    async def fail() -> None:
        async with outbox.transaction() as tx:
            tx.record(Event(type=EventType.CLIENT_CREATED, practice_id=practice.id))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await list_events_after(db, Cursor(), 10) == []


async def test_what_follows_from_the_log_does_not_wait_for_the_disk(database_url: str, outbox: Outbox) -> None:
    """And a change does: only what can be made again from the log may be lost when PostgreSQL crashes."""
    following = await open_database(database_url, min_size=1, derived=True)
    assert await following.fetchval("show synchronous_commit") == "off"
    changes = await open_database(database_url, min_size=1)
    boot = await changes.fetchval("select boot_val from pg_settings where name = 'synchronous_commit'")
    source = "select source from pg_settings where name = 'synchronous_commit'"
    assert boot == "on"
    assert await changes.fetchval(source) != "client"
    over = outbox.over(following)
    waiting = asyncio.ensure_future(over.wait(over.stored, 60))
    await asyncio.sleep(0)
    outbox.wake()
    await waiting
    await following.close()
    await changes.close()


async def test_what_is_stored_while_a_follower_looks_is_not_waited_for(outbox: Outbox) -> None:
    one, two = outbox.stored, outbox.over(outbox.db).stored
    outbox.wake()
    async with asyncio.timeout(5):
        await outbox.wait(one, 60)
        await outbox.over(outbox.db).wait(two, 60)
    waiting = asyncio.ensure_future(outbox.wait(outbox.stored, 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.wake()
    await waiting
