"""The audit log: who changed, read or was denied what, when and from where. Never what anybody wrote.

A change's row is stored in the change's own transaction (`outbox.py`), so that there is no effect without a row.
Answered reads and denials change nothing that a transaction could be shared with: `AuditWriter` stores them, many at
a time, within a tenth of a second, and nobody's answer waits for it. `audit_chain.py` seals the rows.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Any
from uuid import UUID

from wellio.attribution import ATTRIBUTION, Attribution
from wellio.db import Connection, Database
from wellio.encoding import to_json
from wellio.errors import Unavailable
from wellio.events import Event
from wellio.ids import uuid7
from wellio.metrics import Metrics
from wellio.tasks import end_tasks, wait_within

log = logging.getLogger(__name__)

# Of one answer; the longest page shows fewer.
MAX_CLIENTS = 200
GATHER_S = 0.05
MAX_BATCH = 500
# Some minutes of a busy practice's reads, while the database is away.
MAX_WAITING = 20_000
RETRY_S = 0.5
STOP_WITHIN_S = 3.0

# PostgreSQL knows best whether this transaction has changed anything: then it has a number. A row that was locked
# for a change counts, even if it was left as it was.
INSERT_CHANGE = """
insert into audit_log (id, practice_id, actor_id, actor_role, session_id, api_key_id, action, outcome, subject_id,
                       client_ids, request_id, address, details)
select $1, $2, $3, $4, $5, $6, $7, 'done', $8, $9::uuid[], $10, $11, $12
where $13 or pg_current_xact_id_if_assigned() is not null
"""

# user_ids: people shown who may be clients. Arrays of arrays must be even in PostgreSQL, so these two come as text.
INSERT_NOTES = """
insert into audit_log (id, practice_id, at, actor_id, actor_role, session_id, api_key_id, action, outcome, subject_id,
                       client_ids, request_id, address, details)
select g.id, g.practice_id, g.at, g.actor_id, g.actor_role, g.session_id, g.api_key_id, g.action, g.outcome,
       g.subject_id,
       case when g.user_ids = '{}' then g.client_ids::uuid[] else array(
           select unnest(g.client_ids::uuid[])
           union
           select c.id from clients c where c.practice_id = g.practice_id and c.user_id = any(g.user_ids::uuid[])
       ) end,
       g.request_id, g.address, g.details::jsonb
from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::text[], $6::uuid[], $7::uuid[], $8::text[],
            $9::text[], $10::uuid[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])
     g (id, practice_id, at, actor_id, actor_role, session_id, api_key_id, action, outcome, subject_id, client_ids,
        user_ids, request_id, address, details)
