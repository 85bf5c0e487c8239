"""Clients: list, get, create, patch."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api import Api
from tests.factories import House, make_client
from wellio.pages import PageQuery, page_of

BASE = "/api/v1/clients"
NEW = {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.org", "tags": ["vip", "vip", "yoga"]}


async def test_created_client_is_read_back_whole(api: Api, house: House) -> None:
    created = await api.post(BASE, house.coach, json=NEW)
    assert created.status == 201
    assert created.headers["ETag"] == '"1"'
    client = created.data
    assert client["coach_id"] == str(house.coach.user_id)
    assert client["tags"] == ["vip", "yoga"]
    assert client["timezone"] == house.practice.timezone
    assert (await api.get(f"{BASE}/{client['id']}", house.coach)).data == client
    (event,) = await api.db.fetch("select type, client_id, actor_id from events where type <> 'ClockTicked'")
    assert tuple(map(str, event)) == ("ClientCreated", client["id"], str(house.coach.user_id))


async def test_shape_holds_what_tools_rely_on(api: Api, house: House) -> None:
    client = (await api.get(f"{BASE}/{house.client_id}", house.owner)).data
    promised = """
        id first_name last_name email phone status coach_id user_id tags goals timezone custom churn_risk churn_band
        engagement last_activity_at version created_at updated_at
    """
    assert set(client) >= set(promised.split())


async def test_patch_changes_only_what_it_names(api: Api, house: House) -> None:
    client = (await api.post(BASE, house.coach, json=NEW)).data
    patched = await api.patch(f"{BASE}/{client['id']}", house.coach, json={"phone": "+49 30 123456", "email": None})
    expected = client | {"phone": "+49 30 123456", "email": None, "version": 2}
    assert {k: v for k, v in patched.data.items() if k != "updated_at"} == {
        k: v for k, v in expected.items() if k != "updated_at"
    }


async def test_patch_that_changes_nothing_is_no_new_version(api: Api, house: House) -> None:
    client = (await api.post(BASE, house.coach, json=NEW)).data
    patched = await api.patch(f"{BASE}/{client['id']}", house.coach, json={"first_name": "Ada"})
    assert patched.data == client


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"first_name": None}, "first_name"),
        ({"status": "vanished"}, "status"),
        ({"version": 7}, "version"),
        ({"practice_id": str(uuid4())}, "practice_id"),
        ({"tags": [""]}, "tags.0"),
        ({"custom": {"text": "a\0b"}}, "custom"),
        ({"custom": {"big": "x" * 20_000}}, "custom"),
        ({"coach_id": str(uuid4())}, "coach_id"),
    ],
)
async def test_refused_change_names_its_field_and_changes_nothing(
    api: Api, house: House, change: dict[str, Any], path: str
) -> None:
    before = (await api.get(f"{BASE}/{house.client_id}", house.owner)).data
    answer = await api.patch(f"{BASE}/{house.client_id}", house.owner, json=change)
    assert (answer.status, answer.field_paths) == (422, [path])
    assert (await api.get(f"{BASE}/{house.client_id}", house.owner)).data == before


async def test_second_editor_is_told_instead_of_overwriting(api: Api, house: House) -> None:
    url = f"{BASE}/{house.client_id}"
    etag = (await api.get(url, house.coach)).headers["ETag"]
    assert (await api.patch(url, house.coach, json={"goals": "Run"}, headers={"If-Match": etag})).status == 200
    late = await api.patch(url, house.owner, json={"goals": "Swim"}, headers={"If-Match": etag})
    assert (late.status, late.code) == (412, "VERSION_MISMATCH")
    assert (await api.get(url, house.coach)).data["goals"] == "Run"


async def test_concurrent_patches_of_different_fields_lose_nothing(api: Api, house: House) -> None:
    url = f"{BASE}/{house.client_id}"
    changes: list[dict[str, Any]] = [{"goals": "Run"}, {"phone": "12345"}, {"status": "paused"}, {"tags": ["a"]}]
    await asyncio.gather(*(api.patch(url, house.owner, json=c) for c in changes))
    client = (await api.get(url, house.owner)).data
    assert (client["goals"], client["phone"], client["status"], client["tags"]) == ("Run", "12345", "paused", ["a"])
    assert client["version"] == 5


async def test_coach_can_not_give_clients_away_but_the_owner_can(api: Api, house: House) -> None:
    url = f"{BASE}/{house.client_id}"
    other = {"coach_id": str(house.other_coach.user_id)}
    assert (await api.patch(url, house.coach, json=other)).status == 422
    assert (await api.patch(url, house.owner, json=other)).data["coach_id"] == other["coach_id"]
    assert (await api.get(url, house.coach)).status == 404


async def test_list_is_filtered_sorted_and_paged(api: Api, house: House) -> None:
    for i in range(5):
        await make_client(api.db, house.practice, coach=house.coach, first_name=f"N{i}", last_name=f"Zed{4 - i}")
    page = await api.get(f"{BASE}?page_size=2&page=2&sort=name&q=zed", house.owner)
    assert [c["last_name"] for c in page.data] == ["Zed2", "Zed3"]
    assert page.body["pagination"] == {"page": 2, "page_size": 2, "total": 5, "total_pages": 3, "has_next": True}
    assert (await api.get(f"{BASE}?q=%25", house.owner)).data == []
    assert len((await api.get(f"{BASE}?coach_id={house.other_coach.user_id}", house.owner)).data) == 1


async def test_everyone_sees_only_their_own(api: Api, house: House) -> None:
    async def ids(actor: Any) -> set[str]:
        return {c["id"] for c in (await api.get(f"{BASE}?page_size=100", actor)).data}

    mine, others = str(house.client_id), str(house.other_client_id)
    assert await ids(house.owner) == {mine, others}
    assert await ids(house.coach) == await ids(house.client) == {mine}
    assert await ids(house.other_coach) == await ids(house.other_client) == {others}


@settings(max_examples=200)
@given(total=st.integers(0, 1000), page=st.integers(1, 50), page_size=st.integers(1, 100))
def test_page_arithmetic(total: int, page: int, page_size: int) -> None:
    result = page_of([], query=PageQuery(page=page, page_size=page_size), total=total).pagination
    assert result.total_pages * page_size >= total > (result.total_pages - 1) * page_size or total == 0
    assert result.has_next == (page * page_size < total)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
async def test_any_text_is_stored_as_written_or_refused(api: Api, house: House, text: str) -> None:
    import orjson

    try:
        body = orjson.dumps({"goals": text})
    except TypeError:  # a lone surrogate can't even be sent
        return
    headers = {"Content-Type": "application/json"}
    answer = await api.call("PATCH", f"{BASE}/{house.client_id}", house.owner, data=body, headers=headers)
    if "\0" in text:
        assert answer.status == 422
    else:
        assert answer.data["goals"] == text


async def test_clients_are_not_shown_what_the_practice_thinks_of_them(api: Api, house: House) -> None:
    await api.db.execute("update clients set tags = '{hard work}' where id = $1", house.client_id)
    await api.db.execute(
        "insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)"
        " values ($1, $2, 0.9, 'high', 'ok', 30, now())",
        house.practice.id, house.client_id,
    )  # fmt: skip
    coach = (await api.get(f"/api/v1/clients/{house.client_id}", house.coach)).data
    assert (coach["churn_risk"], coach["churn_band"], coach["tags"]) == (0.9, "high", ["hard work"])
    for path in (f"/api/v1/clients/{house.client_id}", "/api/v1/clients"):
        answer = await api.get(path, house.client)
        assert b"hard work" not in answer.raw
        own = answer.data[0] if isinstance(answer.data, list) else answer.data
        assert (own["churn_risk"], own["churn_band"], own["tags"]) == (None, None, [])
