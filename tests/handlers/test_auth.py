"""Registering, signing in, rotating refresh tokens, signing out."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.api import Api
from tests.conftest import SECRET
from tests.factories import House
from wellio.accounts.auth_sessions import refresh
from wellio.accounts.tokens import Tokens
from wellio.errors import Unauthorized
from wellio.limits import Limits

BASE = "/api/v1/auth"
ROUNDS = 10
REGISTRATION = {
    "practice_name": "Northside",
    "name": "Olga Owner",
    "email": "olga@example.org",
    "password": "correct horse battery",
    "timezone": "Europe/Berlin",
}


async def register(api: Api, **changes: Any) -> Any:
    return (await api.post(f"{BASE}/register", json=REGISTRATION | changes)).data


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_registered_owner_is_signed_in_and_can_log_in_again(api: Api) -> None:
    answer = await api.post(f"{BASE}/register", json=REGISTRATION)
    assert answer.status == 201
    assert answer.data["user"]["role"] == "owner"
    assert answer.data["token_type"] == "Bearer"
    login = await api.post(f"{BASE}/login", json={"email": "OLGA@example.org", "password": REGISTRATION["password"]})
    me = await api.get(f"{BASE}/me", headers=bearer(login.data["access_token"]))
    assert me.data == answer.data["user"]
    assert set(me.data) == {"id", "practice_id", "role", "name", "email", "timezone"} | {
        "email_verified", "pending_email", "mfa_enabled", "share_last_seen",
    }  # fmt: skip


async def test_password_is_kept_as_argon2id_of_owasp_strength(api: Api) -> None:
    await register(api)
    stored = await api.db.fetchval("select password_hash from users")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_weaker_hash_is_replaced_at_log_in(api: Api) -> None:
    from argon2 import PasswordHasher

    await register(api)
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(REGISTRATION["password"])
    await api.db.execute("update users set password_hash = $1", weak)
    credentials = {"email": REGISTRATION["email"], "password": REGISTRATION["password"]}
    assert (await api.post(f"{BASE}/login", json=credentials)).status == 200
    assert "m=19456" in await api.db.fetchval("select password_hash from users")
    assert (await api.post(f"{BASE}/login", json=credentials)).status == 200


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"password": "fourteen chars"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"email": "not an address"}, "email"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"name": "a\0b"}, "name"),
        ({"name": ""}, "name"),
        ({"role": "owner"}, "role"),
        ({"practice_id": str(uuid4())}, "practice_id"),
    ],
)
async def test_unacceptable_registration_names_its_field(api: Api, changes: dict[str, Any], path: str) -> None:
    answer = await api.post(f"{BASE}/register", json=REGISTRATION | changes)
    assert (answer.status, answer.code, answer.field_paths) == (422, "VALIDATION_FAILED", [path])
    assert await api.db.fetchval("select count(*) from practices") == 0


async def test_one_address_is_one_account(api: Api) -> None:
    await register(api)
    answer = await api.post(f"{BASE}/register", json=REGISTRATION | {"email": "Olga@Example.org"})
    assert (answer.status, answer.code) == (409, "EMAIL_TAKEN")
    assert await api.db.fetchval("select count(*) from practices") == 1


async def test_wrong_password_and_unknown_address_get_the_same_answer(api: Api) -> None:
    await register(api)
    wrong = await api.post(f"{BASE}/login", json={"email": REGISTRATION["email"], "password": "wrong " * 5})
    unknown = await api.post(f"{BASE}/login", json={"email": "nobody@example.org", "password": "wrong " * 5})
    assert (wrong.status, wrong.raw) == (unknown.status, unknown.raw) == (401, wrong.raw)


async def test_suspended_user_can_neither_log_in_nor_go_on(api: Api) -> None:
    login = await register(api)
    await api.db.execute("update users set status = 'suspended'")
    assert (await api.get(f"{BASE}/me", headers=bearer(login["access_token"]))).status == 401
    credentials = {"email": REGISTRATION["email"], "password": REGISTRATION["password"]}
    assert (await api.post(f"{BASE}/login", json=credentials)).status == 401
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})).status == 401


async def test_refresh_rotates_and_keeps_the_session(api: Api) -> None:
    login = await register(api)
    second = (await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})).data
    third = (await api.post(f"{BASE}/refresh", json={"refresh_token": second["refresh_token"]})).data
    assert len({login["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert (await api.get(f"{BASE}/me", headers=bearer(third["access_token"]))).status == 200


async def test_repeat_after_a_lost_answer_gets_the_same_successor(api: Api) -> None:
    login = await register(api)
    body = {"refresh_token": login["refresh_token"]}
    answers = await asyncio.gather(*(api.post(f"{BASE}/refresh", json=body) for _ in range(20)))
    assert {a.data["refresh_token"] for a in answers} == {answers[0].data["refresh_token"]}
    assert await api.db.fetchval("select count(*) from refresh_tokens") == 2


async def test_reused_token_ends_the_session_for_everyone_who_holds_it(api: Api) -> None:
    login = await register(api)
    second = (await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})).data
    third = (await api.post(f"{BASE}/refresh", json={"refresh_token": second["refresh_token"]})).data
    stolen = await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})
    assert (stolen.status, stolen.code) == (401, "REFRESH_INVALID")
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": third["refresh_token"]})).status == 401
    assert (await api.get(f"{BASE}/me", headers=bearer(third["access_token"]))).code == "SESSION_ENDED"


async def test_many_refreshes_at_once_log_nobody_out_and_leave_one_chain(api: Api) -> None:
    token = (await register(api))["refresh_token"]
    for _ in range(ROUNDS):
        answers = await asyncio.gather(*(api.post(f"{BASE}/refresh", json={"refresh_token": token}) for _ in range(20)))
        (token,) = {answer.data["refresh_token"] for answer in answers}
    live = "select count(*) from refresh_tokens where used_at is null"
    assert await api.db.fetchval(live) == 1
    assert await api.db.fetchval("select count(*) from refresh_tokens") == ROUNDS + 1
    assert (await api.get(f"{BASE}/me", headers=bearer(answers[-1].data["access_token"]))).status == 200


async def test_owner_of_a_stolen_token_is_told_once(api: Api) -> None:
    login = await register(api)
    token = login["refresh_token"]
    for _ in range(2):
        token = (await api.post(f"{BASE}/refresh", json={"refresh_token": token})).data["refresh_token"]
    for _ in range(3):
        assert (await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})).status == 401
    told = await api.db.fetch("select recipient, user_id::text from mails where kind = 'refresh_reused'")
    assert [tuple(row) for row in told] == [(REGISTRATION["email"], login["user"]["id"])]


async def test_predecessor_of_the_predecessor_has_no_grace(api: Api) -> None:
    first = (await register(api))["refresh_token"]
    second = (await api.post(f"{BASE}/refresh", json={"refresh_token": first})).data["refresh_token"]
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": first})).data["refresh_token"] == second
    third = (await api.post(f"{BASE}/refresh", json={"refresh_token": second})).data["refresh_token"]
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": second})).data["refresh_token"] == third
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": first})).status == 401
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": third})).status == 401


async def test_predecessor_is_refused_after_its_ten_seconds(api: Api) -> None:
    login = await register(api)
    await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})
    await api.db.execute(
        "update refresh_tokens set used_at = used_at - interval '11 seconds' where used_at is not null"
    )
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})).status == 401


@pytest.mark.parametrize(
    "change",
    ["last_seen_at = now() - interval '15 days'", "expires_at = now() - interval '1 second'", "revoked_at = now()"],
)
async def test_idle_expired_and_revoked_sessions_do_not_refresh(api: Api, change: str) -> None:
    login = await register(api)
    await api.db.execute(f"update auth_sessions set {change}")
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})).status == 401


async def test_log_out_ends_this_session_at_once_and_no_other(api: Api) -> None:
    login = await register(api)
    credentials = {"email": REGISTRATION["email"], "password": REGISTRATION["password"]}
    other = (await api.post(f"{BASE}/login", json=credentials)).data
    assert (await api.post(f"{BASE}/logout", headers=bearer(login["access_token"]))).status == 200
    assert (await api.get(f"{BASE}/me", headers=bearer(login["access_token"]))).status == 401
    assert (await api.post(f"{BASE}/refresh", json={"refresh_token": login["refresh_token"]})).status == 401
    assert (await api.get(f"{BASE}/me", headers=bearer(other["access_token"]))).status == 200


async def test_expired_token_says_so(api: Api, house: House) -> None:
    expired = api.tokens.issue_access(
        user_id=house.coach.user_id,
        practice_id=house.practice.id,
        session_id=house.coach.session_id,
        ttl=timedelta(minutes=-1),
    )
    answer = await api.get(f"{BASE}/me", headers=bearer(expired))
    assert (answer.status, answer.code) == (401, "TOKEN_EXPIRED")


async def test_repeat_after_a_lost_answer_survives_a_change_of_the_secret(api: Api, limits: Limits) -> None:
    login = await register(api)
    token = login["refresh_token"]
    second = (await api.post(f"{BASE}/refresh", json={"refresh_token": token})).data
    rotated = Tokens("the next secret, which is 32 bytes and more", SECRET)
    repeated = await refresh(api.db, rotated, limits, token)
    assert repeated.refresh_token == second["refresh_token"]
    third = await refresh(api.db, rotated, limits, repeated.refresh_token)
    assert third.refresh_token not in (second["refresh_token"], token)
    with pytest.raises(Unauthorized):
        await refresh(api.db, rotated, limits, token)
    assert await api.db.fetchval("select revoked_reason from auth_sessions") == "refresh token reused"
