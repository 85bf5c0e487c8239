"""The second factor over the API: setting it up, signing in with it, proving anew who one is."""

import asyncio
import base64
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.api import Answer, Api
from tests.factories import PASSWORD, House
from wellio.accounts.actors import Actor
from wellio.accounts.totp import code_of, step_at

AUTH = "/api/v1/auth"


class App:
    """An authenticator app. Each code is of a later step than those before, as if the user had waited for it."""

    def __init__(self, api: Api, actor: Actor, secret: str) -> None:
        self.api, self.actor, self.secret = api, actor, base64.b32decode(secret)

    def code(self) -> str:
        return code_of(self.secret, step_at(time.time()))

    async def next_code(self) -> str:
        await self.api.db.execute("update users set totp_last_step = 0 where id = $1", self.actor.user_id)
        return self.code()

    def wrong_code(self) -> str:
        near = {code_of(self.secret, step_at(time.time()) + away) for away in range(-3, 4)}
        return next(code for code in (f"{n:06}" for n in range(20)) if code not in near)


async def turn_on(api: Api, actor: Actor) -> tuple[App, list[str]]:
    enrolment = (await api.post(f"{AUTH}/mfa/totp", actor)).data
    app = App(api, actor, enrolment["secret"])
    codes = (await api.post(f"{AUTH}/mfa/totp/confirm", actor, {"code": app.code()})).data["recovery_codes"]
    return app, codes


async def log_in(api: Api, actor: Actor) -> Any:
    email = await api.db.fetchval("select email from users where id = $1", actor.user_id)
    return (await api.post(f"{AUTH}/login", json={"email": email, "password": PASSWORD})).data


async def mfa_token(api: Api, actor: Actor) -> str:
    answer = await log_in(api, actor)
    assert set(answer) == {"mfa_required", "mfa_token"}
    assert answer["mfa_required"] is True
    return str(answer["mfa_token"])


async def verify(api: Api, token: str, code: str) -> Answer:
    return await api.post(f"{AUTH}/mfa/verify", json={"mfa_token": token, "code": code})


async def forget_proof(api: Api) -> None:
    await api.db.execute("update auth_sessions set authenticated_at = now() - interval '11 minutes'")


async def mails(api: Api) -> list[str]:
    return [row["kind"] for row in await api.db.fetch("select kind from mails order by id")]


async def test_enrolment_counts_only_once_it_is_confirmed(api: Api, house: House) -> None:
    enrolment = (await api.post(f"{AUTH}/mfa/totp", house.coach)).data
    assert enrolment["otpauth_uri"].startswith("otpauth://totp/Wellio:")
    assert enrolment["secret"] in enrolment["otpauth_uri"]
    assert enrolment["qr_code"].startswith("data:image/svg+xml")
    assert (await api.get(f"{AUTH}/mfa", house.coach)).data == {"enabled": False, "recovery_codes_left": 0}
    assert "access_token" in await log_in(api, house.coach)
    wrong = await api.post(
        f"{AUTH}/mfa/totp/confirm", house.coach, {"code": App(api, house.coach, enrolment["secret"]).wrong_code()}
    )
    assert (wrong.status, wrong.field_paths) == (422, ["code"])
    assert "access_token" in await log_in(api, house.coach)
    _, codes = await turn_on(api, house.coach)
    assert len(set(codes)) == 10
    assert (await api.get(f"{AUTH}/mfa", house.coach)).data == {"enabled": True, "recovery_codes_left": 10}
    assert await mails(api) == ["second_factor_on"]


async def test_secret_and_recovery_codes_are_not_in_the_database(api: Api, house: House) -> None:
    app, codes = await turn_on(api, house.coach)
    sealed = await api.db.fetchval("select totp_secret from users where id = $1", house.coach.user_id)
    assert app.secret not in sealed
    hashes = [row["code_hash"] for row in await api.db.fetch("select code_hash from recovery_codes")]
    assert len(hashes) == 10
    assert not any(code.encode() in stored for code in codes for stored in hashes)


async def test_log_in_takes_password_and_code(api: Api, house: House) -> None:
    app, _ = await turn_on(api, house.coach)
    token = await mfa_token(api, house.coach)
    login = (await verify(api, token, await app.next_code())).data
    assert set(login) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    me = await api.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {login['access_token']}"})
    assert me.data["id"] == str(house.coach.user_id)
    again = await verify(api, token, await app.next_code())
    assert (again.status, again.code) == (401, "MFA_TOKEN_INVALID")


async def test_code_serves_once(api: Api, house: House) -> None:
    app, _ = await turn_on(api, house.coach)
    code = await app.next_code()
    assert (await verify(api, await mfa_token(api, house.coach), code)).status == 200
    again = await verify(api, await mfa_token(api, house.coach), code)
    assert (again.status, again.code) == (401, "WRONG_CODE")


