"""Archiving, restoring, and changing many clients at once."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api import Api
from tests.factories import House, make_client

BASE = "/api/v1/clients"
BULK = f"{BASE}/bulk"


async def make_clients(api: Api, house: House, count: int) -> list[str]:
    return [str(await make_client(api.db, house.practice, coach=house.coach)) for _ in range(count)]


async def events_of(api: Api, kind: str) -> list[Any]:
    return [
        (str(r["client_id"]), r["payload"])
        for r in await api.db.fetch("select client_id, payload from events where type = $1 order by position", kind)
    ]


@pytest.mark.parametrize("status", ["lead", "onboarding", "active", "paused", "churned"])
async def test_restored_client_has_the_status_they_had(api: Api, house: House, status: str) -> None:
    url = f"{BASE}/{house.client_id}"
    before = (await api.patch(url, house.coach, json={"status": status, "tags": ["kept"], "goals": "Run"})).data
    archived = (await api.post(f"{url}/archive", house.coach)).data
    assert archived["status"] == "archived"
    assert str(house.client_id) not in [c["id"] for c in (await api.get(BASE, house.coach)).data]
    restored = (await api.post(f"{url}/restore", house.coach)).data
    # the learner looks at them meanwhile
    moved = ("version", "updated_at", "churn_risk", "churn_band")
    assert {k: v for k, v in restored.items() if k not in moved} == {k: v for k, v in before.items() if k not in moved}
    assert restored["version"] == before["version"] + 2


async def test_delete_archives_and_deletes_nothing(api: Api, house: House) -> None:
    url = f"{BASE}/{house.client_id}"
    payment = {"client_id": str(house.client_id), "amount_minor": 100}
    paid = (await api.post("/api/v1/payments", house.coach, json=payment)).data
    assert (await api.call("DELETE", url, house.coach)).data["status"] == "archived"
    assert (await api.get(url, house.coach)).data["status"] == "archived"
    assert (await api.get(f"/api/v1/payments/{paid['id']}", house.coach)).data == paid


async def test_archiving_twice_remembers_the_first_status(api: Api, house: House) -> None:
    url = f"{BASE}/{house.client_id}"
    await api.patch(url, house.coach, json={"status": "paused"})
    first = (await api.call("DELETE", url, house.coach)).data
    assert (await api.call("DELETE", url, house.coach)).data["version"] == first["version"]
    assert (await api.post(f"{url}/restore", house.coach)).data["status"] == "paused"
    changes = [payload.get("status") for _, payload in await events_of(api, "ClientUpdated")]
    assert changes == ["paused", "archived", "paused"]


async def test_status_set_by_patch_is_remembered_too(api: Api, house: House) -> None:
    url = f"{BASE}/{house.client_id}"
    await api.patch(url, house.coach, json={"status": "lead"})
    await api.patch(url, house.coach, json={"status": "archived"})
    await api.patch(url, house.coach, json={"goals": "Rest"})
    assert (await api.post(f"{url}/restore", house.coach)).data["status"] == "lead"
    assert (await api.post(f"{url}/restore", house.coach)).data["status"] == "lead"


async def test_stale_archive_is_refused(api: Api, house: House) -> None:
    url = f"{BASE}/{house.client_id}"
    await api.patch(url, house.coach, json={"goals": "Run"})
    for method, path in (("POST", f"{url}/archive"), ("DELETE", url), ("POST", f"{url}/restore")):
        assert (await api.call(method, path, house.coach, headers={"If-Match": '"1"'})).status == 412


async def test_bulk_tags_and_untags_keep_the_order_and_the_others(api: Api, house: House) -> None:
    first, second = await make_clients(api, house, 2)
    await api.patch(f"{BASE}/{first}", house.coach, json={"tags": ["b", "vip"]})
    body = {"client_ids": [first, second, first], "action": "tag", "tags": ["vip", "a"]}
    assert (await api.post(BULK, house.coach, json=body)).data == {"matched": 2, "changed": [first, second]}
    assert (await api.get(f"{BASE}/{first}", house.coach)).data["tags"] == ["b", "vip", "a"]
    assert (await api.get(f"{BASE}/{second}", house.coach)).data["tags"] == ["vip", "a"]
    assert (await api.post(BULK, house.coach, json=body)).data["changed"] == []
    await api.post(BULK, house.coach, json={**body, "action": "untag", "tags": ["vip", "b"]})
    assert (await api.get(f"{BASE}/{first}", house.coach)).data["tags"] == ["a"]
    assert (await api.get(f"{BASE}/{second}", house.coach)).data["version"] == 3


async def test_bulk_archive_and_restore_are_told_one_by_one(api: Api, house: House) -> None:
    ids = await make_clients(api, house, 3)
    await api.patch(f"{BASE}/{ids[0]}", house.coach, json={"status": "paused"})
    await api.call("DELETE", f"{BASE}/{ids[1]}", house.coach)
    assert (await api.post(BULK, house.coach, json={"client_ids": ids, "action": "archive"})).data["changed"] == [
        ids[0], ids[2],
    ]  # fmt: skip
    await api.post(BULK, house.coach, json={"client_ids": ids, "action": "restore"})
    statuses = [(await api.get(f"{BASE}/{client_id}", house.coach)).data["status"] for client_id in ids]
    assert statuses == ["paused", "active", "active"]
    told = [(i, p["status"]) for i, p in await events_of(api, "ClientUpdated")]
    assert sorted(told[-3:]) == sorted(zip(ids, statuses, strict=True))


async def test_owner_assigns_many_and_coaches_do_not_give_away(api: Api, house: House) -> None:
    ids = await make_clients(api, house, 2)
    body = {"client_ids": ids, "action": "assign", "coach_id": str(house.other_coach.user_id)}
    assert (await api.post(BULK, house.coach, json=body)).field_paths == ["coach_id"]
    assert (await api.post(BULK, house.owner, json=body)).data["changed"] == ids
    assert (await api.get(f"{BASE}/{ids[0]}", house.coach)).status == 404
    assert (await api.get(f"{BASE}/{ids[0]}", house.other_coach)).status == 200
    assert len((await api.post(BULK, house.owner, json={**body, "coach_id": None})).data["changed"]) == 2
    assert (await api.post(BULK, house.owner, json={**body, "coach_id": str(uuid4())})).field_paths == ["coach_id"]
    user = str(house.client.user_id)
    assert (await api.post(BULK, house.owner, json={**body, "coach_id": user})).field_paths == ["coach_id"]


async def test_bulk_changes_all_or_none_and_names_who_is_missing(api: Api, house: House) -> None:
    (mine,) = await make_clients(api, house, 1)
    ids = [mine, str(house.other_client_id), str(uuid4())]
    answer = await api.post(BULK, house.coach, json={"client_ids": ids, "action": "archive"})
    assert (answer.status, answer.field_paths) == (422, ["client_ids.1", "client_ids.2"])
    assert (await api.get(f"{BASE}/{mine}", house.coach)).data["status"] == "active"
    await api.patch(f"{BASE}/{mine}", house.coach, json={"tags": [str(n) for n in range(49)]})
    both = {"client_ids": [mine, str(house.client_id)], "action": "tag", "tags": ["x", "y"]}
    assert (await api.post(BULK, house.coach, json=both)).field_paths == ["tags"]
    assert (await api.get(f"{BASE}/{house.client_id}", house.coach)).data["tags"] == []


@pytest.mark.parametrize(
    "more",
    [
        {"action": "tag"},
        {"action": "archive", "tags": ["a"]},
        {"action": "assign"},
        {"action": "tag", "coach_id": None},
    ],
)
async def test_bulk_without_what_it_needs_is_refused(api: Api, house: House, more: dict[str, Any]) -> None:
    assert (await api.post(BULK, house.owner, json={"client_ids": [str(house.client_id)], **more})).status == 422
    for ids in ([], [str(uuid4()) for _ in range(201)]):
        answer = await api.post(BULK, house.owner, json={"client_ids": ids, "action": "archive"})
        assert answer.field_paths == ["client_ids"]


async def test_bulk_stands_in_the_audit_log_with_everybody_it_changed(api: Api, house: House) -> None:
    ids = await make_clients(api, house, 3)
    await api.post(BULK, house.coach, json={"client_ids": ids, "action": "tag", "tags": ["a"]})
    row = await api.db.fetchrow("select client_ids from audit_log where action = 'post_clients_bulk'")
    assert row is not None
    assert set(row["client_ids"]) == {UUID(i) for i in ids}
