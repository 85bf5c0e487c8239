"""The attendance model in the database, and the consumer that teaches it: state, histories, bookings and cursor move in
one transaction, so each outcome is learnt exactly once, and nothing is learnt again after a restart.

A client who is erased takes their rows along, by their event or with the client's own row; the weights are nobody's.
"""

import asyncio
import logging
from collections.abc import Container, Iterable, Sequence
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.db import Connection, Database
from wellio.events import Event
from wellio.learning.attendance import Asked, Attendance
from wellio.learning.attendance_facts import Item, Key, apply, item_of
from wellio.learning.attendance_rows import asked_of, numbers_of
from wellio.learning.container import SnapshotDamaged, SnapshotVersion

log = logging.getLogger(__name__)

NAME = "attendance"
# Who undoes a miss does it within days; a year of seasons and holidays is on the safe side.
KEEP_DAYS = 400

GET_MODEL = "select state from attendance_model where id = 1"
LOCK_MODEL = "select state from attendance_model where id = 1 for update"
LIST_ZONES = "select id, timezone from practices where id = any($1::uuid[])"
LIST_PRACTICES = "select practice_id, history from attendance_practices where practice_id = any($1::uuid[])"

LIST_CLIENTS = """
select practice_id, client_id, history
from attendance_clients
where (practice_id, client_id) in (select * from unnest($1::uuid[], $2::uuid[]))
"""

# What is to come of these clients, and whatever is known of the sessions named.
LIST_BOOKINGS = """
select practice_id, session_id, client_id, attended, numbers, features, learnt
from attendance_bookings
where (practice_id, client_id) in (select * from unnest($1::uuid[], $2::uuid[]))
  and (attended is null or session_id = any($3::uuid[]))
"""

UPSERT_MODEL = """
insert into attendance_model (state) values ($1)
on conflict (id) do update set state = excluded.state, updated_at = now()
"""

UPSERT_PRACTICE = """
insert into attendance_practices (practice_id, history) values ($1, $2)
on conflict (practice_id) do update set history = excluded.history
"""

# Who was erased meanwhile is not stored again.
UPSERT_CLIENT = """
insert into attendance_clients (practice_id, client_id, history)
select $1, $2, $3
where exists (select from clients where practice_id = $1 and id = $2 for key share)
on conflict on constraint attendance_clients_pkey do update set history = excluded.history
"""

UPSERT_BOOKING = """
insert into attendance_bookings (practice_id, session_id, client_id, attended, numbers, features, learnt)
select $1, $2, $3, $4, $5, $6, $7
where exists (select from clients where practice_id = $1 and id = $3 for key share)
  and exists (select from sessions where practice_id = $1 and id = $2 for key share)
on conflict on constraint attendance_bookings_pkey do update
set attended = excluded.attended, numbers = excluded.numbers, features = excluded.features, learnt = excluded.learnt
"""

# So many of a practice's at once: of sessions that began so long ago. An outcome that is undone later stays as learnt.
DELETE_OLD_BOOKINGS = """
delete from attendance_bookings
where (practice_id, session_id, client_id) in (
    select b.practice_id, b.session_id, b.client_id
    from attendance_bookings b
    where b.practice_id = $1 and to_timestamp(b.numbers[$3]) < now() - make_interval(days => $2)
    limit $4)
"""

DELETE_BOOKINGS = """
delete from attendance_bookings
where (practice_id, session_id, client_id) in (select * from unnest($1::uuid[], $2::uuid[], $3::uuid[]))
"""

# The whole client: their bookings and what was recommended for them too.
DELETE_CLIENTS = """
with who as (select * from unnest($1::uuid[], $2::uuid[]) t (practice_id, client_id)),
     bookings as (delete from attendance_bookings b using who
                  where (b.practice_id, b.client_id) = (who.practice_id, who.client_id)),
     choices as (delete from slot_choices c using who
                 where (c.practice_id, c.client_id) = (who.practice_id, who.client_id))
delete from attendance_clients a using who where (a.practice_id, a.client_id) = (who.practice_id, who.client_id)
"""

