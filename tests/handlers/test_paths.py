"""Addresses that are not ours, other spellings of ours, other origins, and what stands on every answer."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from tests.api import Answer, Api
from tests.factories import House
from tests.handlers.conftest import Starter
from tests.handlers.test_errors import assert_form
from tests.handlers.wire import send
from tests.test_authorization import Scene, each_tag, scene
from wellio.handlers.routes import Route
from wellio.handlers.table import ROUTES
from wellio.http_limits import HttpLimits

__all__ = ["scene"]

# What scanners ask for first: consoles, forgotten files, debugging aids.
NAMES = (Path(__file__).parent / "well_known.txt").read_text().split()
PREFIXES = ("/", "/api/", "/api/v1/", "/static/")
WELL_KNOWN = sorted({prefix + name for prefix in PREFIXES for name in NAMES})
METHODS = ("TRACE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "SEARCH", "DEBUG", "TRACK", "HEAD", "PUT")
EVIL_ORIGINS = (
    "https://evil.example",
    "null",
    "https://app.example.org.evil.example",
    "https://evilapp.example.org",
    "http://app.example.org",
    "https://app.example.org:8443",
    "https://APP.example.org.",
    "file://",
    "https://app.example.org@evil.example",
    "*",
)
HEADERS = {
    "Cache-Control",
    "Content-Security-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "Permissions-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-Request-ID",
}


async def gathered(calls: Iterable[tuple[str, str]], api: Api) -> dict[tuple[str, str], Answer]:
    gate = asyncio.Semaphore(8)

    async def one(method: str, path: str) -> Answer:
        async with gate:
            return await api.call(method, path, allow_redirects=False)

    calls = list(calls)
    return dict(zip(calls, await asyncio.gather(*(one(*call) for call in calls)), strict=True))


async def test_well_known_addresses_of_others_are_not_ours(api: Api) -> None:
    assert len(WELL_KNOWN) > 300
    answers = await gathered((("GET", path) for path in WELL_KNOWN), api)
    assert {path: a.status for (_, path), a in answers.items() if a.status not in (404, 405)} == {}
    for (_, path), answer in answers.items():
        assert answer.body, path
        assert_form(answer, answer.status)


async def test_other_methods_do_nothing_anywhere(api: Api, scene: Scene) -> None:
    paths = {path_of(route, scene) for route in ROUTES} | {"/", "/health", "/docs", "/sign-in", "/static/console.css"}
    answers = await gathered(((method, path) for path in sorted(paths) for method in METHODS), api)
    ours = {(route.method, path_of(route, scene)) for route in ROUTES}
    wrong = {
        call: answer.status
        for call, answer in answers.items()
        if answer.status not in (400, 404, 405) and call[0] != "HEAD" and call not in ours
    }
    assert wrong == {}
    assert {a.status for call, a in answers.items() if call[0] == "HEAD"} <= {200, 303, 401, 404, 405}


def path_of(route: Route, scene: Scene) -> str:
    return route.path.format(
        emoji="%F0%9F%91%8D", **{name: scene.ids.get(name, scene.house.client_id) for name in route.id_names}
    )


@each_tag(ROUTES)
async def test_addresses_have_one_spelling(api: Api, scene: Scene, routes: Sequence[Route]) -> None:
    token = api.token(scene.house.owner)
    for route in routes:
        for other in other_spellings(path_of(route, scene)):
            reply = (await send(api, wire(route.method, other, token)))[0]
            unknown = (422,) if route.word_names else ()  # "👍;a=b" is a word, and no emoji
            assert reply.status in (400, 404, 405, *unknown), (route.name, other)


def other_spellings(path: str) -> list[str]:
    last = path.rsplit("/", 1)[1]
    return [
        f"{path}/",
        f"{path}//",
        f"/{path}",
        path.replace("/api/", "/api//"),
        path.replace("/api/", "/API/"),
        f"{path};a=b",
        f"{path}.json",
        f"{path}%2f",
        f"{path}%00",
        f"{path}%20",
        f"/x/..%2f..{path}",
        path.replace("/v1/", "/v1/%2e%2e/v1/x/"),
        path[: -len(last)] + last.upper() + "/",
        path.replace("/v1/", "/v1;x/"),
        path.replace("/v1/", "/v2/"),
    ]


def wire(method: str, path: str, token: str) -> bytes:
    # By hand: a client would tidy the path up.
    headers = f"Host: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\nConnection: close"
    return f"{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode()


async def test_method_is_the_one_of_the_request_line(api: Api, house: House) -> None:
    path = f"/api/v1/clients/{house.client_id}"
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = await api.call("GET", path, house.owner, headers={header: "PATCH"})
        assert answer.status == 200
        assert answer.data["version"] == 1
    answer = await api.get(f"{path}?_method=PATCH", house.owner)
    assert answer.status == 422


@each_tag(ROUTES)
async def test_other_origins_get_no_leave(api: Api, scene: Scene, routes: Sequence[Route]) -> None:
    for route, origin in product(routes, EVIL_ORIGINS):
        preflight = {"Origin": origin, "Access-Control-Request-Method": route.method}
        answer = await api.call("OPTIONS", path_of(route, scene), headers=preflight)
        assert not [name for name in answer.headers if name.startswith("Access-Control-")], (route.name, origin)


async def test_other_sites_can_not_send_what_counts(api: Api, house: House) -> None:
    """A page can make a browser send forms and plain text without asking first: neither is taken, nor are cookies."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": kind, "Origin": "https://evil.example"}
        body = b'{"first_name": "a", "last_name": "b"}'
        answer = await api.call("POST", "/api/v1/clients", house.owner, data=body, headers=headers)
        assert answer.status == 415
    cookie = {"Cookie": f"wellio_session={api.token(house.owner)}; access_token={api.token(house.owner)}"}
    assert (await api.get("/api/v1/clients", headers=cookie)).status == 401
    assert await api.db.fetchval("select count(*) from clients") == 2


