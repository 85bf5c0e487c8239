"""Sessions keep their wall times when the rules of their zone change: here their instants are made wrong instead."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.api import Api
from tests.factories import House
from wellio.db import Database
from wellio.jobs.follow_zones import follow_zones
from wellio.jobs.schedule import JOBS
from wellio.jobs.work import Work
from wellio.outbox import Outbox

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2030, 5, 6, 10, 0, tzinfo=BERLIN)


async def book(api: Api, house: House, start: datetime, **more: Any) -> Any:
    new = {"client_id": str(house.client_id), "starts_at": start.isoformat(), "duration_minutes": 60, **more}
    return (await api.post("/api/v1/sessions", house.coach, json={"timezone": "Europe/Berlin", **new})).data


async def put_off(db: Database, by: timedelta) -> None:
    """As if the zone had been known with another offset when they were booked."""
    order = "desc" if by > timedelta(0) else "asc"
    for row in await db.fetch(f"select id from sessions where status = 'scheduled' order by starts_at {order}"):
        await db.execute(
            "update sessions set starts_at = starts_at + $2, ends_at = ends_at + $2,"
            " original_starts_at = original_starts_at + $2 where id = $1",
            row["id"], by,
        )  # fmt: skip


async def read(api: Api, house: House) -> list[Any]:
    return list((await api.get("/api/v1/sessions?page_size=100", house.coach)).data)


async def test_sessions_follow_their_wall_time_and_say_so(api: Api, house: House, outbox: Outbox) -> None:
    await book(api, house, START)
    await book(api, house, START + HOUR)
    await book(api, house, START + 5 * HOUR, rrule="FREQ=WEEKLY;COUNT=2")
    before = await read(api, house)
    for by in (HOUR, -HOUR):
        await put_off(api.db, by)
        assert await follow_zones(Work(outbox)) == {"moved": 4, "stuck": 0}
    after = await read(api, house)
    assert [(s["id"], s["starts_at"], s["ends_at"]) for s in after] == [
        (s["id"], s["starts_at"], s["ends_at"]) for s in before
    ]
    assert {s["sequence"] for s in after} == {2}
    assert after[2]["original_starts_at"] == after[2]["starts_at"]
    moves = await api.db.fetch("select payload from events where type = 'SessionRescheduled'")
    assert len(moves) == 8
    assert {row["payload"]["by"] for row in moves} == {"system"}
    assert await follow_zones(Work(outbox)) == {"moved": 0, "stuck": 0}


async def test_what_is_past_or_cancelled_stays(api: Api, house: House, outbox: Outbox) -> None:
    cancelled = await book(api, house, START)
    await api.patch(f"/api/v1/sessions/{cancelled['id']}", house.coach, json={"status": "cancelled"})
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    await book(api, house, past)
    await api.db.execute(
        "update sessions set starts_at = starts_at + interval '1 hour', ends_at = ends_at + interval '1 hour'"
    )
    assert await follow_zones(Work(outbox)) == {"moved": 0, "stuck": 0}


async def test_time_that_is_taken_stays_and_the_coach_is_told_once(api: Api, house: House, outbox: Outbox) -> None:
    session = await book(api, house, START)
    await put_off(api.db, 3 * HOUR)
    await book(api, house, START, timezone="UTC")
    for _ in range(2):
        assert await follow_zones(Work(outbox)) == {"moved": 0, "stuck": 1}
    told = await api.db.fetch("select user_id, data from notifications where kind = 'session_zone_conflict'")
    assert [(r["user_id"], r["data"]["session_id"]) for r in told] == [(house.coach.user_id, session["id"])]


async def test_time_shown_twice_stays_the_one_agreed_on(api: Api, house: House, outbox: Outbox) -> None:
    for hour in (5, 6):
        await book(api, house, datetime(2031, 11, 2, hour, 30, tzinfo=UTC), timezone="America/New_York")
    assert await follow_zones(Work(outbox)) == {"moved": 0, "stuck": 0}
    assert [s["starts_at"][11:16] for s in await read(api, house)] == ["05:30", "06:30"]


def test_it_runs_when_a_process_begins_to_lead() -> None:
    """The rules are read when a process starts, so that is when they may have changed."""
    assert [job.name for job in JOBS if job.at_start] == ["follow_zones"]
