"""Every place of every operation that takes an id, tried with ids of another practice and with ids of nothing.

The places are found in the routes themselves: ids of the address, and each field of query and body, however deep, whose
type is a UUID. What is another's is answered with the bytes for what does not exist, changes no row of the house, and
tells nothing of it. The rest of a request is right: of the caller's own world, so that the id alone decides.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, get_args, get_origin
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from tests.api import Answer, Api
from tests.factories import House, make_client, make_house, make_user
from tests.handlers.test_api_keys import make_key
from tests.test_authorization import CANARY, PROTECTED, Scene, each_tag, make_scene, rows_of
from wellio.accounts.actors import Actor, Role
from wellio.db import Database
from wellio.handlers.routes import Route, Stream
from wellio.handlers.table import ROUTES

# What an id of that name refers to, in the house. A new name needs a line here.
REFERS_TO = {
    "client_id": "client_id",
    "client_ids": "client_id",
    "note_id": "note_id",
    "goal_id": "goal_id",
    "measurement_id": "measurement_id",
    "field_id": "field_id",
    "group_id": "group_id",
    "coach_id": "coach",
    "actor_id": "coach",
    "member_ids": "client",
    "user_id": "client",
    "user_ids": "client",
    "person_id": "person_id",
    "session_id": "session_id",
    "series_id": "series_id",
    "feed_id": "feed_id",
    "payment_id": "payment_id",
    "conversation_id": "conversation_id",
    "message_id": "message_id",
    "scheduled_message_id": "scheduled_message_id",
    "report_id": "report_id",
    "reply_to": "message_id",
    "upload_id": "upload_id",
    "upload_ids": "upload_id",
    "device_id": "device_id",
    "invitation_id": "invitation_id",
    "api_key_id": "api_key_id",
    "session_type_id": "session_type_id",
    "override_id": "override_id",
    "time_off_id": "time_off_id",
    "plan_id": "plan_id",
    "subscription_id": "subscription_id",
    "package_id": "package_id",
    "purchase_id": "purchase_id",
    "charge_id": "charge_id",
    "webhook_id": "webhook_id",
    "calendar_id": "calendar_id",
    "delivery_id": "delivery_id",
    "ids": "notification_id",
}
# Ids that callers make up themselves, and that refer to nothing.
OWN_NAMES = {"client_message_id"}
# Staff are known to everybody in a practice; what is asked about these within it is the matrix's to say.
OF_ONE_CLIENT = {
    "client_id", "client_ids", "session_id", "group_id", "series_id", "payment_id", "conversation_id", "message_id",
    "upload_id", "upload_ids",
    "reply_to", "device_id", "invitation_id", "api_key_id", "subscription_id", "purchase_id", "charge_id", "note_id",
    "goal_id", "measurement_id", "feed_id", "scheduled_message_id", "report_id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an id stands: part is path, query or body; in a list the first place is tried."""

    part: str
    path: tuple[str | int, ...]

    @property
    def name(self) -> str:
        return str([step for step in self.path if isinstance(step, str)][-1])


def slots_of(route: Route) -> list[Slot]:
    return [
        *(Slot("path", (name,)) for name in route.id_names),
        *(Slot("query", path) for path in _uuids_in(route.query)),
        *(Slot("body", path) for path in _uuids_in(route.body)),
    ]


def _uuids_in(model: type[BaseModel]) -> Iterator[tuple[str | int, ...]]:
    for name, field in model.model_fields.items():
        for path in _places(field.annotation):
            yield (field.alias or name, *path)


def _places(annotation: Any) -> Iterator[tuple[str | int, ...]]:
    if annotation is UUID:
        yield ()
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _uuids_in(annotation)
    elif get_origin(annotation) in (tuple, list, set, frozenset):
        for path in _places(get_args(annotation)[0]):
            yield (0, *path)
    else:
        for option in get_args(annotation):
            yield from _places(option)


WITH_SLOTS = [route for route in ROUTES if any(slot.name not in OWN_NAMES for slot in slots_of(route))]


