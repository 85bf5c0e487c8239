"""Crowds: many book one slot at the same moment (scheduling.md, 9). bench/bookings.py has five hundred at once."""

import asyncio
from collections import Counter

from tests.api import Answer, Api
from tests.factories import House, make_client, make_user
from tests.handlers.booking import book, days_ahead, open_all_day
from wellio.accounts.actors import Actor, Role


async def clients_of_the_coach(api: Api, house: House, count: int) -> list[Actor]:
    async with api.db.transaction() as connection:
        users = [await make_user(connection, house.practice, Role.CLIENT, f"Client {n}") for n in range(count)]
        for user in users:
            await make_client(connection, house.practice, coach=house.coach, user=user)
    return users


async def test_sixty_clients_at_once_for_one_slot_give_exactly_one_booking(api: Api, house: House) -> None:
    session_type = await open_all_day(api, house)
    people = await clients_of_the_coach(api, house, 6)

    async def ask(number: int) -> Answer:
        """Every third with an Idempotency-Key of its own."""
        headers = {"Idempotency-Key": f"crowd-{number}"} if number % 3 == 0 else {}
        body = {"session_type_id": session_type["id"], "starts_at": days_ahead(3).isoformat()}
        return await api.post("/api/v1/sessions", people[number % len(people)], json=body, headers=headers)

    answers = await asyncio.gather(*(ask(number) for number in range(60)))
    assert Counter(a.status for a in answers) == {201: 1, 409: 59}
    assert {a.code for a in answers if a.status == 409} == {"SLOT_TAKEN"}
    assert await api.db.fetchval("select count(*) from sessions") == 1
    assert await api.db.fetchval("select count(*) from events where type = 'SessionBooked'") == 1


async def test_other_slots_are_booked_meanwhile(api: Api, house: House) -> None:
    session_type = await open_all_day(api, house)
    people = await clients_of_the_coach(api, house, 4)
    starts = [days_ahead(day) for day in (3, 4, 5, 6)]
    answers = await asyncio.gather(
        *(book(api, actor, session_type, start) for _ in range(4) for actor, start in zip(people, starts, strict=True))
    )
    assert Counter(a.status for a in answers) == {201: 4, 409: 12}


async def test_whose_time_is_taken_is_told(api: Api, house: House) -> None:
    """One's own other session stands in nobody else's way."""
    session_type = await open_all_day(api, house)
    (other,) = await clients_of_the_coach(api, house, 1)
    new = {
        "client_id": str(house.client_id), "coach_id": str(house.other_coach.user_id),
        "starts_at": days_ahead(3).isoformat(), "duration_minutes": 60,
    }  # fmt: skip
    assert (await api.post("/api/v1/sessions", house.owner, json=new)).status == 201
    mine, theirs = await asyncio.gather(
        book(api, house.client, session_type, days_ahead(3)), book(api, other, session_type, days_ahead(3))
    )
    assert (theirs.status, mine.status) == (201, 409)
    again = await book(api, other, session_type, days_ahead(3))
    assert again.body["error"]["details"] == {"whose": "coach"}
