"""The learner's state in the database: saved whole with its cursor in one row, the last three kept.

A kill at any moment leaves the snapshot before, and what was learnt since is learnt again from there, to the same bits.
"""

import asyncio
import logging
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from wellio.consumers import Superseded
from wellio.db import Connection, Database, Row
from wellio.events import Cursor
from wellio.learning.answers import Key, Outcome
from wellio.learning.churn import Learner
from wellio.learning.container import SnapshotDamaged, SnapshotVersion

log = logging.getLogger(__name__)

KEPT = 3
# Repetitive floats: level 1 takes most of what there is to gain.
COMPRESSION = 1
# Of a state on its way from the database (it goes there in pieces as well): 50 MB at once would hold the event loop.
PIECE_BYTES = 1 << 20
# A large state takes longer than a request may.
STATE_TIMEOUT = "60s"
STATE_TIMEOUT_S = 60.0
# Spells "learner" (ASCII); any constant would do.
LOCK_KEY = 0x6C6561726E6572

LIST_SNAPSHOTS = "select id, xid, position, events, outcomes from learner_snapshots order by id desc"
GET_STATE_PIECE = "select substring(state from $2 for $3) from learner_snapshots where id = $1"
GET_NEWEST_ID = "select coalesce(max(id), 0) from learner_snapshots"
LOCK_SNAPSHOTS = "select pg_advisory_xact_lock($1)"
SET_TIMEOUT = "select set_config('statement_timeout', $1, true)"

DELETE_OLD_SNAPSHOTS = """
delete from learner_snapshots
where id not in (select id from learner_snapshots order by id desc limit $1)
"""

DELETE_OF_ERASED = """
with gone as (
    select * from unnest($1::uuid[], $2::uuid[]) t (practice_id, client_id)
),
outcomes as (
    delete from prediction_outcomes o using gone g where o.practice_id = g.practice_id and o.client_id = g.client_id
),
history as (
    delete from prediction_history h using gone g where h.practice_id = g.practice_id and h.client_id = g.client_id
)
delete from predictions p using gone g where p.practice_id = g.practice_id and p.client_id = g.client_id
"""

DELETE_OUTCOMES_AFTER = "delete from prediction_outcomes where seq > $1"

# Those of a client who was erased since are left out, and their numbers with them.
INSERT_OUTCOMES = """
insert into prediction_outcomes (seq, practice_id, client_id, kind, asked_at, due_at, probability, rule, status,
                                 churned)
select t.seq, t.practice_id, t.client_id, t.kind, to_timestamp(t.asked_at), to_timestamp(t.due_at), t.probability,
       t.rule, case when t.shown then 'ok' else 'not_enough_history' end, t.churned
from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::double precision[], $6::double precision[],
            $7::double precision[], $8::double precision[], $9::boolean[], $10::boolean[])
     t (seq, practice_id, client_id, kind, asked_at, due_at, probability, rule, shown, churned)
where exists (select from clients c where c.practice_id = t.practice_id and c.id = t.client_id)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a learner stands: the event it has come to, how many it read, how many outcomes it made of them.

    `snapshot_id` is the newest snapshot known: whoever finds a newer one is not the only learner, and stops.
    """

    cursor: Cursor = field(default_factory=Cursor)
    events: int = 0
    outcomes: int = 0
    snapshot_id: int = 0


async def load_learner(db: Database, *, refused: Callable[[], None] | None = None) -> tuple[Learner, Place]:
    """The newest sound state, or a new learner at event 0. Outcomes made after that state are taken out again.

    `refused` is called for each state that can't be used.
    """
    learner, place = await _newest_sound(db, refused)
    async with db.connection() as connection:
        await connection.execute(DELETE_OUTCOMES_AFTER, place.outcomes, timeout=STATE_TIMEOUT_S)
    return learner, place


async def _newest_sound(db: Database, refused: Callable[[], None] | None) -> tuple[Learner, Place]:
    rows = await db.fetch(LIST_SNAPSHOTS)
    newest_id = rows[0]["id"] if rows else 0
    for row in rows:
        learner = await _load(db, row)
        if learner is not None:
            cursor = Cursor(row["xid"], row["position"])
            return learner, Place(cursor, row["events"], row["outcomes"], newest_id)
        if refused:
            refused()
    return Learner(), Place(snapshot_id=newest_id)


