"""Availability, session types and what can be booked, over the API. tests/practice/test_slots.py has the arithmetic."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from tests.api import Answer, Api
from tests.factories import House
from wellio.accounts.actors import Actor

BASE = "/api/v1/availability"
TYPES = "/api/v1/session-types"
SESSIONS = "/api/v1/sessions"
NEW_YORK = ZoneInfo("America/New_York")
OFFICE = [{"starts": "09:00", "ends": "12:00"}, {"starts": "13:00", "ends": "17:00"}]
WEEKDAYS = dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), OFFICE)
DAY = timedelta(days=1)


def monday(weeks: int = 2) -> datetime:
    """Nine o'clock in New York on a Monday to come."""
    now = datetime.now(NEW_YORK)
    day = now.date() + (7 * weeks - now.weekday()) * DAY
    return datetime.combine(day, datetime.min.time(), NEW_YORK).replace(hour=9)


async def open_hours(api: Api, house: House, **more: Any) -> Any:
    changes = {"timezone": "America/New_York", "weekly": WEEKDAYS, **more}
    return (await api.patch(f"{BASE}/{house.coach.user_id}", house.coach, json=changes)).data


async def offer(api: Api, house: House, **more: Any) -> Any:
    new = {"name": "Coaching", "duration_minutes": 60, "price_minor": 9000, **more}
    return (await api.post(TYPES, house.coach, json=new)).data


async def slots(api: Api, actor: Actor, start: datetime, *, days: int = 1, **query: Any) -> list[str]:
    params = {"from": start.isoformat(), "to": (start + days * DAY).isoformat(), **query}
    answer = await api.get(f"{BASE}/slots", actor, params={k: str(v) for k, v in params.items()})
    return [slot["starts_at"] for slot in answer.data["slots"]]


async def book(api: Api, actor: Actor, session_type: Any, starts_at: datetime | str, **more: Any) -> Answer:
    start = starts_at if isinstance(starts_at, str) else starts_at.isoformat()
    return await api.post(SESSIONS, actor, json={"session_type_id": session_type["id"], "starts_at": start, **more})


async def test_nothing_is_offered_until_hours_are_set(api: Api, house: House) -> None:
    before = (await api.get(f"{BASE}/{house.coach.user_id}", house.coach)).data
    assert (before["version"], before["weekly"]["monday"], before["timezone"]) == (0, [], "UTC")
    assert await slots(api, house.coach, monday()) == []
    session_type = await offer(api, house)
    refused = await book(api, house.client, session_type, monday())
    assert (refused.status, refused.code) == (409, "SLOT_UNAVAILABLE")


async def test_hours_are_read_back_as_set(api: Api, house: House) -> None:
    after = await open_hours(api, house, increment_minutes=15, max_per_day=6)
    assert after["weekly"]["monday"] == OFFICE
    assert after["weekly"]["sunday"] == []
    assert (after["increment_minutes"], after["max_per_day"], after["version"]) == (15, 6, 1)
    kept = (await api.patch(f"{BASE}/{house.coach.user_id}", house.coach, json={"max_per_day": None})).data
    assert (kept["max_per_day"], kept["weekly"], kept["version"]) == (None, after["weekly"], 2)
    assert (await api.get(f"{BASE}/{house.coach.user_id}", house.owner)).data == kept


