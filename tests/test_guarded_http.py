"""Addresses that people give: whatever they write, nothing but the public internet is reached (SSRF)."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.outreach.post_office import client_context, server_context
from wellio import guarded_http
from wellio.guarded_http import Lookup, open_guarded_http
from wellio.outgoing import Answered, Ask, NotReached, OutgoingRules, checked_url, is_public
from wellio.tasks import wait_within

STRICT, LOOPBACK = OutgoingRules(), OutgoingRules(loopback=True)
PUBLIC = "93.184.215.14"

# I-15. {port}: where the canary listens.
REFUSED = [
    "http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "https://127.0.0.1/", "https://localhost/",
    "https://localhost:{port}/", "https://localhost./", "https://0.0.0.0/", "https://[::]/", "https://[::1]/",
    "https://[::1]:{port}/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/",
    "https://[fe80::1]/", "https://[fe80::1%25lo]/", "https://[fc00::1]/", "https://[fd12:3456::1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::7f00:1]/", "https://[2002:7f00:1::]/", "https://[2001::1]/",
    "https://[2001:db8::1]/", "https://[ff02::1]/", "https://10.0.0.1/", "https://172.16.0.1/",
    "https://172.31.255.255/", "https://192.168.0.1/", "https://100.64.0.1/", "https://100.127.255.255/",
    "https://169.254.169.254/latest/meta-data/", "https://192.0.0.8/", "https://198.18.0.1/", "https://224.0.0.1/",
    "https://240.0.0.1/", "https://255.255.255.255/", "https://2130706433/", "https://0x7f000001/",
    "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://017700000001/", "https://127.1/", "https://127.0.1/",
    "https://0/", "https://127.0.0.1./", "https://good.example@127.0.0.1/", "https://good.example@evil.example/",
    "https://user:password@evil.example/", "https://@evil.example/", "https://good.example\\@127.0.0.1/",
    "https://127.0.0.1\\.good.example/", "https://127.0.0.1#good.example", "https://127.0.0.1?good.example",
    "https://127。0。0。1/", "https://127．0．0．1/", "https://①②⑦.0.0.1/", "https://ⓛocalhost/", "https://loc\u00adalhost/",
    "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x", "data:text/plain,x", "ftp://example.com/", "javascript:1",
    "//127.0.0.1/", "127.0.0.1", "https:///path", "https://", "", "https://example.com:22/", "https://example.com:80/",
    "https://example.com:5432/", "https://example.com:6379/", "https://example.com:0/", "https://example.com:99999/",
    "https://example.com:x/", "http://example.com/", "https://exa mple.com/", "https://example.com/\r\nHost: x",
    "https://example.com/\t", "https://[::1/", "https://[example.com]/", "https://intranet/", "https://printer.local/",
    "https://metadata.google.internal/", "https://-x.example/", "https://a..example/", f"https://{'a' * 64}.example/",
    f"https://example.com/{'a' * 2001}",
]  # fmt: skip
NAMES_OF_THIS_MACHINE = [
    [(socket.AF_INET, "127.0.0.1")], [(socket.AF_INET6, "::1")], [(socket.AF_INET, "0.0.0.0")],
    [(socket.AF_INET6, "::ffff:127.0.0.1")], [(socket.AF_INET, PUBLIC), (socket.AF_INET, "127.0.0.1")],
    [(socket.AF_INET6, "fd00::1")], [(socket.AF_INET, "169.254.169.254")], [],
]  # fmt: skip


class Canary:
    """Listens on loopback, and counts who comes."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Canary"]:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(await asyncio.start_server(self._come, "127.0.0.1", 0))
            self.port = first.sockets[0].getsockname()[1]
            await stack.enter_async_context(await asyncio.start_server(self._come, "::1", self.port))
            yield self


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    async with Canary().open() as canary:
        yield canary


async def failure(ask: Ask, rules: OutgoingRules = STRICT, lookup: Lookup | None = None) -> str:
    async with open_guarded_http(rules, lookup=lookup or (lambda host, port: [])) as call:
        with pytest.raises(NotReached) as told:
            await call(ask)
    return told.value.reason


