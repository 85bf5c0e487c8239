"""Groups and who takes part in them (scheduling: 11)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import Api
from tests.factories import House
from tests.handlers.test_availability import BASE as AVAILABILITY
from tests.handlers.test_availability import TYPES, book, monday, offer, open_hours
from tests.practice.group_scenes import (
    DAY,
    HOUR,
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


async def offer_group(api: Api, house: House, capacity: int = 2, **more: Any) -> Any:
    return await offer(api, house, name="Circle", kind="group", capacity=capacity, **more)


async def group_slots(api: Api, actor: Actor, session_type: Any) -> dict[str, int]:
    """Places left, by start, on the Monday."""
    query = {
        "from": monday().isoformat(), "to": (monday() + DAY).isoformat(), "session_type_id": session_type["id"],
    }  # fmt: skip
    answer = (await api.get(f"{AVAILABILITY}/slots", actor, params=query)).data
    return {slot["starts_at"]: slot["places_left"] for slot in answer["slots"]}


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


# ---------------------------------------------------------------- types


async def test_group_type_has_a_capacity_and_nothing_else_has(api: Api, house: House) -> None:
    group = await offer_group(api, house, 8)
    assert (group["kind"], group["capacity"]) == ("group", 8)
    for wrong in ({"kind": "group"}, {"capacity": 5}, {"kind": "group", "capacity": 0}):
        answer = await api.post(TYPES, house.coach, {"name": "X", "duration_minutes": 60, **wrong})
        assert (answer.status, answer.field_paths) == (422, ["capacity"]), wrong
    address = f"{TYPES}/{group['id']}"
    assert (await api.patch(address, house.coach, {"capacity": 9})).data["capacity"] == 9
    alone = (await api.patch(address, house.coach, {"kind": "one_to_one"})).data
    assert (alone["kind"], alone["capacity"]) == ("one_to_one", None)
    assert (await api.patch(address, house.coach, {"kind": "group"})).field_paths == ["capacity"]


async def test_kind_of_a_type_stays_once_sessions_exist(api: Api, house: House) -> None:
    session_type = await offer_group(api, house)
    await make_group(api, house, session_type_id=session_type["id"])
    answer = await api.patch(f"{TYPES}/{session_type['id']}", house.coach, {"kind": "one_to_one"})
    assert (answer.status, answer.code) == (409, "TYPE_IN_USE")
    assert (await api.patch(f"{TYPES}/{session_type['id']}", house.coach, {"capacity": 30})).data["capacity"] == 30


# ---------------------------------------------------------------- making groups


async def test_group_takes_title_price_place_and_capacity_from_its_type(api: Api, house: House) -> None:
    session_type = await offer_group(api, house, 6, price_minor=2500, location="Studio")
    new = {"session_type_id": session_type["id"], "starts_at": START.isoformat()}
    made = (await api.post(SESSIONS, house.coach, new | {"client_ids": [str(house.client_id)]})).data
    assert (made["kind"], made["capacity"], made["booked"], made["client_id"]) == ("group", 6, 1, None)
    assert (made["title"], made["price_minor"], made["location"]) == ("Circle", 2500, "Studio")
    assert [p["client_id"] for p in made["participants"]] == [str(house.client_id)]
    assert await events(api, house.client_id) == ["ParticipantJoined"]


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({}, "capacity"),
        ({"capacity": 0}, "capacity"),
        ({"kind": "one_to_one", "capacity": 3}, "capacity"),
        ({"kind": "one_to_one"}, "client_id"),
    ],
)
async def test_group_that_makes_no_sense_is_refused(api: Api, house: House, more: Any, path: str) -> None:
    new = {"kind": "group", "starts_at": START.isoformat(), "duration_minutes": 60}
    answer = await api.post(SESSIONS, house.coach, new | more)
    assert (answer.status, answer.field_paths) == (422, [path])


async def test_more_clients_than_places_and_strangers_make_no_group(api: Api, house: House) -> None:
    new = {"kind": "group", "capacity": 1, "starts_at": START.isoformat(), "duration_minutes": 60}
    (_, first), (_, second) = await make_people(api, house, 2)
    many = await api.post(SESSIONS, house.coach, new | {"client_ids": [str(first), str(second)]})
    assert (many.status, many.field_paths) == (422, ["client_ids"])
    stranger = await api.post(SESSIONS, house.coach, new | {"client_ids": [str(house.other_client_id)]})
    assert (stranger.status, stranger.field_paths) == (422, ["client_ids.0"])
    of_two_kinds = await api.post(SESSIONS, house.coach, new | {"client_ids": [str(first)], "client_id": str(first)})
    assert (of_two_kinds.status, of_two_kinds.field_paths) == (422, ["client_ids"])
    assert await api.db.fetchval("select count(*) from sessions") == 0


async def test_group_and_its_buffers_keep_the_coachs_time(api: Api, house: House) -> None:
    session_type = await offer_group(api, house, buffer_after_minutes=15)
    await make_group(api, house, session_type_id=session_type["id"])
    for minutes, status in ((60, 409), (74, 409), (75, 201)):
        at = (START + timedelta(minutes=minutes)).isoformat()
        alone = {"client_id": str(house.client_id), "starts_at": at, "duration_minutes": 30}
        assert (await api.post(SESSIONS, house.coach, alone)).status == status


# ---------------------------------------------------------------- open groups


async def test_clients_are_shown_the_open_groups_of_their_coach_alone(api: Api, house: House) -> None:
    group = await make_group(api, house, 2, client_ids=[str(house.client_id)])
    hidden = await offer_group(api, house, bookable=False)
    await make_group(api, house, start=START + DAY, session_type_id=hidden["id"])
    (person, person_id), *_ = await make_people(api, house, 1)
    (shown,) = (await api.get(f"{SESSIONS}/open", person)).data
    assert f"{SESSIONS}/{shown['id']}" == group
    assert (shown["booked"], shown["capacity"], shown["places_left"], shown["own_status"]) == (1, 2, 1, "none")
    assert str(house.client_id) not in str(shown)
    assert (await api.get(f"{SESSIONS}/open", house.other_client)).data == []
    assert (await api.get(f"{SESSIONS}/open", house.client)).data[0]["own_status"] == "booked"
    assert (await api.get(SESSIONS, person)).data == []
    assert (await api.get(f"{SESSIONS}/open", house.coach)).body["pagination"]["total"] == 2
    assert str(person_id) not in str(shown)


async def test_participants_of_a_group_are_not_told_of_each_other(api: Api, house: House) -> None:
    group = await make_group(api, house, 3, client_ids=[str(house.client_id)])
    (person, person_id), *_ = await make_people(api, house, 1)
    joined = await join(api, person, group)
    assert (joined.status, joined.data["client_id"], joined.data["status"]) == (201, str(person_id), "booked")
    seen = (await api.get(group, person)).data
    assert [p["client_id"] for p in seen["participants"]] == [str(person_id)]
    assert (seen["booked"], seen["capacity"]) == (2, 3)
    assert (await api.get(f"{group}/participants", person)).status == 403
    staff = (await api.get(f"{group}/participants", house.coach)).data
    assert [p["client_id"] for p in staff] == [str(house.client_id), str(person_id)]


# ---------------------------------------------------------------- places


async def test_forty_at_once_for_ten_places_are_exactly_ten(api: Api, house: House) -> None:
    group = await make_group(api, house, 10)
    people = await make_people(api, house, 40)
    answers = await asyncio.gather(*(join(api, user, group) for user, _ in people))
    assert sorted(a.status for a in answers) == [201] * 10 + [409] * 30
    assert {a.code for a in answers if a.status == 409} == {"SESSION_FULL"}
    assert (await api.get(group, house.coach)).data["booked"] == 10
    assert await api.db.fetchval("select count(*) from events where type = 'ParticipantJoined'") == 10


async def test_same_client_twice_is_already_booked(api: Api, house: House) -> None:
    group = await make_group(api, house, 5)
    answers = await asyncio.gather(*(join(api, house.client, group) for _ in range(5)))
    assert sorted(a.status for a in answers) == [201, 409, 409, 409, 409]
    by_staff = await join(api, house.coach, group, house.client_id)
    assert {a.code for a in [*answers, by_staff] if a.status == 409} == {"ALREADY_BOOKED"}
    assert await events(api, house.client_id) == ["ParticipantJoined"]


async def test_client_is_in_one_place_at_a_time(api: Api, house: House) -> None:
    alone = {"client_id": str(house.client_id), "coach_id": str(house.other_coach.user_id)}
    at = (START + timedelta(minutes=30)).isoformat()
    assert (await api.post(SESSIONS, house.owner, alone | {"starts_at": at, "duration_minutes": 60})).status == 201
    group = await make_group(api, house)
    answer = await join(api, house.client, group)
    assert (answer.status, answer.code) == (409, "SLOT_TAKEN")
    assert (await api.get(group, house.coach)).data["booked"] == 0


async def test_hold_that_has_run_out_keeps_nobody_from_a_group(api: Api, house: House) -> None:
    alone = {"client_id": str(house.client_id), "coach_id": str(house.other_coach.user_id), "hold": True}
    held = await api.post(SESSIONS, house.owner, alone | {"starts_at": START.isoformat(), "duration_minutes": 60})
    group = await make_group(api, house)
    assert (await join(api, house.client, group)).code == "SLOT_TAKEN"
    await api.db.execute("update sessions set hold_expires_at = now() where id = $1::text::uuid", held.data["id"])
    assert (await join(api, house.client, group)).status == 201


async def test_one_client_is_booked_once_however_many_ways_at_once(api: Api, house: House) -> None:
    """Into groups of two coaches and alone with a third, at one time: none waits for another that waits for it."""
    await api.db.execute("update clients set coach_id = $1", house.coach.user_id)
    groups = [await make_group(api, house)]
    new = {"starts_at": START.isoformat(), "duration_minutes": 60}
    of_other = {"kind": "group", "capacity": 3, "coach_id": str(house.other_coach.user_id)}
    made = await api.post(SESSIONS, house.owner, new | of_other)
    groups.append(f"{SESSIONS}/{made.data['id']}")
    alone = new | {"client_id": str(house.client_id), "coach_id": str(house.owner.user_id)}
    answers = await asyncio.gather(
        *(join(api, house.owner, group, house.client_id) for group in groups * 4),
        *(api.post(SESSIONS, house.owner, alone) for _ in range(4)),
    )
    assert sorted(a.status for a in answers) == [201] + [409] * 11
    assert {a.code for a in answers if a.status == 409} <= {"SLOT_TAKEN", "ALREADY_BOOKED"}


async def test_staff_put_in_clients_of_theirs_alone(api: Api, house: House) -> None:
    group = await make_group(api, house)
    assert (await join(api, house.coach, group)).field_paths == ["client_id"]
    assert (await join(api, house.coach, group, house.other_client_id)).field_paths == ["client_id"]
    assert (await join(api, house.other_coach, group, house.other_client_id)).status == 404
    assert (await join(api, house.client, group, house.other_client_id)).field_paths == ["client_id"]
    assert (await join(api, house.other_client, group)).status == 404
    assert (await join(api, house.owner, group, house.other_client_id)).status == 201


async def test_nobody_joins_what_has_begun_but_by_staff(api: Api, house: House) -> None:
    group = await make_group(api, house)
    await begin(api, group)
    assert (await join(api, house.client, group)).status == 404
    assert (await join(api, house.coach, group, house.client_id)).status == 201
    await api.patch(group, house.coach, {"status": "completed"})
    (_, late), *_ = await make_people(api, house, 1)
    answer = await join(api, house.coach, group, late)
    assert (answer.status, answer.code) == (409, "SESSION_CLOSED")


async def test_one_to_one_has_no_places(api: Api, house: House) -> None:
    alone = {"client_id": str(house.client_id), "starts_at": START.isoformat(), "duration_minutes": 60}
    made = (await api.post(SESSIONS, house.coach, alone)).data
    assert (await join(api, house.coach, f"{SESSIONS}/{made['id']}", house.client_id)).status == 404


# ---------------------------------------------------------------- by type and start


async def test_two_first_joiners_join_one_session(api: Api, house: House) -> None:
    """Two sessions would come of it if each looked first and booked then (Cal.com 13360)."""
    await open_hours(api, house)
    session_type = await offer_group(api, house, 3)
    people = await make_people(api, house, 6)
    answers = await asyncio.gather(*(book(api, user, session_type, monday()) for user, _ in people))
    assert sorted(a.status for a in answers) == [201] * 3 + [409] * 3
    assert {a.code for a in answers if a.status == 409} == {"SESSION_FULL"}
    assert len({a.data["id"] for a in answers if a.status == 201}) == 1
    assert await api.db.fetchval("select count(*) from sessions") == 1
    (made,) = (await api.get(SESSIONS, house.coach)).data
    assert (made["booked"], made["timezone"]) == (3, "America/New_York")


async def test_slots_of_a_group_tell_places_left_and_each_books(api: Api, house: House) -> None:
    await open_hours(api, house)
    session_type = await offer_group(api, house, 2)
    (first, _), (second, _), (third, _) = await make_people(api, house, 3)
    before = await group_slots(api, first, session_type)
    assert set(before.values()) == {2}
    start = next(iter(before))
    assert (await book(api, first, session_type, start)).status == 201
    seen = await group_slots(api, second, session_type)
    assert (seen[start], [*seen] == sorted(seen)) == (1, True)
    assert start not in await group_slots(api, first, session_type)  # has a place in it
    assert (await book(api, first, session_type, start)).code == "ALREADY_BOOKED"
    assert (await book(api, second, session_type, start)).status == 201
    assert start not in await group_slots(api, third, session_type)
    assert (await book(api, third, session_type, start)).code == "SESSION_FULL"


async def test_group_that_a_coach_announced_is_offered_at_its_own_time(api: Api, house: House) -> None:
    """Outside of the hours, where nothing else is."""
    await open_hours(api, house)
    session_type = await offer_group(api, house, 2)
    at = monday() - 2 * HOUR
    await make_group(api, house, start=at, session_type_id=session_type["id"], override_reason="Sunrise")
    seen = await group_slots(api, house.client, session_type)
    assert seen == await group_slots(api, house.coach, session_type)
    start = next(s for s, places in seen.items() if places == 2 and s < min(k for k in seen if k != s))
    assert (await book(api, house.client, session_type, start)).status == 201


async def test_staff_book_a_client_into_the_group_of_that_time(api: Api, house: House) -> None:
    session_type = await offer_group(api, house, 2)
    (_, first), (_, second) = await make_people(api, house, 2)
    one = await book(api, house.coach, session_type, START, client_id=str(first))
    two = await book(api, house.coach, session_type, START, client_id=str(second))
    assert (one.status, two.status, one.data["id"]) == (201, 201, two.data["id"])


async def test_group_at_whose_time_a_client_is_elsewhere_is_not_offered(api: Api, house: House) -> None:
    await open_hours(api, house)
    session_type = await offer_group(api, house, 2)
    start = monday().isoformat()
    await make_group(api, house, start=monday(), session_type_id=session_type["id"])
    alone = {"client_id": str(house.client_id), "coach_id": str(house.other_coach.user_id)}
    await api.post(SESSIONS, house.owner, alone | {"starts_at": start, "duration_minutes": 60})
    (person, _), *_ = await make_people(api, house, 1)
    seen, unseen = await group_slots(api, person, session_type), await group_slots(api, house.client, session_type)
    assert (min(seen), min(unseen)) == (_utc(monday()), _utc(monday() + HOUR))


# ---------------------------------------------------------------- leaving


async def test_client_who_leaves_in_time_is_cancelled_and_may_come_again(api: Api, house: House) -> None:
    group = await make_group(api, house, 1)
    await join(api, house.client, group)
    left = await leave(api, house.client, group, house.client_id)
    assert (left.status, left.data["status"]) == (200, "cancelled")
    assert (await leave(api, house.client, group, house.client_id)).data == left.data
    assert (await api.get(group, house.client)).data["booked"] == 0
    again = await join(api, house.client, group)
    assert (again.status, again.data["status"], again.data["cancelled_at"]) == (201, "booked", None)
    assert await events(api, house.client_id) == ["ParticipantJoined", "ParticipantLeft", "ParticipantJoined"]


@pytest.mark.parametrize(("late", "status", "outcome"), [("late", 200, "late_cancelled"), ("block", 403, "booked")])
async def test_client_who_leaves_late_is_late_or_refused(
    api: Api, house: House, late: str, status: int, outcome: str
) -> None:
    await set_policy(api, house, cancel_notice_minutes=20 * 24 * 60, late_cancel=late)
    group = await make_group(api, house)
    await join(api, house.client, group)
    answer = await leave(api, house.client, group, house.client_id)
    assert answer.status == status
    if status == 403:
        assert answer.code == "CANCEL_WINDOW_CLOSED"
    (place,) = (await api.get(f"{group}/participants", house.coach)).data
    assert place["status"] == outcome


async def test_staff_take_out_anybody_and_clients_themselves_alone(api: Api, house: House) -> None:
    await set_policy(api, house, cancel_notice_minutes=20 * 24 * 60, late_cancel="block")
    group = await make_group(api, house, 2, client_ids=[str(house.client_id)])
    (person, person_id), *_ = await make_people(api, house, 1)
    await join(api, person, group)
    assert (await leave(api, person, group, house.client_id)).status == 404
    assert (await leave(api, house.other_coach, group, person_id)).status == 404
    assert (await leave(api, house.coach, group, person_id)).data["status"] == "cancelled"


async def test_client_cancels_their_place_and_never_the_group(api: Api, house: House) -> None:
    group = await make_group(api, house, 2)
    await join(api, house.client, group)
    for change in ({"status": "cancelled"}, {"starts_at": (START + DAY).isoformat()}):
        assert (await api.patch(group, house.client, change)).status == 403
    assert (await api.get(group, house.coach)).data["status"] == "scheduled"


# ---------------------------------------------------------------- attendance


async def test_who_was_there_is_marked_one_by_one_after_the_start(api: Api, house: House) -> None:
    people = await make_people(api, house, 3)
    group = await make_group(api, house, 3, client_ids=[str(client_id) for _, client_id in people])
    (_, came), (_, missed), (_, left) = people
    await leave(api, house.coach, group, left)
    early = await api.patch(f"{group}/participants/{came}", house.coach, {"status": "attended"})
    assert (early.status, early.code) == (409, "SESSION_NOT_STARTED")
    await begin(api, group)
    for client_id, status in ((came, "attended"), (missed, "no_show")):
        answer = await api.patch(f"{group}/participants/{client_id}", house.coach, {"status": status})
        assert answer.data["status"] == status
    gone = await api.patch(f"{group}/participants/{left}", house.coach, {"status": "attended"})
    assert (gone.status, gone.code) == (409, "NOT_BOOKED")
    undone = await api.patch(f"{group}/participants/{missed}", house.coach, {"status": "booked"})
    assert undone.data["status"] == "booked"
    assert await events(api, came) == ["ParticipantJoined", "ParticipantAttended"]
    assert await events(api, missed) == ["ParticipantJoined", "ParticipantMissed", "ParticipantUnmarked"]
    for status in ("no_show", "attended"):
        await api.patch(f"{group}/participants/{missed}", house.coach, {"status": status})
    assert (await events(api, missed))[3:] == ["ParticipantMissed", "ParticipantUnmarked", "ParticipantAttended"]
    sql = """
        select payload ->> 'missed_at' as at, occurred_at, (payload ->> 'version')::int as version
        from events where client_id = $1 order by xid, position
    """
    told = await api.db.fetch(sql, missed)
    assert datetime.fromisoformat(told[4]["at"]) == told[3]["occurred_at"]
    versions = [row["version"] for row in told[1:]]
    assert versions == sorted(set(versions))
    client = (await api.get(f"/api/v1/clients/{came}", house.coach)).data
    assert client["last_activity_at"] is not None


async def test_completed_group_was_attended_by_whom_nobody_marked(api: Api, house: House) -> None:
    people = await make_people(api, house, 2)
    group = await make_group(api, house, 2, client_ids=[str(client_id) for _, client_id in people])
    (_, came), (_, missed) = people
    await begin(api, group)
    await api.patch(f"{group}/participants/{missed}", house.coach, {"status": "no_show"})
    await api.patch(group, house.coach, {"status": "completed"})
    places = (await api.get(f"{group}/participants", house.coach)).data
    assert {p["client_id"]: p["status"] for p in places} == {str(came): "attended", str(missed): "no_show"}
    assert await events(api, came) == ["ParticipantJoined", "ParticipantAttended"]
    assert await events(api, missed) == ["ParticipantJoined", "ParticipantMissed"]


async def test_cancelled_group_is_cancelled_for_everybody(api: Api, house: House) -> None:
    people = await make_people(api, house, 2)
    group = await make_group(api, house, 1)
    (first, first_id), (second, second_id) = people
    await join(api, first, group)
    await wait(api, second, group)
    await api.patch(group, house.coach, {"status": "cancelled"})
    assert await events(api, first_id) == ["ParticipantJoined", "ParticipantLeft"]
    assert await events(api, second_id) == ["WaitlistJoined", "WaitlistLeft"]
    assert (await api.get(f"{group}/waitlist", house.coach)).data == []
    (place,) = (await api.get(f"{group}/participants", house.coach)).data
    assert (place["status"], place["cancelled_at"] is not None) == ("cancelled", True)
    # The time is theirs again.
    assert (await join(api, first, await make_group(api, house))).status == 201


# ---------------------------------------------------------------- capacity


async def test_capacity_below_the_booked_is_refused(api: Api, house: House) -> None:
    people = await make_people(api, house, 2)
    group = await make_group(api, house, 3, client_ids=[str(client_id) for _, client_id in people])
    answer = await api.patch(group, house.coach, {"capacity": 1})
    assert (answer.status, answer.code) == (409, "CAPACITY_BELOW_BOOKED")
    assert (await api.get(group, house.coach)).data["capacity"] == 3
    assert (await api.patch(group, house.coach, {"capacity": 2})).data["capacity"] == 2
    assert (await join(api, house.client, group)).code == "SESSION_FULL"


async def test_only_a_group_has_a_capacity_to_change(api: Api, house: House) -> None:
    alone = {"client_id": str(house.client_id), "starts_at": START.isoformat(), "duration_minutes": 60}
    made = (await api.post(SESSIONS, house.coach, alone)).data
    answer = await api.patch(f"{SESSIONS}/{made['id']}", house.coach, {"capacity": 2})
    assert (answer.status, answer.field_paths) == (422, ["capacity"])
