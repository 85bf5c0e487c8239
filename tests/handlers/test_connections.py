"""Connections: how many, for how long. The limits here are short; nobody waits for the usual ones."""

import asyncio
import os
import resource
import subprocess
import sys
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest

from tests.api import Api
from tests.conftest import SECRET
from tests.factories import House
from tests.handlers.conftest import Starter
from tests.handlers.wire import place, read_reply, send, until_closed
from tests.waiting import eventually
from wellio.accounts.tokens import Tokens
from wellio.config import Config
from wellio.http_limits import HttpLimits, fitting_http_limits

ROOT = Path(__file__).parent.parent.parent
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


async def connect(api: Api, stack: AsyncExitStack) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*place(api))
    stack.callback(writer.close)
    return reader, writer


async def is_served(api: Api) -> bool:
    return [reply.status for reply in await send(api, LAST)] == [200]


@pytest.mark.parametrize(
    ("limits", "status"),
    [(HttpLimits(connections=5), 503), (HttpLimits(local=5), 429)],
    ids=["in all", "of an address"],
)
async def test_connections_beyond_the_limit_are_refused_in_our_form_until_others_end(
    narrow: Starter, limits: HttpLimits, status: int
) -> None:
    async with narrow(limits) as api, AsyncExitStack() as stack:
        others = [await connect(api, stack) for _ in range(5)]
        for reader, writer in others:
            writer.write(LIVE)
            reply = await read_reply(reader)
            assert reply
            assert reply.status == 200
        [refusal] = await send(api, LAST)
        assert (refusal.status, refusal.code) == (status, "TOO_MANY_CONNECTIONS")
        assert refusal.headers["retry-after"] == "5"
        assert refusal.headers["x-frame-options"] == "DENY"
        assert "server" not in refusal.headers
        others[0][1].close()
        await eventually(lambda: is_served(api))


async def test_proxies_bring_many(narrow: Starter) -> None:
    trusted = (ip_network("127.0.0.1"),)
    async with narrow(HttpLimits(local=2), trusted_proxies=trusted) as api, AsyncExitStack() as stack:
        for _ in range(10):
            reader, writer = await connect(api, stack)
            writer.write(LIVE)
            reply = await read_reply(reader)
            assert reply
            assert reply.status == 200


async def test_flood_of_connections_leaves_those_that_are_in_alone(narrow: Starter) -> None:
    async with narrow(HttpLimits(connections=3)) as api, AsyncExitStack() as stack:
        reader, writer = await connect(api, stack)
        for _ in range(4):
            flood = await asyncio.gather(*(asyncio.open_connection(*place(api)) for _ in range(100)))
            writer.write(LIVE)
            reply = await read_reply(reader)
            assert reply
            assert reply.status == 200
            for _, end in flood:
                end.close()
        await eventually(lambda: is_served(api))


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", LIVE],
    ids=["silent", "half a line", "half a header", "after an answer"],
)
async def test_connection_that_sends_no_whole_request_ends(narrow: Starter, sent: bytes) -> None:
    async with narrow(HttpLimits(idle_s=0.3)) as api, AsyncExitStack() as stack:
        reader, writer = await connect(api, stack)
        writer.write(sent)
        await until_closed(reader)


async def test_connection_that_sends_a_byte_now_and_then_ends_all_the_same(narrow: Starter) -> None:
    async with narrow(HttpLimits(idle_s=0.5)) as api, AsyncExitStack() as stack:
        reader, writer = await connect(api, stack)
        closed = asyncio.ensure_future(until_closed(reader))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        await eventually(lambda: drip(writer, closed))
        await closed


def drip(writer: asyncio.StreamWriter, closed: "asyncio.Future[bytes]") -> bool:
    if not closed.done():
        writer.write(b"X: a\r\n")
    return closed.done()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/v1/auth/login", "application/json"),
        ("/sign-in", "application/x-www-form-urlencoded"),
        ("/nothing", "application/json"),
    ],
)
async def test_half_a_body_is_not_waited_for(narrow: Starter, path: str, kind: str) -> None:
    async with narrow(HttpLimits(body_s=0.3)) as api, AsyncExitStack() as stack:
        reader, writer = await connect(api, stack)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
        writer.write(head.encode() + b'{"email": ')
        reply = await read_reply(reader)
        assert reply
        assert reply.status in (400, 404)
        await until_closed(reader)


async def test_half_a_packet_of_long_polling_is_not_waited_for(narrow: Starter) -> None:
    async with narrow(HttpLimits(body_s=0.3)) as api, AsyncExitStack() as stack:
        opened = await api.get("/socket.io/?EIO=4&transport=polling")
        sid = opened.raw.decode().split('"sid":"')[1].split('"')[0]
        reader, writer = await connect(api, stack)
        path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n40".encode())
        await until_closed(reader)


async def test_pipelined_requests_are_answered_in_order_and_in_bounds(api: Api) -> None:
    many = b"".join(LIVE.replace(b"\r\n\r\n", b"\r\nX-Request-ID: n%d\r\n\r\n" % n) for n in range(1000))
    replies = await send(api, many + LAST)
    assert [reply.headers["x-request-id"] for reply in replies] == [f"n{n}" for n in range(1000)] + [
        replies[-1].headers["x-request-id"]
    ]


def test_limits_fit_what_the_operating_system_gives() -> None:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert fitting_http_limits(scale=1, local_addresses=1).connections <= max(10, soft)
    assert (
        fitting_http_limits(scale=2, local_addresses=20).local
        == 20 * fitting_http_limits(scale=2, local_addresses=1).per_address
    )


async def test_process_without_free_descriptors_goes_on(
    config: Config, database_url: str, redis_url: str, tmp_path: Path, house: House
) -> None:
    """Too few for all who come: some wait, those who are in are served, and afterwards everybody is."""
    environment = os.environ | {
        "DATABASE_URL": database_url, "REDIS_URL": redis_url, "JWT_SECRET": SECRET, "PORT": "0",
        "WELLIO_DEMO": "0", "WELLIO_DATA_DIR": str(tmp_path), "LOG_LEVEL": "error",
    }  # fmt: skip
    program = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80)); "
        "runpy.run_module('wellio', run_name='__main__')"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            ready = await asyncio.to_thread(process.stdout.readline)
            async with aiohttp.ClientSession() as session:
                api = Api(session, ready.split()[1], Tokens(SECRET), None)  # type: ignore[arg-type]
                async with AsyncExitStack() as stack:
                    for _ in range(150):
                        await connect(api, stack)
                await eventually(lambda: is_served(api))
                assert (await api.get("/api/v1/auth/me", house.coach)).status == 200
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()
