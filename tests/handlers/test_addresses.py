"""E-mail addresses: verified by a link, and changed by one."""

import asyncio
from typing import Any

import pytest

from tests.api import Answer, Api
from tests.factories import House
from tests.handlers.test_auth import REGISTRATION, bearer
from tests.handlers.test_password_changes import confirm, email_of, mint
from wellio.accounts.actors import Actor
from wellio.accounts.one_time_tokens import Purpose, mint_token

BASE = "/api/v1/auth"
NEW_ADDRESS = "Carl.New@example.org"


async def mint_link(api: Api, actor: Actor, email: str) -> str:
    async with api.db.transaction() as connection:
        return await mint_token(
            connection, Purpose.VERIFY_EMAIL, practice_id=actor.practice_id, user_id=actor.user_id, email=email
        )


async def verify(api: Api, token: str) -> Answer:
    return await api.post(f"{BASE}/verify-email", json={"token": token})


async def me(api: Api, actor: Actor) -> Any:
    return (await api.get(f"{BASE}/me", actor)).data


async def mails(api: Api) -> list[Any]:
    return [tuple(row) for row in await api.db.fetch("select kind, recipient from mails order by id")]


async def test_registration_asks_for_the_address_to_be_verified_and_lets_in_meanwhile(api: Api) -> None:
    login = (await api.post(f"{BASE}/register", json=REGISTRATION)).data
    assert login["user"]["email_verified"] is False
    assert await mails(api) == [("verify_email", REGISTRATION["email"])]
    assert (await api.get("/api/v1/clients", headers=bearer(login["access_token"]))).status == 200


async def test_link_verifies_the_address_once(api: Api, house: House) -> None:
    token = await mint_link(api, house.coach, (await email_of(api, house.coach)).upper())
    answers = await asyncio.gather(*(verify(api, token) for _ in range(50)))
    assert sorted(a.status for a in answers) == [200] + [422] * 49
    assert {a.code for a in answers if a.status == 422} == {"LINK_INVALID"}
    assert (await me(api, house.coach))["email_verified"] is True


async def test_link_is_sent_again_until_it_was_followed(api: Api, house: House) -> None:
    own = await email_of(api, house.coach)
    assert (await api.post(f"{BASE}/verify-email/resend", house.coach)).status == 202
    assert await mails(api) == [("verify_email", own)]
    await verify(api, await mint_link(api, house.coach, own))
    answer = await api.post(f"{BASE}/verify-email/resend", house.coach)
    assert (answer.status, answer.code) == (409, "EMAIL_VERIFIED")


async def test_new_address_counts_once_its_link_was_followed(api: Api, house: House) -> None:
    old = await email_of(api, house.coach)
    reset = await mint(api, house.coach)
    changed = await api.patch(f"{BASE}/me", house.coach, json={"email": NEW_ADDRESS, "name": "Carl the Coach"})
    assert (changed.data["email"], changed.data["pending_email"]) == (old, NEW_ADDRESS)
    assert changed.data["name"] == "Carl the Coach"
    assert await mails(api) == [("verify_email", NEW_ADDRESS), ("email_changing", old)]
    assert (await verify(api, await mint_link(api, house.coach, NEW_ADDRESS))).status == 200
    now = await me(api, house.coach)
    assert (now["email"], now["pending_email"], now["email_verified"]) == (NEW_ADDRESS, None, True)
    assert (await confirm(api, reset)).code == "LINK_INVALID"


async def test_link_to_an_address_that_is_no_longer_wanted_changes_nothing(api: Api, house: House) -> None:
    old = await email_of(api, house.coach)
    await api.patch(f"{BASE}/me", house.coach, json={"email": NEW_ADDRESS})
    token = await mint_link(api, house.coach, NEW_ADDRESS)
    await api.patch(f"{BASE}/me", house.coach, json={"email": old})
    assert (await verify(api, token)).code == "LINK_INVALID"
    assert (await me(api, house.coach))["email"] == old
    assert (await me(api, house.coach))["pending_email"] is None


async def test_new_password_ends_a_change_of_address_that_waits(api: Api, house: House) -> None:
    """Or a thief who entered theirs takes the account after its owner has locked them out."""
    old = await email_of(api, house.coach)
    await api.patch(f"{BASE}/me", house.coach, json={"email": NEW_ADDRESS})
    token = await mint_link(api, house.coach, NEW_ADDRESS)
    assert (await confirm(api, await mint(api, house.coach))).status == 200
    assert (await verify(api, token)).code == "LINK_INVALID"
    stored = await api.db.fetchrow("select email, pending_email from users where id = $1", house.coach.user_id)
    assert tuple(stored or ()) == (old, None)


async def test_address_of_another_account_is_told_to_who_owns_it_alone(api: Api, house: House) -> None:
    taken = await email_of(api, house.client)
    changed = await api.patch(f"{BASE}/me", house.coach, json={"email": taken})
    assert changed.data["pending_email"] == taken
    token = await mint_link(api, house.coach, taken)
    answer = await verify(api, token)
    assert (answer.status, answer.code) == (409, "EMAIL_TAKEN")
    assert (await me(api, house.coach))["email"] != taken


async def test_new_address_needs_a_fresh_proof_and_a_new_name_does_not(api: Api, house: House) -> None:
    await api.db.execute(
        "update auth_sessions set authenticated_at = now() - interval '11 minutes' where id = $1",
        house.coach.session_id,
    )
    answer = await api.patch(f"{BASE}/me", house.coach, json={"email": NEW_ADDRESS, "name": "Not taken either"})
    assert (answer.status, answer.code) == (403, "REAUTH_REQUIRED")
    assert (await me(api, house.coach))["name"] == "Carl Coach"
    assert (await api.patch(f"{BASE}/me", house.coach, json={"timezone": "Asia/Tokyo"})).status == 200
    assert await mails(api) == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": None}, "name"),
        ({"email": "nonsense"}, "email"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"role": "owner"}, "role"),
        ({"email_verified": True}, "email_verified"),
        ({"practice_id": "x"}, "practice_id"),
    ],
)
async def test_unacceptable_change_names_its_field(api: Api, house: House, changes: Any, path: str) -> None:
    answer = await api.patch(f"{BASE}/me", house.coach, json=changes)
    assert (answer.status, answer.field_paths) == (422, [path])
