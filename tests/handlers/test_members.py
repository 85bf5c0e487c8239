"""The users of a practice: who sees whom, and what owners may change."""

import asyncio
from typing import Any

import pytest

from tests.api import Api
from tests.factories import House, make_user, sign_in
from wellio.accounts.actors import Actor, Role

BASE = "/api/v1/users"
ME = "/api/v1/auth/me"


@pytest.fixture
async def second_owner(api: Api, house: House) -> Actor:
    return await make_user(api.db, house.practice, Role.OWNER, "Otto Owner")


async def names(api: Api, actor: Actor, query: str = "") -> list[str]:
    return [user["name"] for user in (await api.get(BASE + query, actor)).data]


async def test_owner_sees_all_and_a_coach_staff_and_their_clients(api: Api, house: House) -> None:
    staff = ["Carl Coach", "Cora Coach", "Olga Owner"]
    assert await names(api, house.owner) == sorted([*staff, "Klara Client", "Karim Client"])
    assert await names(api, house.coach) == sorted([*staff, "Klara Client"])
    assert await names(api, house.other_coach) == sorted([*staff, "Karim Client"])
    assert await names(api, house.owner, "?role=client&page_size=1") == ["Karim Client"]
    assert await names(api, house.owner, "?status=suspended") == []


async def test_user_is_shown_without_secrets(api: Api, house: House) -> None:
    user = (await api.get(f"{BASE}/{house.client.user_id}", house.coach)).data
    assert set(user) == {
        "id", "role", "name", "email", "timezone", "status", "email_verified", "mfa_enabled", "client_id", "created_at",
    }  # fmt: skip
    assert user["client_id"] == str(house.client_id)


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"role": "owner"}])
async def test_changed_user_is_signed_out_everywhere(api: Api, house: House, change: dict[str, Any]) -> None:
    other = await sign_in(api.db, house.coach)
    answer = await api.patch(f"{BASE}/{house.coach.user_id}", house.owner, json=change)
    assert answer.data | change == answer.data
    for device in (house.coach, other):
        assert (await api.get(ME, device)).status == 401


async def test_suspended_user_is_reinstated_and_signs_in_anew(api: Api, house: House) -> None:
    for status in ("suspended", "active"):
        assert (await api.patch(f"{BASE}/{house.coach.user_id}", house.owner, json={"status": status})).status == 200
    assert (await api.get(ME, house.coach)).status == 401
    assert (await api.get(ME, await sign_in(api.db, house.coach))).status == 200


async def test_nobody_changes_themself(api: Api, house: House) -> None:
    for change in ({"status": "suspended"}, {"role": "coach"}):
        answer = await api.patch(f"{BASE}/{house.owner.user_id}", house.owner, json=change)
        assert (answer.status, answer.code) == (403, "OWN_ACCOUNT")


async def test_client_stays_a_client(api: Api, house: House) -> None:
    answer = await api.patch(f"{BASE}/{house.client.user_id}", house.owner, json={"role": "owner"})
    assert (answer.status, answer.field_paths) == (422, ["role"])
    answer = await api.patch(f"{BASE}/{house.coach.user_id}", house.owner, json={"role": "client"})
    assert (answer.status, answer.field_paths) == (422, ["role"])


async def test_change_needs_a_fresh_proof(api: Api, house: House) -> None:
    await api.db.execute("update auth_sessions set authenticated_at = now() - interval '11 minutes'")
    answer = await api.patch(f"{BASE}/{house.coach.user_id}", house.owner, json={"status": "suspended"})
    assert (answer.status, answer.code) == (403, "REAUTH_REQUIRED")


async def test_two_owners_who_demote_each_other_leave_one(api: Api, house: House, second_owner: Actor) -> None:
    for _ in range(5):
        pairs = ((house.owner, second_owner), (second_owner, house.owner))
        answers = await asyncio.gather(
            *(api.patch(f"{BASE}/{victim.user_id}", actor, json={"role": "coach"}) for actor, victim in pairs)
        )
        assert sorted(a.status for a in answers) in ([200, 401], [200, 403])
        owners = "select count(*) from users where practice_id = $1 and role = 'owner' and status = 'active'"
        assert await api.db.fetchval(owners, house.practice.id) == 1
        await api.db.execute(
            "update users set role = 'owner' where id = any($1)", [house.owner.user_id, second_owner.user_id]
        )
        await api.db.execute("update auth_sessions set revoked_at = null")


async def test_owner_signs_a_user_out(api: Api, house: House) -> None:
    assert (await api.post(f"{BASE}/{house.client.user_id}/logout-all", house.owner)).status == 200
    assert (await api.get(ME, house.client)).status == 401
    assert (await api.get(ME, house.coach)).status == 200
