"""The event log skips nothing, whatever the order of commits."""

import pytest

from tests.factories import make_practice
from tests.waiting import eventually
from wellio.db import Database
from wellio.events import Cursor, Event, EventType
from wellio.outbox import Outbox, insert_events, list_events_after


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
    # Transactions of other databases of the cluster hold the horizon back too, so wait for it.
    read = await eventually(lambda: list_events_after(db, Cursor(), 10))
    assert [e.id for e in read] == [late.id, early.id]
    assert await list_events_after(db, read[-1].cursor, 10) == []


async def test_events_of_a_rolled_back_transaction_are_not_seen(db: Database, outbox: Outbox) -> None:
    practice = await make_practice(db)

    async def fail() -> None:
        async with outbox.transaction() as tx:
            tx.record(Event(type=EventType.CLIENT_CREATED, practice_id=practice.id))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await list_events_after(db, Cursor(), 10) == []
