"""Connections: how many there may be, and the form of what is refused before it becomes a request."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from wellio.config import Network
from wellio.errors import TooMany, Unavailable, WellioError
from wellio.handlers.callers import is_trusted, parse_address
from wellio.handlers.errors import error_response, internal_error_response, malformed_http_response
from wellio.handlers.middlewares import SECURITY_HEADERS
from wellio.http_limits import HttpLimits
from wellio.ids import uuid7
from wellio.limits import customer_of
from wellio.services import SERVICES

log = logging.getLogger(__name__)

# Who is turned away gets this long to read why, unless so many are being turned away already.
GOODBYE_S = 1.0
GOODBYES = 50


class Room:
    """Who is connected. `trusted`: proxies, behind which are many."""

    def __init__(self, limits: HttpLimits, trusted: Sequence[Network]) -> None:
        self._limits = limits
        self._trusted = trusted
        self._by_customer: Counter[str] = Counter()
        self._count = 0
        self.goodbyes = 0

    def enter(self, peer: str) -> str:
        """Gives what to `leave` with. Raises Unavailable when it is full, TooMany when the address has its share."""
        if self._count >= self._limits.connections:
            raise Unavailable("Too many are connected at this moment.", code="TOO_MANY_CONNECTIONS", retry_after_s=5)
        address = parse_address(peer)
        if address is not None and not is_trusted(address, self._trusted):
            customer, local = customer_of(str(address))
            if self._by_customer[customer] >= (self._limits.local if local else self._limits.per_address):
                raise TooMany("Too many connections from your address.", code="TOO_MANY_CONNECTIONS", retry_after_s=5)
        else:
            customer = ""
        self._by_customer[customer] += 1
        self._count += 1
        return customer

    def leave(self, customer: str) -> None:
        self._count -= 1
        self._by_customer[customer] -= 1
        if not self._by_customer[customer]:
            del self._by_customer[customer]


class _Connection(RequestHandler):
    """aiohttp answers malformed HTTP in plain text, before any middleware: this gives it our form. And it admits."""

    __slots__ = ("_customer", "_goodbye", "_room")

    def __init__(self, manager: Server, room: Room, **options: Any) -> None:
        super().__init__(manager, **options)
        self._room = room
        self._customer: str | None = None
        self._goodbye: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        try:
            self._customer = self._room.enter(str(peer[0]) if isinstance(peer, tuple) else "")
        except WellioError as error:
            self._turn_away(cast(asyncio.Transport, transport), error)
        else:
            super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._customer is not None:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._goodbye is not None:
            self._goodbye.cancel()
            self._room.goodbyes -= 1
        if self._customer is not None:
            self._room.leave(self._customer)
            super().connection_lost(exc)

    def _turn_away(self, transport: asyncio.Transport, error: WellioError) -> None:
        if self._room.goodbyes >= GOODBYES:
            transport.abort()
            return
        self._room.goodbyes += 1
        transport.write(_refusal(error))
        # Closed now, with a request unread, the answer would be lost with a reset.
        with suppress(OSError):  # it has gone already
            transport.write_eof()
        self._goodbye = self._loop.call_later(GOODBYE_S, transport.abort)

    def handle_error(self, request: Any, status: int = 500, exc: Any = None, message: Any = None) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        if isinstance(exc, ConnectionError):
            raise exc  # the caller has gone; there is nobody to answer, and nothing to look into
        if status >= 500:
            log.error("connection failed", exc_info=exc)
            response = internal_error_response()
        else:
            log.debug("malformed request", extra={"status": status})
            response = malformed_http_response(status)
        bare = _BareResponse(status=response.status, body=response.body, headers=response.headers)
        bare.headers.update(SECURITY_HEADERS)
        bare.headers["X-Request-ID"] = uuid7().hex
        bare.force_close()
        return bare


class _BareResponse(web.Response):
    """Made outside any application, where no signal takes the server's name out."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Server", None)


class _Server(Server):
    """Makes the connections above."""

    def __init__(self, handler: Any, room: Room, **options: Any) -> None:
        super().__init__(handler, **options)
        self._room = room

    def __call__(self) -> RequestHandler:
        return _Connection(self, self._room, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An AppRunner whose connections are counted, and refuse malformed HTTP in our form."""

    __slots__ = ("_room",)

    def __init__(self, app: web.Application, **options: Any) -> None:
        services = app[SERVICES]
        super().__init__(app, keepalive_timeout=services.http.idle_s, **options)
        self._room = Room(services.http, services.config.trusted_proxies)

    async def _make_server(self) -> Server:
        server = await super()._make_server()
        return _Server(
            server.request_handler,
            self._room,
            request_factory=server.request_factory,
            loop=server._loop,
            **server._kwargs,
        )


def _refusal(error: WellioError) -> bytes:
    """A whole answer, to a request that was not read."""
    answer = error_response(error)
    headers = {**SECURITY_HEADERS, **answer.headers, "X-Request-ID": uuid7().hex, "Connection": "close"}
    assert isinstance(answer.body, bytes)
    headers["Content-Length"] = str(len(answer.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{lines}\r\n".encode() + answer.body