def test_what_each_id_refers_to_is_known() -> None:
    for route in ROUTES:
        for slot in slots_of(route):
            assert slot.name in REFERS_TO or slot.name in OWN_NAMES, f"{route.name}: say in REFERS_TO what {slot} is"


@dataclass(frozen=True, slots=True)
class Worlds:
    """The house, whose ids are tried, and for each who tries them the world that is their own."""

    house: Scene
    own: dict[str, tuple[Actor, Scene]]

    def victim(self, slot: Slot) -> UUID:
        name = REFERS_TO[slot.name]
        return self.house.ids[name] if name in self.house.ids else getattr(self.house.house, name).user_id


@pytest.fixture
async def worlds(db: Database) -> Worlds:
    house, foreign = await make_house(db), await make_house(db, "Other practice")
    beside = replace(
        house, coach=house.other_coach, client=house.other_client, client_id=house.other_client_id,
        other_coach=house.coach, other_client=house.client, other_client_id=house.client_id,
    )  # fmt: skip
    scene = await make_scene(db, house, foreign)
    foreign_scene = await make_scene(db, foreign, house, "canary-of-the-others")
    beside_scene = await make_scene(db, beside, foreign, "canary-beside")
    ex_coach, ex_client = await _former(db, house)
    return Worlds(
        scene,
        {
            "foreign_owner": (foreign.owner, foreign_scene),
            "foreign_coach": (foreign.coach, foreign_scene),
            "foreign_client": (foreign.client, foreign_scene),
            "other_coach": (house.other_coach, beside_scene),
            "other_client": (house.other_client, beside_scene),
            "ex_coach": (ex_coach, beside_scene),
            "ex_client": (ex_client, beside_scene),
        },
    )


async def _former(db: Database, house: House) -> tuple[Actor, Actor]:
    """A coach whose client went to another coach, and the user who was that client's log-in before."""
    async with db.transaction() as connection:
        coach = await make_user(connection, house.practice, Role.COACH, "Ex Coach")
        client = await make_user(connection, house.practice, Role.CLIENT, "Ex Client")
        sql = "update clients set coach_id = $2, user_id = $3 where id = $1"
        await connection.execute(sql, house.client_id, coach.user_id, client.user_id)
        await connection.execute(sql, house.client_id, house.coach.user_id, house.client.user_id)
    return coach, client


async def call(api: Api, route: Route, actor: Actor, world: Scene, slot: Slot, value: UUID) -> Answer:
    ids = {name: world.ids.get(name, uuid4()) for name in route.id_names}
    body = copy.deepcopy(world.body(route, 0)) or ({} if route.body.model_fields else None)
    query = world.query(route)
    if slot.part == "path":
        ids[str(slot.path[0])] = value
    elif slot.part == "query":
        query[str(slot.path[0])] = str(value)
    else:
        _put(body, slot.path, str(value))
    return await api.call(route.method, route.path.format(emoji="👍", **ids), actor, json=body, params=query)


def _put(body: Any, path: tuple[str | int, ...], value: str) -> None:
    """Sets the id at `path`, in a list in front of what stands there."""
    for step, following in pairwise(path):
        body = body.setdefault(step, [] if isinstance(following, int) else {}) if isinstance(step, str) else body[step]
    last = path[-1]
    if isinstance(last, int):
        body[:1] = [value]
    else:
        body[last] = value


@each_tag(WITH_SLOTS)
async def test_id_of_another_is_as_good_as_none(api: Api, worlds: Worlds, routes: Sequence[Route]) -> None:
    house = worlds.house.house
    before = await rows_of(api.db, house.practice.id)
    for route in routes:
        await check_slots(api, worlds, route)
        assert await rows_of(api.db, house.practice.id) == before, route.name


async def check_slots(api: Api, worlds: Worlds, route: Route) -> None:
    for slot in slots_of(route):
        if slot.name in OWN_NAMES:
            continue
        for name, (actor, world) in worlds.own.items():
            if not name.startswith("foreign_") and slot.name not in OF_ONE_CLIENT:
                continue
            foreign = await call(api, route, actor, world, slot, worlds.victim(slot))
            missing = await call(api, route, actor, world, slot, uuid4())
            where = f"{route.name}, {name}, {slot}"
            assert foreign.status >= 400 or slot.part == "query", f"{where}: {foreign.raw!r}"
            assert (foreign.status, foreign.raw) == (missing.status, missing.raw), where
            assert CANARY.encode() not in foreign.raw, where


