"""Adding somebody who may be there already."""

from typing import Any

import pytest

from tests.api import Api
from tests.factories import House
from wellio.practice.duplicates import Person, find_duplicates

BASE = "/api/v1/clients"
JANE = {"first_name": "José", "last_name": "Núñez Gómez", "email": "Jose@Example.org", "phone": "+49 (0)30 123-45"}
OTHER = {"first_name": "Somebody", "last_name": "Else"}


@pytest.mark.parametrize(
    ("new", "alike_by"),
    [
        ({**OTHER, "email": "jose@example.ORG"}, ["email"]),
        ({**OTHER, "phone": "0049 30 12345"}, ["phone"]),
        ({**OTHER, "phone": "49 30 / 12345"}, ["phone"]),
        ({"first_name": "JOSE", "last_name": "Nunez  GOMEZ"}, ["name"]),
        ({"first_name": "Jose\u0301", "last_name": "Núñez Gómez", "phone": "+49 30 12345"}, ["name", "phone"]),
    ],
)
async def test_who_is_alike_is_told_and_not_added(
    api: Api, house: House, new: dict[str, Any], alike_by: list[str]
) -> None:
    known = (await api.post(BASE, house.coach, json=JANE)).data["id"]
    answer = await api.post(BASE, house.coach, json=new)
    assert (answer.status, answer.code) == (409, "POSSIBLE_DUPLICATE")
    details = answer.body["error"]["details"]
    assert details["client_ids"] == [known]
    assert details["duplicates"] == [{"client_id": known, "alike_by": alike_by}]
    assert (await api.post(BASE, house.coach, json={**new, "allow_duplicate": True})).status == 201


@pytest.mark.parametrize(
    "new",
    [
        OTHER,
        {**OTHER, "email": "jose@example.org.uk", "phone": "+49 30 123456"},
        {**OTHER, "phone": "0 30"},
        {"first_name": "Núñez Gómez", "last_name": "José"},
    ],
)
async def test_others_are_added(api: Api, house: House, new: dict[str, Any]) -> None:
    await api.post(BASE, house.coach, json={**JANE})
    await api.post(BASE, house.coach, json={"first_name": "With", "last_name": "Extension", "phone": "030"})
    assert (await api.post(BASE, house.coach, json=new)).status == 201


async def test_only_clients_whom_one_sees_are_told(api: Api, house: House) -> None:
    await api.post(BASE, house.coach, json=JANE)
    assert (await api.post(BASE, house.other_coach, json=JANE)).status == 201
    assert len((await api.post(BASE, house.owner, json=JANE)).body["error"]["details"]["client_ids"]) == 2


async def test_archived_clients_count_as_they_are_better_restored(api: Api, house: House) -> None:
    known = (await api.post(BASE, house.coach, json=JANE)).data["id"]
    await api.call("DELETE", f"{BASE}/{known}", house.coach)
    assert (await api.post(BASE, house.coach, json=JANE)).status == 409


async def test_refused_duplicate_does_not_use_up_its_idempotency_key(api: Api, house: House) -> None:
    await api.post(BASE, house.coach, json=JANE)
    key = {"Idempotency-Key": "once"}
    assert (await api.post(BASE, house.coach, json=JANE, headers=key)).status == 409
    again = {**JANE, "allow_duplicate": True}
    assert (await api.post(BASE, house.coach, json=again, headers=key)).status == 201


async def test_many_people_are_looked_up_at_once(api: Api, house: House) -> None:
    known = (await api.post(BASE, house.coach, json=JANE)).data["id"]
    people = [Person("A", "B", None, None), Person("jose", "nunez gomez", None, None), Person("C", "D", None, "030")]
    async with api.db.connection() as connection:
        found = await find_duplicates(connection, house.coach, people)
    assert [[str(d.client_id) for d in each] for each in found] == [[], [known], []]
