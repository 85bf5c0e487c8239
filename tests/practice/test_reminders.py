"""Reminders: derived from the current start, once, never stale, and quiet at night."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api import Api
from tests.factories import House
from tests.waiting import eventually
from wellio.db import Database
from wellio.outbox import Outbox
from wellio.practice.reminders import USEFUL_BEFORE, Quiet, due_at, is_due, send_due_reminders

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SESSIONS = "/api/v1/sessions"
NEW_YORK = ZoneInfo("America/New_York")
NIGHT = Quiet(time(22), time(7), NEW_YORK)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 6, day, hour, minute, tzinfo=NEW_YORK)


def soon(days: int = 3) -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + days * DAY


@pytest.fixture(autouse=True)
async def jobs_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests say themselves what time it is."""
    from wellio.jobs import send_reminders

    async def none(outbox: Outbox, now: datetime) -> int:
        return 0

    monkeypatch.setattr(send_reminders, "send_due_reminders", none)


async def book(api: Api, house: House, start: datetime, **more: Any) -> Any:
    new = {"client_id": str(house.client_id), "starts_at": start.isoformat(), "duration_minutes": 60, **more}
    session = (await api.post(SESSIONS, house.coach, json=new)).data
    await let_be_known_since(api.db, DAY * 30)
    return session


async def let_be_known_since(db: Database, ago: timedelta) -> None:
    since = datetime.now(UTC) - ago
    await db.execute("update sessions set created_at = $1", since)
    await db.execute("update session_participants set booked_at = $1", since)


async def reminded(db: Database) -> list[tuple[str, str]]:
    """To whom mails are queued, and of which start."""
    rows = await db.fetch("select recipient, data from mails where kind = 'session_reminder' order by created_at, id")
    return sorted((r["recipient"].split(".")[0], r["data"]["starts_at"]) for r in rows)


async def test_both_are_reminded_a_day_and_an_hour_before_and_once(api: Api, house: House, outbox: Outbox) -> None:
    await book(api, house, soon())
    counts = [
        await send_due_reminders(outbox, soon() - before)
        for before in (DAY + MINUTE, DAY, DAY - MINUTE, HOUR + MINUTE, HOUR, HOUR - MINUTE, MINUTE)
    ]
    assert counts == [0, 2, 0, 0, 2, 0, 0]
    assert await reminded(api.db) == [(name, soon().isoformat()) for name in ("carl", "carl", "klara", "klara")]
    sql = "select count(*) >= 4 from notifications where kind = 'session_reminder'"
    await eventually(lambda: api.db.fetchval(sql))
    titles = await api.db.fetch("select distinct title from notifications where kind = 'session_reminder' order by 1")
    assert [r["title"] for r in titles] == ["Session with Carl Coach soon", "Session with Klara Client soon"]


async def test_nobody_is_reminded_at_or_after_the_start(api: Api, house: House, outbox: Outbox) -> None:
    await book(api, house, soon())
    assert await send_due_reminders(outbox, soon()) == 0
    assert await send_due_reminders(outbox, soon() + MINUTE) == 0


async def test_who_booked_later_than_a_reminder_was_due_does_not_get_it(api: Api, house: House, outbox: Outbox) -> None:
    start = soon(0) + 3 * HOUR
    new = {"client_id": str(house.client_id), "starts_at": start.isoformat(), "duration_minutes": 60}
    await api.post(SESSIONS, house.coach, json=new)
    assert await send_due_reminders(outbox, datetime.now(UTC)) == 0
    assert await send_due_reminders(outbox, start - HOUR) == 2


async def test_moved_session_reminds_of_its_new_start_alone(api: Api, house: House, outbox: Outbox) -> None:
    session = await book(api, house, soon())
    assert await send_due_reminders(outbox, soon() - DAY) == 2
    await api.patch(f"{SESSIONS}/{session['id']}", house.coach, json={"starts_at": (soon() + DAY).isoformat()})
    assert await send_due_reminders(outbox, soon() - HOUR) == 0, "of the start that was"
    assert await send_due_reminders(outbox, soon()) == 2, "a day before the new one"
    assert await send_due_reminders(outbox, soon() + DAY - HOUR) == 2
    assert {start for _, start in await reminded(api.db)} == {soon().isoformat(), (soon() + DAY).isoformat()}


async def test_cancelled_session_reminds_nobody(api: Api, house: House, outbox: Outbox) -> None:
    session = await book(api, house, soon())
    await api.patch(f"{SESSIONS}/{session['id']}", house.coach, json={"status": "cancelled"})
    assert await send_due_reminders(outbox, soon() - HOUR) == 0


async def test_after_an_outage_only_the_last_reminder_comes(api: Api, house: House, outbox: Outbox) -> None:
    await book(api, house, soon())
    assert await send_due_reminders(outbox, soon() - HOUR / 2) == 2
    assert len(await reminded(api.db)) == 2


