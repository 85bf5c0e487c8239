"""Fields that a practice defines for its clients."""

from typing import Any

import pytest

from tests.api import Api
from tests.factories import House

FIELDS = "/api/v1/client-fields"
CLIENTS = "/api/v1/clients"


async def define(api: Api, house: House, key: str, kind: str, **more: Any) -> Any:
    return (await api.post(FIELDS, house.owner, json={"key": key, "label": key.title(), "type": kind, **more})).data


async def set_custom(api: Api, house: House, custom: dict[str, Any]) -> Any:
    return await api.patch(f"{CLIENTS}/{house.client_id}", house.coach, json={"custom": custom})


async def test_without_definitions_anything_may_stand_in_custom(api: Api, house: House) -> None:
    custom = {"anything": {"deep": [1, None, "x"]}, "Any Key": 1}
    assert (await set_custom(api, house, custom)).data["custom"] == custom


async def test_what_stood_there_before_stays_until_it_is_changed(api: Api, house: House) -> None:
    old = {"shoe size": 43, "team": "red"}
    await set_custom(api, house, old)
    await define(api, house, "team", "choice", options=["Blue", "Green"])
    assert (await set_custom(api, house, {**old, "team": "Blue"})).data["custom"] == {**old, "team": "Blue"}
    assert (await set_custom(api, house, {"shoe size": 44})).field_paths == ["custom.shoe size"]
    url = f"{CLIENTS}/{house.client_id}"
    assert (await api.patch(url, house.coach, json={"goals": "Run"})).data["custom"]["shoe size"] == 43


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("text", ["", "Nuts"], [1, True, ["a"], "x" * 2001]),
        ("number", [0, -1.5], ["1", True, [1]]),
        ("date", ["2026-02-28"], ["2026-02-30", "28.2.2026", 20260228, "2026-2-1"]),
        ("choice", ["A", "B"], ["C", "a", 1, ["A"]]),
        ("boolean", [True, False], [0, 1, "true"]),
    ],
)
async def test_values_are_of_their_fields_type(
    api: Api, house: House, kind: str, good: list[Any], bad: list[Any]
) -> None:
    await define(api, house, "field", kind, **({"options": ["A", "B"]} if kind == "choice" else {}))
    for value in [*good, None]:
        assert (await set_custom(api, house, {"field": value})).data["custom"] == {"field": value}
    await set_custom(api, house, {})
    for value in bad:
        assert (await set_custom(api, house, {"field": value})).field_paths == ["custom.field"], value


async def test_required_fields_are_asked_for(api: Api, house: House) -> None:
    await define(api, house, "allergies", "text", required=True)
    new = {"first_name": "New", "last_name": "Client"}
    assert (await api.post(CLIENTS, house.coach, json=new)).field_paths == ["custom.allergies"]
    assert (await api.post(CLIENTS, house.coach, json={**new, "custom": {"allergies": "None"}})).status == 201
    assert (await set_custom(api, house, {"allergies": None})).field_paths == ["custom.allergies"]
    assert (await api.patch(f"{CLIENTS}/{house.client_id}", house.coach, json={"goals": "Run"})).status == 200


async def test_fields_are_listed_in_their_order_and_changed_by_owners(api: Api, house: House) -> None:
    second = await define(api, house, "b", "text", position=2)
    first = await define(api, house, "z", "number", position=1)
    listed = await api.get(FIELDS, house.client)
    assert listed.data == [first, second]
    url = f"{FIELDS}/{first['id']}"
    changed = (await api.patch(url, house.owner, json={"label": "Zeal"}, headers={"If-Match": '"1"'})).data
    assert changed == first | {"label": "Zeal", "version": 2}
    assert (await api.patch(url, house.owner, json={"label": "x"}, headers={"If-Match": '"1"'})).status == 412
    assert (await api.patch(url, house.owner, json={"options": ["a"]})).field_paths == ["options"]
    assert (await api.patch(url, house.owner, json={"type": "text"})).field_paths == ["type"]
    again = await api.post(FIELDS, house.owner, json={"key": "z", "label": "Z", "type": "text"})
    assert (again.status, again.code) == (409, "FIELD_EXISTS")


async def test_deleted_field_leaves_its_values(api: Api, house: House) -> None:
    field = await define(api, house, "team", "text")
    await set_custom(api, house, {"team": "red"})
    assert (await api.call("DELETE", f"{FIELDS}/{field['id']}", house.owner)).status == 200
    assert (await api.get(f"{CLIENTS}/{house.client_id}", house.coach)).data["custom"] == {"team": "red"}
    assert (await api.call("DELETE", f"{FIELDS}/{field['id']}", house.owner)).status == 404


@pytest.mark.parametrize(
    ("new", "path"),
    [
        ({"key": "Nuts", "label": "x", "type": "text"}, "key"),
        ({"key": "nuts", "label": "x", "type": "list"}, "type"),
        ({"key": "nuts", "label": "x", "type": "choice"}, "options"),
        ({"key": "nuts", "label": "x", "type": "choice", "options": ["a", "a"]}, "options"),
        ({"key": "nuts", "label": "x", "type": "text", "options": ["a"]}, "options"),
    ],
)
async def test_field_that_makes_no_sense_is_refused(api: Api, house: House, new: Any, path: str) -> None:
    assert (await api.post(FIELDS, house.owner, json=new)).field_paths == [path]