async def test_of_many_at_once_with_one_code_one_logs_in(api: Api, house: House) -> None:
    app, recovery = await turn_on(api, house.coach)
    for code in (await app.next_code(), recovery[0]):
        token = await mfa_token(api, house.coach)
        answers = await asyncio.gather(*(verify(api, token, code) for _ in range(20)))
        assert sorted(answer.status for answer in answers) == [200] + [401] * 19


async def test_code_of_confirming_does_not_sign_in(api: Api, house: House) -> None:
    enrolment = (await api.post(f"{AUTH}/mfa/totp", house.coach)).data
    code = App(api, house.coach, enrolment["secret"]).code()
    assert (await api.post(f"{AUTH}/mfa/totp/confirm", house.coach, {"code": code})).status == 200
    assert (await verify(api, await mfa_token(api, house.coach), code)).code == "WRONG_CODE"


async def test_recovery_code_serves_once_however_it_is_typed(api: Api, house: House) -> None:
    _, codes = await turn_on(api, house.coach)
    typed = codes[3].upper().replace("-", " ")
    assert (await verify(api, await mfa_token(api, house.coach), typed)).status == 200
    assert (await verify(api, await mfa_token(api, house.coach), codes[3])).code == "WRONG_CODE"
    assert (await api.get(f"{AUTH}/mfa", house.coach)).data["recovery_codes_left"] == 9
    assert await mails(api) == ["second_factor_on", "recovery_code_used"]
    assert await api.db.fetchval("select data from mails where kind = 'recovery_code_used'") == {"left": 9}


async def test_recovery_codes_of_another_user_do_not_help(api: Api, house: House) -> None:
    await turn_on(api, house.coach)
    _, codes = await turn_on(api, house.owner)
    assert (await verify(api, await mfa_token(api, house.coach), codes[0])).code == "WRONG_CODE"


async def test_token_dies_with_the_fifth_wrong_code(api: Api, house: House) -> None:
    app, codes = await turn_on(api, house.coach)
    token = await mfa_token(api, house.coach)
    for _ in range(5):
        assert (await verify(api, token, "aaaa-aaaa-aaaa-aaaa")).code == "WRONG_CODE"
    for code in (await app.next_code(), codes[0]):
        assert (await verify(api, token, code)).code == "MFA_TOKEN_INVALID"
    assert (await verify(api, await mfa_token(api, house.coach), app.code())).status == 200


async def test_dead_expired_foreign_and_unknown_tokens_get_the_same_answer(api: Api, house: House) -> None:
    app, _ = await turn_on(api, house.coach)
    replaced = await mfa_token(api, house.coach)
    expired = await mfa_token(api, house.coach)
    await api.db.execute("update one_time_tokens set expires_at = now() - interval '1 second'")
    of_suspended = await mfa_token(api, house.coach)
    await api.db.execute("update users set status = 'suspended' where id = $1", house.coach.user_id)
    code = await app.next_code()
    tokens = (replaced, expired, of_suspended, str(uuid4()), "", api.token(house.owner)[:200])
    answers = [await verify(api, token, code) for token in tokens]
    assert {(a.status, a.raw) for a in answers} == {(401, answers[0].raw)}
    assert answers[0].code == "MFA_TOKEN_INVALID"


async def test_many_wrong_codes_make_the_next_wait_but_no_recovery_code(api: Api, house: House) -> None:
    app, codes = await turn_on(api, house.coach)
    for n in range(5):
        answer = await verify(api, await mfa_token(api, house.coach), app.wrong_code())
        assert answer.code == "WRONG_CODE", n
    right = await app.next_code()
    blocked = await verify(api, await mfa_token(api, house.coach), right)
    assert (blocked.status, blocked.code) == (429, "CODES_BLOCKED")
    assert 0 < int(blocked.headers["Retry-After"]) <= 60
    step_up = await api.post(f"{AUTH}/step-up", house.coach, {"code": right})
    assert step_up.status == 429
    await api.db.execute("update users set totp_failed_at = now() - interval '61 seconds'")
    assert (await verify(api, await mfa_token(api, house.coach), app.wrong_code())).code == "WRONG_CODE"
    longer = await verify(api, await mfa_token(api, house.coach), right)
    assert 60 < int(longer.headers["Retry-After"]) <= 120
    assert (await verify(api, await mfa_token(api, house.coach), codes[0])).status == 200
    assert (await verify(api, await mfa_token(api, house.coach), right)).status == 200


async def test_wait_never_passes_a_day(api: Api, house: House) -> None:
    app, _ = await turn_on(api, house.coach)
    await api.db.execute("update users set totp_failures = 1000000, totp_failed_at = now()")
    blocked = await verify(api, await mfa_token(api, house.coach), app.code())
    assert int(blocked.headers["Retry-After"]) <= 86_400


