"""New passwords, by the old one and by mailed links."""

import asyncio
from typing import Any

import pytest

from tests.api import Answer, Api
from tests.factories import PASSWORD, House, sign_in
from wellio.accounts.actors import Actor
from wellio.accounts.one_time_tokens import Purpose, mint_token
from wellio.accounts.users import get_credentials, replace_hash, still_stand

BASE = "/api/v1/auth"
NEW = "ten thousand small lanterns"


async def email_of(api: Api, actor: Actor) -> str:
    return str(await api.db.fetchval("select email from users where id = $1", actor.user_id))


async def mint(api: Api, actor: Actor, *, email: str | None = None) -> str:
    async with api.db.transaction() as connection:
        return await mint_token(
            connection,
            Purpose.PASSWORD_RESET,
            practice_id=actor.practice_id,
            user_id=actor.user_id,
            email=email or await email_of(api, actor),
        )


async def confirm(api: Api, token: str, password: str = NEW) -> Answer:
    return await api.post(f"{BASE}/password-reset/confirm", json={"token": token, "password": password})


async def logs_in(api: Api, actor: Actor, password: str) -> bool:
    answer = await api.post(f"{BASE}/login", json={"email": await email_of(api, actor), "password": password})
    return answer.status == 200


async def mails(api: Api) -> list[Any]:
    return [tuple(row) for row in await api.db.fetch("select kind, recipient, user_id from mails order by id")]


async def test_changed_password_signs_out_all_other_devices(api: Api, house: House) -> None:
    other = await sign_in(api.db, house.coach)
    answer = await api.post(f"{BASE}/password", house.coach, json={"current_password": PASSWORD, "new_password": NEW})
    assert answer.status == 200
    assert (await api.get(f"{BASE}/me", house.coach)).status == 200
    assert (await api.get(f"{BASE}/me", other)).status == 401
    assert (await api.get(f"{BASE}/me", house.other_coach)).status == 200
    assert await logs_in(api, house.coach, NEW)
    assert not await logs_in(api, house.coach, PASSWORD)
    assert await mails(api) == [("password_changed", await email_of(api, house.coach), house.coach.user_id)]


@pytest.mark.parametrize(
    ("current", "new", "path"),
    [
        ("not my password", NEW, "current_password"),
        ("", NEW, "current_password"),
        (PASSWORD, PASSWORD, "new_password"),
        (PASSWORD, "too short", "new_password"),
        (PASSWORD, "Carl Coach 2026 Carl", "new_password"),
    ],
)
async def test_refused_change_changes_nothing(api: Api, house: House, current: str, new: str, path: str) -> None:
    other = await sign_in(api.db, house.coach)
    body = {"current_password": current, "new_password": new}
    answer = await api.post(f"{BASE}/password", house.coach, json=body)
    assert (answer.status, answer.field_paths) == (422, [path])
    assert (await api.get(f"{BASE}/me", other)).status == 200
    assert await logs_in(api, house.coach, PASSWORD)
    assert await mails(api) == []


async def test_shorter_password_does_beside_a_second_factor(api: Api, house: House) -> None:
    await api.db.execute(
        "update users set totp_secret = 'x', totp_enabled_at = now() where id = $1", house.coach.user_id
    )
    for password, status in (("Ufer#7vq", 200), ("Ufer#7v", 422), ("letmein1", 422)):
        token = await mint(api, house.coach)
        assert (await confirm(api, token, password)).status == status


async def test_request_for_a_link_says_nothing_of_who_is_there(api: Api, house: House) -> None:
    known = await email_of(api, house.coach)
    answers = [
        await api.post(f"{BASE}/password-reset", json={"email": email}) for email in (known, "nobody@example.org")
    ]
    assert [a.status for a in answers] == [202, 202]
    assert answers[0].raw == answers[1].raw
    assert await mails(api) == [("password_reset", known, None), ("password_reset", "nobody@example.org", None)]


