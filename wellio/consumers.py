"""Consumers: each follows the event log by a cursor of its own, and misses nothing.

Effects and cursor are stored in one transaction, so a crash repeats what was not stored and nothing else; what is
told to devices is told after the commit. An event that can't be taken after several tries is recorded in
`consumer_failures`, logged once, and left behind, so that it does not stop those after it for ever.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import time

from wellio.db import Connection, Database, Row
from wellio.errors import Unavailable
from wellio.events import Cursor, Event, EventType
from wellio.live import Live, Push
from wellio.metrics import Metrics
from wellio.outbox import Outbox

log = logging.getLogger(__name__)

BATCH = 500
POLL_S = 0.25
# Under a stream of commits a consumer looks this often, not at each of them.
GATHER_S = 0.03
TRIES = 4
RETRY_S, LONGEST_RETRY_S = 0.2, 5.0
ERROR_CHARS = 300
# What was recorded so long after it happened is nobody's news.
HISTORY_AFTER_S = 3600.0

START_CONSUMER = "insert into consumers (name) values ($1) on conflict (name) do nothing"

GET_CURSOR = "select xid, position from consumers where name = $1"

# The end of the next batch. All rows up to it are final: see wellio/outbox.py.
GET_BATCH_END = """
select xid, position, count(*) over () as events
from (
    select xid, position
    from events
    where (xid, position) > ($1, $2)
      and xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    order by xid, position
    limit $3
) batch
order by xid desc, position desc
limit 1
"""

LIST_EVENTS_OF_TYPES = """
select xid, position, id, practice_id, type, client_id, subject_id, actor_id, payload, occurred_at
from events
where (xid, position) > ($1, $2) and (xid, position) <= ($3, $4)
  and type = any($5::text[])