@pytest.mark.parametrize("kind", ["anonymous", "suspended", "ended", "deleted", "expired"])
async def test_who_is_nobody_any_more_gets_nothing_anywhere(api: Api, worlds: Worlds, kind: str) -> None:
    house = worlds.house.house
    actor = await _nobody(api, house, kind)
    before = await rows_of(api.db, house.practice.id)
    for route in PROTECTED:
        ids = {name: worlds.house.ids.get(name, uuid4()) for name in route.id_names}
        body = worlds.house.body(route, 0)
        answer = await api.call(route.method, route.path.format(emoji="👍", **ids), actor, json=body)
        assert answer.status == 401, f"{route.name}: {answer.raw!r}"
        assert CANARY.encode() not in answer.raw
    assert await rows_of(api.db, house.practice.id) == before


async def _nobody(api: Api, house: House, kind: str) -> Actor | None:
    """Somebody who was an owner of the house, and has a token that was good."""
    if kind == "anonymous":
        return None
    async with api.db.transaction() as connection:
        actor = await make_user(connection, house.practice, Role.OWNER, "Former Owner")
    assert (await api.get("/api/v1/auth/me", actor)).status == 200
    for sql in {
        "suspended": ["update users set status = 'suspended' where id = $1"],
        "ended": ["update auth_sessions set revoked_at = now() where user_id = $1"],
        "deleted": ["delete from auth_sessions where user_id = $1", "delete from users where id = $1"],
        "expired": ["update auth_sessions set expires_at = now() where user_id = $1"],
    }[kind]:
        await api.db.execute(sql, actor.user_id)
    return actor


async def test_api_key_gets_nothing_beyond_its_scopes(api: Api, worlds: Worlds) -> None:
    house = worlds.house.house
    key = {"Authorization": f"Bearer {(await make_key(api, house.owner, 'home:read'))['key']}"}
    assert (await api.get("/api/v1/home/summary", headers=key)).status == 200
    before = await rows_of(api.db, house.practice.id)
    for route in PROTECTED:
        if route.scope == "home:read" or route.name == "get_me":
            continue
        ids = {name: worlds.house.ids.get(name, uuid4()) for name in route.id_names}
        body = worlds.house.body(route, 0)
        answer = await api.call(route.method, route.path.format(emoji="👍", **ids), json=body, headers=key)
        assert (answer.status, answer.code in ("SCOPE_MISSING", "API_KEY_REFUSED")) == (403, True), route.name
    assert await rows_of(api.db, house.practice.id) == before


# ---------------------------------------------------------------- what may be written, and what is shown

PRIVILEGED = {
    "id", "practice_id", "owner_id", "user_id", "role", "is_admin", "verified", "email_verified", "created_at",
    "updated_at", "deleted_at", "price", "seq", "version", "status", "scopes", "password_hash",
}  # fmt: skip
# An answer names at most fifty fields, and what is missing is among them.
AT_ONCE = 30
WRITES = [route for route in ROUTES if route.body.model_fields]


async def test_fields_that_are_not_the_callers_to_set_are_refused(api: Api, worlds: Worlds) -> None:
    """Z-04: every write with all that any answer shows, and more."""
    shown: set[str] = set()
    for route in ROUTES:
        is_read = route.method == "GET" and route.answer is not Stream and not route.id_names
        if is_read and route.roles and Role.OWNER in route.roles:
            data = (await api.get(route.path, worlds.house.house.owner, params=worlds.house.query(route))).data
            shown |= _keys(data)
    shown |= PRIVILEGED
    before = await rows_of(api.db, worlds.house.house.practice.id)
    for route in WRITES:
        taken = {field.alias or name for name, field in route.body.model_fields.items()}
        names = sorted(shown - taken)
        for start in range(0, len(names), AT_ONCE):
            await _check_refused(api, worlds.house, route, names[start : start + AT_ONCE])
    assert await rows_of(api.db, worlds.house.house.practice.id) == before


