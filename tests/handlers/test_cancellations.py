"""Cancelling: in time, late, by whom, twice (scheduling.md, 22)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import Api
from tests.factories import House
from tests.handlers.booking import HOUR, begin_at, book, change, days_ahead, event_types, open_all_day, set_policy
from tests.waiting import eventually
from wellio.errors import Conflict, Forbidden
from wellio.practice.cancellations import status_of_clients_cancellation
from wellio.practice.policies import BookingPolicy

START = datetime(2027, 3, 14, 15, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def booked(api: Api, house: House, days: int = 3) -> Any:
    return (await book(api, house.client, await open_all_day(api, house), days_ahead(days))).data


def test_cancelling_exactly_at_the_boundary_counts_as_in_time() -> None:
    policy = BookingPolicy(cancel_notice_minutes=120, late_cancel="late")
    boundary = START - timedelta(hours=2)
    assert status_of_clients_cancellation(policy, START, "UTC", boundary) == "cancelled"
    assert status_of_clients_cancellation(policy, START, "UTC", boundary + SECOND) == "late_cancelled"
    assert status_of_clients_cancellation(policy, START, "UTC", START) == "late_cancelled"
    with pytest.raises(Conflict, match="begun"):
        status_of_clients_cancellation(policy, START, "UTC", START + SECOND)


def test_notice_is_elapsed_time_also_across_a_change_of_clocks() -> None:
    """The fourteenth of March 2027 has 23 hours in New York: 24 hours before 11 a.m. it was 10 a.m."""
    policy = BookingPolicy(late_cancel="block", contact="Call us.")
    with pytest.raises(Forbidden, match=r"until 2027-03-13 10:00 \(America/New_York\)\. Call us\.") as refused:
        status_of_clients_cancellation(policy, START, "America/New_York", START - 23 * HOUR)
    assert refused.value.details == {"until": START - 24 * HOUR, "contact": "Call us."}


async def test_client_who_cancels_in_time_owes_nothing(api: Api, house: House) -> None:
    session = await booked(api, house)
    cancelled = (await change(api, house.client, session, status="cancelled", cancel_reason="ill")).data
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("cancelled", "ill")
    assert cancelled["cancelled_at"] is not None
    assert cancelled["participants"][0]["status"] == "cancelled"
    by = await api.db.fetchval("select cancelled_by from sessions where id = $1::text::uuid", session["id"])
    assert by == house.client.user_id


async def test_client_who_cancels_inside_the_notice_is_late(api: Api, house: House) -> None:
    session = await booked(api, house)
    await begin_at(api, session, datetime.now(UTC) + 2 * HOUR)
    late = (await change(api, house.client, session, status="cancelled")).data
    assert (late["status"], late["participants"][0]["status"]) == ("late_cancelled", "late_cancelled")
    assert await event_types(api, session) == ["SessionBooked", "SessionCancelled"]


async def test_policy_that_blocks_says_until_when_and_whom_to_ask(api: Api, house: House) -> None:
    await set_policy(api, house, late_cancel="block", contact="Call +49 30 123.")
    session = await booked(api, house)
    await begin_at(api, session, datetime.now(UTC) + 2 * HOUR)
    refused = await change(api, house.client, session, status="cancelled")
    assert (refused.status, refused.code) == (403, "CANCEL_WINDOW_CLOSED")
    assert refused.body["error"]["message"].endswith("Call +49 30 123.")
    until = datetime.fromisoformat(refused.body["error"]["details"]["until"])
    assert until < datetime.now(UTC)
    assert (await change(api, house.coach, session, status="cancelled")).data["status"] == "cancelled_by_coach"


async def test_coach_cancels_at_any_time(api: Api, house: House) -> None:
    session = await booked(api, house)
    await begin_at(api, session, datetime.now(UTC) - HOUR / 2)
    await change(api, house.coach, session, status="in_progress")
    assert (await change(api, house.coach, session, status="cancelled")).data["status"] == "cancelled_by_coach"


@pytest.mark.parametrize("again_by", ["client", "coach", "owner"])
async def test_cancelling_twice_is_the_same_answer_and_tells_nobody_again(
    api: Api, house: House, again_by: str
) -> None:
    session = await booked(api, house)
    body = {"status": "cancelled", "cancel_reason": "ill"}
    first = await change(api, house.client, session, **body)

    async def told() -> int:
        count = "select count(*) from notifications where kind = 'session_cancelled'"
        return int(await api.db.fetchval(count))

    await eventually(lambda: told())
    again = await change(api, getattr(house, again_by), session, status="cancelled", cancel_reason="other")
    assert (again.status, again.data["status"], again.data["version"]) == (200, "cancelled", first.data["version"])
    if again_by == "client":
        assert again.raw == first.raw
    assert await event_types(api, session) == ["SessionBooked", "SessionCancelled"]
    # What is recorded later has been dealt with: so nothing about the repeat is still to come.
    other = (await book(api, house.client, {"id": session["session_type_id"]}, days_ahead(4))).data
    await change(api, house.client, other, status="cancelled")

    async def told_of_the_other() -> bool:
        return await told() == 2

    await eventually(told_of_the_other)


@pytest.mark.parametrize("outcome", ["completed", "no_show"])
async def test_client_can_not_cancel_what_is_over(api: Api, house: House, outcome: str) -> None:
    session = await booked(api, house)
    await begin_at(api, session, datetime.now(UTC) - 2 * HOUR)
    refused = await change(api, house.client, session, status="cancelled")
    assert (refused.status, refused.code) == (409, "SESSION_STARTED")
    await change(api, house.coach, session, status=outcome)
    refused = await change(api, house.client, session, status="cancelled")
    assert (refused.status, refused.code) == (409, "SESSION_CLOSED")
