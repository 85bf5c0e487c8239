"""A practice's past, brought in from a file: its clients, its ledger and its log, as if Wellio had been there.

Lines are taken in batches, each in one transaction with the place the file has come to (`replays`): a kill at any
moment leaves whole batches, and the next run goes on after the last one. A practice has one history. A file whose
first lines are not those taken so far is refused; one that goes on after them (repaired, or exported later) is
continued.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from wellio.accounts.actors import Role
from wellio.accounts.passwords import Passwords
from wellio.accounts.practices import Practice, get_practice, insert_practice, registered_event
from wellio.accounts.users import User, insert_user
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound, Unavailable
from wellio.events import Cursor, Event, EventType
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.practice.clients import touch_clients
from wellio.practice.history_files import Batch
from wellio.practice.history_lines import PAYMENT, REFUND, Entry
from wellio.practice.payments import PaymentEntry, enter_payments

# Beyond so many the references are looked up again rather than remembered.
REMEMBERED_CLIENTS = 200_000

LIST_PRACTICES_NAMED = "select id from practices where name = $1 or id = $2 order by created_at, id limit 10"

PRACTICE_EXISTS = "select exists (select from practices where id = $1)"

GET_REPLAY = """
select file_name, digest, lines_done, lines_refused, events_done, first_at, last_at, ended_at
from replays
where practice_id = $1
"""

START_REPLAY = """
insert into replays (practice_id, file_name, digest)
values ($1, $2, $3)
on conflict (practice_id) do update set file_name = excluded.file_name, ended_at = null
"""

# Only from where this process believes it to stand: a second one on the same practice takes no line twice.
ADVANCE_REPLAY = """
update replays
set digest = $3, lines_done = $4, lines_refused = $5, events_done = $6, first_at = $7, last_at = $8
where practice_id = $1 and lines_done = $2
returning pg_current_xact_id()::text::bigint as xid
"""

END_REPLAY = "update replays set ended_at = now() where practice_id = $1"

FIND_CLIENTS = """
select external_ref, id
from clients
where practice_id = $1 and external_ref = any($2::text[])
"""

INSERT_CLIENTS = """
insert into clients (id, practice_id, first_name, last_name, timezone, external_ref, created_at)
select t.id, $1, 'Client', t.external_ref, $2, t.external_ref, t.created_at
from unnest($3::uuid[], $4::text[], $5::timestamptz[]) t (id, external_ref, created_at)
"""


GET_LAST_CURSOR = """
select xid, position
from events
where practice_id = $1
order by xid desc, position desc
limit 1
"""


# In a new database PostgreSQL knows nothing of the tables' sizes, and plans the check of a reference as if a practice
# had no clients: 100 µs a row rather than 5. It looks again by itself, but only after minutes.
TELL_SIZES = "analyze clients, payments, events, predictions"
TOLD_AFTER_BATCHES = frozenset(4**i for i in range(12))


@dataclass(frozen=True, slots=True)
class Replay:
    """How far the file has come. Lines are counted with the header; `digest` is that of the lines done."""

    practice: Practice
    file_name: str
    digest: bytes = b""
    lines_done: int = 0
    lines_refused: int = 0
    events_done: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewOwner:
    email: str
    password: str


async def find_practice(db: Database, name_or_id: str) -> Practice | None:
    """Raises NotFound for an id that is nobody's, Conflict where several practices have the name."""
    wanted = _uuid(name_or_id)
    ids = [row["id"] for row in await db.fetch(LIST_PRACTICES_NAMED, name_or_id, wanted)]
    if not ids and wanted is not None:
        raise NotFound(f"There is no practice {wanted}.")
    if len(ids) > 1:
        raise Conflict(f"Several practices are called {name_or_id!r}: name one by its id, {', '.join(map(str, ids))}.")
    return await get_practice(db, ids[0]) if ids else None


async def get_replay(db: Database | Connection, practice: Practice) -> Replay | None:
    row = await db.fetchrow(GET_REPLAY, practice.id)
    return _replay(practice, row) if row else None


