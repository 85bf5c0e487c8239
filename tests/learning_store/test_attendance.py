"""The attendance model as a consumer: each outcome learnt once, with its cursor; undone, cancelled, erased, damaged."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from tests.factories import House, make_house
from tests.waiting import eventually
from wellio.accounts.actors import Role
from wellio.consumers import Consumer
from wellio.db import Database
from wellio.events import Event, EventType
from wellio.ids import uuid7
from wellio.jobs.clean_up import clean_up
from wellio.jobs.work import Work
from wellio.learning.attendance import Attendance
from wellio.learning.attendance_facts import LEARNT, apply, item_of
from wellio.learning.attendance_store import NAME, begin_again_if_unreadable, learn_attendance, load_attendance
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.outbox import Outbox, insert_events

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

INSERT_SESSION = """
insert into sessions (id, practice_id, coach_id, client_id, title, starts_at, ends_at, timezone, wall_starts_at, status,
                      currency)
values ($1, $2, $3, $4, '', $5, $6, 'UTC', $5::timestamptz at time zone 'UTC', 'completed', 'EUR')
"""


async def make_session(db: Database, house: House, week: int) -> UUID:
    session_id, starts = uuid7(), START + timedelta(weeks=week, days=2)
    about = session_id, house.practice.id, house.coach.user_id, house.client_id, starts, starts + timedelta(hours=1)
    await db.execute(INSERT_SESSION, *about)
    return session_id


def event(kind: EventType, house: House, session_id: UUID, week: int, **more: Any) -> Event:
    starts = START + timedelta(weeks=week, days=2)
    late = timedelta(days=3) if kind is not EventType.SESSION_BOOKED else timedelta(0)
    payload = {"by": Role.COACH.value, "starts_at": starts.isoformat(), "price_minor": 5000, **more}
    return Event(
        type=kind,
        practice_id=house.practice.id,
        client_id=house.client_id,
        subject_id=session_id,
        occurred_at=START + timedelta(weeks=week) + late,
        payload=payload | {"ends_at": (starts + timedelta(hours=1)).isoformat()},
    )


def follower(db: Database) -> Consumer:
    return Consumer(NAME, sorted(LEARNT), learn_attendance, outbox=Outbox(db), live=Live(), metrics=Metrics())


async def record(db: Database, *events: Event) -> None:
    async with db.transaction() as connection:
        await insert_events(connection, events)


async def learnt(db: Database, house: House) -> Attendance:
    async with db.connection() as connection:
        return await load_attendance(connection, house.practice.id, house.client_id)


async def follow(db: Database) -> None:
    """By a new consumer each time, as after a restart."""
    consumer = follower(db)
    await db.execute("insert into consumers (name) values ($1) on conflict do nothing", NAME)
    row = await db.fetchrow("select xid, position from consumers where name = $1", NAME)
    assert row
    consumer._cursor = type(consumer._cursor)(row["xid"], row["position"])
    ahead = "select count(*) from events where (xid, position) > ($1::bigint, $2::bigint)"

    async def done() -> bool:
        await consumer.step()
        return not await db.fetchval(ahead, consumer._cursor.xid, consumer._cursor.position)

    await eventually(done)


async def test_each_outcome_is_learnt_once_over_restarts_and_taken_back_when_undone(db: Database) -> None:
    house = await make_house(db)
    events = []
    for week in range(6):
        session_id = await make_session(db, house, week)
        events.append(event(EventType.SESSION_BOOKED, house, session_id, week))
        kind = EventType.SESSION_MISSED if week in (2, 5) else EventType.SESSION_COMPLETED
        events.append(event(kind, house, session_id, week))
    late = await make_session(db, house, 7)
    events += [event(EventType.SESSION_BOOKED, house, late, 7)]
    events += [event(EventType.SESSION_CANCELLED, house, late, 7, status="late_cancelled")]
    off = await make_session(db, house, 8)
    events += [event(EventType.SESSION_BOOKED, house, off, 8), event(EventType.SESSION_CANCELLED, house, off, 8)]
    for some in (events[:5], events[5:9], events[9:]):
        await record(db, *some)
        await follow(db)
    pure = Attendance()
    items = [item for e in events if (item := item_of(e)) is not None]
    apply(pure, items, {house.practice.id: BERLIN})
    model = await learnt(db, house)
    assert model.n == pure.n == 7
    assert model.dump() == pure.dump()
    who = house.practice.id, house.client_id
    assert model.clients[who] == pure.clients[who]
    assert model.practices == pure.practices
    assert not model.asked  # nothing is to come
    # The miss of the fifth week was none: as if it had not come out, and then as attended.
    undone = next(e for e in events if e.type is EventType.SESSION_MISSED and e.payload["starts_at"] > "2026-04-0")
    assert undone.subject_id
    await record(db, event(EventType.SESSION_NO_SHOW_UNDONE, house, undone.subject_id, 5))
    await follow(db)
    back = await learnt(db, house)
    assert (back.n, list(back.asked)) == (6, [(*who[:1], undone.subject_id, who[1])])
    await record(db, event(EventType.SESSION_COMPLETED, house, undone.subject_id, 5))
    await follow(db)
    again = await learnt(db, house)
    assert again.n == 7
    assert again.clients[who][1] > back.clients[who][1]
    assert not np.array_equal(again.model.weights, model.model.weights)


async def test_erased_clients_leave_no_row_and_a_damaged_state_is_learnt_again(db: Database) -> None:
    house = await make_house(db)
    session_id = await make_session(db, house, 0)
    await record(
        db,
        event(EventType.SESSION_BOOKED, house, session_id, 0),
        event(EventType.SESSION_COMPLETED, house, session_id, 0),
        event(EventType.SESSION_BOOKED, house, uuid7(), 1),  # of a session that is gone
    )
    await follow(db)
    before = (await learnt(db, house)).dump()
    await begin_again_if_unreadable(db)
    assert await db.fetchval("select count(*) from attendance_bookings") == 1
    await db.execute("update attendance_model set state = overlay(state placing 'x'::bytea from 60)")
    await begin_again_if_unreadable(db)
    assert await db.fetchval("select count(*) from attendance_clients") == 0
    await follow(db)
    assert (await learnt(db, house)).dump() == before
    erased = Event(type=EventType.CLIENT_ERASED, practice_id=house.practice.id, client_id=house.client_id)
    await record(db, erased)
    await follow(db)
    assert (await learnt(db, house)).dump() == before
    for table in ("attendance_clients", "attendance_bookings"):
        assert await db.fetchval(f"select count(*) from {table}") == 0


def test_whatever_a_payload_holds_is_no_fault() -> None:
    practice, client, session = uuid7(), uuid7(), uuid7()
    for starts in (None, 7, "never", "2026-01-01", START.isoformat(), "9999-12-31T23:59:59+00:00", "0001-01-01T00:00Z"):
        about: dict[str, Any] = {"practice_id": practice, "client_id": client, "subject_id": session}
        payload = {"starts_at": starts, "ends_at": starts, "price_minor": "free", "status": ["late_cancelled"]}
        model = Attendance()
        items = [item_of(Event(type=kind, payload=payload, occurred_at=START, **about)) for kind in sorted(LEARNT)]
        apply(model, [item for item in items if item], {practice: BERLIN})
        assert model.n == 0
    assert item_of(Event(type=EventType.SESSION_BOOKED, practice_id=practice)) is None


async def test_old_bookings_go_and_undoing_their_outcome_changes_nothing_learnt(db: Database) -> None:
    house = await make_house(db)
    old, new, to_come = [await make_session(db, house, week) for week in range(3)]
    for week, session_id in enumerate((old, new, to_come)):
        await record(db, event(EventType.SESSION_BOOKED, house, session_id, week))
        if session_id != to_come:
            await record(db, event(EventType.SESSION_MISSED, house, session_id, week))
    await follow(db)
    for session_id, days in ((old, 401), (new, 399), (to_come, -1)):
        await db.execute(
            "update attendance_bookings set numbers[2] = extract(epoch from now() - make_interval(days => $2))"
            " where session_id = $1",
            session_id, days,
        )  # fmt: skip
    before = (await learnt(db, house)).dump()
    assert (await clean_up(Work(Outbox(db))))["attendance_bookings"] == 1
    kept = await db.fetch("select session_id from attendance_bookings")
    assert {row["session_id"] for row in kept} == {new, to_come}
    await record(db, event(EventType.SESSION_NO_SHOW_UNDONE, house, old, 0))
    await follow(db)
    assert (await learnt(db, house)).dump() == before
    await record(db, event(EventType.SESSION_NO_SHOW_UNDONE, house, new, 1))
    await follow(db)
    assert (await learnt(db, house)).n == 1