@pytest.mark.parametrize("url", REFUSED)
async def test_address_that_is_not_public_is_refused_and_never_called(url: str, canary: Canary) -> None:
    url = url.format(port=canary.port)
    with pytest.raises(ValueError, match=r"must|is not"):
        checked_url(url, STRICT)

    def this_machine(host: str, port: int) -> Sequence[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]

    assert await failure(Ask(url=url), lookup=this_machine) == guarded_http.UNREACHABLE
    assert canary.connections == 0


@pytest.mark.parametrize("url", REFUSED)
async def test_loopback_is_called_by_its_own_names_only(url: str, canary: Canary) -> None:
    """In development, when the setting says so."""
    with suppress(ValueError):
        checked = checked_url(url.format(port=canary.port), LOOPBACK)
        assert urlsplit(checked).hostname in ("localhost", "127.0.0.1", "::1")


@pytest.mark.parametrize("found", NAMES_OF_THIS_MACHINE, ids=str)
@pytest.mark.parametrize("port", [443, 8443])
async def test_name_that_stands_for_what_is_not_public_is_never_called(
    found: list[tuple[int, str]], port: int, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = count_sockets(monkeypatch)
    ask = Ask(url=f"https://hooks.example:{port}/")
    assert await failure(ask, lookup=lambda host, port: found) == guarded_http.UNREACHABLE
    assert made == []


async def test_second_answer_of_a_name_server_is_nowhere_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public for the check, this machine for the connection."""
    made = count_sockets(monkeypatch)
    answers = [[(socket.AF_INET, PUBLIC)], [(socket.AF_INET, "127.0.0.1")]]
    asked = []

    def rebind(host: str, port: int) -> Sequence[tuple[int, str]]:
        asked.append(host)
        return answers[min(len(asked), 2) - 1]

    async with open_guarded_http(STRICT, lookup=rebind) as call:
        for _ in range(2):
            with pytest.raises(NotReached):
                await call(Ask(url="https://rebind.example/"))
    assert made == [PUBLIC]
    assert len(asked) == 2


def count_sockets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses for which a socket would have been made; none is."""
    made: list[str] = []
    make = guarded_http._CheckedResolver.make_socket

    def note(self: guarded_http._CheckedResolver, address: tuple[int, int, int, str, tuple[str, int]]) -> socket.socket:
        make(self, address).close()
        made.append(address[4][0])
        raise OSError("the test goes nowhere")

    monkeypatch.setattr(guarded_http._CheckedResolver, "make_socket", note)
    return made


@given(st.ip_addresses())
def test_no_private_address_is_public(ip: object) -> None:
    if is_public(str(ip)):
        assert getattr(ip, "is_global", False)
        assert not getattr(ip, "is_private", True)


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/a%20b?c=d&e=f#part", "https://example.com:443/a%20b?c=d&e=f"),
        ("https://bücher.example:8443/ü?q=ü", "https://xn--bcher-kva.example:8443/%C3%BC?q=%C3%BC"),
        ("https://93.184.215.14/x", "https://93.184.215.14/x"),
        ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/"),
        ("https://127.0.0.1.nip.example/", "https://127.0.0.1.nip.example/"),
    ],
)
def test_public_address_has_one_spelling(url: str, checked: str) -> None:
    assert checked_url(url, STRICT) == checked
    assert checked_url(checked, STRICT) == checked


# ---------------------------------------------------------------- answers, from a server that misbehaves


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], object], context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ask_of(
    handler: Callable[[web.Request], object], *, context: ssl.SSLContext | None = None, **how: object
) -> Answered:
    async with serving(handler) as url, open_guarded_http(LOOPBACK, context=context) as call:
        return await call(Ask(url=f"{url}/", **how))  # type: ignore[arg-type]


async def test_answer_comes_with_status_headers_and_body() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.method == "POST"
        assert request.headers["X-Wellio"] == "1"
        return web.Response(status=500, body=await request.read() + b"!", headers={"ETag": '"x"'})

    answered = await ask_of(answer, method="POST", body=b"hello", headers={"X-Wellio": "1"})
    assert (answered.status, answered.body, answered.headers["etag"]) == (500, b"hello!", '"x"')


