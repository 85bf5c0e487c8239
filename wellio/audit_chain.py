"""The chain over the audit log: hash = sha256(previous hash, row), in the log's order (xid, position).

The leading process seals rows within a second of their commit, so that nobody waits for the chain to write; like the
consumers (`outbox.py` says why) it looks only below the oldest transaction that still runs. What a row's hash covers
is the text CANONICAL makes of it: all but the transaction's number, which a restore into a new cluster moves.

The chain shows that rows below its head are as they were sealed. It can't show that the head itself is not a forgery
by somebody who may write to the database as its owner: for that, keep a head elsewhere (`bin/audit-verify` prints it)
and give it back with --expect.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import asyncpg

from wellio.consumers import Superseded, next_retry
from wellio.db import Connection, Database, Row
from wellio.errors import Unavailable

log = logging.getLogger(__name__)

SEAL_BATCH, CHECK_BATCH = 2_000, 10_000
POLL_S = 0.4
GENESIS = bytes(32)

GET_HEAD = "select number, xid, position, hash from audit_chain order by number desc limit 1"

# A JSON array: PostgreSQL writes jsonb in one form only, so different rows never give the same text.
LIST_UNSEALED = """
select a.id, a.xid, a.position,
       jsonb_build_array(a.position, a.id, a.practice_id, (extract(epoch from a.at) * 1000000)::bigint, a.actor_id,
                         a.actor_role, a.session_id, a.api_key_id, a.action, a.outcome, a.subject_id, a.client_ids,
                         a.request_id, a.address, a.details)::text as canonical
from audit_log a
where (a.xid, a.position) > ($1, $2)
  and a.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
order by a.xid, a.position
limit $3
"""

# Another leader that sealed the same rows first has taken their numbers.
INSERT_CHAIN = """
insert into audit_chain (number, audit_id, xid, position, hash)
select * from unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bytea[])
"""

COUNT_UNSEALED = "select count(*) from audit_log where (xid, position) > ($1, $2)"

# Each link with its row as it is now; a row that is gone has nulls.
LIST_LINKS = """
select c.number, c.audit_id, c.xid, c.position, c.hash, a.id, a.at, a.xid as row_xid, a.position as row_position,
       jsonb_build_array(a.position, a.id, a.practice_id, (extract(epoch from a.at) * 1000000)::bigint, a.actor_id,
                         a.actor_role, a.session_id, a.api_key_id, a.action, a.outcome, a.subject_id, a.client_ids,
                         a.request_id, a.address, a.details)::text as canonical
from audit_chain c
left join audit_log a on a.id = c.audit_id
where c.number > $1 and c.number <= $2
order by c.number
"""

# Rows in the sealed part that no link names: put there behind the chain's back.
LIST_INSERTED = """
select a.id, a.at
from audit_log a
where (a.xid, a.position) > ($1, $2) and (a.xid, a.position) <= ($3, $4)
  and not exists (select from audit_chain c where c.audit_id = a.id)
order by a.xid, a.position
"""

BEGINNING = (-(2**62), 0)


@dataclass(frozen=True, slots=True)
class Head:
    """The last link: `number` rows are sealed, up to the place (xid, position)."""

    number: int = 0
    place: tuple[int, int] = BEGINNING
    hash: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one row. `at` is when it was written, as far as that is known."""

    number: int
    audit_id: UUID
    what: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """How far a check has come: `number` links of `of`, up to the row written at `at`."""

    number: int
    of: int
    findings: Sequence[Finding]
    at: datetime | None
    hash: bytes


async def seal_for_ever(db: Database) -> None:
    """A duty of the leading process. Never ends by itself. Raises Superseded when another process seals as well."""
    retry_s = 0.0
    while True:
        try:
            await _seal_on(db, await get_head(db))
        except Unavailable:
            if not retry_s:
                log.warning("The audit log's rows wait for the database to be sealed")
            retry_s = next_retry(retry_s)
            await asyncio.sleep(retry_s)


async def _seal_on(db: Database, head: Head) -> None:
    while True:
        sealed = await seal(db, head)
        if sealed is head:
            await asyncio.sleep(POLL_S)
        head = sealed


async def seal(db: Database, head: Head) -> Head:
    """Seals the next rows; the same head when there were none. Raises Superseded."""
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_UNSEALED, *head.place, SEAL_BATCH)
        if not rows:
            return head
        links: list[tuple[int, UUID, int, int, bytes]] = []
        digest = head.hash
        for number, row in enumerate(rows, start=head.number + 1):
            digest = chained(digest, row["canonical"])
            links.append((number, row["id"], row["xid"], row["position"], digest))
        try:
            await connection.execute(INSERT_CHAIN, *map(list, zip(*links, strict=True)))
        except asyncpg.UniqueViolationError as error:
            raise Superseded("Rows of the audit log were sealed by another process.") from error
    return Head(links[-1][0], (links[-1][2], links[-1][3]), digest)


async def get_head(db: Database | Connection) -> Head:
    row = await db.fetchrow(GET_HEAD)
    return Head(row["number"], (row["xid"], row["position"]), row["hash"]) if row else Head()


def chained(previous: bytes, canonical: str) -> bytes:
    return sha256(previous + canonical.encode()).digest()


async def check(connection: Connection) -> AsyncIterator[Checked]:
    """Walks the chain from its beginning, a batch at a time."""
    head = await get_head(connection)
    walk = _Walk()
    at: datetime | None = None
    for first in range(0, head.number, CHECK_BATCH):
        last = min(first + CHECK_BATCH, head.number)
        rows = await connection.fetch(LIST_LINKS, first, last)
        findings = walk.over(rows, first, last)
        start, end = walk.place, _last_place(rows, walk.place)
        walk.place = end
        for row in await connection.fetch(LIST_INSERTED, *start, *end):
            findings.append(Finding(last, row["id"], "was inserted", row["at"]))
        at = next((row["at"] for row in reversed(rows) if row["at"]), at)
        yield Checked(last, head.number, findings, at, walk.hash)


class _Walk:
    """From link to link. After a bad one it goes on from the hash that stands there, so that one change is one
    finding."""

    def __init__(self) -> None:
        self.hash = GENESIS
        self.place = BEGINNING
        self._meant = GENESIS  # what the last hash should have been

    def over(self, rows: Sequence[Row], first: int, last: int) -> list[Finding]:
        findings = [
            Finding(number, UUID(int=0), "is missing in the chain")
            for number in sorted(set(range(first + 1, last + 1)) - {row["number"] for row in rows})
        ]
        for row in rows:
            what = self._step(row)
            if what is not None:
                findings.append(Finding(row["number"], row["audit_id"], what, row["at"]))
        return findings

    def _step(self, row: Row) -> str | None:
        stands, before, meant = row["hash"], self.hash, self._meant
        self.hash = stands
        if row["id"] is None:
            self._meant = stands
            return "was removed"
        if (row["row_xid"], row["row_position"]) != (row["xid"], row["position"]):
            self._meant = stands
            return "was moved"
        self._meant = chained(before, row["canonical"])
        if self._meant == stands:
            return None
        # Sealed after a link that was itself changed: that one was told already.
        if before != meant and chained(meant, row["canonical"]) == stands:
            self._meant = stands
            return None
        return "was changed"


def _last_place(rows: Sequence[Row], before: tuple[int, int]) -> tuple[int, int]:
    return (rows[-1]["xid"], rows[-1]["position"]) if rows else before