async def test_link_sets_the_password_and_signs_out_everywhere(api: Api, house: House) -> None:
    answer = await confirm(api, await mint(api, house.coach))
    assert answer.status == 200
    assert (await api.get(f"{BASE}/me", house.coach)).status == 401
    assert await logs_in(api, house.coach, NEW)
    assert not await logs_in(api, house.coach, PASSWORD)
    assert [kind for kind, *_ in await mails(api)] == ["password_changed"]


async def test_link_serves_once_also_when_fifty_use_it_at_once(api: Api, house: House) -> None:
    token = await mint(api, house.coach)
    answers = await asyncio.gather(*(confirm(api, token, f"{NEW} {n}") for n in range(50)))
    assert sorted(a.status for a in answers if a.status != 503)[:2] == [200, 422]
    assert [a.status for a in answers].count(200) == 1
    assert len(await mails(api)) == 1
    assert (await confirm(api, token)).code == "LINK_INVALID"


async def test_link_is_worth_nothing_when_it_is_not_the_newest_or_too_old(api: Api, house: House) -> None:
    older, newer = await mint(api, house.coach), await mint(api, house.coach)
    assert (await confirm(api, older)).code == "LINK_INVALID"
    await api.db.execute("update one_time_tokens set expires_at = now() - interval '1 second'")
    assert (await confirm(api, newer)).code == "LINK_INVALID"
    assert (await confirm(api, "made up")).code == "LINK_INVALID"
    assert await logs_in(api, house.coach, PASSWORD)


async def test_link_ends_with_the_address_the_password_or_the_account_it_was_for(api: Api, house: House) -> None:
    token = await mint(api, house.coach, email="where.i.was@example.org")
    assert (await confirm(api, token)).code == "LINK_INVALID"
    token = await mint(api, house.coach)
    await api.post(f"{BASE}/password", house.coach, json={"current_password": PASSWORD, "new_password": NEW})
    assert (await confirm(api, token, f"{NEW} again")).code == "LINK_INVALID"
    token = await mint(api, house.coach)
    await api.db.execute("update users set status = 'suspended' where id = $1", house.coach.user_id)
    assert (await confirm(api, token, f"{NEW} again")).code == "LINK_INVALID"


async def test_refused_password_leaves_the_link_usable(api: Api, house: House) -> None:
    token = await mint(api, house.coach)
    assert (await confirm(api, token, "short")).field_paths == ["password"]
    assert (await confirm(api, token)).status == 200


async def test_link_of_another_purpose_sets_no_password(api: Api, house: House) -> None:
    async with api.db.transaction() as connection:
        token = await mint_token(
            connection, Purpose.VERIFY_EMAIL, practice_id=house.practice.id, user_id=house.coach.user_id,
            email=await email_of(api, house.coach),
        )  # fmt: skip
    assert (await confirm(api, token)).code == "LINK_INVALID"


async def test_old_password_opens_no_session_that_outlives_its_change(api: Api, house: House) -> None:
    email, old = await email_of(api, house.coach), PASSWORD
    assert await logs_in(api, house.coach, PASSWORD)  # the factories' weaker hash is replaced
    alive = "select count(*) from auth_sessions where user_id = $1 and revoked_at is null and id <> $2"
    for new in (f"{NEW} {n}" for n in range(5)):
        change = {"current_password": old, "new_password": new}
        logins = [api.post(f"{BASE}/login", json={"email": email, "password": old}) for _ in range(10)]
        changed, *_ = await asyncio.gather(api.post(f"{BASE}/password", house.coach, json=change), *logins)
        assert changed.status == 200
        assert await api.db.fetchval(alive, house.coach.user_id, house.coach.session_id) == 0
        old = new


async def test_log_in_that_was_verified_before_the_change_is_refused(api: Api, house: House) -> None:
    before = await get_credentials(api.db, house.coach.practice_id, house.coach.user_id)
    assert before is not None
    async with api.db.transaction() as connection:
        assert await still_stand(connection, before)
    await api.post(f"{BASE}/password", house.coach, json={"current_password": PASSWORD, "new_password": NEW})
    async with api.db.transaction() as connection:
        assert not await still_stand(connection, before)
    await replace_hash(api.db, before, "another hash of the old password")
    assert await logs_in(api, house.coach, NEW)