order by xid, position
"""

# Moves only from where this process believes it to stand: another leader's step is never undone.
ADVANCE_CURSOR = """
update consumers
set xid = $4, position = $5, updated_at = now()
where name = $1 and (xid, position) = ($2, $3)
"""

INSERT_FAILURE = """
insert into consumer_failures (consumer, event_id, error)
values ($1, $2, $3)
on conflict on constraint consumer_failures_pkey do nothing
"""

# Transaction numbers begin again in a new cluster: there, cursors from a dump would stand ahead of all that happens.
IS_LOG_AHEAD = """
select exists (select from events where xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    or exists (select from audit_log where xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
"""

# Takes a batch in the transaction given; what it returns is published after the commit.
Handler = Callable[[Connection, Sequence[Event]], Awaitable[Sequence[Push]]]


class Superseded(Exception):
    """Another process has moved the cursor: it leads, and this one should not go on."""


class LogAhead(Exception):
    """The log was restored from another cluster: following it would skip what happens from now on."""


class Consumer:
    """Hands the events of some types to `handle`, in order, for as long as `run` is not cancelled."""

    def __init__(
        self, name: str, types: Sequence[EventType], handle: Handler, *, outbox: Outbox, live: Live, metrics: Metrics
    ) -> None:
        self.name = name
        self._types = [t.value for t in types]
        self._handle = handle
        self._outbox = outbox
        self._db = outbox.db
        self._live = live
        self._consumed = metrics.consumed.labels(name)
        self._lag = metrics.consumer_lag_seconds.labels(name)
        self._cursor = Cursor()
        self._retry_s = 0.0

    async def run(self) -> None:
        """Never ends by itself. Raises Superseded when another process has taken over."""
        while True:
            try:
                await self._follow()
            except Unavailable:
                if not self._retry_s:
                    log.warning("A consumer waits for the database", extra={"consumer": self.name})
                self._retry_s = next_retry(self._retry_s)
                await asyncio.sleep(self._retry_s)

    async def _follow(self) -> None:
        await self._db.execute(START_CONSUMER, self.name)
        row = await self._db.fetchrow(GET_CURSOR, self.name)
        assert row is not None
        self._cursor = _cursor_of(row)
        while True:
            before = self._outbox.stored
            if not await self.step():
                await self._outbox.wait(before, POLL_S)
                await asyncio.sleep(GATHER_S)

    async def step(self) -> bool:
        """Takes the next batch; False when it was the last for now."""
        async with self._db.connection() as connection:
            row = await connection.fetchrow(GET_BATCH_END, self._cursor.xid, self._cursor.position, BATCH)
            self._retry_s = 0.0
            if row is None:
                return False
            end = _cursor_of(row)
            events = await self._events_to(connection, end)
            if not events:
                await self._advance(connection, end)
        if events:
            await self._take(events, end)
        self._cursor = end
        return int(row["events"]) == BATCH

    async def _events_to(self, connection: Connection, end: Cursor) -> list[Event]:
        start = self._cursor
        rows = await connection.fetch(
            LIST_EVENTS_OF_TYPES, start.xid, start.position, end.xid, end.position, self._types
        )
        return [_event(row) for row in rows]

    async def _take(self, events: Sequence[Event], end: Cursor) -> None:
        """The batch at once; when that fails, one event after the other, so that a bad one stops no good one."""
        try:
            await self._deal_with(events, end)
        except (Unavailable, Superseded):
            raise
        except Exception:  # noqa: BLE001 (an edge; what fails again is logged there)
            for event in events:
                await self._take_one(event)
            async with self._db.transaction() as connection:
                await self._advance(connection, end)

    async def _take_one(self, event: Event) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                return await self._deal_with([event], event.cursor)
            except (Unavailable, Superseded):
                raise
            except Exception as error:
                if attempt == TRIES:
                    log.exception(
                        "A consumer goes on without an event", extra={"consumer": self.name, "event_id": event.id}
                    )
                    return await self._give_up(event, error)
                await asyncio.sleep(RETRY_S * 2**attempt)

    async def _deal_with(self, events: Sequence[Event], end: Cursor) -> None:
        async with self._db.transaction() as connection:
            pushes = await self._handle(connection, events)
            await self._advance(connection, end)
        self._cursor = end
        publish(self._live, pushes)
        self._consumed.inc(len(events))
        self._lag.set(age_s(events[-1]))

    async def _give_up(self, event: Event, error: Exception) -> None:
        async with self._db.transaction() as connection:
            await connection.execute(INSERT_FAILURE, self.name, event.id, told(error))
            await self._advance(connection, event.cursor)
        self._cursor = event.cursor

    async def _advance(self, connection: Connection, end: Cursor) -> None:
        start = self._cursor
        moved = await connection.execute(ADVANCE_CURSOR, self.name, start.xid, start.position, end.xid, end.position)
        if moved != "UPDATE 1":
            raise Superseded(f"Consumer {self.name} was moved by another process.")


async def check_log(db: Database) -> None:
    """Raises LogAhead."""
    if await db.fetchval(IS_LOG_AHEAD):
        raise LogAhead(
            "The event log has transaction numbers that this PostgreSQL cluster has not come to: it was restored from "
            "a dump. Raise the cluster's next number above max(events.xid) with pg_resetwal -x, then start again."
        )


def publish(live: Live, pushes: Iterable[Push]) -> None:
    """Tells what is committed; a listener's failure is its own and stops nobody."""
    for push in pushes:
        try:
            live.publish(push.user_ids, push.event, push.data)
        except Exception:
            log.exception("A listener failed", extra={"push": push.event})


def recorded_at_s(event: Event) -> float:
    """When the event was written down, in Unix seconds: its id is a UUIDv7, whose first 48 bits are milliseconds."""
    number = event.id.int
    return (number >> 80) / 1000 if number >> 76 & 0xF == 7 else event.occurred_at.timestamp()


def is_history(event: Event) -> bool:
    """Whether it is somebody's past, brought in long after it happened."""
    return recorded_at_s(event) - event.occurred_at.timestamp() > HISTORY_AFTER_S


def age_s(event: Event) -> float:
    return max(0.0, time() - recorded_at_s(event))


def told(error: Exception) -> str:
    """An error as it may be stored: its class, and its first line where that can't hold anybody's data.

    PostgreSQL and pydantic put the values they refuse into theirs.
    """
    kind = type(error)
    lines = str(error).splitlines()
    if not lines or kind.__module__.partition(".")[0] in ("asyncpg", "pydantic_core"):
        return kind.__name__
    return f"{kind.__name__}: {lines[0]}"[:ERROR_CHARS]


def next_retry(retry_s: float) -> float:
    """Doubles up to LONGEST_RETRY_S, with up to half of it at random, so that processes do not march in step."""
    step = min(max(2 * retry_s, RETRY_S), LONGEST_RETRY_S)
    return step * random.uniform(0.5, 1.0)  # noqa: S311 (not for secrets)


def _cursor_of(row: Row) -> Cursor:
    return Cursor(row["xid"], row["position"])


def _event(row: Row) -> Event:
    return Event(**dict(row) | {"type": EventType(row["type"])})
