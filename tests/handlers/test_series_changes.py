"""Changing series: this one, this and the following, or all to come."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.api import Answer, Api
from tests.factories import House
from tests.handlers.test_availability import NEW_YORK, monday, open_hours
from tests.handlers.test_session_series import BASE, SERIES, START, WEEK, events, post, starts
from tests.waiting import eventually

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")


async def weekly(api: Api, house: House, count: int = 4, start: datetime = START, **more: Any) -> Any:
    return (await post(api, house, f"FREQ=WEEKLY;COUNT={count}", start, **more)).data


async def change(api: Api, house: House, session: Any, scope: str = "this", **changes: Any) -> Answer:
    return await api.patch(f"{BASE}/{session['id']}?scope={scope}", house.coach, json=changes)


async def series_of(api: Api, house: House, series: Any) -> Any:
    return (await api.get(f"{SERIES}/{series['id']}", house.coach)).data


def later(session: Any, by: timedelta = HOUR) -> str:
    return (datetime.fromisoformat(session["starts_at"]) + by).isoformat()


def hours(sessions: Any) -> list[str]:
    return [s["starts_at"][8:16] for s in sessions]


async def test_this_one_becomes_an_exception_that_keeps_where_it_was(api: Api, house: House) -> None:
    series = await weekly(api, house, 3)
    second = series["sessions"][1]
    moved = (await change(api, house, second, starts_at=later(second))).data
    assert (moved["id"], moved["series_id"]) == (second["id"], series["id"])
    assert (moved["starts_at"], moved["original_starts_at"]) == (later(second), second["starts_at"])
    after = await series_of(api, house, series)
    assert hours(after["sessions"]) == ["06T10:00", "13T11:00", "20T10:00"], "one of three moved leaves three"


async def test_all_moves_those_to_come_that_nobody_changed(api: Api, house: House) -> None:
    series = await weekly(api, house, 5)
    one, two, three, four, five = series["sessions"]
    await change(api, house, two, starts_at=later(two, 3 * HOUR))
    await change(api, house, three, status="cancelled")
    past = datetime.now(UTC).replace(microsecond=0) - 3 * WEEK
    await api.db.execute(
        "update sessions set starts_at = $2, ends_at = $3, original_starts_at = $2 where id = $1::text::uuid",
        one["id"], past, past + HOUR,
    )  # fmt: skip
    answer = await change(api, house, four, "all", starts_at=later(four), title="Later")
    assert (answer.data["id"], answer.data["starts_at"]) == (four["id"], later(four))
    after = {s["id"]: s for s in (await series_of(api, house, series))["sessions"]}
    assert len(after) == 5
    assert after[one["id"]]["starts_at"] == past.isoformat()
    assert after[two["id"]]["starts_at"] == later(two, 3 * HOUR)
    assert (after[three["id"]]["status"], after[three["id"]]["starts_at"]) == ("cancelled_by_coach", three["starts_at"])
    assert after[five["id"]]["starts_at"] == after[five["id"]]["original_starts_at"] == later(five)
    assert [after[s["id"]]["title"] for s in (two, three, four, five)] == ["", "", "Later", "Later"]
    assert after[five["id"]]["sequence"] == 1


async def test_following_splits_the_series(api: Api, house: House) -> None:
    series = await weekly(api, house, 5)
    third = series["sessions"][2]
    moved = (await change(api, house, third, "following", starts_at=later(third, HOUR), duration_minutes=45)).data
    old, new = await series_of(api, house, series), await series_of(api, house, {"id": moved["series_id"]})
    assert (old["rrule"], hours(old["sessions"])) == ("FREQ=WEEKLY;UNTIL=20300513T100000Z", ["06T10:00", "13T10:00"])
    assert (new["rrule"], new["split_from"]) == ("FREQ=WEEKLY;COUNT=3", series["id"])
    assert (new["local_start"], new["duration_minutes"]) == ("2030-05-20T13:00:00", 45)
    assert hours(new["sessions"]) == ["20T11:00", "27T11:00", "03T11:00"]
    assert [s["id"] for s in new["sessions"]] == [s["id"] for s in series["sessions"][2:]]
    assert {s["ends_at"][11:16] for s in new["sessions"]} == {"11:45"}


async def test_cancelled_occurrence_never_comes_back(api: Api, house: House) -> None:
    series = await weekly(api, house, 4)
    _, two, three, four = series["sessions"]
    await change(api, house, three, status="cancelled")
    moved = (await change(api, house, two, "following", starts_at=later(two))).data
    await change(api, house, moved, "all", starts_at=later(moved))
    rest = await series_of(api, house, {"id": moved["series_id"]})
    by_id = {s["id"]: s for s in rest["sessions"]}
    assert set(by_id) == {two["id"], three["id"], four["id"]}
    assert by_id[three["id"]]["status"] == "cancelled_by_coach"
    assert by_id[four["id"]]["starts_at"] == later(four, 2 * HOUR)


async def test_following_from_the_first_is_the_whole_series(api: Api, house: House) -> None:
    series = await weekly(api, house, 3)
    first = series["sessions"][0]
    moved = (await change(api, house, first, "following", starts_at=later(first, timedelta(days=1)))).data
    assert moved["series_id"] == series["id"]
    after = await series_of(api, house, series)
    assert hours(after["sessions"]) == ["07T10:00", "14T10:00", "21T10:00"]
    assert after["local_start"] == "2030-05-07T12:00:00"


async def test_moves_are_by_the_wall_clock_across_a_change(api: Api, house: House) -> None:
    start = datetime(2030, 3, 23, 15, 0, tzinfo=BERLIN)
    series = await weekly(api, house, 3, start)
    first = series["sessions"][0]
    await change(api, house, first, "all", starts_at=later(first, 2 * HOUR))
    after = (await series_of(api, house, series))["sessions"]
    shown = [datetime.fromisoformat(s["starts_at"]).astimezone(BERLIN).strftime("%d %H:%M") for s in after]
    assert shown == ["23 17:00", "30 17:00", "06 17:00"]


async def test_series_moved_into_a_gap_is_shifted_there_and_comes_out_again(api: Api, house: House) -> None:
    start = datetime(2027, 3, 13, 10, 30, tzinfo=NEW_YORK)
    series = (await post(api, house, "FREQ=DAILY;COUNT=3", start, timezone="America/New_York")).data
    first = series["sessions"][0]
    into = datetime(2027, 3, 13, 2, 30, tzinfo=NEW_YORK)
    await change(api, house, first, "all", starts_at=into.isoformat())
    after = (await series_of(api, house, series))["sessions"]
    assert [s["shifted"] for s in after] == [False, True, False]
    assert after[1]["starts_at"] == after[1]["original_starts_at"] == "2027-03-14T07:30:00+00:00"
    await change(api, house, after[0], "all", starts_at=(into - HOUR).isoformat())
    out = (await series_of(api, house, series))["sessions"]
    assert [datetime.fromisoformat(s["starts_at"]).astimezone(NEW_YORK).strftime("%H:%M") for s in out] == ["01:30"] * 3
    assert not any(s["shifted"] for s in out)


async def test_daily_series_moves_by_a_day_onto_its_own_places(api: Api, house: House) -> None:
    series = (await post(api, house, "FREQ=DAILY;COUNT=5")).data
    first = series["sessions"][0]
    answer = await change(api, house, first, "all", starts_at=later(first, timedelta(days=1)))
    assert answer.status == 200
    after = await series_of(api, house, series)
    assert hours(after["sessions"]) == [f"{day:02}T10:00" for day in range(7, 12)]


async def test_rule_follows_to_other_weekdays(api: Api, house: House) -> None:
    series = (await post(api, house, "FREQ=WEEKLY;BYDAY=MO,WE;COUNT=4")).data
    first = series["sessions"][0]
    await change(api, house, first, "all", starts_at=later(first, timedelta(days=1)))
    after = await series_of(api, house, series)
    assert (after["rrule"], hours(after["sessions"])) == (
        "FREQ=WEEKLY;BYDAY=TU,TH;COUNT=4", ["07T10:00", "09T10:00", "14T10:00", "16T10:00"],
    )  # fmt: skip


async def test_move_that_meets_others_lists_them_and_changes_nothing(api: Api, house: House) -> None:
    series = await weekly(api, house, 3)
    await weekly(api, house, 1, START + WEEK + 2 * HOUR)
    before = await series_of(api, house, series)
    first = series["sessions"][0]
    answer = await change(api, house, first, "all", starts_at=later(first, 2 * HOUR))
    assert (answer.status, answer.code) == (409, "SERIES_CONFLICT")
    assert [c["starts_at"] for c in answer.body["error"]["details"]["conflicts"]] == [
        (START + WEEK + 2 * HOUR).isoformat()
    ]
    assert await series_of(api, house, series) == before


async def test_own_places_do_not_stand_in_the_way_and_hours_count(api: Api, house: House) -> None:
    await open_hours(api, house, buffer_before_minutes=30)
    start = monday() + HOUR
    series = await weekly(api, house, 3, start, timezone="America/New_York")
    first = series["sessions"][0]
    half = await change(api, house, first, "all", starts_at=later(first, timedelta(minutes=30)))
    assert half.status == 200
    outside = await change(api, house, first, "all", starts_at=later(first, 10 * HOUR))
    assert {c["code"] for c in outside.body["error"]["details"]["conflicts"]} == {"OUTSIDE_AVAILABILITY"}
    assert (
        await change(api, house, first, "all", starts_at=later(first, 10 * HOUR), override_reason="Late shift")
    ).status == 200


async def test_following_are_cancelled_with_the_exceptions_among_them(api: Api, house: House) -> None:
    series = await weekly(api, house, 4)
    _, two, three, four = series["sessions"]
    await change(api, house, four, starts_at=later(four))
    cancelled = (await change(api, house, two, "following", status="cancelled", cancel_reason="Moved away")).data
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("cancelled_by_coach", "Moved away")
    after = await series_of(api, house, series)
    assert [s["status"] for s in after["sessions"]] == ["scheduled"] + ["cancelled_by_coach"] * 3
    assert after["rrule"] == "FREQ=WEEKLY;UNTIL=20300506T100000Z"
    again = await change(api, house, three, "following", status="cancelled")
    assert (again.status, again.code) == (409, "SESSION_CLOSED")
    await weekly(api, house, 3, START + WEEK)  # the times are free


async def test_many_moved_at_once_are_one_piece_of_news(api: Api, house: House) -> None:
    series = await weekly(api, house, 3)
    first = series["sessions"][0]
    await change(api, house, first, "all", starts_at=later(first))
    assert (await events(api))[4:] == ["SessionRescheduled"] * 3 + ["SeriesMoved"]
    await change(api, house, first, "all", title="Named")
    assert (await events(api))[8:] == ["SessionUpdated"] * 3 + ["SeriesUpdated"]
    await change(api, house, first, "all", status="cancelled")
    told = "select title from notifications"

    async def all_told() -> bool:
        return len(await api.db.fetch(told)) >= 3

    await eventually(all_told)
    assert sorted(r["title"] for r in await api.db.fetch(told)) == [
        "3 new sessions with Carl Coach", "3 sessions with Carl Coach cancelled", "3 sessions with Carl Coach moved",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"status": "completed"}, "status"),
        ({"status": "cancelled", "title": "No"}, "status"),
        ({"timezone": "UTC"}, "timezone"),
        ({"override_reason": "Why"}, "override_reason"),
        ({"title": None}, "title"),
        ({"ends_at": "2030-05-06T11:00:00Z", "duration_minutes": 60}, "ends_at"),
        ({"ends_at": "2030-05-06T09:00:00Z"}, "ends_at"),
        ({"ends_at": "2030-05-06T10:01:00Z"}, "ends_at"),
    ],
)
async def test_what_only_one_can_be_given_is_refused(api: Api, house: House, changes: Any, path: str) -> None:
    series = await weekly(api, house, 2)
    answer = await change(api, house, series["sessions"][0], "all", **changes)
    assert (answer.status, answer.field_paths) == (422, [path])
    assert await series_of(api, house, series) == series


async def test_dates_of_a_monthly_series_stay(api: Api, house: House) -> None:
    series = (await post(api, house, "FREQ=MONTHLY;COUNT=3")).data
    first = series["sessions"][0]
    assert (await change(api, house, first, "all", starts_at=later(first, timedelta(days=1)))).field_paths == [
        "starts_at"
    ]
    assert (await change(api, house, first, "all", starts_at=later(first))).status == 200


async def test_scope_is_for_staff_and_for_series(api: Api, house: House) -> None:
    series = await weekly(api, house, 2)
    path = f"{BASE}/{series['sessions'][0]['id']}"
    assert (await api.patch(f"{path}?scope=all", house.client, json={"status": "cancelled"})).status == 403
    assert (await api.patch(f"{path}?scope=all", house.other_coach, json={"title": "x"})).status == 404
    assert (await api.patch(f"{path}?scope=some", house.coach, json={"title": "x"})).field_paths == ["query.scope"]
    stale = await api.patch(f"{path}?scope=all", house.coach, json={"title": "x"}, headers={"If-Match": '"9"'})
    assert stale.status == 412
    single = {"client_id": str(house.client_id), "starts_at": (START + HOUR).isoformat(), "duration_minutes": 60}
    one = (await api.post(BASE, house.coach, json=single)).data
    assert (await change(api, house, one, "all", title="x")).field_paths == ["query.scope"]


async def test_a_hundred_and_four_are_booked_moved_and_cancelled_by_few_queries(api: Api, house: House) -> None:
    series = await weekly(api, house, 104)
    assert len(series["sessions"]) == 104
    first = series["sessions"][0]
    assert (await change(api, house, first, "all", starts_at=later(first))).status == 200
    assert (await change(api, house, first, "all", status="cancelled")).status == 200
    after = await series_of(api, house, series)
    assert {(s["status"], s["sequence"]) for s in after["sessions"]} == {("cancelled_by_coach", 1)}
    assert len(starts(after)) == 104
