"""What can stand in a body, a query or a path, tried on every operation: read or refused, no crash.

New operations are tried by themselves. Every test holds the event loop to its promise, too: nothing here blocks it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

import pytest

from tests.api import Answer, Api
from tests.factories import PASSWORD
from tests.handlers.test_errors import assert_form
from tests.test_authorization import Scene, each_tag, scene
from wellio.handlers.routes import NoInput, Route
from wellio.handlers.table import ROUTES

__all__ = ["scene"]

# Many of the calls change one and the same row, and none waits for it longer than two seconds.
AT_ONCE = 3
WITH_BODY = [route for route in ROUTES if route.body is not NoInput]
WITH_QUERY = [route for route in ROUTES if route.query is not NoInput]
WITH_IDS = [route for route in ROUTES if route.id_names]
PUBLIC_BODIES: dict[str, Any] = {
    "email": "nobody@example.org",
    "password": PASSWORD,
    "practice_name": "P",
    "name": "N",
    "timezone": "UTC",
    "refresh_token": "x",
    "token": "x",
}

# JSON as text: some of it no serialiser would write.
NUMBERS = ["1e400", "-0", "-1", "0.1", "1e3", str(2**31), str(2**63), str(2**64), "9" * 5000, "NaN", "Infinity", "00"]
TYPES = [
    "null",
    "true",
    "[]",
    "{}",
    '[""]',
    '{"$ne": null}',
    '["a", "a"]',
    "[[[[[[]]]]]]",
    '"1"',
    '""',
    '" "',
    '"true"',
]
TEXTS = [
    r'"\u0000"',
    r'"a\u0000b"',
    r'"\ud800"',
    r'"\udc00\ud800"',
    r'"\ufeff"',
    r'"\u202e\u2066"',
    r'"\ud83d\udc68\u200d\ud83d\udc69"',
    r'"\u0085\u2028"',
    r'"\r\nX: y"',
    r'"\u001b[31m"',
    '"' + "\u0301" * 300 + '"',
]
TIMES = [
    '"infinity"',
    '"-infinity"',
    '"now"',
    '"0000-01-01T00:00:00Z"',
    '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59-14:00"',
    '"10000-01-01T00:00:00Z"',
    '"2026-01-01T24:00:00Z"',
    '"2016-12-31T23:59:60Z"',
    '"2026-03-29T02:30:00"',
    '"2026-01-01T00:00:00+99:99"',
    '"2026-01-01"',
    '"2026-02-30T00:00:00Z"',
    "1767225600",
    '"1767225600"',
]
IDS = [
    '"{8f0f6c3e-1b1a-4b7e-9d4f-0a4b6a0f6c3e}"',
    '"urn:uuid:8f0f6c3e-1b1a-4b7e-9d4f-0a4b6a0f6c3e"',
    '"8f0f6c3e1b1a4b7e9d4f0a4b6a0f6c3e"',
    '"00000000-0000-0000-0000-000000000000"',
    '"ffffffff-ffff-ffff-ffff-ffffffffffff"',
]
INJECTIONS = [
    "' or '1'='1",
    "'; select pg_sleep(3); --",
    "\\'; drop table users; --",
    "%' and 1=1 --",
    "%",
    "_",
    "$1",
    "{{7*7}}",
    "${7*7}",
    "{0.__class__}",
    "%s%n%x",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "=1+1",
    "`id`",
    "\\u0000",
    "-1 or 1=1",
    "*)(uid=*",
]
LONG = 50_000
LONG_TEXTS = [
    "a" * LONG + "!",
    "a@" + "a." * (LONG // 2),
    "@" * LONG,
    "a" * 64 + "@" + "-" * LONG + ".",
    " " * LONG + "x",
    "0" * LONG,
    "+" + "0 " * (LONG // 2),
    "https://" + "a" * LONG + '"',
    "2026-01-01T" + "0" * LONG,
    "A" * LONG,
    "é" * LONG,
    "\t" * LONG,
]


def base_of(route: Route, scene: Scene) -> dict[str, Any]:
    body = scene.body(route, 0)
    return dict(body) if body else {k: v for k, v in PUBLIC_BODIES.items() if k in route.body.model_fields}


def path_of(route: Route, scene: Scene) -> str:
    return route.path.format(emoji="👍", **{name: scene.ids.get(name, uuid4()) for name in route.id_names})


async def try_all(
    api: Api, scene: Scene, calls: Iterable[tuple[Route, str, dict[str, Any]]]
) -> list[tuple[Route, Answer]]:
    """Calls as the owner; each answer is no crash and, when it refuses, in our form."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(route: Route, path: str, options: dict[str, Any]) -> tuple[Route, Answer]:
        async with gate:
            actor = None if route.roles is None else scene.house.owner
            answer = await api.call(route.method, path, actor, **options)
        assert answer.status < 500, (route.name, path[:200], str(options)[:300], answer.raw[:300])
        if answer.status >= 400:
            assert_form(answer, answer.status)
        return route, answer

    return await asyncio.gather(*(one(*call) for call in calls))


def with_field(route: Route, scene: Scene, name: str, value: str) -> tuple[Route, str, dict[str, Any]]:
    base = base_of(route, scene)
    fields = [f"{json.dumps(key)}: {json.dumps(base[key])}" for key in base if key != name]
    raw = "{" + ", ".join([*fields, f"{json.dumps(name)}: {value}"]) + "}"
    options = {"data": raw.encode("utf-8", "surrogatepass"), "headers": {"Content-Type": "application/json"}}
    return route, path_of(route, scene), options


def every_field(scene: Scene, values: Iterable[str]) -> list[tuple[Route, str, dict[str, Any]]]:
    return [
        with_field(route, scene, name, value)
        for route in WITH_BODY
        if route.name != "post_password"  # a new password signs other devices out
        for name in route.body.model_fields
        for value in values
    ]