async def register_with_history(
    outbox: Outbox, passwords: Passwords, practice: Practice, file_name: str, *, owner: NewOwner, since: datetime
) -> Replay:
    """A new practice that began at `since`, with an owner who can log in."""
    password_hash = await passwords.hash(owner.password)
    user = User(uuid7(), practice.id, Role.OWNER, "Owner", owner.email, practice.timezone, email_verified=True)
    async with outbox.transaction() as tx:
        await insert_practice(tx.connection, practice)
        await insert_user(tx.connection, user, password_hash=password_hash)
        await tx.connection.execute(START_REPLAY, practice.id, file_name, b"")
        tx.record(replace(registered_event(practice, user), occurred_at=since))
    return Replay(practice, file_name)


async def start_replay(outbox: Outbox, practice: Practice, file_name: str) -> Replay:
    """Begins the practice's history, or goes on with it."""
    async with outbox.transaction() as tx:
        await tx.connection.execute(START_REPLAY, practice.id, file_name, b"")
        found = await get_replay(tx.connection, practice)
    assert found is not None
    return found


async def get_last_cursor(db: Database, practice: Practice) -> Cursor:
    """The place of the practice's latest event."""
    row = await db.fetchrow(GET_LAST_CURSOR, practice.id)
    return Cursor(row["xid"], row["position"]) if row else Cursor()


async def end_replay(outbox: Outbox, replay: Replay) -> None:
    async with outbox.transaction() as tx:
        await tx.connection.execute(END_REPLAY, replay.practice.id)