FORGET_EVERYTHING = """
with gone as (delete from attendance_model), practices as (delete from attendance_practices),
     clients as (delete from attendance_clients), bookings as (delete from attendance_bookings)
delete from consumers where name = $1
"""


async def learn_attendance(connection: Connection, events: Sequence[Event]) -> Sequence[Any]:
    """Raises SnapshotDamaged, SnapshotVersion."""
    items = [item for event in events if (item := item_of(event)) is not None]
    if not items:
        return ()
    state = await connection.fetchval(LOCK_MODEL)
    model = Attendance() if state is None else Attendance.load(state)
    await _load_rows(connection, model, [item.client for item in items], {item.key[1] for item in items})
    rows = await connection.fetch(LIST_ZONES, list({item.key[0] for item in items}))
    zones = {row["id"]: ZoneInfo(row["timezone"]) for row in rows}
    before = frozenset(model.asked)
    # Hundreds of outcomes of an import take some 30 ms: not on the event loop.
    await asyncio.to_thread(apply, model, items, zones)
    await _store(connection, model, items, before)
    return ()


async def load_attendance(connection: Connection, practice_id: UUID, client_id: UUID | None) -> Attendance:
    """The model with what it knows of one client of a practice. Raises SnapshotDamaged, SnapshotVersion."""
    state = await connection.fetchval(GET_MODEL)
    model = Attendance() if state is None else Attendance.load(state)
    await _load_rows(connection, model, [(practice_id, client_id or practice_id)], ())
    return model


async def begin_again_if_unreadable(db: Database) -> None:
    """A state that is damaged, or of another version, is forgotten: everything is learnt again from the log."""
    state = await db.fetchval(GET_MODEL)
    try:
        if state is not None:
            Attendance.load(state)
    except (SnapshotDamaged, SnapshotVersion) as error:
        log.warning("Attendance is learnt again from the log", extra={"reason": str(error)})
        await db.execute(FORGET_EVERYTHING, NAME)


async def _load_rows(
    connection: Connection, model: Attendance, clients: Sequence[tuple[UUID, UUID]], sessions: Iterable[UUID]
) -> None:
    clients = list(dict.fromkeys(clients))
    columns = [practice for practice, _ in clients], [client for _, client in clients]
    for row in await connection.fetch(LIST_PRACTICES, list(dict.fromkeys(columns[0]))):
        model.practices[row["practice_id"]] = list(row["history"])
    for row in await connection.fetch(LIST_CLIENTS, *columns):
        model.clients[row["practice_id"], row["client_id"]] = list(row["history"])
    for row in await connection.fetch(LIST_BOOKINGS, *columns, list(sessions)):
        key = row["practice_id"], row["session_id"], row["client_id"]
        numbers = row["numbers"], row["features"], row["learnt"]
        model.keep(key, asked_of(key[0], key[2], *numbers, attended=row["attended"]))


async def _store(connection: Connection, model: Attendance, items: Sequence[Item], before: Container[object]) -> None:
    await connection.execute(UPSERT_MODEL, model.dump())
    await connection.executemany(UPSERT_PRACTICE, sorted(model.practices.items()))
    histories = [(*who, model.clients[who]) for who in sorted({i.client for i in items} & model.clients.keys())]
    await connection.executemany(UPSERT_CLIENT, histories)
    erased = sorted({item.client for item in items if item.what == "erased"})
    if erased:
        await connection.execute(DELETE_CLIENTS, *([who[at] for who in erased] for at in range(2)))
    keys = sorted({item.key for item in items})
    gone = [key for key in keys if key in before and key not in model.asked]
    await connection.execute(DELETE_BOOKINGS, *([key[at] for key in gone] for at in range(3)))
    await connection.executemany(UPSERT_BOOKING, [_row(key, model.asked[key]) for key in keys if key in model.asked])


def _row(key: Key, asked: Asked) -> tuple[Any, ...]:
    learnt = asked.factor.z.tolist() if asked.factor else None
    return (*key, asked.attended, numbers_of(asked), asked.x.tolist(), learnt)
