"""Rate limits as callers meet them: on the API and on the console's forms."""

import asyncio
import re

from tests.api import Answer, Api
from tests.factories import PASSWORD, House
from tests.handlers.conftest import Starter
from wellio.accounts.one_time_tokens import Purpose, mint_token
from wellio.accounts.passwords import Passwords

LOGIN = "/api/v1/auth/login"
REGISTER = "/api/v1/auth/register"
HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy")


def at(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def log_in(api: Api, email: str, address: str = "192.0.2.1", password: str = "wrong " * 5) -> Answer:
    return await api.post(LOGIN, json={"email": email, "password": password}, headers=at(address))


async def email_of(api: Api, house: House) -> str:
    return str(await api.db.fetchval("select email from users where id = $1", house.coach.user_id))


async def test_sixth_wrong_password_is_refused_from_wherever_it_comes(limited: Starter, house: House) -> None:
    async with limited() as api:
        email = await email_of(api, house)
        answers = [await log_in(api, email.upper() if n % 2 else email, f"192.0.2.{n}") for n in range(8)]
        assert [a.status for a in answers] == [401] * 5 + [429] * 3
        assert answers[5].code == "RATE_LIMITED"
        assert 0 < int(answers[5].headers["Retry-After"]) <= 360
        # not even the right one; but the account's sessions go on
        assert (await log_in(api, email, "198.51.100.9", PASSWORD)).status == 429
        assert (await api.get("/api/v1/auth/me", house.coach)).status == 200


async def test_limit_is_the_same_for_accounts_that_do_not_exist(limited: Starter, house: House) -> None:
    async with limited() as api:
        for emails in (await email_of(api, house), "nobody@example.org"):
            answers = [await log_in(api, emails, f"203.0.113.{n}") for n in range(7)]
            assert [a.status for a in answers] == [401] * 5 + [429] * 2
            told = [{name: a.headers[name] for name in HEADERS} for a in answers[:5]]
            assert [t["RateLimit-Remaining"] for t in told] == ["4", "3", "2", "1", "0"]


async def test_right_passwords_do_not_count(limited: Starter, house: House) -> None:
    async with limited() as api:
        await api.db.execute("update users set password_hash = $1", await Passwords().hash(PASSWORD))
        email = await email_of(api, house)
        for _ in range(15):
            assert (await log_in(api, email, password=PASSWORD)).status == 200


async def test_of_many_wrong_passwords_at_once_no_more_than_the_limit_are_looked_at(
    limited: Starter, house: House
) -> None:
    async with limited() as api:
        email = await email_of(api, house)
        answers = await asyncio.gather(*(log_in(api, email, f"192.0.{n}.1") for n in range(200)))
        assert sorted(a.status for a in answers) == [401] * 5 + [429] * 195


async def test_address_that_tries_many_accounts_is_refused(limited: Starter) -> None:
    async with limited() as api:
        answers = [await log_in(api, f"nobody{n}@example.org", f"2001:db8::{n:x}") for n in range(1, 13)]
        assert [a.status for a in answers] == [401] * 10 + [429] * 2  # ten a minute, for a whole /64
        assert (await log_in(api, "nobody@example.org", "2001:db8:0:1::1")).status == 401


async def test_forwarded_addresses_of_who_connects_directly_count_for_nothing(limited: Starter) -> None:
    async with limited(trusted_proxies=(), env="production") as api:
        answers = [await log_in(api, f"nobody{n}@example.org", f"10.0.{n // 250}.{n % 250}") for n in range(1000)]
        assert sum(a.status == 401 for a in answers) <= 12
        assert sum(a.status == 429 for a in answers) >= 988


async def test_practices_are_not_registered_by_the_dozen(limited: Starter) -> None:
    async with limited() as api:
        body = {"practice_name": "P", "name": "N", "password": "correct horse battery", "timezone": "UTC"}
        too_short = await api.post(REGISTER, json=body | {"email": "a@example.org", "password": "short"})
        assert too_short.status == 422
        answers = [
            await api.post(REGISTER, json=body | {"email": f"o{n}@example.org"}, headers=at("192.0.2.5"))
            for n in range(5)
        ]
        assert [a.status for a in answers] == [201] * 3 + [429] * 2


async def test_session_is_not_refreshed_without_end(limited: Starter, house: House) -> None:
    async with limited() as api:
        body = {"practice_name": "P", "name": "N", "password": "correct horse battery", "timezone": "UTC"}
        login = (await api.post(REGISTER, json=body | {"email": "o@example.org"})).data
        for _ in range(30):
            answer = await api.post("/api/v1/auth/refresh", json={"refresh_token": login["refresh_token"]})
            login = answer.data
        refused = await api.post("/api/v1/auth/refresh", json={"refresh_token": login["refresh_token"]})
        assert (refused.status, refused.code) == (429, "RATE_LIMITED")


async def test_user_has_a_limit_and_is_told_how_it_stands(limited: Starter, house: House) -> None:
    async with limited() as api:
        first = await api.get("/api/v1/clients", house.coach)
        assert [first.headers[name] for name in HEADERS] == ["100", "99", "1", "100;w=30"]
        answers = await asyncio.gather(*(api.get("/api/v1/clients", house.coach) for _ in range(150)))
        assert 95 <= sum(a.status == 200 for a in answers) < 150
        refused = next(a for a in answers if a.status == 429)
        assert refused.code == "RATE_LIMITED"
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert (await api.get("/api/v1/clients", house.owner)).status == 200


async def test_writes_are_fewer(limited: Starter, house: House) -> None:
    async with limited() as api:
        body = {"first_name": "A", "last_name": "B", "allow_duplicate": True}
        answers = await asyncio.gather(*(api.post("/api/v1/clients", house.coach, json=body) for _ in range(90)))
        created = sum(a.status == 201 for a in answers)
        assert 60 <= created < 75
        assert await api.db.fetchval("select count(*) from clients") == 2 + created
        answer = await api.get("/api/v1/clients", house.coach)
        assert answer.status == 200


async def test_callers_without_a_valid_token_count_by_address(limited: Starter) -> None:
    async with limited() as api:
        answers = await asyncio.gather(
            *(api.get("/api/v1/clients", headers=at("192.0.2.8") | {"Authorization": "Bearer x"}) for _ in range(140))
        )
        assert 100 <= sum(a.status == 401 for a in answers) < 130
        assert {a.status for a in answers} == {401, 429}
        assert (await api.get("/api/v1/clients", headers=at("192.0.2.9"))).status == 401


async def test_sign_in_form_shares_the_limits_of_the_api(limited: Starter, house: House) -> None:
    async with limited() as api:
        email = await email_of(api, house)
        for n in range(5):
            await log_in(api, email, f"192.0.2.{n}")
        page = (await api.get("/sign-in")).raw.decode()
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token
        form = {"csrf_token": token[1], "email": email, "password": PASSWORD}
        answer = await api.call("POST", "/sign-in", data=form)
        assert answer.status == 429
        assert b"Too many attempts to sign in" in answer.raw
        assert int(answer.headers["Retry-After"]) > 0


async def test_limits_hold_without_redis(limited: Starter, house: House) -> None:
    async with limited(redis_url="redis://127.0.0.1:1") as api:
        email = await email_of(api, house)
        answers = [await log_in(api, email, f"192.0.2.{n}") for n in range(8)]
        assert [a.status for a in answers] == [401] * 5 + [429] * 3


async def test_reset_is_not_mailed_without_end_whoever_has_the_address(limited: Starter, house: House) -> None:
    async with limited() as api:
        for email in (await email_of(api, house), "nobody@example.org"):
            answers = [
                await api.post("/api/v1/auth/password-reset", json={"email": email}, headers=at(f"192.0.2.{n}"))
                for n in range(4)
            ]
            assert [a.status for a in answers] == [202] * 2 + [429] * 2


async def test_confirmed_reset_lets_in_again_who_was_kept_out(limited: Starter, house: House) -> None:
    async with limited() as api:
        email = await email_of(api, house)
        for n in range(6):
            refused = await log_in(api, email, f"192.0.2.{n}")
        assert refused.status == 429
        async with api.db.transaction() as connection:
            token = await mint_token(
                connection,
                Purpose.PASSWORD_RESET,
                practice_id=house.practice.id,
                user_id=house.coach.user_id,
                email=email,
            )
        new = {"token": token, "password": "a wholly new battery of horses"}
        assert (await api.post("/api/v1/auth/password-reset/confirm", json=new)).status == 200
        assert (await log_in(api, email, password=new["password"])).status == 200


async def test_current_password_is_not_guessed_with_a_stolen_token(limited: Starter, house: House) -> None:
    async with limited() as api:
        change = {"current_password": "wrong " * 5, "new_password": "a wholly new battery of horses"}
        answers = [await api.post("/api/v1/auth/password", house.coach, json=change) for _ in range(7)]
        assert [a.status for a in answers] == [422] * 5 + [429] * 2
