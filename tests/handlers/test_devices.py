"""One's signed-in devices: listed, and signed out one by one or all at once."""

from typing import Any
from uuid import uuid4

from tests.api import Api
from tests.factories import House, sign_in
from tests.handlers.test_auth import REGISTRATION, bearer
from wellio.accounts.actors import Actor
from wellio.accounts.auth_sessions import Device, open_console_session
from wellio.accounts.users import get_user
from wellio.outbox import Outbox

BASE = "/api/v1/auth"


async def devices(api: Api, actor: Actor) -> Any:
    return (await api.get(f"{BASE}/sessions", actor)).data


async def sign_in_browser(api: Api, actor: Actor) -> None:
    user = await get_user(api.db, actor.practice_id, actor.user_id)
    assert user is not None
    async with Outbox(api.db).transaction() as tx:
        await open_console_session(tx, api.tokens, user, Device("Firefox"))


async def test_devices_are_listed_with_agent_and_address(api: Api) -> None:
    answer = await api.post(f"{BASE}/register", json=REGISTRATION, headers={"User-Agent": "Wellio for tests"})
    listed = (await api.get(f"{BASE}/sessions", headers=bearer(answer.data["access_token"]))).data
    assert [set(d) for d in listed] == [{"id", "kind", "agent", "address", "created_at", "last_seen_at", "current"}]
    assert (listed[0]["agent"], listed[0]["address"], listed[0]["current"]) == ("Wellio for tests", "127.0.0.1", True)


async def test_app_and_browser_are_devices_and_others_are_nobodys_business(api: Api, house: House) -> None:
    await sign_in(api.db, house.coach)
    await sign_in_browser(api, house.coach)
    listed = await devices(api, house.coach)
    assert sorted((d["kind"], d["current"]) for d in listed) == [("app", False), ("app", True), ("browser", False)]
    assert len(await devices(api, house.owner)) == 1


async def test_ended_and_idle_devices_are_not_listed(api: Api, house: House) -> None:
    for change in ("revoked_at = now()", "expires_at = now()", "last_seen_at = now() - interval '15 days'"):
        other = await sign_in(api.db, house.coach)
        await api.db.execute(f"update auth_sessions set {change} where id = $1", other.session_id)
    assert [d["id"] for d in await devices(api, house.coach)] == [str(house.coach.session_id)]


async def test_revoked_device_is_out_at_once(api: Api, house: House) -> None:
    other = await sign_in(api.db, house.coach)
    await sign_in_browser(api, house.coach)
    for device in await devices(api, house.coach):
        if not device["current"]:
            assert (await api.call("DELETE", f"{BASE}/sessions/{device['id']}", house.coach)).status == 200
    assert (await api.get(f"{BASE}/me", other)).status == 401
    assert len(await devices(api, house.coach)) == 1
    browsers = "select count(*) from auth_sessions where cookie_hash is not null and revoked_at is null"
    assert await api.db.fetchval(browsers) == 0


async def test_device_of_another_is_as_one_that_is_not(api: Api, house: House) -> None:
    of_client = await api.call("DELETE", f"{BASE}/sessions/{house.client.session_id}", house.owner)
    of_nobody = await api.call("DELETE", f"{BASE}/sessions/{uuid4()}", house.owner)
    assert (of_client.status, of_client.raw) == (of_nobody.status, of_nobody.raw)
    assert (await api.get(f"{BASE}/me", house.client)).status == 200


async def test_log_out_everywhere_ends_this_device_too(api: Api, house: House) -> None:
    other = await sign_in(api.db, house.coach)
    assert (await api.post(f"{BASE}/logout-all", house.coach)).status == 200
    for device in (house.coach, other):
        assert (await api.get(f"{BASE}/me", device)).status == 401
    assert (await api.get(f"{BASE}/me", house.client)).status == 200


async def test_device_is_seen_once_a_minute(api: Api, house: House) -> None:
    seen = "select last_seen_at from auth_sessions where id = $1"
    before = await api.db.fetchval(seen, house.coach.session_id)
    await api.get(f"{BASE}/me", house.coach)
    assert await api.db.fetchval(seen, house.coach.session_id) == before
    await api.db.execute("update auth_sessions set last_seen_at = now() - interval '61 seconds'")
    await api.get(f"{BASE}/me", house.coach)
    after = await api.db.fetchval(seen, house.coach.session_id)
    assert after > before
    await api.get(f"{BASE}/me", house.coach)
    assert await api.db.fetchval(seen, house.coach.session_id) == after