async def test_second_factor_that_is_on_is_not_replaced(api: Api, house: House) -> None:
    await turn_on(api, house.coach)
    answer = await api.post(f"{AUTH}/mfa/totp", house.coach)
    assert (answer.status, answer.code) == (409, "SECOND_FACTOR_ON")
    again = await api.post(f"{AUTH}/mfa/totp/confirm", house.coach, {"code": "123456"})
    assert (again.status, again.code) == (409, "NOTHING_TO_CONFIRM")


async def test_new_recovery_codes_end_the_ones_before(api: Api, house: House) -> None:
    _, old = await turn_on(api, house.coach)
    new = (await api.post(f"{AUTH}/mfa/recovery-codes", house.coach)).data["recovery_codes"]
    assert (await verify(api, await mfa_token(api, house.coach), old[0])).code == "WRONG_CODE"
    assert (await verify(api, await mfa_token(api, house.coach), new[0])).status == 200
    without = await api.post(f"{AUTH}/mfa/recovery-codes", house.owner)
    assert (without.status, without.code) == (409, "SECOND_FACTOR_OFF")


async def test_turned_off_the_password_is_enough(api: Api, house: House) -> None:
    await turn_on(api, house.coach)
    assert (await api.call("DELETE", f"{AUTH}/mfa", house.coach)).status == 200
    assert "access_token" in await log_in(api, house.coach)
    assert await api.db.fetchval("select count(*) from recovery_codes") == 0
    assert (await api.call("DELETE", f"{AUTH}/mfa", house.coach)).status == 200
    assert await mails(api) == ["second_factor_on", "second_factor_off"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/mfa/totp"), ("POST", "/mfa/recovery-codes"), ("DELETE", "/mfa")]
)
async def test_changes_ask_for_a_fresh_proof(api: Api, house: House, method: str, path: str) -> None:
    app, _ = await turn_on(api, house.coach)
    await forget_proof(api)
    stale = await api.call(method, AUTH + path, house.coach)
    assert (stale.status, stale.code) == (403, "REAUTH_REQUIRED")
    assert (await api.post(f"{AUTH}/step-up", house.coach, {"code": await app.next_code()})).status == 200
    again = await api.call(method, AUTH + path, house.coach)
    assert again.status in (200, 409), again.raw
    assert (await api.call(method, AUTH + path, house.owner)).code == "REAUTH_REQUIRED"


async def test_step_up_by_password_is_for_users_without_a_second_factor(api: Api, house: House) -> None:
    await forget_proof(api)
    wrong = await api.post(f"{AUTH}/step-up", house.owner, {"password": "not the password"})
    assert (wrong.status, wrong.code) == (403, "WRONG_PASSWORD")
    for body in ({"code": "123456"}, {}, {"password": PASSWORD, "code": "123456"}):
        assert (await api.post(f"{AUTH}/step-up", house.owner, body)).field_paths == ["password"]
    assert (await api.post(f"{AUTH}/mfa/totp", house.owner)).code == "REAUTH_REQUIRED"
    assert "fresh_until" in (await api.post(f"{AUTH}/step-up", house.owner, {"password": PASSWORD})).data
    assert (await api.post(f"{AUTH}/mfa/totp", house.owner)).status == 201


async def test_password_is_no_fresh_proof_beside_a_second_factor(api: Api, house: House) -> None:
    app, codes = await turn_on(api, house.coach)
    await forget_proof(api)
    for body in ({"password": PASSWORD}, {}, {"password": PASSWORD, "code": app.code()}):
        assert (await api.post(f"{AUTH}/step-up", house.coach, body)).field_paths == ["code"]
    wrong = await api.post(f"{AUTH}/step-up", house.coach, {"code": app.wrong_code()})
    assert (wrong.status, wrong.code) == (403, "WRONG_CODE")
    assert (await api.call("DELETE", f"{AUTH}/mfa", house.coach)).code == "REAUTH_REQUIRED"
    assert (await api.post(f"{AUTH}/step-up", house.coach, {"code": codes[0]})).status == 200
    assert (await api.call("DELETE", f"{AUTH}/mfa", house.coach)).status == 200


async def test_secret_that_cannot_be_opened_leaves_recovery_codes(api: Api, house: House) -> None:
    app, codes = await turn_on(api, house.coach)
    await api.db.execute("update users set totp_secret = totp_secret || 'x'::bytea where id = $1", house.coach.user_id)
    assert (await verify(api, await mfa_token(api, house.coach), app.code())).status == 503
    assert (await verify(api, await mfa_token(api, house.coach), codes[0])).status == 200
