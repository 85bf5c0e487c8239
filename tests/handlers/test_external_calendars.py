"""Calendars elsewhere over the API, and what they take from the slots. tests/practice/ has how they are read."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api import Api
from tests.factories import House
from tests.handlers.test_availability import DAY, book, monday, offer, open_hours, slots
from wellio.db import Database

URL = "https://calendar.example.org/private-0123/basic.ics"


def base(house: House) -> str:
    return f"/api/v1/availability/{house.coach.user_id}/calendars"


async def add(api: Api, house: House, url: str = URL, **more: Any) -> Any:
    return (await api.post(base(house), house.coach, json={"url": url, **more})).data


async def be_busy(db: Database, house: House, calendar: Any, starts_at: datetime, minutes: int = 60) -> None:
    await db.execute(
        "insert into external_busy (practice_id, calendar_id, coach_id, starts_at, ends_at)"
        " values ($1, $2, $3, $4, $5)",
        house.practice.id, UUID(calendar["id"]), house.coach.user_id, starts_at, starts_at + timedelta(minutes=minutes),
    )  # fmt: skip


async def test_address_is_never_shown_again(api: Api, house: House) -> None:
    made = await add(api, house, name="Private")
    assert (made["status"], made["host"], made["name"]) == ("new", "calendar.example.org", "Private")
    listed = await api.get(base(house), house.coach)
    assert b"private-0123" not in listed.raw
    assert (await api.get(base(house), house.owner)).data == listed.data
    assert (await api.post(f"{base(house)}/{made['id']}/refresh", house.coach)).status == 200
    assert (await api.call("DELETE", f"{base(house)}/{made['id']}", house.coach)).status == 200
    assert (await api.get(base(house), house.coach)).data == []
    assert (await api.call("DELETE", f"{base(house)}/{uuid4()}", house.coach)).status == 404


async def test_address_of_apple_is_read_as_https(api: Api, house: House) -> None:
    assert (await add(api, house, "webcal://p01.icloud.example/published/2/x"))["host"] == "p01.icloud.example"


@pytest.mark.parametrize("url", ["http://calendar.example.org/", "https://127.0.0.1/", "webcal://10.0.0.1/", "x", ""])
async def test_address_that_is_not_called_is_refused(api: Api, house: House, url: str) -> None:
    answer = await api.post(base(house), house.coach, json={"url": url})
    assert (answer.status, answer.field_paths) == (422, ["url"])


async def test_29_busy_elsewhere_is_offered_to_nobody_and_staff_may_set_it_aside(
    api: Api, house: House, db: Database
) -> None:
    """With the coach's buffers around it; listing and booking agree."""
    await open_hours(api, house, increment_minutes=60, buffer_after_minutes=30, buffer_before_minutes=30)
    session_type = await offer(api, house)
    nine = monday()
    query = {"session_type_id": session_type["id"]}
    before = await slots(api, house.client, nine, days=1, **query)
    calendar = await add(api, house)
    busy = nine + timedelta(hours=5)  # two o'clock; hours go on from one to five
    await be_busy(db, house, calendar, busy)
    after = await slots(api, house.client, nine, days=1, **query)
    gone = [datetime.fromisoformat(start) for start in before if start not in after]
    assert gone == [nine + timedelta(hours=h) for h in (4, 5, 6)]
    for start in gone:
        answer = await book(api, house.client, session_type, start)
        assert (answer.status, answer.code) == (409, "SLOT_TAKEN")
    refused = await book(api, house.coach, session_type, busy, client_id=str(house.client_id))
    assert (refused.status, refused.code) == (409, "SLOT_TAKEN")
    booked = await book(
        api, house.coach, session_type, busy, client_id=str(house.client_id), override_reason="That was moved"
    )
    assert booked.status == 201
    await api.call("DELETE", f"{base(house)}/{calendar['id']}", house.coach)
    assert nine + timedelta(hours=1) in map(datetime.fromisoformat, await slots(api, house.client, nine, **query))


async def test_busy_elsewhere_takes_dates_of_a_series_and_of_no_other_coach(
    api: Api, house: House, db: Database
) -> None:
    await open_hours(api, house)
    calendar = await add(api, house)
    nine = monday()
    await be_busy(db, house, calendar, nine + 7 * DAY)
    series = {
        "client_id": str(house.client_id), "starts_at": nine.isoformat(), "duration_minutes": 60,
        "timezone": "America/New_York", "rrule": "FREQ=WEEKLY;COUNT=3",
    }  # fmt: skip
    answer = await api.post("/api/v1/sessions", house.coach, json=series)
    assert (answer.status, answer.code) == (409, "SERIES_CONFLICT")
    assert len(answer.body["error"]["details"]["conflicts"]) == 1
    other = {"client_id": str(house.other_client_id), "starts_at": (nine + 7 * DAY).isoformat(), "duration_minutes": 60}
    assert (await api.post("/api/v1/sessions", house.other_coach, json=other)).status == 201