async def test_security_headers_stand_on_every_answer(limited: Starter, narrow: Starter, house: House) -> None:
    good = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "GET"}
    async with limited(env="production", rate_limit_scale=0.05) as api:
        answers = [
            await api.get(path, allow_redirects=False)
            for path in (
                "/",
                "/health",
                "/health/live",
                "/health/nothing",
                "/openapi.json",
                "/docs",
                "/sign-in",
                "/static/nothing",
                "/static/console.css",
                "/metrics",
                "/nothing",
                "/api/v1/clients",
                "/socket.io/?EIO=4&transport=polling",
                "/socket.io/?EIO=3",
                "/socket.io/?j=1",
            )
        ]
        answers += [await api.get("/api/v1/clients", house.owner) for _ in range(8)]
        answers += [
            await api.call("OPTIONS", "/api/v1/clients", headers=good),
            await api.call("DELETE", "/api/v1/clients"),
        ]
        answers += [await api.post("/sign-in"), await api.post("/api/v1/auth/login", json={})]
        answers.append(await api.call("POST", "/nothing", headers={"Expect": "x"}))
    assert {a.status for a in answers} >= {200, 204, 303, 400, 401, 404, 405, 415, 417, 422, 429}
    for answer in answers:
        assert set(answer.headers) >= HEADERS, (answer.status, HEADERS - set(answer.headers))
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=63072000")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in answer.headers
        assert "X-Powered-By" not in answer.headers


async def test_metrics_are_for_this_machine_and_its_network(limited: Starter, narrow: Starter) -> None:
    async with limited() as api:
        for address, status in (("93.184.216.34", 404), ("2600::1", 404), ("10.1.2.3", 200), ("fd00::1", 200)):
            assert (await api.get("/metrics", headers={"X-Forwarded-For": address})).status == status, address
        assert (await api.get("/metrics")).status == 200
    async with narrow(HttpLimits()) as api:  # a proxy that nobody said is one
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            assert_form(await api.get("/metrics", headers={header: "10.0.0.1"}), 404)
