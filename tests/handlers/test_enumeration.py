"""Nobody learns from an answer whether an address has an account: the same bytes and headers for all of them."""

from collections.abc import Awaitable, Callable

import pytest

from tests.api import Answer, Api
from tests.factories import PASSWORD, House, make_house
from tests.handlers.conftest import Starter

# When it was made, which request it answers, and seconds; how many tries are left stays.
OF_THE_MOMENT = {"date", "x-request-id", "retry-after", "ratelimit-reset"}
KINDS = ("owner", "client", "suspended", "unverified", "second_factor", "unknown")


async def addresses(api: Api, house: House) -> dict[str, str]:
    """An address of each kind."""
    actors = {
        "owner": house.owner,
        "client": house.client,
        "suspended": house.other_client,
        "unverified": house.coach,
        "second_factor": house.other_coach,
    }
    emails = {
        kind: await api.db.fetchval("select email from users where id = $1", actor.user_id)
        for kind, actor in actors.items()
    }
    await api.db.execute("update users set status = 'suspended' where email = $1", emails["suspended"])
    await api.db.execute("update users set email_verified_at = null where email = $1", emails["unverified"])
    await api.db.execute(
        "update users set totp_secret = '', totp_enabled_at = now() where email = $1", emails["second_factor"]
    )
    return emails | {"unknown": "nobody.at.all@example.org"}


def told(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return answer.status, answer.raw, {name: value for name, value in headers.items() if name not in OF_THE_MOMENT}


Ask = Callable[[Api, str], Awaitable[Answer]]


async def wrong_password(api: Api, email: str) -> Answer:
    return await api.post("/api/v1/auth/login", json={"email": email, "password": "wrong " * 5})


async def reset(api: Api, email: str) -> Answer:
    return await api.post("/api/v1/auth/password-reset", json={"email": email})


@pytest.mark.parametrize("ask", [wrong_password, reset])
async def test_answers_are_the_same_for_every_kind_of_address(limited: Starter, house: House, ask: Ask) -> None:
    """And go on being so until the limit refuses, which it does at the same time."""
    async with limited(rate_limit_scale=1) as api:
        emails = await addresses(api, house)
        for _ in range(7):
            answers = {kind: told(await ask(api, email)) for kind, email in emails.items()}
            assert len({(status, raw) for status, raw, _ in answers.values()}) == 1
            assert len({frozenset(headers.items()) for _, _, headers in answers.values()}) == 1
        assert answers["unknown"][0] == 429


async def test_right_password_of_who_is_suspended_is_as_good_as_a_wrong_one(api: Api, house: House) -> None:
    emails = await addresses(api, house)
    body = {"email": emails["suspended"], "password": PASSWORD}
    suspended = told(await api.post("/api/v1/auth/login", json=body))
    assert suspended == told(await wrong_password(api, emails["unknown"]))


async def test_invitation_does_not_tell_who_is_with_another_practice(api: Api, house: House) -> None:
    elsewhere = await make_house(api.db, "Other practice")
    known = await api.db.fetchval("select email from users where id = $1", elsewhere.coach.user_id)
    answers = [
        await api.post("/api/v1/auth/invitations", house.owner, json={"email": email, "role": "coach"})
        for email in (known, "nobody.at.all@example.org")
    ]
    assert [a.status for a in answers] == [201, 201]
    assert set(answers[0].data) == set(answers[1].data)
