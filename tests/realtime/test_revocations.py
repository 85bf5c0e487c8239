"""Sockets of ended sessions: told, closed, and done with, on every process and without Redis."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest

from tests.factories import PASSWORD, House, sign_in
from tests.realtime.conftest import Phones, Process, serving
from tests.realtime.raw import open_raw
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.config import Config
from wellio.realtime import revocations
from wellio.realtime.server import POLICY_VIOLATION

WITHIN_S = 2.0
NEW = "ten thousand small lanterns"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def call(
    session: aiohttp.ClientSession, process: Process, actor: Actor, method: str, path: str, **body: str
) -> None:
    headers = {"Authorization": f"Bearer {process.token(actor)}"}
    url = f"{process.url}/api/v1{path}"
    async with session.request(method, url, headers=headers, json=body or None) as answer:
        assert answer.status < 300, await answer.text()


async def test_socket_is_told_and_closed_on_another_process_when_its_session_ends(
    config: Config, process: Process, session: aiohttp.ClientSession, house: House
) -> None:
    async with serving(config) as elsewhere:
        for method, path, body in (
            ("POST", "/auth/logout-all", {}),
            ("POST", "/auth/password", {"current_password": PASSWORD, "new_password": NEW}),
            ("DELETE", "/auth/sessions/{session_id}", {}),
        ):
            acting, other = [await sign_in(process.services.db, house.coach) for _ in range(2)]
            raw = await open_raw(session, elsewhere.url)
            await raw.come_in(elsewhere.token(other))
            async with asyncio.timeout(WITHIN_S):
                await call(session, process, acting, method, path.format(session_id=other.session_id), **body)
                assert await raw.until_closed() == POLICY_VIOLATION
            assert raw.frames[-1] == '42["auth:revoked",{"code":"SESSION_ENDED"}]'
        await eventually(lambda: len(elsewhere.realtime._devices) == 0)


@pytest.mark.parametrize("change", ["status = 'suspended'", "role = 'owner'"])
async def test_suspension_and_another_role_close_all_a_users_sockets_and_nobody_elses(
    process: Process, phones: Phones, house: House, change: str
) -> None:
    other = await sign_in(process.services.db, house.coach)
    devices = [await phones.connect(process.token(actor)) for actor in (house.coach, other, house.client)]
    async with asyncio.timeout(WITHIN_S):
        await process.services.db.execute(f"update users set {change} where id = $1", house.coach.user_id)
        await eventually(lambda: [d.lost for d in devices] == [1, 1, 0])
    assert [len(d.of("auth:revoked")) for d in devices] == [1, 1, 0]
    await eventually(lambda: len(process.realtime._devices) == 1)


async def test_polling_client_is_let_go_too(process: Process, phones: Phones, house: House) -> None:
    phone = await phones.connect(process.token(house.coach), transports=["polling"])
    async with asyncio.timeout(WITHIN_S):
        await process.services.db.execute("update auth_sessions set revoked_at = now()")
        await eventually(lambda: phone.lost)
    assert len(process.realtime._devices) == 0


async def test_nothing_is_pushed_to_an_ended_session_any_more(process: Process, phones: Phones, house: House) -> None:
    phone = await phones.connect(process.token(house.coach))
    other = await phones.connect(process.token(await sign_in(process.services.db, house.coach)))
    await process.services.db.execute(
        "update auth_sessions set revoked_at = now() where id = $1", house.coach.session_id
    )
    await phone.until("auth:revoked")
    process.services.live.publish([house.coach.user_id], "notification:new", {})
    await other.until("notification:new")
    assert phone.events[-1][0] == "auth:revoked"


async def test_without_redis_sockets_of_ended_sessions_close_too(
    config: Config, session: aiohttp.ClientSession, house: House
) -> None:
    async with serving(replace(config, redis_url="redis://127.0.0.1:1")) as process:
        raw = await open_raw(session, process.url)
        await raw.come_in(process.token(house.coach))
        async with asyncio.timeout(WITHIN_S):
            await process.services.db.execute("update auth_sessions set revoked_at = now()")
            assert await raw.until_closed() == POLICY_VIOLATION


async def test_revocation_that_commits_late_is_found(
    process: Process, session: aiohttp.ClientSession, house: House
) -> None:
    raw = await open_raw(session, process.url)
    await raw.come_in(process.token(house.coach))
    async with process.services.db.transaction() as connection:
        await connection.execute("update auth_sessions set revoked_at = now() - interval '15 seconds'")
    async with asyncio.timeout(WITHIN_S):
        assert await raw.until_closed() == POLICY_VIOLATION


async def test_what_was_missed_is_found_by_looking_at_everything(
    process: Process, session: aiohttp.ClientSession, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = await open_raw(session, process.url)
    await raw.come_in(process.token(house.coach))
    stays = await open_raw(session, process.url)
    await stays.come_in(process.token(house.client))
    await process.services.db.execute(
        "update auth_sessions set revoked_at = now() - $2::interval where id = $1",
        house.coach.session_id,
        timedelta(hours=1),
    )
    monkeypatch.setattr(revocations, "COMPLETE_EVERY_S", 0.0)
    async with asyncio.timeout(WITHIN_S):
        assert await raw.until_closed() == POLICY_VIOLATION
    assert len(process.realtime._devices) == 1


async def test_after_the_database_was_away_everything_is_looked_at(
    process: Process, session: aiohttp.ClientSession, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = process.realtime._revocations
    raw = await open_raw(session, process.url)
    await raw.come_in(process.token(house.coach))
    looks: list[bool] = []

    async def away(*, complete: bool) -> bool:
        looks.append(complete)
        return False

    with monkeypatch.context() as patched:
        patched.setattr(watcher, "_look", away)
        await eventually(lambda: looks)
        await process.services.db.execute("update auth_sessions set revoked_at = now() - interval '1 hour'")
    async with asyncio.timeout(WITHIN_S):
        assert await raw.until_closed() == POLICY_VIOLATION
