"""Series of sessions: booked at once, across changes of clocks, all of them or all but the taken."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.api import Answer, Api
from tests.factories import House
from tests.handlers.test_availability import NEW_YORK, book, monday, offer, open_hours
from tests.waiting import eventually

BASE = "/api/v1/sessions"
SERIES = "/api/v1/session-series"
WEEK = timedelta(days=7)
START = datetime(2030, 5, 6, 10, 0, tzinfo=UTC)


async def post(api: Api, house: House, rrule: str, start: datetime = START, **more: Any) -> Answer:
    new = {
        "client_id": str(house.client_id), "starts_at": start.isoformat(), "duration_minutes": 60,
        "timezone": "Europe/Berlin", "rrule": rrule, **more,
    }  # fmt: skip
    return await api.post(BASE, house.coach, json=new)


def starts(series: Any) -> list[str]:
    return [s["starts_at"] for s in series["sessions"]]


async def events(api: Api) -> list[str]:
    rows = await api.db.fetch("select type from events where type <> 'ClockTicked' order by position")
    return [row["type"] for row in rows]


async def test_weekly_series_keeps_its_wall_time(api: Api, house: House) -> None:
    start = datetime(2030, 3, 23, 15, 0, tzinfo=ZoneInfo("Europe/Berlin"))  # clocks change on the 31st
    answer = await post(api, house, "FREQ=WEEKLY;COUNT=3", start, title="Weekly")
    assert answer.status == 201
    series = answer.data
    assert starts(series) == [f"2030-03-{day}:00:00+00:00" for day in ("23T14", "30T14")] + [
        "2030-04-06T13:00:00+00:00"
    ]
    assert (series["rrule"], series["local_start"]) == ("FREQ=WEEKLY;COUNT=3", "2030-03-23T15:00:00")
    assert (series["duration_minutes"], series["skipped"], series["split_from"]) == (60, [], None)
    for session in series["sessions"]:
        assert (session["series_id"], session["title"]) == (series["id"], "Weekly")
        assert session["original_starts_at"] == session["starts_at"]
        assert session["participants"][0]["client_id"] == str(house.client_id)
    assert (await api.get(f"{SERIES}/{series['id']}", house.client)).data["sessions"][0]["id"]
    assert (await api.get(f"{SERIES}/{series['id']}", house.coach)).data == series
    assert await events(api) == ["SessionBooked"] * 3 + ["SeriesBooked"]


async def test_occurrence_that_clocks_skip_is_shifted_and_says_so(api: Api, house: House) -> None:
    start = datetime(2027, 3, 13, 2, 30, tzinfo=NEW_YORK)
    series = (await post(api, house, "FREQ=DAILY;COUNT=3", start, timezone="America/New_York")).data
    assert [s["shifted"] for s in series["sessions"]] == [False, True, False]
    assert starts(series)[1] == "2027-03-14T07:30:00+00:00"
    rows = await api.db.fetch("select wall_starts_at, wall_fold from sessions order by starts_at")
    assert [(f"{r['wall_starts_at']:%d %H:%M}", r["wall_fold"]) for r in rows] == [
        ("13 02:30", 0), ("14 02:30", 0), ("15 02:30", 0),
    ]  # fmt: skip


async def test_first_of_two_same_wall_times_is_the_one_asked_for(api: Api, house: House) -> None:
    start = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)  # 01:30 for the second time
    series = (await post(api, house, "FREQ=DAILY;COUNT=2", start, timezone="America/New_York")).data
    assert starts(series) == ["2026-11-01T06:30:00+00:00", "2026-11-02T06:30:00+00:00"]
    assert await api.db.fetchval("select wall_fold from sessions order by starts_at limit 1") == 1


async def test_conflict_lists_the_dates_and_books_nothing(api: Api, house: House) -> None:
    await api.post(BASE, house.coach, json={
        "client_id": str(house.client_id), "starts_at": (START + WEEK + timedelta(minutes=30)).isoformat(),
        "duration_minutes": 60,
    })  # fmt: skip
    answer = await post(api, house, "FREQ=WEEKLY;COUNT=3")
    assert (answer.status, answer.code) == (409, "SERIES_CONFLICT")
    assert answer.body["error"]["details"]["conflicts"] == [
        {"starts_at": (START + WEEK).isoformat(), "code": "SLOT_TAKEN"}
    ]
    assert await api.db.fetchval("select count(*) from sessions") == 1
    assert await api.db.fetchval("select count(*) from session_series") == 0


async def test_skip_books_the_others_and_lists_the_skipped(api: Api, house: House) -> None:
    await post(api, house, "FREQ=WEEKLY;COUNT=1", START + WEEK)
    series = (await post(api, house, "FREQ=WEEKLY;COUNT=3", on_conflict="skip")).data
    assert starts(series) == [START.isoformat(), (START + 2 * WEEK).isoformat()]
    assert series["skipped"] == [{"starts_at": (START + WEEK).isoformat(), "code": "SLOT_TAKEN"}]


async def test_series_of_taken_dates_alone_is_refused_also_when_they_may_be_skipped(api: Api, house: House) -> None:
    await post(api, house, "FREQ=WEEKLY;COUNT=2")
    assert (await post(api, house, "FREQ=WEEKLY;COUNT=2", on_conflict="skip")).code == "SERIES_CONFLICT"


async def test_availability_is_asked_for_each_date(api: Api, house: House) -> None:
    """Nine to five on weekdays, at most two sessions a week, a day off in the second week."""
    await open_hours(api, house, max_per_week=2)
    start = monday() + timedelta(hours=4)
    off = {"starts_at": (start + WEEK - timedelta(hours=5)).isoformat(), "ends_at": (start + WEEK).isoformat()}
    off["ends_at"] = (start + WEEK + timedelta(minutes=30)).isoformat()
    await api.post(f"/api/v1/availability/{house.coach.user_id}/time-off", house.coach, json=off)
    zone = {"timezone": "America/New_York"}
    series = (await post(api, house, "FREQ=WEEKLY;BYDAY=MO,TU,WE,SA;COUNT=8", start, on_conflict="skip", **zone)).data
    days = [datetime.fromisoformat(s).astimezone(NEW_YORK).strftime("%a") for s in starts(series)]
    assert days == ["Mon", "Tue", "Tue", "Wed"]
    assert {s["code"] for s in series["skipped"]} == {"OUTSIDE_AVAILABILITY"}
    refused = await post(api, house, "FREQ=WEEKLY;COUNT=2", start + timedelta(days=4, hours=20), **zone)
    assert (refused.code, len(refused.body["error"]["details"]["conflicts"])) == ("SERIES_CONFLICT", 2)


async def test_override_books_outside_of_the_hours_and_shortens_buffers(api: Api, house: House) -> None:
    await open_hours(api, house, buffer_before_minutes=30, buffer_after_minutes=30)
    session_type = await offer(api, house)
    start = monday()
    neighbour = (await book(api, house.client, session_type, start)).data
    beside = start + timedelta(hours=1)
    zone = {"timezone": "America/New_York"}
    assert (await post(api, house, "FREQ=DAILY;COUNT=8", beside, **zone)).code == "SERIES_CONFLICT"
    series = await post(api, house, "FREQ=DAILY;COUNT=8", beside, override_reason="Retreat", **zone)
    assert len(series.data["sessions"]) == 8
    row = await api.db.fetchrow("select * from sessions where id = $1::text::uuid", neighbour["id"])
    assert row is not None
    assert (row["buffer_before_minutes"], row["buffer_after_minutes"]) == (30, 0)
    again = await post(api, house, "FREQ=DAILY;COUNT=2", start, override_reason="Still taken", **zone)
    assert [c["code"] for c in again.body["error"]["details"]["conflicts"]] == ["SLOT_TAKEN"]


async def test_times_taken_in_other_calendars_are_taken_for_series_too(api: Api, house: House) -> None:
    await open_hours(api, house)
    start = monday() + timedelta(hours=4)
    await api.db.execute(
        "insert into external_calendars (id, practice_id, coach_id, url, host) values ($1, $2, $3, 'x', 'h')",
        house.practice.id, house.practice.id, house.coach.user_id,
    )  # fmt: skip
    await api.db.execute(
        "insert into external_busy (practice_id, calendar_id, coach_id, starts_at, ends_at)"
        " values ($1, $1, $2, $3, $4)",
        house.practice.id, house.coach.user_id, start + WEEK, start + WEEK + timedelta(hours=1),
    )  # fmt: skip
    zone = {"timezone": "America/New_York"}
    refused = await post(api, house, "FREQ=WEEKLY;COUNT=3", start, **zone)
    assert [c["code"] for c in refused.body["error"]["details"]["conflicts"]] == ["SLOT_TAKEN"]
    assert (await post(api, house, "FREQ=WEEKLY;COUNT=3", start, override_reason="Mine", **zone)).status == 201


async def test_sessions_of_a_series_do_not_overlap_each_other(api: Api, house: House) -> None:
    answer = await post(api, house, "FREQ=DAILY;COUNT=3", duration_minutes=1440)
    assert answer.status == 201
    await open_hours(api, house, buffer_after_minutes=10)
    later = START + 10 * WEEK
    refused = await post(api, house, "FREQ=DAILY;COUNT=3", later, duration_minutes=1440)
    assert refused.code == "SERIES_CONFLICT"


async def test_series_at_once_for_the_same_dates_give_exactly_one(api: Api, house: House) -> None:
    answers = await asyncio.gather(*(post(api, house, "FREQ=WEEKLY;COUNT=5") for _ in range(6)))
    assert sorted(a.status for a in answers) == [201] + [409] * 5
    assert await api.db.fetchval("select count(*) from sessions") == 5
    assert await api.db.fetchval("select count(*) from session_series") == 1


async def test_who_may_not_and_what_does_not_go(api: Api, house: House) -> None:
    refused = await api.post(BASE, house.client, json={"starts_at": START.isoformat(), "rrule": "FREQ=WEEKLY;COUNT=2"})
    assert refused.status == 403
    assert (await post(api, house, "FREQ=HOURLY;COUNT=2")).field_paths == ["rrule"]
    assert (await post(api, house, "FREQ=WEEKLY;BYDAY=TU;COUNT=2")).field_paths == ["starts_at"]
    short: dict[str, Any] = {"duration_minutes": None, "ends_at": (START + timedelta(minutes=1)).isoformat()}
    assert (await post(api, house, "FREQ=WEEKLY;COUNT=2", **short)).field_paths == ["ends_at"]
    one = {"client_id": str(house.client_id), "starts_at": START.isoformat(), "duration_minutes": 60}
    assert (await api.post(BASE, house.coach, json=one | {"on_conflict": "skip"})).field_paths == ["on_conflict"]
    assert await api.db.fetchval("select count(*) from sessions") == 0


async def test_series_of_another_is_as_good_as_none(api: Api, house: House) -> None:
    series = (await post(api, house, "FREQ=WEEKLY;COUNT=2")).data
    assert (await api.get(f"{SERIES}/{series['id']}", house.other_coach)).status == 404
    assert (await api.get(f"{SERIES}/{series['id']}", house.other_client)).status == 404


async def test_people_are_told_of_a_series_once(api: Api, house: House) -> None:
    await post(api, house, "FREQ=WEEKLY;COUNT=4")
    await eventually(lambda: api.db.fetchval("select count(*) from notifications"))
    rows = await api.db.fetch("select user_id, title, body from notifications")
    assert [(r["user_id"], r["title"]) for r in rows] == [(house.client.user_id, "4 new sessions with Carl Coach")]