async def test_owner_sets_rules_and_users_their_channels(api: Api, house: House, outbox: Outbox) -> None:
    rules = [{"minutes_before": 30, "to_coaches": False}, {"minutes_before": 120, "to_clients": False}]
    answer = (await api.call("PUT", "/api/v1/reminder-rules", house.owner, json={"rules": rules})).data
    assert ([r["minutes_before"] for r in answer["rules"]], answer["version"]) == ([120, 30], 1)
    await api.patch("/api/v1/reminder-preferences", house.client, json={"by_mail": False})
    await book(api, house, soon())
    assert [await send_due_reminders(outbox, soon() - m * MINUTE) for m in (120, 60, 30)] == [1, 0, 1]
    assert await reminded(api.db) == [("carl", soon().isoformat())]
    await api.call("PUT", "/api/v1/reminder-rules", house.owner, json={"rules": []})
    await book(api, house, soon() + 2 * HOUR)
    assert await send_due_reminders(outbox, soon() + HOUR) == 0


async def test_quiet_hours_are_kept_in_the_users_zone(api: Api, house: House, outbox: Outbox) -> None:
    await api.db.execute("update users set timezone = 'America/New_York' where id = $1", house.client.user_id)
    quiet = {"quiet_from": "22:00", "quiet_to": "07:00"}
    kept = (await api.patch("/api/v1/reminder-preferences", house.client, json=quiet)).data
    assert (kept["quiet_from"], kept["quiet_to"], kept["version"]) == ("22:00", "07:00", 1)
    await api.call("PUT", "/api/v1/reminder-rules", house.owner, json={"rules": [
        {"minutes_before": 60, "to_coaches": False},
    ]})  # fmt: skip
    day = datetime.now(NEW_YORK).date() + 3 * DAY
    start = datetime.combine(day, time(7, 0), NEW_YORK)  # its hour before is six o'clock: too late after the night
    await book(api, house, start)
    evening = datetime.combine(day - DAY, time(21, 45), NEW_YORK)
    assert [await send_due_reminders(outbox, now) for now in (evening - MINUTE, evening, start - HOUR)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("start", "due"),
    [
        (at(10, 12), at(10, 11)),  # by day: as it is
        (at(10, 7, 30), at(10, 7)),  # 06:30 waits for seven
        (at(10, 7, 15), at(10, 7)),  # just of use
        (at(10, 7, 10), at(9, 21, 45)),  # of no use any more: the evening before
        (at(10, 2), at(9, 21, 45)),
        (at(9, 23), at(9, 21, 45)),  # ten o'clock is quiet already
        (at(9, 22, 59), at(9, 21, 59)),
    ],
)
def test_reminder_in_quiet_hours_comes_after_or_else_before_them(start: datetime, due: datetime) -> None:
    assert due_at(start, 60, NIGHT) == due


@pytest.mark.parametrize(
    ("known", "now", "sent"),
    [
        (at(9, 21, 50), at(9, 21, 51), True),  # booked when it was due ahead of the night already: while it can be
        (at(9, 21, 50), at(9, 22, 1), False),
        (at(9, 22, 30), at(9, 22, 31), False),  # booked at night, for the early morning: who did so knows
        (at(1, 12), at(9, 21, 44), False),
        (at(1, 12), at(9, 21, 59), True),
    ],
)
def test_26_reminder_that_the_night_would_make_useless_comes_before_it(
    known: datetime, now: datetime, sent: bool
) -> None:
    assert is_due(now, starts_at=at(10, 7, 10), minutes_before=60, since=known, quiet=NIGHT) is sent


@settings(max_examples=200)
@given(
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    minutes=st.integers(5, 43_200),
    begin=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    length=st.integers(1, 1439),
    zone=st.sampled_from(("Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York", "Europe/Berlin")),
    late=st.integers(0, 3000),
)
def test_no_reminder_comes_in_quiet_hours_or_after_the_start(
    start: datetime, minutes: int, begin: time, length: int, zone: str, late: int
) -> None:
    end = (datetime.combine(start.date(), begin) + length * MINUTE).time()
    quiet = Quiet(begin, end, ZoneInfo(zone))
    point = start - minutes * MINUTE
    due = due_at(start, minutes, quiet)
    assert due < start
    if quiet.around(point) is None:
        assert due == point
    elif due > point:
        assert due <= start - USEFUL_BEFORE
    now = due + late * MINUTE
    sent = is_due(now, starts_at=start, minutes_before=minutes, since=point - 40 * DAY, quiet=quiet)
    assert not sent or (now < start and quiet.around(now) is None)


async def test_what_makes_no_sense_is_refused(api: Api, house: House) -> None:
    async def put(*rules: Any) -> list[str]:
        return (await api.call("PUT", "/api/v1/reminder-rules", house.owner, json={"rules": rules})).field_paths

    assert await put({"minutes_before": 60}, {"minutes_before": 60}) == ["rules"]
    assert await put({"minutes_before": 1}) == ["rules.0.minutes_before"]
    for changes, path in (
        ({"quiet_from": "22:00"}, "quiet_to"),
        ({"quiet_from": "22:00", "quiet_to": "22:00"}, "quiet_to"),
        ({"quiet_from": "22:00", "quiet_to": "25:00"}, "quiet_to"),
        ({"by_mail": None}, "by_mail"),
        ({"by_mail": 1}, "by_mail"),
    ):
        answer = await api.patch("/api/v1/reminder-preferences", house.client, json=changes)
        assert (answer.status, answer.field_paths) == (422, [path])
