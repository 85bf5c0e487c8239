"""API keys: made once, within their scopes, never more than their user, gone at once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api import Answer, Api
from tests.factories import House, make_house
from tests.realtime.raw import open_raw
from wellio.accounts.actors import STAFF, Actor, Role
from wellio.errors import Forbidden
from wellio.handlers.routes import Route, _admit, scopes_of
from wellio.handlers.table import ROUTES

KEYS = "/api/v1/auth/api-keys"
ME = "/api/v1/auth/me"
PROTECTED = [route for route in ROUTES if route.roles is not None]


async def make_key(api: Api, actor: Actor, *scopes: str, **more: Any) -> Any:
    body = {"name": "Calendar", "scopes": list(scopes), **more}
    return (await api.post(KEYS, actor, body)).data


async def by_key(api: Api, key: str, path: str = ME, method: str = "GET", **options: Any) -> Answer:
    return await api.call(method, path, headers={"Authorization": f"Bearer {key}"}, **options)


async def test_key_acts_as_its_user_within_its_scopes(api: Api, house: House) -> None:
    made = await make_key(api, house.coach, "clients:read", "auth:read")
    assert made["key"].startswith(made["prefix"] + "_")
    assert (await by_key(api, made["key"])).data["id"] == str(house.coach.user_id)
    page = await by_key(api, made["key"], "/api/v1/clients")
    assert [client["id"] for client in page.data] == [str(house.client_id)]
    for method, path, body in (
        ("POST", "/api/v1/clients", {"first_name": "A", "last_name": "B"}),
        ("GET", "/api/v1/payments", None),
    ):
        refused = await by_key(api, made["key"], path, method, json=body)
        assert (refused.status, refused.code) == (403, "SCOPE_MISSING")
    foreign = await by_key(api, made["key"], f"/api/v1/clients/{house.other_client_id}")
    assert foreign.status == 404


async def test_all_read_and_all_write_stand_for_every_tag(api: Api, house: House) -> None:
    reader = (await make_key(api, house.coach, "all:read"))["key"]
    writer = (await make_key(api, house.coach, "all:write"))["key"]
    client = {"first_name": "A", "last_name": "B"}
    assert (await by_key(api, reader, "/api/v1/payments")).status == 200
    assert (await by_key(api, reader, "/api/v1/clients", "POST", json=client)).code == "SCOPE_MISSING"
    assert (await by_key(api, writer, "/api/v1/clients", "POST", json=client)).status == 201
    assert (await by_key(api, writer, "/api/v1/payments")).code == "SCOPE_MISSING"


async def test_only_its_hash_is_kept_and_it_is_shown_once(api: Api, house: House) -> None:
    key = (await make_key(api, house.coach, "clients:read"))["key"]
    row = await api.db.fetchval("select k::text from api_keys k")
    assert key not in row
    assert key.rpartition("_")[2] not in row
    listed = await api.get(KEYS, house.coach)
    assert key not in listed.raw.decode()
    sent_again = {"name": "Calendar", "scopes": ["clients:read"]}
    again = [await api.post(KEYS, house.coach, sent_again, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert again[0].data["key"] != again[1].data["key"]
    assert await api.db.fetchval("select count(*) from idempotency_keys") == 0


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"name": "x", "scopes": ["clients:reed"]}, ["scopes"]),
        ({"name": "x", "scopes": ["all"]}, ["scopes"]),
        ({"name": "x", "scopes": ["*"]}, ["scopes"]),
        ({"name": "x", "scopes": []}, ["scopes"]),
        ({"name": "", "scopes": ["clients:read"]}, ["name"]),
        ({"name": "x", "scopes": ["clients:read"], "expires_at": "2020-01-01T00:00:00Z"}, ["expires_at"]),
        ({"name": "x", "scopes": ["clients:read"], "user_id": str(uuid4())}, ["user_id"]),
        ({"name": "x", "scopes": ["clients:read"], "role": "owner"}, ["role"]),
    ],
)
async def test_unacceptable_key_names_its_field(api: Api, house: House, body: Any, paths: list[str]) -> None:
    answer = await api.post(KEYS, house.coach, body)
    assert (answer.status, answer.field_paths) == (422, paths)
    assert await api.db.fetchval("select count(*) from api_keys") == 0


async def test_unknown_scope_is_answered_with_those_there_are(api: Api, house: House) -> None:
    answer = await api.post(KEYS, house.coach, {"name": "x", "scopes": ["clients:reed"]})
    told = answer.body["error"]["details"]["fields"][0]["message"]
    assert "clients:read, clients:write" in told
    assert "all:read" in told
    assert "auth:write" not in told


async def test_making_one_asks_for_a_fresh_proof(api: Api, house: House) -> None:
    await api.db.execute("update auth_sessions set authenticated_at = now() - interval '11 minutes'")
    answer = await api.post(KEYS, house.coach, {"name": "x", "scopes": ["clients:read"]})
    assert (answer.status, answer.code) == (403, "REAUTH_REQUIRED")


async def test_revoked_key_stops_at_once(api: Api, house: House) -> None:
    made = await make_key(api, house.coach, "all:read")
    assert (await by_key(api, made["key"])).status == 200
    assert (await api.call("DELETE", f"{KEYS}/{made['id']}", house.coach)).status == 200
    assert (await by_key(api, made["key"])).status == 401
    assert (await api.call("DELETE", f"{KEYS}/{made['id']}", house.coach)).status == 404
    assert (await api.get(KEYS, house.coach)).data == []


async def test_expired_key_stops_at_once_and_still_stands_in_the_list(api: Api, house: House) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = await make_key(api, house.coach, "all:read", expires_at=later)
    assert (await by_key(api, made["key"])).status == 200
    await api.db.execute("update api_keys set expires_at = now() - interval '1 second'")
    assert (await by_key(api, made["key"])).status == 401
    assert [key["id"] for key in (await api.get(KEYS, house.coach)).data] == [made["id"]]


async def test_suspended_user_takes_their_keys_along_for_good(api: Api, house: House) -> None:
    key = (await make_key(api, house.coach, "all:read"))["key"]
    await api.db.execute("update users set status = 'suspended' where id = $1", house.coach.user_id)
    assert (await by_key(api, key)).status == 401
    await api.db.execute("update users set status = 'active' where id = $1", house.coach.user_id)
    assert (await by_key(api, key)).status == 401


async def test_key_has_the_role_that_its_user_has_now(api: Api, house: House) -> None:
    key = (await make_key(api, house.owner, "all:read"))["key"]
    assert len((await by_key(api, key, "/api/v1/clients")).data) == 2
    await api.db.execute("update users set role = 'coach' where id = $1", house.owner.user_id)
    assert (await by_key(api, key, "/api/v1/clients")).data == []
    await api.db.execute("update users set role = 'client' where id = $1", house.owner.user_id)
    assert (await by_key(api, key)).status == 401


async def test_use_is_written_down_once_a_minute(api: Api, house: House) -> None:
    made = await make_key(api, house.coach, "all:read")
    assert (await api.get(KEYS, house.coach)).data[0]["last_used_at"] is None
    await by_key(api, made["key"])
    first = await api.db.fetchrow("select last_used_at, xmin::text from api_keys")
    assert first is not None
    assert first["last_used_at"] is not None
    await by_key(api, made["key"])
    assert await api.db.fetchrow("select last_used_at, xmin::text from api_keys") == first
    await api.db.execute("update api_keys set last_used_at = now() - interval '61 seconds'")
    await by_key(api, made["key"])
    assert await api.db.fetchval("select last_used_at > now() - interval '10 seconds' from api_keys")


async def test_owner_sees_and_revokes_the_practice_s_keys_and_a_coach_their_own(api: Api, house: House) -> None:
    coachs, owners = await make_key(api, house.coach, "all:read"), await make_key(api, house.owner, "all:read")
    listed = (await api.get(KEYS, house.owner)).data
    assert [(key["id"], key["user_name"]) for key in listed] == [
        (owners["id"], "Olga Owner"),
        (coachs["id"], "Carl Coach"),
    ]
    of_coach = (await api.get(f"{KEYS}?user_id={house.coach.user_id}", house.owner)).data
    assert [key["id"] for key in of_coach] == [coachs["id"]]
    assert [key["id"] for key in (await api.get(KEYS, house.coach)).data] == [coachs["id"]]
    assert (await api.get(f"{KEYS}?user_id={house.owner.user_id}", house.coach)).data == []
    foreign = await make_house(api.db, "Other practice")
    assert (await api.get(KEYS, foreign.owner)).data == []
    missing = await api.call("DELETE", f"{KEYS}/{uuid4()}", house.coach)
    for actor in (house.coach, house.other_coach, foreign.owner):
        refused = await api.call("DELETE", f"{KEYS}/{owners['id']}", actor)
        assert (refused.status, refused.raw) == (404, missing.raw)
    assert (await api.call("DELETE", f"{KEYS}/{coachs['id']}", house.owner)).status == 200
    assert (await by_key(api, coachs["key"])).status == 401


async def test_fifty_are_the_most_also_when_made_at_once(api: Api, house: House) -> None:
    made = await make_key(api, house.coach, "all:read")
    await api.db.execute(
        "insert into api_keys (id, practice_id, user_id, name, prefix, key_hash, scopes)"
        " select gen_random_uuid(), practice_id, user_id, name, prefix, n::text::bytea, scopes"
        " from api_keys, generate_series(1, 46) n"
    )
    new = {"name": "x", "scopes": ["all:read"]}
    answers = await asyncio.gather(*(api.post(KEYS, house.coach, new) for _ in range(12)))
    assert sorted(a.status for a in answers) == [201] * 3 + [409] * 9
    assert {a.code for a in answers if a.status == 409} == {"TOO_MANY_API_KEYS"}
    await api.call("DELETE", f"{KEYS}/{made['id']}", house.coach)
    assert (await api.post(KEYS, house.coach, {"name": "x", "scopes": ["all:read"]})).status == 201


@pytest.mark.parametrize("route", [r for r in PROTECTED if not r.api_keys], ids=lambda r: r.name)
async def test_account_is_nothing_for_keys(api: Api, house: House, route: Route) -> None:
    key = (await make_key(api, house.owner, "all:read", "all:write"))["key"]
    path = route.path.format(emoji="👍", **{name: uuid4() for name in route.id_names})
    answer = await by_key(api, key, path, route.method, json=None)
    assert (answer.status, answer.code) == (403, "API_KEY_REFUSED")


def test_only_reading_oneself_is_for_keys_among_the_routes_of_auth() -> None:
    open_to_keys = {r.name for r in PROTECTED if r.api_keys and r.tag == "auth"}
    assert open_to_keys == {"get_me"}


async def test_key_opens_no_live_connection(api: Api, house: House) -> None:
    key = (await make_key(api, house.coach, "all:read", "all:write"))["key"]
    raw = await open_raw(api.session, api.url)
    await raw.websocket.send_str(f'40{{"token":"{key}"}}')
    answer = await raw.next()
    assert answer is not None
    assert answer.startswith("44")
    assert "UNAUTHORIZED" in answer
    await raw.websocket.close()


@pytest.mark.parametrize("change", ["", "x", "-"])
async def test_changed_key_is_refused(api: Api, house: House, change: str) -> None:
    key = (await make_key(api, house.coach, "all:read"))["key"]
    assert (await by_key(api, key[:-1] + change)).status == 401


@given(
    route=st.sampled_from(PROTECTED),
    role=st.sampled_from(sorted(STAFF)),
    scopes=st.sets(st.sampled_from(sorted(scopes_of(ROUTES))), min_size=1),
)
def test_scopes_never_widen_a_role(route: Route, role: Role, scopes: set[str]) -> None:
    """What a key may, its user may; and it may no more than its scopes say."""
    user = Actor(uuid4(), uuid4(), role, uuid4(), "U", authenticated_at=datetime.now(UTC))
    key = Actor(user.user_id, user.practice_id, role, uuid4(), "U", scopes=frozenset(scopes))
    if admits(route, key):
        assert admits(route, user)
        assert scopes & {route.scope, f"all:{route.scope.rpartition(':')[2]}"}
        assert route.api_keys
        assert not route.fresh


def admits(route: Route, actor: Actor) -> bool:
    try:
        _admit(route, actor)
    except Forbidden:
        return False
    return True
