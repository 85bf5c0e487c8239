"""Attendance: joining, no-shows and undoing them (scheduling.md, 23)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import Answer, Api
from tests.factories import House
from tests.handlers.booking import (
    HOUR,
    SESSIONS,
    begin_at,
    book,
    change,
    days_ahead,
    event_types,
    open_all_day,
    set_policy,
)
from tests.learning_store.histories import read_log
from wellio.accounts.actors import Actor
from wellio.jobs.mark_no_shows import mark_no_shows
from wellio.jobs.work import Work
from wellio.outbox import Outbox

MINUTE = timedelta(minutes=1)


async def booked(api: Api, house: House, begins: datetime | None = None) -> Any:
    session = (await book(api, house.client, await open_all_day(api, house), days_ahead(3))).data
    if begins:
        await begin_at(api, session, begins)
    return session


async def join(api: Api, actor: Actor, session: Any) -> Answer:
    return await api.post(f"{SESSIONS}/{session['id']}/join", actor)


@pytest.mark.parametrize(
    ("begins_in", "code"),
    [(16 * MINUTE, "JOIN_TOO_EARLY"), (14 * MINUTE, None), (-59 * MINUTE, None), (-61 * MINUTE, "JOIN_CLOSED")],
)
async def test_session_is_joined_from_a_quarter_before_its_start_until_its_end(
    api: Api, house: House, begins_in: timedelta, code: str | None
) -> None:
    session = await booked(api, house, datetime.now(UTC) + begins_in)
    answer = await join(api, house.client, session)
    if code is None:
        assert answer.data["status"] == "in_progress"
        return
    assert (answer.status, answer.code) == (409, code)
    assert await event_types(api, session) == ["SessionBooked"]
    if code == "JOIN_TOO_EARLY":
        opens_at = datetime.fromisoformat(answer.body["error"]["details"]["opens_at"])
        assert MINUTE / 2 < opens_at - datetime.now(UTC) <= MINUTE


async def test_first_who_joins_begins_the_session_and_who_came_is_kept(api: Api, house: House) -> None:
    session = await booked(api, house, datetime.now(UTC) + 5 * MINUTE)
    answers = await asyncio.gather(*(join(api, actor, session) for actor in (house.coach, house.client) * 3))
    assert {a.status for a in answers} == {200}
    assert await event_types(api, session) == ["SessionBooked", "SessionStarted"]
    after = (await api.get(f"{SESSIONS}/{session['id']}", house.coach)).data
    joined_at = after["participants"][0]["joined_at"]
    assert joined_at is not None
    await join(api, house.client, session)
    again = (await api.get(f"{SESSIONS}/{session['id']}", house.coach)).data
    assert (again["participants"][0]["joined_at"], again["version"]) == (joined_at, 2)


async def test_coach_who_joins_checks_nobody_in(api: Api, house: House) -> None:
    session = await booked(api, house, datetime.now(UTC))
    assert (await join(api, house.coach, session)).data["status"] == "in_progress"
    after = (await api.get(f"{SESSIONS}/{session['id']}", house.coach)).data
    assert after["participants"][0]["joined_at"] is None


async def test_owner_who_is_not_its_coach_is_not_let_in(api: Api, house: House) -> None:
    session = await booked(api, house, datetime.now(UTC))
    refused = await join(api, house.owner, session)
    assert (refused.status, refused.code) == (403, "NOT_A_PARTICIPANT")
    assert (await join(api, house.other_client, session)).status == 404


async def test_what_was_cancelled_can_not_be_joined(api: Api, house: House) -> None:
    session = await booked(api, house, datetime.now(UTC) + 5 * MINUTE)
    await change(api, house.coach, session, status="cancelled")
    for actor in (house.coach, house.client):
        refused = await join(api, actor, session)
        assert (refused.status, refused.code) == (409, "SESSION_CLOSED")


@pytest.mark.parametrize(
    ("undo", "told"),
    [("scheduled", ["SessionNoShowUndone"]), ("completed", ["SessionNoShowUndone", "SessionCompleted"])],
)
async def test_no_show_is_undone(api: Api, house: House, undo: str, told: list[str]) -> None:
    session = await booked(api, house, datetime.now(UTC) - 2 * HOUR)
    missed = (await change(api, house.coach, session, status="no_show")).data
    assert missed["participants"][0]["status"] == "no_show"
    undone = (await change(api, house.coach, session, status=undo)).data
    expected = {"scheduled": "booked", "completed": "attended"}[undo]
    assert (undone["status"], undone["participants"][0]["status"]) == (undo, expected)
    assert await event_types(api, session) == ["SessionBooked", "SessionMissed", *told]
    _, miss, taken_back, *_ = [e for e in await read_log(api.db) if str(e.subject_id) == session["id"]]
    assert datetime.fromisoformat(taken_back.payload["missed_at"]) == miss.occurred_at


async def test_no_show_is_the_coachs_to_say_and_only_after_the_start(api: Api, house: House) -> None:
    session = await booked(api, house)
    early = await change(api, house.coach, session, status="no_show")
    assert (early.status, early.code) == (409, "SESSION_NOT_STARTED")
    await begin_at(api, session, datetime.now(UTC) - HOUR)
    assert (await change(api, house.client, session, status="no_show")).status == 403


async def test_nobody_is_marked_missed_unless_the_policy_says_so(api: Api, house: House) -> None:
    await booked(api, house, datetime.now(UTC) - 3 * HOUR)
    assert await mark_no_shows(Work(Outbox(api.db))) == {"marked": 0}


async def test_sessions_that_nobody_joined_are_marked_missed_after_the_grace(api: Api, house: House) -> None:
    await set_policy(api, house, auto_no_show_minutes=30)
    session = await booked(api, house, datetime.now(UTC) - HOUR - 20 * MINUTE)
    work = Work(Outbox(api.db))
    assert await mark_no_shows(work) == {"marked": 0}
    await begin_at(api, session, datetime.now(UTC) - HOUR - 40 * MINUTE)
    assert await mark_no_shows(work) == {"marked": 1}
    assert await mark_no_shows(work) == {"marked": 0}
    assert await event_types(api, session) == ["SessionBooked", "SessionMissed"]
    assert (await change(api, house.coach, session, status="scheduled")).data["status"] == "scheduled"


async def test_session_that_somebody_joined_is_not_marked_missed(api: Api, house: House) -> None:
    await set_policy(api, house, auto_no_show_minutes=0)
    session = await booked(api, house, datetime.now(UTC))
    await join(api, house.client, session)
    await begin_at(api, session, datetime.now(UTC) - 3 * HOUR)
    assert await mark_no_shows(Work(Outbox(api.db))) == {"marked": 0}