async def _load(db: Database, row: Row) -> Learner | None:
    state = bytearray()
    while piece := await db.fetchval(GET_STATE_PIECE, row["id"], len(state) + 1, PIECE_BYTES):
        state += piece
    try:
        return await asyncio.to_thread(_decode, state)
    except (zlib.error, SnapshotDamaged, SnapshotVersion) as error:
        log.warning(
            "A learner snapshot can't be used; going on from the one before",
            extra={"snapshot_id": row["id"], "reason": str(error)},
        )
        return None


def _decode(state: bytes | bytearray) -> Learner:
    return Learner.load(zlib.decompress(state))


async def save_learner(db: Database, learner: Learner, place: Place, *, erased: Sequence[Key] = ()) -> Place:
    """Stores the state; the learner must rest meanwhile, its outcomes drained. Raises Superseded.

    With `erased` clients, whom the learner has forgotten, the snapshots before go in the same transaction, because they
    hold them still, and so does what was predicted of them.
    """
    state = await asyncio.to_thread(_encode, learner)
    async with db.transaction() as connection:
        await connection.fetchval(LOCK_SNAPSHOTS, LOCK_KEY)
        if await connection.fetchval(GET_NEWEST_ID) != place.snapshot_id:
            raise Superseded("Another process has saved the learner: this one's state is not the latest.")
        await connection.fetchval(SET_TIMEOUT, STATE_TIMEOUT)
        await _insert_snapshot(connection, place, state)
        snapshot_id = await connection.fetchval(GET_NEWEST_ID)
        await connection.execute(DELETE_OLD_SNAPSHOTS, 1 if erased else KEPT)
        if erased:
            await connection.execute(DELETE_OF_ERASED, *map(list, zip(*erased, strict=True)))
    return replace(place, snapshot_id=snapshot_id)


def _encode(learner: Learner) -> list[bytes]:
    """Compressed, in pieces: one value of 100 MB would hold the interpreter, and so the event loop, for as long as it
    is copied."""
    compressor = zlib.compressobj(COMPRESSION)
    return [*filter(None, map(compressor.compress, learner.freeze().pieces())), compressor.flush()]


async def _insert_snapshot(connection: Connection, place: Place, state: Sequence[bytes]) -> None:
    columns = ("xid", "position", "events", "outcomes", "state")
    numbers = (place.cursor.xid, place.cursor.position, place.events, place.outcomes)
    source = _copied(numbers, state)
    await connection.copy_to_table(
        "learner_snapshots", columns=columns, source=source, format="binary", timeout=STATE_TIMEOUT_S
    )


async def _copied(numbers: Sequence[int], state: Sequence[bytes]) -> AsyncIterator[bytes]:
    """One row in the binary format of PostgreSQL's COPY, the only way to send a value in pieces."""
    yield struct.pack("!11sii", b"PGCOPY\n\xff\r\n\0", 0, 0)
    yield struct.pack("!h", len(numbers) + 1)
    for number in numbers:
        yield struct.pack("!iq", 8, number)
    yield struct.pack("!i", sum(map(len, state)))
    for piece in state:
        yield piece
        await asyncio.sleep(0)  # the driver goes on at once for as long as the database takes them
    yield struct.pack("!h", -1)


async def insert_outcomes(connection: Connection, outcomes: Sequence[Outcome], *, after: int) -> None:
    """Stores outcomes as numbers `after` + 1 and on. Raises Superseded where these are there already."""
    columns = list(zip(*outcomes, strict=True)) if outcomes else [()] * len(Outcome._fields)
    practices, clients, asked, due, kinds, *rest = columns
    seqs = range(after + 1, after + 1 + len(outcomes))
    try:
        await connection.execute(INSERT_OUTCOMES, seqs, practices, clients, kinds, asked, due, *rest)
    except asyncpg.UniqueViolationError as error:
        raise Superseded("Another process stores the learner's outcomes.") from error
