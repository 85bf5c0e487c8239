"""Sessions: booking, moving, ending; a slot has one taker."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import Api
from tests.factories import House, make_client

BASE = "/api/v1/sessions"
START = datetime(2030, 5, 6, 10, 0, tzinfo=UTC)


def new(house: House, start: datetime = START, minutes: int = 60, **more: Any) -> dict[str, Any]:
    return {
        "client_id": str(house.client_id),
        "starts_at": start.isoformat(),
        "duration_minutes": minutes,
        **more,
    }


async def book(api: Api, house: House, start: datetime = START, **more: Any) -> Any:
    return (await api.post(BASE, house.coach, json=new(house, start, **more))).data


async def begin(api: Api, session: Any, hours_ago: int = 2) -> None:
    """Lets the session's time have come."""
    start = datetime.now(UTC) - timedelta(hours=hours_ago)
    sql = """
        update sessions set starts_at = $2::timestamptz, ends_at = $2::timestamptz + interval '1 hour'
        where id = $1::text::uuid
    """
    await api.db.execute(sql, session["id"], start)


async def types(api: Api) -> list[str]:
    return [
        r["type"] for r in await api.db.fetch("select type from events where type <> 'ClockTicked' order by position")
    ]


async def test_booked_session_is_read_back_whole(api: Api, house: House) -> None:
    answer = await api.post(BASE, house.coach, json=new(house, title="First", price_minor=5000))
    assert answer.status == 201
    session = answer.data
    assert session["ends_at"] == "2030-05-06T11:00:00+00:00"
    assert (session["status"], session["kind"], session["currency"]) == ("scheduled", "one_to_one", "EUR")
    (participant,) = session["participants"]
    assert (participant["client_id"], participant["user_id"]) == (str(house.client_id), str(house.client.user_id))
    assert (participant["status"], session["booked"], session["capacity"]) == ("booked", 1, None)
    assert (await api.get(f"{BASE}/{session['id']}", house.client)).data == session
    assert await types(api) == ["SessionBooked"]


async def test_one_hundred_at_once_for_one_slot_give_exactly_one(api: Api, house: House) -> None:
    answers = await asyncio.gather(*(api.post(BASE, house.coach, json=new(house)) for _ in range(100)))
    assert sorted(a.status for a in answers) == [201] + [409] * 99
    assert {a.code for a in answers if a.status == 409} == {"SLOT_TAKEN"}
    assert await api.db.fetchval("select count(*) from sessions") == 1
    assert await types(api) == ["SessionBooked"]


async def test_sessions_that_touch_do_not_overlap(api: Api, house: House) -> None:
    await book(api, house)
    await book(api, house, START + timedelta(hours=1))
    await book(api, house, START - timedelta(hours=1))
    for minutes in (-59, -1, 0, 1, 59):
        answer = await api.post(BASE, house.coach, json=new(house, START + timedelta(minutes=minutes)))
        assert answer.status == 409


async def test_client_is_not_in_two_places_at_once(api: Api, house: House) -> None:
    await book(api, house)
    answer = await api.post(BASE, house.owner, json=new(house, coach_id=str(house.other_coach.user_id)))
    assert (answer.status, answer.code) == (409, "SLOT_TAKEN")


async def test_cancelled_session_frees_its_slot(api: Api, house: House) -> None:
    session = await book(api, house)
    cancelled = await api.patch(
        f"{BASE}/{session['id']}", house.client, json={"status": "cancelled", "cancel_reason": "ill"}
    )
    assert (cancelled.data["status"], cancelled.data["cancel_reason"]) == ("cancelled", "ill")
    await book(api, house)
    assert await types(api) == ["SessionBooked", "SessionCancelled", "SessionBooked"]


async def test_coach_who_cancels_is_told_apart(api: Api, house: House) -> None:
    session = await book(api, house)
    answer = await api.patch(f"{BASE}/{session['id']}", house.coach, json={"status": "cancelled"})
    assert answer.data["status"] == "cancelled_by_coach"


async def test_moved_session_keeps_its_length_and_id(api: Api, house: House) -> None:
    session = await book(api, house, minutes=45)
    later = (START + timedelta(days=1)).isoformat()
    moved = (await api.patch(f"{BASE}/{session['id']}", house.coach, json={"starts_at": later})).data
    assert (moved["id"], moved["starts_at"]) == (session["id"], later)
    assert moved["ends_at"] == (START + timedelta(days=1, minutes=45)).isoformat()
    assert await types(api) == ["SessionBooked", "SessionRescheduled"]


