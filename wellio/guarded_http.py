"""Calls addresses that people gave, and reaches nothing but the public internet by it (wellio/outgoing.py).

The name is looked up here; every address that it stands for must be public, or none is called. The connection goes to
what was checked and to nothing that another look-up would say (DNS rebinding): its socket is only made for an address
that was found good. No proxy of the environment, no cookie, no connection kept; bounded in time and in bytes, before
and after decompression.
"""

import asyncio
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from wellio.outgoing import Answered, Ask, Call, NotReached, OutgoingRules, checked_url, is_allowed

TOTAL_S, CONNECT_S = 15.0, 5.0
CHUNK_BYTES = 16 * 1024
AT_ONCE = 64
# Look-ups block a thread each, for as long as a name server likes: they have threads of their own.
LOOKUPS_AT_ONCE = 16
REDIRECTS = frozenset({301, 302, 303, 307, 308})
AGENT = "Wellio"
# An answer whose words matter little is not waited for: its status came first.
GLANCE_S = 2.0

UNREACHABLE = "The address could not be reached: nobody answers there on the public internet."
TOO_SLOW = f"The answer took longer than {TOTAL_S:.0f} seconds."
TOO_LARGE = "The answer is too large."
NOT_HTTP = "The answer could not be understood."
NO_TRUST = "The server's certificate is not valid for this address."
TOO_MANY_REDIRECTS = "The address redirects too often."
BAD_REDIRECT = "The address redirects to one that is not called."

# The addresses of a name, as (family, address) of the socket module. Raises OSError.
Lookup = Callable[[str, int], Sequence[tuple[int, str]]]


@asynccontextmanager
async def open_guarded_http(
    rules: OutgoingRules, *, lookup: Lookup | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[Call]:
    """`lookup` and `context` are of the outside world: its name servers, and whose certificates are trusted."""
    threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="lookup")
    try:
        resolver = _CheckedResolver(rules, lookup or _look_up, threads)
        connector = aiohttp.TCPConnector(
            resolver=resolver,
            use_dns_cache=False,
            force_close=True,
            limit=AT_ONCE,
            ssl=context or True,
            socket_factory=resolver.make_socket,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            raise_for_status=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
        ) as session:
            yield partial(_call, session, rules)
    finally:
        # Not waited for: a look-up that hangs ends by itself.
        threads.shutdown(wait=False, cancel_futures=True)


class _CheckedResolver(AbstractResolver):
    """Gives only addresses that may be called, and makes sockets only for such."""

    def __init__(self, rules: OutgoingRules, lookup: Lookup, threads: ThreadPoolExecutor) -> None:
        self._rules = rules
        self._lookup = lookup
        self._threads = threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._lookup, host, port)
        if not found or not all(is_allowed(address, host, self._rules) for _, address in found):
            raise OSError("not allowed")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in dict.fromkeys(found)
        ]

    async def close(self) -> None:
        """Nothing is held."""

    def make_socket(self, address: Any) -> socket.socket:
        """The last gate: also for what came here without a look-up."""
        family, kind, protocol, _, place = address
        if not is_allowed(place[0], "localhost", self._rules):
            raise OSError("not allowed")
        return socket.socket(family, kind, protocol)


def _look_up(host: str, port: int) -> Sequence[tuple[int, str]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, str(place[0])) for family, _, _, _, place in found]


async def _call(session: aiohttp.ClientSession, rules: OutgoingRules, ask: Ask, /) -> Answered:
    """Raises NotReached. All of it, with redirects and the reading of the answer, within TOTAL_S."""
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(TOTAL_S):
            return await _follow(session, rules, ask, began)
    except (aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
        raise NotReached(UNREACHABLE) from None
    except TimeoutError:
        raise NotReached(TOO_SLOW) from None
    except aiohttp.ClientConnectorCertificateError:
        raise NotReached(NO_TRUST) from None
    except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorSSLError):
        raise NotReached(UNREACHABLE) from None
    except (aiohttp.ClientError, ValueError, zlib.error):
        raise NotReached(NOT_HTTP) from None


async def _follow(session: aiohttp.ClientSession, rules: OutgoingRules, ask: Ask, began: float) -> Answered:
    url = ask.url
    for redirects_left in range(ask.redirects, -1, -1):
        try:
            url = checked_url(url, rules)
        except ValueError:
            raise NotReached(UNREACHABLE if url == ask.url else BAD_REDIRECT) from None
        async with session.request(
            ask.method,
            URL(url, encoded=True),
            headers={"User-Agent": AGENT, "Accept-Encoding": "gzip", **ask.headers},
            data=ask.body,
            allow_redirects=False,
        ) as response:
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or location is None or not ask.redirects:
                return await _answer(response, ask, began)
            if not redirects_left:
                raise NotReached(TOO_MANY_REDIRECTS)
            url = urljoin(url, location)
    raise NotReached(TOO_MANY_REDIRECTS)


async def _answer(response: aiohttp.ClientResponse, ask: Ask, began: float) -> Answered:
    body = await _read(response, ask) if ask.whole else await _glance(response, ask)
    headers = {name.lower(): value for name, value in response.headers.items()}
    took = asyncio.get_running_loop().time() - began
    return Answered(response.status, headers, body, timedelta(seconds=took))


async def _glance(response: aiohttp.ClientResponse, ask: Ask) -> bytes:
    try:
        async with asyncio.timeout(GLANCE_S):
            return await _read(response, ask)
    except (TimeoutError, aiohttp.ClientError, ValueError, zlib.error):
        return b""


async def _read(response: aiohttp.ClientResponse, ask: Ask) -> bytes:
    """Decompressed piece by piece, never further than `most_bytes`."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise ValueError("an encoding that was not asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
    parts, size = [], 0
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        room = ask.most_bytes - size
        part = unpacker.decompress(chunk, room + 1) if unpacker else chunk
        parts.append(part[:room])
        size += min(len(part), room)
        if len(part) > room:
            if ask.whole:
                raise NotReached(TOO_LARGE)
            break
    return b"".join(parts)