class History:
    """Takes batches into one practice, one after another."""

    def __init__(self, outbox: Outbox, replay: Replay) -> None:
        self._outbox = outbox
        self._practice = replay.practice
        self._known: dict[str, UUID] = {}
        self._batches = 0
        self._in_doubt = False
        self.replay = replay

    async def take(self, batch: Batch) -> int:
        """Returns the number of the transaction, 0 when the batch turns out to be taken already.

        Raises Conflict when another process takes lines into the practice; Unavailable, and may then be called again.
        """
        after = _after(self.replay, batch)
        xid, ids = 0, dict[str, UUID]()
        if not self._in_doubt or not await self._was_taken(after):
            self._in_doubt = True  # until the commit is known
            xid, ids = await self._store(batch, after)
        self._in_doubt = False
        self._known = ids if len(self._known) > REMEMBERED_CLIENTS else self._known | ids
        self.replay = after
        await self._tell_sizes()
        return xid

    async def _was_taken(self, after: Replay) -> bool:
        """Whether the last try was committed, though its answer was lost."""
        stored = await get_replay(self._outbox.db, self._practice)
        return stored is not None and (stored.lines_done, stored.digest) == (after.lines_done, after.digest)

    async def _store(self, batch: Batch, after: Replay) -> tuple[int, dict[str, UUID]]:
        async with self._outbox.transaction() as tx:
            xid = await self._advance(tx.connection, after)
            ids, new = await self._clients(tx.connection, batch.entries)
            events = await self._enter(tx.connection, batch.entries, ids)
            for entry, event in zip(batch.entries, events, strict=True):
                if entry.client_ref in new:
                    new.remove(entry.client_ref)
                    tx.record(self._created(ids[entry.client_ref], entry.at))
                tx.record(event)
        return xid, ids

    async def _tell_sizes(self) -> None:
        self._batches += 1
        if self._batches in TOLD_AFTER_BATCHES:
            with suppress(Unavailable):  # it only helps
                await self._outbox.db.execute(TELL_SIZES)

    async def _advance(self, connection: Connection, after: Replay) -> int:
        place = (after.digest, after.lines_done, after.lines_refused, after.events_done, after.first_at, after.last_at)
        xid: int | None = await connection.fetchval(ADVANCE_REPLAY, self._practice.id, self.replay.lines_done, *place)
        if xid is None:
            raise Conflict("Another process replays into this practice; let it end, or stop it.")
        return xid

    async def _clients(self, connection: Connection, entries: Sequence[Entry]) -> tuple[dict[str, UUID], set[str]]:
        """The ids of the entries' clients by reference, and whom of them it made, as of their first entry."""
        first = {entry.client_ref: entry.at for entry in reversed(entries)}
        ids = {ref: self._known[ref] for ref in first if ref in self._known}
        if len(ids) < len(first):
            rows = await connection.fetch(FIND_CLIENTS, self._practice.id, [ref for ref in first if ref not in ids])
            ids |= {row["external_ref"]: row["id"] for row in rows}
        new = {ref: at for ref, at in first.items() if ref not in ids}
        ids |= {ref: derived_id(at, str(self._practice.id), ref) for ref, at in new.items()}
        if new:
            columns = ([ids[ref] for ref in new], list(new), list(new.values()))
            await connection.execute(INSERT_CLIENTS, self._practice.id, self._practice.timezone, *columns)
        return ids, set(new)

    async def _enter(self, connection: Connection, entries: Sequence[Entry], ids: dict[str, UUID]) -> list[Event]:
        """Ledger lines for money, activity for the rest; their events in the order of the file."""
        paid = [entry for entry in entries if is_money(entry)]
        _, events = await enter_payments(
            connection, self._practice.id, None, [self._payment(entry, ids[entry.client_ref]) for entry in paid]
        )
        seen = {ids[entry.client_ref]: entry.at for entry in entries if entry.kind.active and not is_money(entry)}
        await touch_clients(connection, self._practice.id, seen)
        of_money = iter(events)
        return [
            next(of_money) if is_money(entry) else self._activity(entry, ids[entry.client_ref]) for entry in entries
        ]

    def _payment(self, entry: Entry, client_id: UUID) -> PaymentEntry:
        kind: Any = entry.kind.name
        return PaymentEntry(client_id, kind, entry.amount_minor, self._practice.currency, entry.at)

    def _activity(self, entry: Entry, client_id: UUID) -> Event:
        return Event(
            type=EventType.ACTIVITY_RECORDED,
            practice_id=self._practice.id,
            client_id=client_id,
            occurred_at=entry.at,
            payload={"kind": entry.kind.name, "active": entry.kind.active, "amount_minor": entry.amount_minor},
        )

    def _created(self, client_id: UUID, at: datetime) -> Event:
        return Event(
            type=EventType.CLIENT_CREATED,
            practice_id=self._practice.id,
            client_id=client_id,
            subject_id=client_id,
            occurred_at=at,
        )


async def new_practice(db: Database, name: str, *, currency: str, horizon_days: int, since: datetime) -> Practice:
    """Not stored yet. Its id follows from its name and its first moment, so the same file gives the same figures."""
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise Invalid("A practice's name has 1 to 200 printable characters.")
    practice_id = derived_id(since, "practice", name)
    if await db.fetchval(PRACTICE_EXISTS, practice_id):
        practice_id = uuid7()
    return Practice(practice_id, name, "UTC", currency, horizon_days)


def derived_id(at: datetime, *names: str) -> UUID:
    """A UUIDv7 of that time whose other bits follow from the names instead of chance."""
    ms = int(at.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
    digest = int.from_bytes(sha256("\0".join(names).encode()).digest()[:10])
    value = (ms << 80 | digest) & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def is_money(entry: Entry) -> bool:
    """The ledger has no lines of nothing: a payment without an amount is activity."""
    return entry.amount_minor > 0 and entry.kind.name in (PAYMENT, REFUND)


def _after(replay: Replay, batch: Batch) -> Replay:
    entries = batch.entries
    return replace(
        replay,
        digest=batch.digest,
        lines_done=batch.lines_done,
        lines_refused=replay.lines_refused + len(batch.refused),
        events_done=replay.events_done + len(entries),
        first_at=replay.first_at or (entries[0].at if entries else None),
        last_at=entries[-1].at if entries else replay.last_at,
    )


def _replay(practice: Practice, row: Row) -> Replay:
    return Replay(practice, **dict(row))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
