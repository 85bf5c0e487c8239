"""Rescheduling: the same session at another time, by staff and by clients (scheduling.md, 15 and 24)."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api import Api
from tests.factories import House
from tests.handlers.booking import HOUR, SESSIONS, begin_at, book, change, days_ahead, open_all_day, set_policy

DAY = timedelta(days=1)


async def booked(api: Api, house: House, **availability: Any) -> Any:
    return (await book(api, house.client, await open_all_day(api, house, **availability), days_ahead(3))).data


async def slots(api: Api, house: House, session: Any, start: datetime) -> list[str]:
    params = {"session_id": session["id"], "from": start.isoformat(), "to": (start + DAY).isoformat()}
    answer = (await api.get("/api/v1/availability/slots", house.client, params=params)).data
    return [slot["starts_at"] for slot in answer["slots"]]


async def test_moved_session_is_the_same_with_its_history(api: Api, house: House) -> None:
    session = await booked(api, house)
    start = days_ahead(3)
    for number in (1, 2):
        moved = (await change(api, house.client, session, starts_at=(start + number * DAY).isoformat())).data
        assert (moved["id"], moved["sequence"], moved["reschedule_count"]) == (session["id"], number, number)
    moved = (await change(api, house.coach, session, starts_at=start.isoformat())).data
    assert (moved["sequence"], moved["reschedule_count"]) == (3, 2)  # the limit is on clients
    history = (await api.get(f"{SESSIONS}/{session['id']}/history", house.client)).data
    assert [move["starts_at"] for move in history["moves"]] == [(start + n * DAY).isoformat() for n in (0, 1, 2)]
    by = [str(actor.user_id) for actor in (house.client, house.client, house.coach)]
    assert [move["moved_by"] for move in history["moves"]] == by
    assert (history["starts_at"], history["sequence"]) == (start.isoformat(), 3)


async def test_event_of_a_move_carries_where_it_was(api: Api, house: House) -> None:
    session = await booked(api, house)
    await change(api, house.client, session, starts_at=days_ahead(4).isoformat())
    payload = await api.db.fetchval("select payload from events where type = 'SessionRescheduled'")
    assert payload["previous_start_at"] == session["starts_at"]
    assert payload["previous_ends_at"] == session["ends_at"]
    assert (payload["version"], payload["sequence"]) == (2, 1)


async def test_only_a_new_time_counts_as_a_move(api: Api, house: House) -> None:
    session = await booked(api, house)
    edited = (await change(api, house.coach, session, title="Review", starts_at=session["starts_at"])).data
    assert (edited["title"], edited["sequence"]) == ("Review", 0)
    assert (await api.get(f"{SESSIONS}/{session['id']}/history", house.coach)).data["moves"] == []


async def test_session_is_not_in_its_own_way(api: Api, house: House) -> None:
    session = await booked(api, house, increment_minutes=30, buffer_after_minutes=15)
    start = days_ahead(3)
    offered = await slots(api, house, session, start)
    assert offered[:3] == [(start + n * HOUR / 2).isoformat() for n in range(3)]
    assert (await change(api, house.client, session, starts_at=offered[1])).data["starts_at"] == offered[1]


async def test_client_moves_to_what_is_offered_and_nowhere_else(api: Api, house: House) -> None:
    session = await booked(api, house, min_notice_days=2, max_days_ahead=10)
    offered = await slots(api, house, session, days_ahead(4))
    assert (await change(api, house.client, session, starts_at=offered[3])).status == 200
    for start in (days_ahead(1), days_ahead(20), days_ahead(5) + HOUR / 2):
        refused = await change(api, house.client, session, starts_at=start.isoformat())
        assert (refused.status, refused.code) == (409, "SLOT_UNAVAILABLE")
    other = (await book(api, house.client, {"id": session["session_type_id"]}, days_ahead(6))).data
    refused = await change(api, house.client, session, starts_at=other["starts_at"])
    assert (refused.status, refused.code) == (409, "SLOT_TAKEN")
    assert (await api.get(f"{SESSIONS}/{session['id']}", house.client)).data["starts_at"] == offered[3]


async def test_client_moves_as_early_and_as_often_as_the_policy_allows(api: Api, house: House) -> None:
    await set_policy(api, house, reschedule_notice_minutes=2880, cancel_notice_minutes=0, max_reschedules=1)
    session = await booked(api, house)
    assert (await change(api, house.client, session, starts_at=days_ahead(4).isoformat())).status == 200
    refused = await change(api, house.client, session, starts_at=days_ahead(5).isoformat())
    assert (refused.status, refused.code) == (403, "RESCHEDULE_LIMIT_REACHED")
    await set_policy(api, house, max_reschedules=None, contact="Write to us.")
    await begin_at(api, session, datetime.now(UTC) + 47 * HOUR)
    refused = await change(api, house.client, session, starts_at=days_ahead(5).isoformat())
    assert (refused.status, refused.code) == (403, "RESCHEDULE_WINDOW_CLOSED")
    assert refused.body["error"]["message"].endswith("Write to us.")
    # Notice for cancelling is another.
    assert (await change(api, house.client, session, status="cancelled")).data["status"] == "cancelled"


async def test_client_moves_also_what_is_of_no_type_or_of_an_archived_one(api: Api, house: House) -> None:
    session = await booked(api, house)
    await api.patch(f"/api/v1/session-types/{session['session_type_id']}", house.coach, json={"archived": True})
    assert (await change(api, house.client, session, starts_at=days_ahead(4).isoformat())).status == 200
    new = {"client_id": str(house.client_id), "starts_at": days_ahead(5).isoformat(), "duration_minutes": 90}
    plain = (await api.post(SESSIONS, house.coach, json=new)).data
    assert (await slots(api, house, plain, days_ahead(6)))[0] == days_ahead(6).isoformat()
    moved = (await change(api, house.client, plain, starts_at=days_ahead(6).isoformat())).data
    assert moved["ends_at"] == (days_ahead(6) + 1.5 * HOUR).isoformat()


async def test_slots_of_a_session_take_nothing_else(api: Api, house: House) -> None:
    session = await booked(api, house)
    params = {
        "session_id": session["id"], "session_type_id": session["session_type_id"],
        "from": days_ahead(3).isoformat(), "to": days_ahead(4).isoformat(),
    }  # fmt: skip
    answer = await api.get("/api/v1/availability/slots", house.client, params=params)
    assert (answer.status, answer.field_paths) == (422, ["query.session_type_id"])