async def _check_refused(api: Api, scene: Scene, route: Route, names: list[str]) -> None:
    body = (scene.body(route, 0) or {}) | dict.fromkeys(names, "1")
    ids = {name: scene.ids.get(name, uuid4()) for name in route.id_names}
    answer = await api.call(route.method, route.path.format(emoji="👍", **ids), scene.house.coach, json=body)
    if answer.status == 403:  # not a coach's to call at all
        answer = await api.call(route.method, route.path.format(emoji="👍", **ids), scene.house.owner, json=body)
    assert answer.status in (403, 422), f"{route.name}: {answer.raw!r}"
    if answer.status == 422:
        assert set(names) <= set(answer.field_paths), route.name


def _keys(data: Any) -> set[str]:
    if isinstance(data, list):
        return set().union(*(_keys(item) for item in data))
    if isinstance(data, dict):
        return set(data)
    return set()


async def test_unknown_query_is_refused_everywhere(api: Api, worlds: Worlds) -> None:
    for route in PROTECTED:
        ids = {name: worlds.house.ids.get(name, uuid4()) for name in route.id_names}
        path, body = route.path.format(emoji="👍", **ids), worlds.house.body(route, 0)
        params = {"practice_id": str(worlds.house.foreign.practice.id)}
        answer = await api.call(route.method, path, worlds.house.house.owner, json=body, params=params)
        assert answer.status in (403, 422), f"{route.name}: {answer.raw!r}"


async def test_lists_neither_show_nor_count_what_is_anothers(api: Api, worlds: Worlds) -> None:
    """Z-02: with the widest filters there are, and before and after the house gets more of everything."""
    lists = [route for route in PROTECTED if "page_size" in route.query.model_fields and not route.id_names]

    async def totals() -> dict[tuple[str, str, str], int]:
        found = {}
        for route in lists:
            for name, (actor, _) in worlds.own.items():
                for wide in _wide_queries(route):
                    answer = await api.get(route.path, actor, params=wide)
                    assert CANARY.encode() not in answer.raw, f"{route.name} {name} {wide}"
                    # Reading the audit log adds to one's own.
                    if answer.status == 200 and route.name != "list_audit_page":
                        pagination = answer.body["pagination"]
                        assert len(answer.data) == min(pagination["total"], 100), f"{route.name} {name} {wide}"
                        found[route.name, name, str(wide)] = pagination["total"]
        return found

    before = await totals()
    assert len(before) > 50
    house = worlds.house.house
    for n in range(3):
        client_id = await make_client(api.db, house.practice, coach=house.coach, first_name=CANARY)
        await make_scene_of(api, house, client_id, n)
    assert await totals() == before


async def make_scene_of(api: Api, house: House, client_id: UUID, n: int) -> None:
    booking = {"client_id": str(client_id), "starts_at": f"2032-01-0{n + 1}T10:00:00Z", "duration_minutes": 30}
    assert (await api.post("/api/v1/sessions", house.coach, booking | {"title": CANARY})).status == 201
    payment = {"client_id": str(client_id), "amount_minor": 100, "note": CANARY}
    assert (await api.post("/api/v1/payments", house.coach, payment)).status == 201


def _wide_queries(route: Route) -> Iterator[dict[str, str]]:
    yield {"page_size": "100"}
    fields = route.query.model_fields
    if "q" in fields:
        yield {"page_size": "100", "q": "%"}
        yield {"page_size": "100", "q": ""}
        yield {"page_size": "100", "q": "canary"}
    if "sort" in fields:
        for value in get_args(fields["sort"].annotation):
            yield {"page_size": "100", "sort": value}


async def test_page_sizes_past_the_limit_are_refused(api: Api, worlds: Worlds) -> None:
    for route in PROTECTED:
        if "page_size" in route.query.model_fields and not route.id_names:
            answer = await api.get(route.path, worlds.house.house.owner, params={"page_size": "1000000000"})
            assert answer.status == 422, route.name
