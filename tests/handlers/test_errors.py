"""Every failure has the brief's form, wherever it happens."""

import asyncio
import json
import os
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from tests.api import Answer, Api
from tests.factories import House
from tests.owner import as_owner

SECURITY_HEADERS = (
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "X-Frame-Options",
    "Cross-Origin-Opener-Policy",
    "Permissions-Policy",
    "Cache-Control",
    "X-Request-ID",
)


def assert_form(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.raw
    assert set(answer.body) == {"error"}
    assert set(answer.body["error"]) == {"code", "message", "details"}
    for name in SECURITY_HEADERS:
        assert name in answer.headers, name
    assert "Server" not in answer.headers


async def test_unknown_address(api: Api) -> None:
    assert_form(await api.get("/api/v1/nothing"), 404)
    assert_form(await api.get("/wp-admin.php"), 404)


async def test_wrong_method_says_which_are_right(api: Api) -> None:
    answer = await api.call("DELETE", "/api/v1/clients")
    assert_form(answer, 405)
    assert set(answer.headers["Allow"].split(",")) >= {"GET", "POST"}


async def test_no_token(api: Api) -> None:
    assert_form(await api.get("/api/v1/clients"), 401)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "MALFORMED_JSON"),
        (b"", 400, "MALFORMED_JSON"),
        (b"\xff\xfe{}", 400, "MALFORMED_JSON"),
        (b'{"first_name": NaN, "last_name": "x"}', 400, "MALFORMED_JSON"),
        (b'{"first_name": "\\ud800", "last_name": "x"}', 400, "MALFORMED_JSON"),
        (b"[" * 100_000, 400, "MALFORMED_JSON"),
        (b'{"first_name": ' + b"9" * 5000 + b', "last_name": "x"}', 400, "MALFORMED_JSON"),
        (b"[]", 422, "VALIDATION_FAILED"),
        (b"null", 422, "VALIDATION_FAILED"),
        (b'{"first_name": "a\\u0000b", "last_name": "x"}', 422, "VALIDATION_FAILED"),
        (b'{"first_name": "a", "last_name": "x", "surprise": 1}', 422, "VALIDATION_FAILED"),
        (b'{"first_name": "a", "last_name": "x", "id": "1"}', 422, "VALIDATION_FAILED"),
        (b'{"first_name": "' + b"a" * 1_100_000 + b'"}', 413, "TOO_LARGE"),
    ],
    ids=lambda v: repr(v[:24]) if isinstance(v, bytes) else None,
)
async def test_bad_body(api: Api, house: House, body: bytes, status: int, code: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await api.call("POST", "/api/v1/clients", house.coach, data=body, headers=headers)
    assert_form(answer, status)
    assert answer.code == code
    assert await api.db.fetchval("select count(*) from clients") == 2


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate"])
async def test_compressed_body_is_refused(api: Api, house: House, encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answer = await api.call("POST", "/api/v1/clients", house.coach, data=b"anything", headers=headers)
    assert_form(answer, 415)


async def test_body_of_another_type_is_refused(api: Api, house: House) -> None:
    headers = {"Content-Type": "text/plain"}
    body = json.dumps({"first_name": "a", "last_name": "b"})
    assert_form(await api.call("POST", "/api/v1/clients", house.coach, data=body, headers=headers), 415)


@pytest.mark.parametrize(
    "query", ["page=0", "page_size=101", "page=x", "page=99999999999999999999", "surprise=1", "sort=id;drop"]
)
async def test_bad_query_names_its_parameter(api: Api, house: House, query: str) -> None:
    answer = await api.get(f"/api/v1/clients?{query}", house.coach)
    assert_form(answer, 422)
    assert answer.field_paths == [f"query.{query.split('=')[0]}"]


async def test_repeated_parameter_is_refused(api: Api, house: House) -> None:
    assert_form(await api.get("/api/v1/clients?page=1&page=2", house.coach), 400)


@pytest.mark.parametrize("text", ["1", "../../etc/passwd", "%00", "12345678123456781234567812345678", "x" * 36])
async def test_id_that_is_no_uuid(api: Api, house: House, text: str) -> None:
    answer = await api.get(f"/api/v1/clients/{text.replace('/', '%2F')}", house.coach)
    assert_form(answer, 400)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /api/v1/clients HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /api/v1/clients HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 129 + b"\r\n",
    ],
    ids=["no HTTP", "unknown version", "length no number", "two framings", "long header", "many headers"],
)
async def test_malformed_http_gets_the_same_form(api: Api, request_bytes: bytes) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_bytes)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") or head.startswith(b"HTTP/1.0 400")
    assert set(json.loads(body)) == {"error"}
    assert b"X-Request-ID" in head
    assert b"\r\nServer:" not in head


async def test_request_id_is_taken_or_made(api: Api) -> None:
    assert (await api.get("/health/live", headers={"X-Request-ID": "mine-1"})).headers["X-Request-ID"] == "mine-1"
    made = (await api.get("/health/live", headers={"X-Request-ID": "not a proper id"})).headers["X-Request-ID"]
    assert made != "not a proper id"
    assert len(made) == 32


async def test_unexpected_exception_tells_nothing(api: Api, house: House, caplog: pytest.LogCaptureFixture) -> None:
    await as_owner(api.db, "alter table clients rename to clients_gone")
    answer = await api.get("/api/v1/clients", house.coach, headers={"X-Request-ID": "trace-me"})
    assert_form(answer, 500)
    assert b"clients_gone" not in answer.raw
    assert [r for r in caplog.records if r.message == "request failed"]


async def test_lost_database_is_unavailable_and_comes_back(api: Api, house: House, database_url: str) -> None:
    name = urlsplit(database_url).path.removeprefix("/")
    admin = await asyncpg.connect(os.environ["TEST_DATABASE_URL"])
    await admin.execute(f'alter database "{name}" with allow_connections false')
    await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
    answer = await api.get("/api/v1/clients", house.coach)
    assert_form(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert_form(await api.get("/api/v1/clients", house.coach), 503)
    assert (await api.get("/health/ready")).status == 503
    assert (await api.get("/health/live")).status == 200
    await admin.execute(f'alter database "{name}" with allow_connections true')
    await admin.close()
    assert (await api.get("/api/v1/clients", house.coach)).status == 200


async def test_cors_is_for_listed_origins_only(api: Api, house: House) -> None:
    good, evil = "https://app.example.org", "https://app.example.org.evil.example"
    answer = await api.get("/api/v1/clients", house.coach, headers={"Origin": good})
    assert answer.headers["Access-Control-Allow-Origin"] == good
    for origin in (evil, "null", "http://app.example.org"):
        answer = await api.get("/api/v1/clients", house.coach, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"
    preflight = {"Origin": good, "Access-Control-Request-Method": "PATCH"}
    answer = await api.call("OPTIONS", f"/api/v1/clients/{uuid4()}", headers=preflight)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, good)
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]


async def test_health_tells_of_each_component(api: Api) -> None:
    answer = await api.get("/health")
    assert answer.status == 200
    assert set(answer.body["components"]) == {"gateway", "core", "auth", "chat", "ai", "worker"}
    for name in answer.body["components"]:
        assert (await api.get(f"/health/{name}")).status == 200
    assert_form(await api.get("/health/nonsense"), 404)


async def test_metrics_count_by_route_template(api: Api, house: House) -> None:
    client: Any = (await api.get(f"/api/v1/clients/{house.client_id}", house.owner)).data
    text = (await api.get("/metrics")).raw.decode()
    assert 'route="/api/v1/clients/{client_id}",status="200"' in text
    assert client["id"] not in text