async def test_lost_update_is_refused(api: Api, house: House) -> None:
    await open_hours(api, house)
    stale = await api.patch(
        f"{BASE}/{house.coach.user_id}", house.coach, json={"increment_minutes": 5}, headers={"If-Match": '"0"'}
    )
    assert (stale.status, stale.code) == (412, "VERSION_MISMATCH")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"weekly": {"monday": [{"starts": "12:00", "ends": "09:00"}]}}, "weekly.monday"),
        ({"weekly": {"monday": [{"starts": "09:00", "ends": "09:00"}]}}, "weekly.monday"),
        ({"weekly": {"monday": [{"starts": "9:00", "ends": "24:01"}]}}, "weekly.monday.0.starts"),
        ({"weekly": {"monday": [{"starts": "09:00", "ends": "25:00"}]}}, "weekly.monday.0.ends"),
        ({"weekly": {"someday": []}}, "weekly.someday"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": None}, "timezone"),
        ({"increment_minutes": 4}, "increment_minutes"),
        ({"min_notice_days": 90, "max_days_ahead": 60}, "max_days_ahead"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(api: Api, house: House, changes: Any, path: str) -> None:
    answer = await api.patch(f"{BASE}/{house.coach.user_id}", house.coach, json=changes)
    assert answer.status == 422
    assert path in answer.field_paths


async def test_slots_are_told_in_the_zone_of_who_asks(api: Api, house: House) -> None:
    await open_hours(api, house)
    start = monday()
    query = {"from": start.isoformat(), "to": (start + DAY).isoformat(), "timezone": "Asia/Kathmandu"}
    answer = (await api.get(f"{BASE}/slots", house.coach, params=query)).data
    first = answer["slots"][0]
    assert answer["timezone"] == "Asia/Kathmandu"
    assert datetime.fromisoformat(first["starts_at"]) == start
    assert datetime.fromisoformat(first["local"]) == start
    assert first["local"].endswith("+05:45")


@pytest.mark.parametrize(("more", "path"), [({}, "session_type_id"), ({"duration_minutes": "30"}, "duration_minutes")])
async def test_clients_are_shown_a_types_slots_and_no_others(
    api: Api, house: House, more: dict[str, str], path: str
) -> None:
    """A slot of another length could be listed and would not book."""
    session_type = await offer(api, house)
    query = {"from": monday().isoformat(), "to": (monday() + DAY).isoformat(), **more}
    if more:
        query["session_type_id"] = session_type["id"]
    answer = await api.get(f"{BASE}/slots", house.client, params=query)
    assert (answer.status, answer.field_paths) == (422, [f"query.{path}"])


async def test_every_slot_offered_books_and_then_is_gone(api: Api, house: House) -> None:
    await open_hours(api, house, buffer_after_minutes=10)
    session_type = await offer(api, house)
    start = monday()
    offered = await slots(api, house.client, start, session_type_id=session_type["id"])
    assert len(offered) == 12
    booked = await book(api, house.client, session_type, offered[0])
    assert booked.status == 201
    assert (booked.data["title"], booked.data["price_minor"], booked.data["session_type_id"]) == (
        "Coaching", 9000, session_type["id"],
    )  # fmt: skip
    assert booked.data["coach_id"] == str(house.coach.user_id)
    left = await slots(api, house.client, start, session_type_id=session_type["id"])
    # 9:00-10:00 with 10 minutes after it: neither 9:30 nor 10:00 is left
    assert left == offered[3:]
    again = await book(api, house.client, session_type, offered[0])
    assert (again.status, again.code) == (409, "SLOT_TAKEN")


@pytest.mark.parametrize("minutes", [-60, -30, 10, 150, 180, 8 * 60])
async def test_client_books_nothing_but_what_is_offered(api: Api, house: House, minutes: int) -> None:
    await open_hours(api, house)
    answer = await book(api, house.client, await offer(api, house), monday() + timedelta(minutes=minutes))
    assert (answer.status, answer.code) == (409, "SLOT_UNAVAILABLE")


async def test_client_sets_neither_price_nor_length_nor_somebody_else(api: Api, house: House) -> None:
    await open_hours(api, house)
    session_type = await offer(api, house)
    for field, value in (
        ("price_minor", 1),
        ("duration_minutes", 5),
        ("ends_at", monday().isoformat()),
        ("override_reason", "I want it"),
        ("client_id", str(house.other_client_id)),
        ("coach_id", str(house.other_coach.user_id)),
    ):
        answer = await book(api, house.client, session_type, monday(), **{field: value})
        assert (answer.status, answer.field_paths) == (422, [field])
    none = await api.post(SESSIONS, house.client, json={"starts_at": monday().isoformat()})
    assert (none.status, none.field_paths) == (422, ["session_type_id"])


async def test_types_not_for_clients_are_neither_shown_nor_booked(api: Api, house: House) -> None:
    await open_hours(api, house)
    own = await offer(api, house)
    hidden = await offer(api, house, bookable=False)
    await api.post(TYPES, house.other_coach, json={"name": "Other", "duration_minutes": 30})
    shown = (await api.get(TYPES, house.client)).body
    assert [t["id"] for t in shown["data"]] == [own["id"]]
    assert shown["pagination"]["total"] == 1
    assert (await book(api, house.client, hidden, monday())).field_paths == ["session_type_id"]
    await api.patch(f"{TYPES}/{own['id']}", house.coach, json={"archived": True})
    assert (await book(api, house.client, own, monday())).field_paths == ["session_type_id"]


async def test_clients_never_see_buffers(api: Api, house: House) -> None:
    session_type = await offer(api, house, buffer_before_minutes=15)
    shown = (await api.get(f"{TYPES}/{session_type['id']}", house.client)).data
    assert shown["buffer_before_minutes"] is None
    assert session_type["buffer_before_minutes"] == 15


async def test_buffers_of_the_type_hold_for_clients_and_in_the_database(api: Api, house: House) -> None:
    await open_hours(api, house, buffer_before_minutes=5)
    wide = await offer(api, house, buffer_before_minutes=30, buffer_after_minutes=30)
    start = monday()
    assert (await book(api, house.client, wide, start)).status == 201
    assert await slots(api, house.client, start, session_type_id=wide["id"]) == [
        (start + timedelta(minutes=m)).astimezone(UTC).isoformat() for m in (120, 240, 270, 300, 330, 360, 390, 420)
    ]
    # staff without availability of their own check: the constraint still keeps the buffers apart
    await api.db.execute("delete from availability")
    new = {"client_id": str(house.client_id), "starts_at": (start + timedelta(minutes=80)).isoformat()}
    answer = await api.post(SESSIONS, house.coach, json={**new, "duration_minutes": 30})
    assert (answer.status, answer.code) == (409, "SLOT_TAKEN")


async def test_coach_books_off_the_increments_but_not_outside_without_a_reason(api: Api, house: House) -> None:
    await open_hours(api, house)
    session_type = await offer(api, house)
    new = {"client_id": str(house.client_id)}
    assert (await book(api, house.coach, session_type, monday() + timedelta(minutes=7), **new)).status == 201
    evening = monday() + timedelta(hours=10)
    refused = await book(api, house.coach, session_type, evening, **new)
    assert (refused.status, refused.code) == (409, "OUTSIDE_AVAILABILITY")
    booked = await book(api, house.coach, session_type, evening, **new, override_reason="Only time she has")
    assert booked.status == 201
    assert b"Only time she has" not in (await api.get(f"{SESSIONS}/{booked.data['id']}", house.client)).raw


async def test_override_shortens_buffers_and_never_overlaps(api: Api, house: House) -> None:
    await open_hours(api, house, buffer_before_minutes=30, buffer_after_minutes=30)
    session_type = await offer(api, house)
    new = {"client_id": str(house.client_id)}
    first = monday() + timedelta(hours=1)
    assert (await book(api, house.coach, session_type, first, **new)).status == 201
    close = first + timedelta(minutes=60)
    assert (await book(api, house.coach, session_type, close, **new)).code == "SLOT_TAKEN"
    over = {**new, "override_reason": "back to back"}
    assert (await book(api, house.coach, session_type, close, **over)).status == 201
    for minutes in (30, 59, 61, 90):
        answer = await book(api, house.coach, session_type, first + timedelta(minutes=minutes), **over)
        assert (answer.status, answer.code) == (409, "SLOT_TAKEN")


async def test_time_off_and_dates_of_their_own(api: Api, house: House) -> None:
    await open_hours(api, house)
    start, one = monday(), f"{BASE}/{house.coach.user_id}"
    closed = (await api.post(f"{one}/overrides", house.coach, json={"day": f"{start:%Y-%m-%d}"})).data
    assert await slots(api, house.coach, start) == []
    hours = {"day": f"{start:%Y-%m-%d}", "hours": [{"starts": "10:00", "ends": "11:00"}]}
    replaced = (await api.post(f"{one}/overrides", house.coach, json=hours)).data
    assert replaced["id"] == closed["id"]
    assert len(await slots(api, house.coach, start)) == 1
    away = {"starts_at": start.isoformat(), "ends_at": (start + DAY).isoformat(), "note": "Holiday"}
    off = (await api.post(f"{one}/time-off", house.coach, json=away)).data
    assert await slots(api, house.coach, start) == []
    assert (await api.call("DELETE", f"{one}/time-off/{off['id']}", house.coach)).status == 200
    assert (await api.call("DELETE", f"{one}/overrides/{closed['id']}", house.coach)).status == 200
    assert (await api.call("DELETE", f"{one}/overrides/{closed['id']}", house.coach)).status == 404
    assert len(await slots(api, house.coach, start)) == 12


async def test_notice_holds_when_listing_booking_and_moving(api: Api, house: House) -> None:
    await open_hours(api, house, min_notice_days=30)
    session_type = await offer(api, house)
    assert await slots(api, house.coach, monday(1), days=5) == []
    assert (await book(api, house.client, session_type, monday(1))).code == "SLOT_UNAVAILABLE"
    new = {"client_id": str(house.client_id)}
    assert (await book(api, house.coach, session_type, monday(1), **new)).code == "OUTSIDE_AVAILABILITY"
    far = (await book(api, house.client, session_type, monday(7))).data
    near = {"starts_at": monday(1).isoformat()}
    assert (await api.patch(f"{SESSIONS}/{far['id']}", house.coach, json=near)).code == "OUTSIDE_AVAILABILITY"
    near["override_reason"] = "She asked"
    assert (await api.patch(f"{SESSIONS}/{far['id']}", house.coach, json=near)).status == 200


async def test_session_does_not_stand_in_its_own_way(api: Api, house: House) -> None:
    await open_hours(api, house, buffer_before_minutes=15, buffer_after_minutes=15, max_per_day=1)
    session = (await book(api, house.client, await offer(api, house), monday())).data
    later = {"starts_at": (monday() + timedelta(minutes=30)).isoformat()}
    moved = await api.patch(f"{SESSIONS}/{session['id']}", house.coach, json=later)
    assert moved.status == 200
    assert moved.data["id"] == session["id"]


async def test_limit_counts_the_missed_and_not_the_cancelled(api: Api, house: House) -> None:
    await open_hours(api, house, max_per_day=1)
    session_type = await offer(api, house)
    session = (await book(api, house.client, session_type, monday())).data
    assert await slots(api, house.coach, monday()) == []
    await api.db.execute("update sessions set status = 'no_show'")
    assert await slots(api, house.coach, monday()) == []
    await api.db.execute("update sessions set status = 'cancelled' where id = $1::text::uuid", session["id"])
    assert len(await slots(api, house.coach, monday())) == 12


async def test_fifty_at_once_for_the_last_of_a_day_give_one(api: Api, house: House) -> None:
    await open_hours(api, house, max_per_day=1)
    session_type = await offer(api, house)
    starts = [monday() + timedelta(minutes=30 * (n % 5)) for n in range(50)]
    answers = await asyncio.gather(*(book(api, house.client, session_type, start) for start in starts))
    assert sorted(a.status for a in answers) == [201] + [409] * 49


async def test_client_who_has_no_coach_is_told_so(api: Api, house: House) -> None:
    await api.db.execute("update clients set coach_id = null where id = $1", house.client_id)
    query = {"from": monday().isoformat(), "to": (monday() + DAY).isoformat(), "session_type_id": str(uuid4())}
    answer = await api.get(f"{BASE}/slots", house.client, params=query)
    assert (answer.status, answer.code) == (409, "NO_COACH")


@pytest.mark.parametrize("days", [-1, 0, 63])
async def test_range_has_bounds(api: Api, house: House, days: int) -> None:
    query = {"from": monday().isoformat(), "to": (monday() + days * DAY).isoformat()}
    answer = await api.get(f"{BASE}/slots", house.client, params=query)
    assert answer.field_paths == ["query.to"]
