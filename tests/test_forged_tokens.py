"""No forged token opens a door: not the API's, not the live connection's."""

import json
from dataclasses import replace

import aiohttp
import pytest

from tests.api import Api
from tests.factories import House
from tests.forged_tokens import FOREIGN_SECRET, forged_tokens
from tests.realtime.raw import open_raw
from wellio.accounts.tokens import Tokens
from wellio.app import running
from wellio.config import Config

ME = "/api/v1/auth/me"


def code_of(name: str) -> str:
    """exp is all that is wrong with these: `true` counts as the first second of 1970."""
    return "TOKEN_EXPIRED" if name in ("expired", "exp true") else "UNAUTHORIZED"


async def test_no_forged_token_is_accepted_by_the_api(api: Api, house: House) -> None:
    forged = await forged_tokens(api.db, api.tokens, house, api.token(house.coach))
    assert len(forged) >= 60
    for name, token in forged.items():
        for scheme in ("Bearer", "bearer"):
            answer = await api.get(ME, headers={"Authorization": f"{scheme} {token}"})
            assert answer.status == 401, f"{name}: {answer.raw!r}"
            assert answer.code in (code_of(name), "SESSION_ENDED"), name
            assert set(answer.body) == {"error"}
            assert set(answer.body["error"]) == {"code", "message", "details"}
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await api.get(ME, house.coach)).status == 200


async def test_no_forged_token_is_accepted_by_the_live_connection(api: Api, house: House) -> None:
    forged = await forged_tokens(api.db, api.tokens, house, api.token(house.coach))
    forged["of 64 KiB"] = api.token(house.coach) + "A" * 65_536
    for name, token in forged.items():
        raw = await open_raw(api.session, api.url)
        await raw.websocket.send_str("40" + json.dumps({"token": token}))
        answer = await raw.next()
        assert answer is not None, name
        assert answer.startswith("44"), f"{name}: {answer}"
        assert json.loads(answer[2:])["data"]["code"] == code_of(name), name
        await raw.websocket.close()


async def test_token_counts_only_in_one_bearer_header(api: Api, house: House) -> None:
    good = api.token(house.coach)
    refused: list[tuple[str, list[tuple[str, str]]]] = [
        (f"?access_token={good}", []),
        (f"?token={good}", []),
        ("", []),
        ("", [("Authorization", good)]),
        ("", [("Authorization", "Bearer")]),
        ("", [("Authorization", "Bearer ")]),
        ("", [("Authorization", f"Basic {good}")]),
        ("", [("Authorization", f"Token {good}")]),
        ("", [("Authorization", f"Bearer:{good}")]),
        ("", [("Authorization", f"Bearer Bearer {good}")]),
        ("", [("Authorization", f"Bearer {good}, Bearer {good}")]),
        ("", [("Authorization", f'Bearer token="{good}"')]),
        ("", [("Cookie", f"access_token={good}")]),
        ("", [("Cookie", f"wellio_session={good}")]),
        ("", [("X-Access-Token", good)]),
        ("", [("Proxy-Authorization", f"Bearer {good}")]),
    ]
    for query, headers in refused:
        answer = await api.get(ME + query, headers=dict(headers))
        assert answer.status == 401, (query[:20], [name for name, _ in headers])
    for second in (f"Bearer {good}", "Bearer x", f"bearer {good}"):
        both = [("Authorization", f"Bearer {good}"), ("Authorization", second)]
        async with api.session.get(api.url + ME, headers=both) as response:
            # aiohttp itself refuses to serve a header twice that may come once
            assert response.status in (400, 401)
            assert set(await response.json()) == {"error"}


async def test_token_of_64_kib_is_refused_before_it_is_read(api: Api, house: House) -> None:
    huge = {"Authorization": f"Bearer {api.token(house.coach)}{'A' * 65_536}"}
    async with aiohttp.ClientSession() as session, session.get(api.url + ME, headers=huge) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "MALFORMED_HTTP"


def test_token_of_the_secret_before_is_good_until_that_secret_is_forgotten(house: House) -> None:
    old, new = "the first secret, which is 32 bytes and more", FOREIGN_SECRET
    coach = house.coach

    def issued_by(tokens: Tokens) -> str:
        return tokens.issue_access(user_id=coach.user_id, practice_id=coach.practice_id, session_id=coach.session_id)

    token = issued_by(Tokens(old))
    assert Tokens(new, old).verify_access(token).user_id == coach.user_id
    assert Tokens(old, new).verify_access(issued_by(Tokens(new, old))).session_id == coach.session_id
    with pytest.raises(Exception, match="not valid"):
        Tokens(new).verify_access(token)
    with pytest.raises(Exception, match="not valid"):
        Tokens(new, "").verify_access(token)


async def test_secret_changes_without_signing_anybody_out(config: Config, api: Api, house: House) -> None:
    """The one before is good for what it signed; once it is forgotten, no more."""
    before = api.token(house.coach)
    for previous, status in ((config.jwt_secret, 200), ("", 401)):
        changed = replace(config, jwt_secret=FOREIGN_SECRET, jwt_secret_previous=previous)
        async with running(changed) as (host, port):
            url = f"http://{host}:{port}{ME}"
            async with api.session.get(url, headers={"Authorization": f"Bearer {before}"}) as response:
                assert response.status == status
            now = Tokens(FOREIGN_SECRET).issue_access(
                user_id=house.coach.user_id, practice_id=house.practice.id, session_id=house.coach.session_id
            )
            async with api.session.get(url, headers={"Authorization": f"Bearer {now}"}) as response:
                assert response.status == 200


def test_form_token_of_the_secret_before_is_good() -> None:
    before = Tokens("the first secret, which is 32 bytes and more").form_token("cookie")
    rotated = Tokens(FOREIGN_SECRET, "the first secret, which is 32 bytes and more")
    assert rotated.is_form_token("cookie", before)
    assert rotated.is_form_token("cookie", rotated.form_token("cookie"))
    assert not rotated.is_form_token("another", before)
    assert not Tokens(FOREIGN_SECRET).is_form_token("cookie", before)