async def test_environment_names_no_proxy_and_cookies_are_forgotten(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with serving(answer) as url, open_guarded_http(LOOPBACK) as call:
        for _ in range(2):
            assert (await call(Ask(url=url))).status == 200
    assert seen == [None, None]
    assert canary.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_not_followed(status: int, canary: Canary) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"http://127.0.0.1:{canary.port}/"})

    assert (await ask_of(answer, method="POST")).status == status
    assert canary.connections == 0


@pytest.mark.parametrize(
    "location", ["http://10.0.0.1/", "https://169.254.169.254/", "file:///etc/passwd", "https://[::ffff:127.0.0.1]/"]
)
async def test_each_redirect_is_checked_as_the_first_address(location: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    with pytest.raises(NotReached, match="redirects to one that is not called"):
        await ask_of(answer, redirects=3)


async def test_three_redirects_are_followed_and_no_fourth() -> None:
    async def answer(request: web.Request) -> web.Response:
        left = int(request.query.get("left", "3"))
        return web.Response(status=302, headers={"Location": f"/?left={left - 1}"}) if left else web.Response(text="!")

    assert (await ask_of(answer, redirects=3)).body == b"!"
    with pytest.raises(NotReached, match="too often"):
        await ask_of(answer, redirects=2)


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(bytes(65536))
    return response


async def test_endless_answer_is_cut_off() -> None:
    assert len((await ask_of(endless, most_bytes=10_000)).body) == 10_000
    with pytest.raises(NotReached, match="too large"):
        await ask_of(endless, most_bytes=10_000, whole=True)


async def test_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    with pytest.raises(NotReached, match="too large"):
        await ask_of(answer, most_bytes=1_000_000, whole=True)


async def test_compressed_answer_is_read() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"BEGIN:VCALENDAR" * 1000), headers={"Content-Encoding": "gzip"})

    assert (await ask_of(answer, most_bytes=100_000, whole=True)).body == b"BEGIN:VCALENDAR" * 1000


async def test_answer_that_drips_ends_with_the_time_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "TOTAL_S", 0.3)
    enough = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(5):
                while not enough.is_set():
                    await response.write(b"x")
                    await wait_within(enough, 0.02)
        return response

    with pytest.raises(NotReached, match="took longer"):
        await ask_of(drip, whole=True)
    monkeypatch.setattr(guarded_http, "TOTAL_S", 15.0)
    monkeypatch.setattr(guarded_http, "GLANCE_S", 0.1)
    assert (await ask_of(drip)).status == 200
    enough.set()


async def test_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "TOTAL_S", 0.2)
    gone = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await gone.wait()
        return web.Response()

    with pytest.raises(NotReached, match="took longer"):
        await ask_of(hang)
    gone.set()


async def test_certificate_must_be_of_the_address() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="secret")

    async with serving(answer, server_context()) as url:
        async with open_guarded_http(LOOPBACK) as call:
            with pytest.raises(NotReached, match="certificate"):
                await call(Ask(url=url))
        async with open_guarded_http(LOOPBACK, context=client_context()) as call:
            assert (await call(Ask(url=url))).body == b"secret"


async def test_closed_port_and_forbidden_address_are_told_alike(canary: Canary) -> None:
    """No map of the inner network can be drawn by what is told."""
    closed = await failure(Ask(url=f"http://127.0.0.1:{closed_port()}/"), LOOPBACK)
    private = await failure(Ask(url="https://name.example/"), lookup=lambda h, p: [(socket.AF_INET, "10.0.0.1")])
    nowhere = await failure(Ask(url="https://name.example/"), lookup=no_such_name)
    assert closed == private == nowhere == guarded_http.UNREACHABLE


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def no_such_name(host: str, port: int) -> Sequence[tuple[int, str]]:
    raise socket.gaierror("no such name")


async def test_answer_that_is_not_http_is_told_as_such() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n" * 10)
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await failure(Ask(url=f"http://127.0.0.1:{port}/"), LOOPBACK) == guarded_http.NOT_HTTP
