"""Holds: a time that is kept until it is confirmed, or runs out (scheduling.md, 10)."""

import asyncio
from typing import Any

from tests.api import Api
from tests.factories import House
from tests.handlers.booking import SESSIONS, book, change, days_ahead, event_types, open_all_day, set_policy
from wellio.accounts.actors import Actor
from wellio.jobs.end_holds import end_holds
from wellio.jobs.work import Work
from wellio.outbox import Outbox


async def held(api: Api, house: House) -> Any:
    await set_policy(api, house, hold_minutes=30)
    return (await book(api, house.client, await open_all_day(api, house), days_ahead(3), hold=True)).data


async def run_out(api: Api, session: Any) -> None:
    sql = "update sessions set hold_expires_at = now() where id = $1::text::uuid"
    await api.db.execute(sql, session["id"])


async def confirm(api: Api, actor: Actor, session: Any) -> Any:
    return await api.post(f"{SESSIONS}/{session['id']}/confirm", actor)


async def offered(api: Api, house: House, session: Any) -> bool:
    params = {
        "session_type_id": session["session_type_id"],
        "from": days_ahead(3).isoformat(), "to": days_ahead(4).isoformat(),
    }  # fmt: skip
    slots = (await api.get("/api/v1/availability/slots", house.client, params=params)).data["slots"]
    return session["starts_at"] in [slot["starts_at"] for slot in slots]


async def test_held_time_is_taken_until_confirmed_and_after(api: Api, house: House) -> None:
    session = await held(api, house)
    assert (session["status"], session["participants"][0]["status"]) == ("held", "booked")
    minutes = "select extract(epoch from hold_expires_at - created_at) / 60 from sessions"
    assert round(await api.db.fetchval(minutes)) == 30
    assert not await offered(api, house, session)
    again = await book(api, house.client, {"id": session["session_type_id"]}, days_ahead(3))
    assert (again.status, again.code) == (409, "SLOT_TAKEN")
    confirmed = (await confirm(api, house.client, session)).data
    assert (confirmed["status"], confirmed["hold_expires_at"]) == ("scheduled", None)
    assert not await offered(api, house, session)
    assert await event_types(api, session) == ["SessionHeld", "SessionBooked"]


async def test_client_has_three_open_holds_and_no_more(api: Api, house: House) -> None:
    await set_policy(api, house, hold_minutes=30)
    kind = await open_all_day(api, house)
    times = [days_ahead(day) for day in range(3, 9)]
    first, *_ = [(await book(api, house.client, kind, time, hold=True)).data for time in times[:3]]
    for actor, more in ((house.client, {}), (house.coach, {"client_id": str(house.client_id)})):
        refused = await book(api, actor, kind, times[3], hold=True, **more)
        assert (refused.status, refused.code) == (409, "TOO_MANY_HOLDS")
    assert (await book(api, house.client, kind, times[3])).status == 201  # booking is another thing
    await run_out(api, first)
    at_once = await asyncio.gather(*(book(api, house.client, kind, time, hold=True) for time in times[4:]))
    assert sorted(a.status for a in at_once) == [201, 409]


async def test_second_confirmation_is_refused(api: Api, house: House) -> None:
    session = await held(api, house)
    answers = await asyncio.gather(*(confirm(api, actor, session) for actor in (house.client, house.coach) * 3))
    assert sorted(a.status for a in answers) == [200] + [409] * 5
    assert {a.code for a in answers if a.status == 409} == {"SESSION_NOT_HELD"}
    assert await event_types(api, session) == ["SessionHeld", "SessionBooked"]


async def test_hold_that_has_run_out_can_not_be_confirmed_nor_moved(api: Api, house: House) -> None:
    session = await held(api, house)
    await run_out(api, session)
    for _ in range(2):
        refused = await confirm(api, house.client, session)
        assert (refused.status, refused.code) == (409, "HOLD_EXPIRED")
        moved = await change(api, house.coach, session, starts_at=days_ahead(4).isoformat())
        assert (moved.status, moved.code) == (409, "SESSION_CLOSED")
        await end_holds(Work(Outbox(api.db)))


async def test_hold_that_has_run_out_is_free_at_once_for_listing_and_booking(api: Api, house: House) -> None:
    """Also where the coach counts days' sessions, and before the job has come by."""
    session = await held(api, house)
    await api.patch(f"/api/v1/availability/{house.coach.user_id}", house.coach, json={"max_per_day": 1})
    assert not await offered(api, house, session)
    await run_out(api, session)
    assert await offered(api, house, session)
    booked = await book(api, house.client, {"id": session["session_type_id"]}, days_ahead(3))
    assert booked.status == 201
    ended = (await api.get(f"{SESSIONS}/{session['id']}", house.client)).data
    assert (ended["status"], ended["participants"][0]["status"]) == ("cancelled", "cancelled")
    assert await end_holds(Work(Outbox(api.db))) == {"ended": 0}
    assert await event_types(api, session) == ["SessionHeld", "SessionHoldEnded"]


async def test_job_ends_holds_once_and_leaves_the_others(api: Api, house: House) -> None:
    session = await held(api, house)
    other = (await book(api, house.client, {"id": session["session_type_id"]}, days_ahead(5), hold=True)).data
    await run_out(api, session)
    outbox = Outbox(api.db)
    counts = await asyncio.gather(*(end_holds(Work(outbox)) for _ in range(3)))
    assert sum(count["ended"] for count in counts) == 1
    assert await event_types(api, session) == ["SessionHeld", "SessionHoldEnded"]
    assert (await api.get(f"{SESSIONS}/{other['id']}", house.client)).data["status"] == "held"
    payload = await api.db.fetchval("select payload from events where type = 'SessionHoldEnded'")
    assert (payload["by"], payload["status"], payload["version"]) == ("system", "cancelled", 2)


async def test_client_calls_a_hold_off_without_notice(api: Api, house: House) -> None:
    await set_policy(api, house, late_cancel="block", cancel_notice_minutes=525_600)
    session = await held(api, house)
    assert (await change(api, house.client, session, status="cancelled")).data["status"] == "cancelled"
    refused = await confirm(api, house.client, session)
    assert (refused.status, refused.code) == (409, "SESSION_NOT_HELD")
    assert await event_types(api, session) == ["SessionHeld", "SessionHoldEnded"]
