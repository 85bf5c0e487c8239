"""The waitlist of a full group (scheduling: 25)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.api import Api
from tests.factories import House
from tests.practice.group_scenes import (
    SESSIONS,
    START,
    begin,
    events,
    join,
    leave,
    make_group,
    make_people,
    set_policy,
    wait,
)
from wellio.accounts.actors import Actor
from wellio.jobs.move_waitlists import move_waitlists
from wellio.jobs.work import Work
from wellio.outbox import Outbox

Person = tuple[Actor, UUID]


@pytest.fixture
async def full(api: Api, house: House) -> tuple[str, list[Person]]:
    """A group of one place, which the first of four has; the others wait in their order."""
    people = await make_people(api, house, 4)
    group = await make_group(api, house, 1)
    assert (await join(api, people[0][0], group)).status == 201
    for user, _ in people[1:]:
        assert (await wait(api, user, group)).status == 201
    return group, people


async def accept(api: Api, actor: Actor, group: str) -> Any:
    return await api.post(f"{group}/waitlist/accept", actor, {})


async def queue(api: Api, house: House, group: str) -> list[tuple[str, str]]:
    """Who waits, and how, as the coach sees it."""
    entries = (await api.get(f"{group}/waitlist", house.coach)).data
    assert [e["position"] for e in entries] == [*range(1, len(entries) + 1)]
    return [(e["client_id"], e["status"]) for e in entries]


async def booked(api: Api, house: House, group: str) -> set[str]:
    places = (await api.get(f"{group}/participants", house.coach)).data
    return {p["client_id"] for p in places if p["status"] == "booked"}


async def pass_offers(api: Api) -> None:
    await api.db.execute("update waitlist_entries set offer_expires_at = now() where status = 'offered'")


async def busy_elsewhere(api: Api, house: House, client_id: UUID) -> None:
    alone = {"client_id": str(client_id), "coach_id": str(house.other_coach.user_id)}
    answer = await api.post(SESSIONS, house.owner, alone | {"starts_at": START.isoformat(), "duration_minutes": 60})
    assert answer.status == 201


async def test_one_waits_only_for_what_is_full_and_once(api: Api, house: House) -> None:
    group = await make_group(api, house, 1)
    (first, _), (second, second_id) = await make_people(api, house, 2)
    early = await wait(api, second, group)
    assert (early.status, early.code) == (409, "PLACES_LEFT")
    await join(api, first, group)
    entry = await wait(api, second, group)
    assert (entry.status, entry.data["position"], entry.data["status"]) == (201, 1, "waiting")
    assert (await wait(api, second, group)).code == "ALREADY_WAITING"
    assert (await wait(api, house.coach, group, second_id)).code == "ALREADY_WAITING"
    assert (await wait(api, first, group)).code == "ALREADY_BOOKED"
    assert (await wait(api, house.other_client, group)).status == 404
    assert (await wait(api, house.coach, group, house.other_client_id)).field_paths == ["client_id"]


async def test_staff_see_the_order_and_a_client_their_own_position(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    assert await queue(api, house, group) == [(str(client_id), "waiting") for _, client_id in people[1:]]
    own = (await api.get(f"{group}/waitlist", people[2][0])).body
    assert [(e["client_id"], e["position"]) for e in own["data"]] == [(str(people[2][1]), 2)]
    assert own["pagination"]["total"] == 1
    assert (await api.get(group, people[2][0])).data["participants"] == []
    (shown,) = (await api.get(f"{SESSIONS}/open", people[2][0])).data
    assert (shown["places_left"], shown["waiting"], shown["own_status"]) == (0, 3, "waiting")


async def test_free_place_is_offered_to_the_first_and_is_taken_for_everybody_else(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    assert [status for _, status in await queue(api, house, group)] == ["offered", "waiting", "waiting"]
    assert await booked(api, house, group) == set()
    for other in (people[0][0], people[2][0], house.client):
        assert (await join(api, other, group)).code == "SESSION_FULL"
    assert (await accept(api, people[2][0], group)).code == "NO_OFFER"
    taken = await accept(api, people[1][0], group)
    assert (taken.status, taken.data["status"]) == (201, "booked")
    assert await queue(api, house, group) == [(str(c), "waiting") for _, c in people[2:]]
    assert await events(api, people[1][1]) == ["WaitlistJoined", "WaitlistOffered", "ParticipantJoined"]


async def test_who_was_offered_a_place_may_simply_book_it(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    assert (await join(api, people[1][0], group)).status == 201
    assert len(await queue(api, house, group)) == 2


async def test_first_who_waits_is_booked_at_once_by_that_policy(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await set_policy(api, house, waitlist="auto")
    await leave(api, house.coach, group, people[0][1])
    assert await booked(api, house, group) == {str(people[1][1])}
    assert await queue(api, house, group) == [(str(c), "waiting") for _, c in people[2:]]
    assert await events(api, people[1][1]) == ["WaitlistJoined", "ParticipantJoined"]


async def test_declined_offer_goes_to_the_next(api: Api, house: House, full: tuple[str, list[Person]]) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    assert (await api.call("DELETE", f"{group}/waitlist", people[1][0])).status < 300
    assert await queue(api, house, group) == [(str(people[2][1]), "offered"), (str(people[3][1]), "waiting")]
    assert (await accept(api, people[1][0], group)).code == "NO_OFFER"
    assert (await api.call("DELETE", f"{group}/waitlist", people[1][0])).status == 404


async def test_leaving_the_queue_does_not_shift_others_offers(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    (before,) = (await api.get(f"{group}/waitlist", people[1][0])).data
    await api.call("DELETE", f"{group}/waitlist", people[2][0])
    await api.call("DELETE", f"{group}/waitlist/{people[3][1]}", house.coach)
    (after,) = (await api.get(f"{group}/waitlist", people[1][0])).data
    assert after == before
    assert (await accept(api, people[1][0], group)).status == 201


async def test_passed_offer_is_never_accepted_however_late_the_job_is(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    await pass_offers(api)
    for answer in (await accept(api, people[1][0], group), await join(api, people[1][0], group)):
        assert (answer.status, answer.code in ("NO_OFFER", "SESSION_FULL")) == (409, True)
    assert await booked(api, house, group) == set()


async def test_passed_offer_goes_to_the_next_by_the_job(
    api: Api, house: House, outbox: Outbox, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    assert await move_waitlists(Work(outbox)) == {"groups": 0}
    await pass_offers(api)
    assert await move_waitlists(Work(outbox)) == {"groups": 1}
    assert await queue(api, house, group) == [(str(people[2][1]), "offered"), (str(people[3][1]), "waiting")]
    assert (await events(api, people[1][1]))[-1] == "WaitlistOfferExpired"
    assert (await accept(api, people[2][0], group)).status == 201
    # Who was too late may wait again, at the end.
    assert (await wait(api, people[1][0], group)).data["position"] == 2


async def test_passed_offer_goes_to_the_next_before_anybody_new(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    await pass_offers(api)
    assert (await join(api, house.client, group)).code == "SESSION_FULL"
    assert (await wait(api, house.client, group)).data["position"] == 3
    assert (await queue(api, house, group))[0] == (str(people[2][1]), "offered")


async def test_offer_is_held_for_as_long_as_the_policy_says_and_never_beyond_the_start(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await set_policy(api, house, waitlist_offer_minutes=90)
    before = datetime.now(UTC)
    await leave(api, people[0][0], group, people[0][1])
    (entry,) = (await api.get(f"{group}/waitlist", people[1][0])).data
    expires_at = datetime.fromisoformat(entry["offer_expires_at"])
    assert before + timedelta(minutes=90) <= expires_at <= datetime.now(UTC) + timedelta(minutes=90)
    soon = datetime.now(UTC) + timedelta(minutes=30)
    await api.call("DELETE", f"{group}/waitlist", people[2][0])
    assert (await api.patch(group, house.coach, {"starts_at": soon.isoformat()})).status == 200
    await api.call("DELETE", f"{group}/waitlist", people[1][0])
    (entry,) = (await api.get(f"{group}/waitlist", people[3][0])).data
    assert datetime.fromisoformat(entry["offer_expires_at"]) == soon


@pytest.mark.parametrize("why", ["archived", "elsewhere"])
@pytest.mark.parametrize("policy", ["offer", "auto"])
async def test_who_can_not_come_is_passed_over_and_keeps_their_place(
    api: Api, house: House, outbox: Outbox, full: tuple[str, list[Person]], policy: str, why: str
) -> None:
    group, people = full
    await set_policy(api, house, waitlist=policy)
    (_, first), (_, second) = people[1], people[2]
    if why == "archived":
        await api.db.execute("update clients set status = 'archived' where id = $1", first)
    else:
        await busy_elsewhere(api, house, first)
    await leave(api, people[0][0], group, people[0][1])
    if policy == "offer":
        assert (await queue(api, house, group))[:2] == [(str(first), "waiting"), (str(second), "offered")]
    else:
        assert await booked(api, house, group) == {str(second)}
        assert (await queue(api, house, group))[0] == (str(first), "waiting")
    # Can they come again, they are the first.
    await api.db.execute("update clients set status = 'active' where id = $1", first)
    await api.db.execute("update sessions set status = 'cancelled' where client_id = $1", first)
    await api.patch(group, house.coach, {"capacity": 2})
    last = await (queue(api, house, group) if policy == "offer" else booked(api, house, group))
    assert (str(first), "offered") in last or str(first) in last


async def test_who_can_come_again_is_found_by_the_job(api: Api, house: House, outbox: Outbox) -> None:
    (first, first_id), (second, second_id) = await make_people(api, house, 2)
    group = await make_group(api, house, 1)
    await join(api, first, group)
    await wait(api, second, group)
    await busy_elsewhere(api, house, second_id)
    await leave(api, first, group, first_id)
    assert await queue(api, house, group) == [(str(second_id), "waiting")]
    await api.db.execute("update sessions set status = 'cancelled' where client_id = $1", second_id)
    await move_waitlists(Work(outbox))
    assert await queue(api, house, group) == [(str(second_id), "offered")]


async def test_more_capacity_moves_the_waitlist(api: Api, house: House, full: tuple[str, list[Person]]) -> None:
    group, people = full
    assert (await api.patch(group, house.coach, {"capacity": 3})).status == 200
    assert [status for _, status in await queue(api, house, group)] == ["offered", "offered", "waiting"]
    lower = await api.patch(group, house.coach, {"capacity": 2})
    assert (lower.status, lower.code) == (409, "CAPACITY_BELOW_BOOKED")
    assert (await accept(api, people[2][0], group)).status == 201


async def test_one_free_place_is_accepted_once(api: Api, house: House, full: tuple[str, list[Person]]) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    answers = await asyncio.gather(*(accept(api, user, group) for user, _ in people[1:] for _ in range(3)))
    assert sorted(a.status for a in answers) == [201] + [409] * 8
    assert await booked(api, house, group) == {str(people[1][1])}


async def test_offer_to_who_booked_elsewhere_meanwhile_is_refused(
    api: Api, house: House, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    await busy_elsewhere(api, house, people[1][1])
    answer = await accept(api, people[1][0], group)
    assert (answer.status, answer.code) == (409, "SLOT_TAKEN")


async def test_nothing_is_offered_once_the_group_has_begun(
    api: Api, house: House, outbox: Outbox, full: tuple[str, list[Person]]
) -> None:
    group, people = full
    await leave(api, people[0][0], group, people[0][1])
    await begin(api, group)
    assert (await accept(api, people[1][0], group)).code == "SESSION_CLOSED"
    await pass_offers(api)
    await move_waitlists(Work(outbox))
    assert await queue(api, house, group) == [(str(c), "waiting") for _, c in people[2:]]
    assert (await wait(api, house.coach, group, house.client_id)).code == "SESSION_CLOSED"