"""


class Outcome(StrEnum):
    DONE = "done"
    READ = "read"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Shown:
    """Whose data an answer shows: clients, users (of whom some may be clients), and of how many things."""

    client_ids: Sequence[UUID] = ()
    user_ids: Sequence[UUID] = ()
    count: int | None = None


NOTHING = Shown()


@dataclass(frozen=True, slots=True)
class Note:
    """A row that waits to be stored."""

    by: Attribution
    outcome: Outcome
    shown: Shown
    details: Mapping[str, Any]
    id: UUID = field(default_factory=uuid7)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


async def record_change(
    connection: Connection,
    events: Sequence[Event] = (),
    *,
    subject_id: UUID | None = None,
    reason: str | None = None,
) -> None:
    """The row of what this transaction has changed; none where nothing is attributed, or nothing was changed."""
    by = ATTRIBUTION.get()
    if by is None:
        return
    first = events[0] if events else None
    details: dict[str, Any] = {"events": sorted({e.type.value for e in events})} if events else {}
    details |= {"fields": by.fields} if by.fields else {}
    details |= {"reason": reason} if reason else {}
    await connection.execute(
        INSERT_CHANGE,
        uuid7(),
        by.practice_id or (first.practice_id if first else None),
        by.user_id or (first.actor_id if first else None),
        by.role,
        by.session_id,
        by.api_key_id,
        by.operation,
        by.subject_id or subject_id or (first.subject_id if first else None),
        _distinct([by.client_id, *(event.client_id for event in events)]),
        by.request_id,
        by.address,
        details,
        bool(events),
    )


class AuditWriter:
    """Stores reads and denials. `note` never waits and never fails; what can't be stored for long is counted lost,
    and said so in the log. A process that is killed loses those of its last tenth of a second."""

    def __init__(self, db: Database, metrics: Metrics) -> None:
        self._db, self._metrics = db, metrics
        self._waiting: deque[Note] = deque()
        self._arrived, self._stopping = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lost = 0

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="audit writer")

    async def stop(self) -> None:
        """Stores what waits, if the database takes it within a few seconds."""
        self._stopping.set()
        self._arrived.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_WITHIN_S)
            await end_tasks([self._task])
        self._lose(len(self._waiting))
        self._tell_losses()

    def note(self, outcome: Outcome, shown: Shown = NOTHING, **details: Any) -> None:
        """By whoever is attributed at this moment."""
        by = ATTRIBUTION.get()
        if by is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._lose(1)
            return
        if shown.count is not None:
            details["count"] = shown.count
        self._waiting.append(Note(by, outcome, shown, details))
        self._arrived.set()

    async def _run(self) -> None:
        while not self._stopping.is_set() or self._waiting:
            await self._arrived.wait()
            self._arrived.clear()
            await wait_within(self._stopping, GATHER_S)
            while self._waiting:
                await self._store(list(islice(self._waiting, MAX_BATCH)))

    async def _store(self, notes: Sequence[Note]) -> None:
        """Takes the first of those that wait off the queue, once they are stored."""
        try:
            await insert_notes(self._db, notes)
        except Unavailable:
            await asyncio.sleep(RETRY_S)
            return
        except Exception:
            log.exception("Rows of the audit log can't be stored", extra={"rows": len(notes)})
            self._lose(await self._store_singly(notes))
        for _ in notes:
            self._waiting.popleft()
        self._tell_losses()

    async def _store_singly(self, notes: Sequence[Note]) -> int:
        """How many can't be stored, whatever is tried; the others are."""
        refused = 0
        for note in notes:
            try:
                await insert_notes(self._db, [note])
            except Exception:  # noqa: BLE001 - logged with the batch
                refused += 1
        return refused

    def _lose(self, count: int) -> None:
        self._lost += count
        self._metrics.audit_rows_lost.inc(count)

    def _tell_losses(self) -> None:
        if self._lost:
            log.error("Reads or denials are missing in the audit log", extra={"rows": self._lost})
            self._lost = 0


async def insert_notes(db: Database | Connection, notes: Sequence[Note]) -> None:
    columns: list[list[Any]] = [
        [n.id for n in notes],
        [n.by.practice_id for n in notes],
        [n.at for n in notes],
        [n.by.user_id for n in notes],
        [n.by.role for n in notes],
        [n.by.session_id for n in notes],
        [n.by.api_key_id for n in notes],
        [n.by.operation for n in notes],
        [n.outcome.value for n in notes],
        [n.by.subject_id for n in notes],
        [_literal([n.by.client_id, *n.shown.client_ids]) for n in notes],
        [_literal(n.shown.user_ids) for n in notes],
        [n.by.request_id for n in notes],
        [n.by.address for n in notes],
        [to_json(n.details).decode() for n in notes],
    ]
    await db.execute(INSERT_NOTES, *columns)


def _distinct(ids: Iterable[UUID | None]) -> list[UUID]:
    return list(dict.fromkeys(i for i in ids if i is not None))[:MAX_CLIENTS]


def _literal(ids: Iterable[UUID | None]) -> str:
    """As PostgreSQL writes an array of them."""
    return f"{{{','.join(map(str, _distinct(ids)))}}}"
