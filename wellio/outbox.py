"""The event log: events are stored in the transaction of their change, and read without ever skipping one.

Order is (xid, position): the transaction's number, then the row's. A reader sees only rows of transactions
older than every one still running (`pg_snapshot_xmin`), so an event whose transaction commits late comes
late, and nothing passes it by.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

from wellio.audit import record_change
from wellio.db import Connection, Database, Row
from wellio.errors import Unavailable
from wellio.events import Cursor, Event, EventType
from wellio.idempotency import Once, claim, keep
from wellio.tasks import wait_within

Result = TypeVar("Result")

# Of the ten connections of a pool.
CHANGES_AT_ONCE = 7
TURN_WITHIN_S = 10.0

INSERT_EVENTS = """
insert into events (id, practice_id, type, client_id, subject_id, actor_id, payload, occurred_at)
select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::jsonb[],
                     $8::timestamptz[])
"""

LIST_EVENTS_AFTER = """
select xid, position, id, practice_id, type, client_id, subject_id, actor_id, payload, occurred_at
from events
where (xid, position) > ($1, $2)
  and xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
order by xid, position
limit $3
"""


class Transaction:
    """An open transaction of one action, and the events that will be stored with it."""

    def __init__(self, connection: Connection, once: Once | None) -> None:
        self.connection = connection
        self._once = once
        self._events: list[Event] = []
        self._subject_id: UUID | None = None
        # Why something was changed, where the operation's name does not say so; for the audit log.
        self.reason: str | None = None

    def record(self, *events: Event) -> None:
        self._events += events

    async def answer(self, result: Result) -> Result:
        """Ends an action: keeps the answer for repeats of the request, and hands the result on."""
        self._subject_id = getattr(result, "id", None)
        if self._once is not None:
            await keep(self.connection, self._once, result)
        return result

    async def close(self) -> bool:
        """Stores what was recorded, and in the audit log that something was changed; True when there were events."""
        if self._events:
            await insert_events(self.connection, self._events)
        await record_change(self.connection, self._events, subject_id=self._subject_id, reason=self.reason)
        return bool(self._events)


class Stored:
    """How often something was stored in the log by this process, and a signal for those who wait for the next time."""

    def __init__(self) -> None:
        self.times = 0
        self._again = asyncio.Event()

    def tell(self) -> None:
        self.times += 1
        told, self._again = self._again, asyncio.Event()
        told.set()

    async def wait(self, after: int, timeout_s: float) -> None:
        if self.times == after:
            await wait_within(self._again, timeout_s)


class Outbox:
    """Opens the transactions that change something, and wakes who follows the log after each commit.

    Only so many at once: a crowd of changes waits its turn here, longer than anybody waits for a connection, and
    leaves connections to those who read.
    """

    def __init__(self, db: Database) -> None:
        self.db = db
        self._stored = Stored()
        self._turns = asyncio.Semaphore(CHANGES_AT_ONCE)

    def over(self, db: Database) -> "Outbox":
        """The same log by another pool: it wakes and is woken as this one."""
        other = Outbox(db)
        other._stored = self._stored
        return other

    @asynccontextmanager
    async def transaction(self, once: Once | None = None) -> AsyncIterator[Transaction]:
        async with self._turn(), self.db.transaction() as connection:
            if once is not None:
                await claim(connection, once)
            transaction = Transaction(connection, once)
            yield transaction
            stored = await transaction.close()
        if stored:
            self.wake()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_WITHIN_S):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable("Too many changes wait to be made. Nothing was changed; try again shortly.") from None
        try:
            yield
        finally:
            self._turns.release()

    def wake(self) -> None:
        self._stored.tell()

    @property
    def stored(self) -> int:
        """For `wait`: to be taken before looking into the log."""
        return self._stored.times

    async def wait(self, after: int, timeout_s: float) -> None:
        """Until something was stored here since `stored` was `after`, or `timeout_s` (another process stores without
        waking us)."""
        await self._stored.wait(after, timeout_s)


async def insert_events(connection: Connection, events: Sequence[Event]) -> None:
    columns: list[list[Any]] = [
        [e.id for e in events],
        [e.practice_id for e in events],
        [e.type.value for e in events],
        [e.client_id for e in events],
        [e.subject_id for e in events],
        [e.actor_id for e in events],
        [e.payload for e in events],
        [e.occurred_at for e in events],
    ]
    await connection.execute(INSERT_EVENTS, *columns)


async def list_events_after(connection: Connection | Database, cursor: Cursor, limit: int) -> list[Event]:
    rows = await connection.fetch(LIST_EVENTS_AFTER, cursor.xid, cursor.position, limit)
    return [_event(row) for row in rows]


def _event(row: Row) -> Event:
    values: dict[str, Any] = dict(row)
    return Event(**values | {"type": EventType(values["type"])})