@pytest.mark.parametrize("kind", ["numbers", "types", "texts", "times", "ids"])
async def test_odd_values_in_every_field_are_read_or_refused(api: Api, scene: Scene, kind: str) -> None:
    values = {"numbers": NUMBERS, "types": TYPES, "texts": TEXTS, "times": TIMES, "ids": IDS}[kind]
    answers = await try_all(api, scene, every_field(scene, values))
    statuses = Counter(answer.status for route, answer in answers if route.roles is not None)
    assert statuses[401] == 0
    assert statuses[400] + statuses[422] > len(answers) // 4


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"null",
        b"0",
        b'""',
        b"[]",
        b"{",
        b"{}{}",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"\xff",
        b'{"a": "\xc0\xaf"}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b"{" + b'"a": 1, ' * 20_000 + b'"b": 2}',
        b"{" + b", ".join(b'"k%d": 1' % n for n in range(20_000)) + b"}",
    ],
    ids=lambda raw: repr(raw[:12]),
)
async def test_odd_bodies_are_refused_everywhere(api: Api, scene: Scene, raw: bytes) -> None:
    options = {"data": raw, "headers": {"Content-Type": "application/json"}}
    answers = await try_all(api, scene, [(route, path_of(route, scene), options) for route in WITH_BODY])
    optional = {route.name for route in WITH_BODY if not any(f.is_required() for f in route.body.model_fields.values())}
    accepted = {route.name for route, answer in answers if answer.status < 400}
    assert accepted <= optional


async def test_twice_the_same_field_counts_once(api: Api, scene: Scene) -> None:
    """The last one, as orjson and browsers read it."""
    raw = b'{"first_name": "First", "first_name": "Second", "last_name": "x"}'
    answer = await api.call(
        "POST", "/api/v1/clients", scene.house.owner, data=raw, headers={"Content-Type": "application/json"}
    )
    assert answer.data["first_name"] == "Second"


async def test_injections_are_text(api: Api, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """In every field; where one is stored, it is stored as it was sent."""
    answers = await try_all(api, scene, every_field(scene, [json.dumps(text) for text in INJECTIONS]))
    assert {answer.status for _, answer in answers} >= {201, 422}
    for text in INJECTIONS:
        body = {"first_name": text, "last_name": text, "goals": text, "allow_duplicate": True}
        stored = (await api.post("/api/v1/clients", scene.house.owner, json=body)).data
        assert (stored["first_name"], stored["goals"]) == (text, text)
    assert await api.db.fetchval("select count(*) from users") >= 10
    assert not any(text in record.getMessage() for record in caplog.records for text in INJECTIONS if len(text) > 4)


async def test_injections_in_queries_find_nothing_more(api: Api, scene: Scene) -> None:
    calls = [
        (route, path_of(route, scene), {"params": {name: text}})
        for route in WITH_QUERY
        for name in route.query.model_fields
        for text in [
            *INJECTIONS,
            "1e400",
            "9" * 5000,
            "\0",
            "\ud83d\ude00",
            "infinity",
            "-1",
            "0",
            "99999999999999999999",
        ]
    ]
    await try_all(api, scene, calls)
    for text in ("%", "_", "' or '1'='1"):
        assert (await api.get("/api/v1/clients", scene.house.owner, params={"q": text})).data == []


@each_tag(WITH_QUERY)
async def test_parameters_stand_once_and_are_known(api: Api, scene: Scene, routes: Sequence[Route]) -> None:
    for route in routes:
        path, name = path_of(route, scene), next(iter(route.query.model_fields))
        alias = route.query.model_fields[name].alias or name
        twice = await api.get(f"{path}?{alias}=1&{alias}=1", scene.house.owner)
        assert twice.code == "DUPLICATE_PARAMETER", route.name
        for unknown in (
            f"{alias}[]=1",
            f"{alias}[$ne]=1",
            f"{alias.upper()}=1",
            "_method=DELETE",
            "access_token=x",
            "__proto__=x",
        ):
            answer = await api.get(f"{path}?{unknown}", scene.house.owner)
            assert answer.status == 422, (route.name, unknown)


async def test_long_texts_in_every_field_block_nothing(api: Api, scene: Scene) -> None:
    """The loop guard of every test looks on: no pattern may take long."""
    await try_all(api, scene, every_field(scene, [json.dumps(text) for text in LONG_TEXTS]))
    calls = [
        (route, path_of(route, scene), {"params": {name: text[:7000]}})
        for route in WITH_QUERY
        for name in route.query.model_fields
        for text in LONG_TEXTS
    ]
    await try_all(api, scene, calls)


@each_tag(WITH_IDS)
async def test_ids_have_one_spelling(api: Api, scene: Scene, routes: Sequence[Route]) -> None:
    for route in routes:
        for wrong in other_ids(str(scene.ids.get(route.id_names[-1], uuid4()))):
            ids = {name: uuid4() for name in route.id_names} | {route.id_names[-1]: wrong}
            path = route.path.format(emoji="👍", **ids)
            answer = await api.call(route.method, path, scene.house.owner, json=scene.body(route, 0))
            assert answer.status in (400, 404, 405), (route.name, wrong)


def other_ids(right: str) -> tuple[str, ...]:
    return (
        right.replace("-", ""),
        f"{{{right}}}",
        f"urn:uuid:{right}"[:36],
        right[:-1],
        right + "0",
        "1",
        "-1",
        "null",
        "00000000000000000000000000000000000g",
        "%00",
        "..%2f..%2fetc%2fpasswd",
        "1%20or%201=1",
    )