async def test_session_can_not_be_moved_onto_another(api: Api, house: House) -> None:
    await book(api, house)
    second = await book(api, house, START + timedelta(hours=2))
    answer = await api.patch(f"{BASE}/{second['id']}", house.coach, json={"starts_at": START.isoformat()})
    assert (answer.status, answer.code) == (409, "SLOT_TAKEN")
    assert (await api.get(f"{BASE}/{second['id']}", house.coach)).data == second


@pytest.mark.parametrize("status", ["completed", "no_show"])
async def test_outcome_is_known_only_after_the_start(api: Api, house: House, status: str) -> None:
    session = await book(api, house)
    early = await api.patch(f"{BASE}/{session['id']}", house.coach, json={"status": status})
    assert (early.status, early.code) == (409, "SESSION_NOT_STARTED")
    await begin(api, session)
    assert (await api.patch(f"{BASE}/{session['id']}", house.coach, json={"status": status})).data["status"] == status
    again = await api.patch(f"{BASE}/{session['id']}", house.coach, json={"status": "cancelled"})
    assert (again.status, again.code) == (409, "SESSION_CLOSED")


async def test_completed_session_is_an_activity_of_its_client(api: Api, house: House) -> None:
    session = await book(api, house)
    await begin(api, session)
    await api.patch(f"{BASE}/{session['id']}", house.coach, json={"status": "completed"})
    client = (await api.get(f"/api/v1/clients/{house.client_id}", house.coach)).data
    assert client["last_activity_at"] is not None


async def test_client_may_cancel_or_move_and_nothing_else(api: Api, house: House) -> None:
    session = await book(api, house)
    start = START.isoformat()
    for change in (
        {"title": "Mine"},
        {"status": "completed"},
        {"status": "scheduled"},
        {"starts_at": start, "title": "Mine"},
        {"starts_at": start, "status": "cancelled"},
        {"starts_at": start, "override_reason": "please"},
        {"duration_minutes": 90},
    ):
        assert (await api.patch(f"{BASE}/{session['id']}", house.client, json=change)).status == 403
    assert (await api.post(BASE, house.client, json=new(house))).field_paths == ["duration_minutes"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"duration_minutes": None}, "ends_at"),
        ({"duration_minutes": 0}, "duration_minutes"),
        ({"ends_at": START.isoformat(), "duration_minutes": None}, "ends_at"),
        ({"ends_at": (START + timedelta(hours=25)).isoformat(), "duration_minutes": None}, "ends_at"),
        ({"starts_at": "2030-05-06T10:00:00"}, "starts_at"),
        ({"starts_at": "tomorrow"}, "starts_at"),
        ({"starts_at": 1900000000}, "starts_at"),
        ({"starts_at": "infinity"}, "starts_at"),
        ({"starts_at": "9999-12-31T23:59:59Z"}, "starts_at"),
        ({"price_minor": -1}, "price_minor"),
        ({"price_minor": 1.5}, "price_minor"),
        ({"price_minor": True}, "price_minor"),
        ({"currency": "euro"}, "currency"),
        ({"meeting_url": "javascript:alert(1)"}, "meeting_url"),
        ({"status": "completed"}, "status"),
    ],
)
async def test_bad_booking_names_its_field(api: Api, house: House, changes: dict[str, Any], path: str) -> None:
    body = {k: v for k, v in (new(house) | changes).items() if v is not None}
    answer = await api.post(BASE, house.coach, json=body)
    assert (answer.status, answer.field_paths) == (422, [path])
    assert await api.db.fetchval("select count(*) from sessions") == 0


async def test_coach_books_for_their_own_clients_only(api: Api, house: House) -> None:
    body = new(house) | {"client_id": str(house.other_client_id)}
    answer = await api.post(BASE, house.coach, json=body)
    assert (answer.status, answer.field_paths) == (422, ["client_id"])


async def test_list_by_range_and_status(api: Api, house: House) -> None:
    other = await make_client(api.db, house.practice, coach=house.coach)
    for day in range(5):
        await book(api, house, START + timedelta(days=day))
    await book(api, house, START + timedelta(hours=5), client_id=str(other))
    query = {"from": (START + timedelta(days=1)).isoformat(), "to": (START + timedelta(days=3)).isoformat()}
    answer = await api.get(BASE, house.coach, params=query)
    assert [s["starts_at"][:10] for s in answer.data] == ["2030-05-07", "2030-05-08"]
    assert (await api.get(f"{BASE}?client_id={other}", house.coach)).body["pagination"]["total"] == 1
    assert (await api.get(f"{BASE}?status=completed", house.coach)).data == []
    newest = await api.get(f"{BASE}?sort=-starts_at&page_size=1", house.coach)
    assert newest.data[0]["starts_at"][:10] == "2030-05-10"
