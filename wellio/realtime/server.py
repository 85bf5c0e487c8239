"""Socket.IO on /socket.io/: who comes in, the acks they get, and how they are let go.

One client's events are dealt with one after the other, in the order it sent them. Each is acked, whatever happens.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from socketio.exceptions import ConnectionRefusedError as Refused

from wellio.accounts.actors import Actor
from wellio.accounts.auth_sessions import authenticate
from wellio.accounts.tokens import Claims
from wellio.attribution import ATTRIBUTION
from wellio.errors import Malformed, TooMany, Unauthorized, Unavailable, WellioError
from wellio.limits import CONNECTS
from wellio.live import Push
from wellio.realtime.bus import Bus, Listeners, place_of, users_of
from wellio.realtime.devices import Device, Devices
from wellio.realtime.dispatch import Dispatch
from wellio.realtime.engine import Acknowledge, Hooks, Server, Sparingly
from wellio.realtime.errors import error_body
from wellio.realtime.events import Events, seconds_left
from wellio.realtime.fanout import Fanout, encode_event, placed
from wellio.realtime.floods import Crowds, Flood
from wellio.realtime.greetings import MAX_FRAME_BYTES, MAX_SOCKETS, greeting
from wellio.realtime.heads import Heads
from wellio.realtime.outgoing import Encoded
from wellio.realtime.payloads import OrjsonForEngine
from wellio.realtime.presence import Presence
from wellio.realtime.receipts import Receipts
from wellio.realtime.returns import Returns
from wellio.realtime.revocations import Revocations
from wellio.services import Services

log = logging.getLogger(__name__)
# The libraries tell of each packet, with its content, at level info.
engine_log = logging.getLogger("wellio.engineio")
engine_log.setLevel(logging.ERROR)
engine_log.addFilter(Sparingly())

PATH = "/socket.io/"
PING_INTERVAL_S, PING_TIMEOUT_S = 25, 20
CONNECT_WITHIN_S = 5.0
# A crowd that comes back in one moment waits for each other, so that everybody else need not wait for them.
LET_IN_AT_ONCE = 4
WARN_BEFORE_EXPIRY_S = 60.0
RECONNECT_MS = (200, 2000)
# Drain: handlers and queues get this long, then sockets are closed in batches.
SETTLE_S = 1.5
BATCH = 100
SERVICE_RESTART, POLICY_VIOLATION = 1012, 1008


class Realtime:
    """`attach` before the app is frozen; `start` when its services are open; `stop` drains."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._devices = Devices()
        self._fanout = Fanout(self._devices, services.metrics)
        self._server = Server(self._hooks(), **self._options())
        self._bus = Bus(services.redis, _namespace(services), services.metrics)
        self._presence = Presence(
            services.db, self._devices, self._fanout, self._bus.publish, stale=lambda: not self._bus.up
        )
        self._revocations = Revocations(services.db, self._devices, self._revoked)
        self._heads = Heads(services.db, self._devices, self._fanout, cut_off=lambda: not self._bus.reliable)
        self._bus.listen(
            Listeners(
                message=self._message_from_elsewhere,
                restored=self._heads.tell_everybody,
                announce=self._presence.announce,
                died=self._presence.process_died,
            )
        )
        self._returns = Returns(services.tokens)
        events = Events(services, self._presence, self._arm)
        self._dispatch = Dispatch(self._devices, events, services.metrics, self._flooding)
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._draining = False
        self._receipts = Receipts(self._tell)
        self._entrance = asyncio.Lock()
        self._door = asyncio.Semaphore(LET_IN_AT_ONCE)
        self._crowds = Crowds(most=services.http.per_address, most_local=services.http.local)

    def attach(self, app: web.Application) -> None:
        """Adds the route."""
        app.router.add_route("*", PATH, self._serve)

    async def start(self) -> None:
        """Returns at once; the link to other processes comes up by itself."""
        self._services.live.attach(self._push)
        await self._bus.start()
        await self._presence.start()
        await self._heads.start()
        await self._revocations.start()

    async def stop(self) -> None:
        """Tells devices to reconnect elsewhere, lets handlers finish, closes the sockets, and ends."""
        self._draining = True
        for device in self._devices:
            delay_ms = random.randint(*RECONNECT_MS)  # noqa: S311 - only spread
            device.send(encode_event("server:draining", {"reconnect_in_ms": delay_ms}))
        self._receipts.stop()
        await self._settled()
        connections = self._server.connections()
        for start in range(0, len(connections), BATCH):
            await self._close_all(connections[start : start + BATCH])
        await self._revocations.stop()
        await self._heads.stop()
        await self._presence.stop()
        await self._bus.stop()
        await self._server.stop()

    def _hooks(self) -> Hooks:
        return Hooks(
            opened=self._opened,
            connect=self._connect,
            accepted=self._accepted,
            event=self._event,
            overflowed=self._overflowed,
            left=self._left,
            closed=self._closed,
        )

    def _options(self) -> dict[str, Any]:
        return {
            "cors_allowed_origins": self._origin_allowed,
            "cors_credentials": False,
            "max_http_buffer_size": MAX_FRAME_BYTES,
            "ping_interval": PING_INTERVAL_S,
            "ping_timeout": PING_TIMEOUT_S,
            "http_compression": False,
            "json": OrjsonForEngine,
            "logger": engine_log,
            "engineio_logger": engine_log,
        }

    # ------------------------------------------------ HTTP

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """Raises Malformed, TooMany, and Unavailable while draining: the client tries again, elsewhere."""
        if "j" in request.query:
            raise Malformed("JSONP is not served.")
        if self._draining and "sid" not in request.query:
            raise Unavailable("This process is going away; connect again.", code="DRAINING", retry_after_s=1)
        if "sid" not in request.query:
            address = _address()
            self._crowds.check(address)
            await self._services.limits.count(CONNECTS.of(address))
            # One a turn of the event loop: when thousands come back at once, all else goes on between them.
            async with self._entrance:
                await asyncio.sleep(0)
        response = await self._handled_in_time(request)
        if response.status == 400:  # engineio's own words repeat what the caller sent
            raise Malformed("This is no request of a Socket.IO client that is connected here.", code="SOCKET_REFUSED")
        if not response.prepared:
            response.headers["Vary"] = "Origin"
        return response

    async def _handled_in_time(self, request: web.Request) -> web.StreamResponse:
        """A POST of long polling holds its packets; engineio waits for them for ever."""
        if request.method != "POST":
            response: web.StreamResponse = await self._server.handle_request(request)
            return response
        try:
            async with asyncio.timeout(self._services.http.body_s):
                response = await self._server.handle_request(request)
        except TimeoutError:
            raise Malformed("The body did not arrive in time.", code="BODY_TIMEOUT") from None
        return response

    def _origin_allowed(self, origin: str, environ: dict[str, Any]) -> bool:
        """The listed origins and our own, by the Host header alone: X-Forwarded-Host is whatever a client says."""
        if origin in self._services.config.cors_origin:
            return True
        own = urlsplit(origin)
        return own.scheme in ("http", "https") and own.netloc.lower() == environ.get("HTTP_HOST", "").lower()

    # ------------------------------------------------ coming in

    def _opened(self, connection: str) -> None:
        self._crowds.enter(connection, _address())
        self._set_deadline(connection)

    def _set_deadline(self, connection: str) -> None:
        """Who has opened a connection asks soon to come in, or is cut off."""
        self._clear_deadline(connection)
        loop = asyncio.get_running_loop()
        self._deadlines[connection] = loop.call_later(CONNECT_WITHIN_S, self._cut, connection)

    def _clear_deadline(self, connection: str) -> None:
        if timer := self._deadlines.pop(connection, None):
            timer.cancel()

    def _cut(self, connection: str) -> None:
        self._server.spawn(self._server.drop(connection))

    async def _connect(self, connection: str, auth: Any) -> str | None:
        """Raises Refused, which the client gets as connect_error with `data.code`."""
        self._clear_deadline(connection)  # it has done its part; what takes long from here on is ours
        try:
            return await self._answered(connection, auth)
        except Refused:
            self._set_deadline(connection)
            raise

    async def _answered(self, connection: str, auth: Any) -> str | None:
        try:
            async with self._door:
                return await self._let_in(connection, auth)
        except Unavailable as error:
            if error.code == "DRAINING":
                raise _refused(error) from None
            # A refused client does not try again by itself; one that lost its connection does.
            self._abort(connection)
            raise _refused(error) from None
        except WellioError as error:
            raise _refused(error) from None
        except Exception:
            log.exception("connect failed")
            raise Refused("Internal error. It was logged.", {"code": "INTERNAL"}) from None

    async def _let_in(self, connection: str, auth: Any) -> str | None:
        """What the client calls the connection by when it comes back, if it takes that."""
        if self._draining:
            raise Unavailable("This process is going away; connect again.", code="DRAINING", retry_after_s=1)
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str):
            raise Unauthorized("Connect with auth: {token}.")
        claims = self._services.tokens.verify_access(token)
        # One connection for all that is asked: in a crowd, taking and returning it costs more than a statement.
        async with self._services.db.connection() as db:
            device = self._device_of(connection, await authenticate(db, claims), claims)
            # From here on it is pushed to, so nothing falls between the heads it reads and its first push.
            self._devices.add(device)
            try:
                back = await self._returns.take(db, device, auth)
                ready = encode_event("session:ready", await greeting(db, self._presence, device, back.heads))
                back.begin(device, ready)
            except BaseException:
                self._devices.remove(connection)
                raise
        return back.pid

    def _device_of(self, connection: str, actor: Actor, claims: Claims) -> Device:
        """Raises TooMany, Unavailable."""
        if self._devices.count_of(actor.user_id) >= MAX_SOCKETS:
            raise TooMany("Too many devices are connected.", code="TOO_MANY_CONNECTIONS", retry_after_s=30)
        outgoing = self._server.outgoing(connection)
        if outgoing is None:
            raise Unavailable("The connection is closed.")
        flood = Flood(self._services.config.rate_limit_scale)
        return Device(connection, actor, claims.expires_at, outgoing, flood)

    def _accepted(self, connection: str) -> None:
        device = self._devices.get(connection)
        if device is not None:
            device.release()
            self._arm(device)
            self._presence.joined(device.actor)
            self._services.metrics.sockets.inc()

    def _arm(self, device: Device) -> None:
        """Sets when a device is told that its token expires, and when it is closed."""
        device.cancel_timers()
        loop = asyncio.get_running_loop()
        left_s = max(1.0, seconds_left(device))
        device.timers = [
            loop.call_later(max(0.0, left_s - WARN_BEFORE_EXPIRY_S), _warn, device),
            loop.call_later(left_s, self._close, device.connection, POLICY_VIOLATION),
        ]

    def _event(self, connection: str, text: str, acknowledge: Acknowledge) -> Awaitable[None]:
        return self._dispatch.take(connection, text, acknowledge)

    # ------------------------------------------------ pushing

    def _push(self, push: Push) -> None:
        """Live's listener: the devices here at once, those elsewhere by the bus; receipts when it is their time."""
        if push.event == "receipt":
            self._receipts.take(push)
        else:
            self._tell(push)

    def _tell(self, push: Push) -> None:
        try:
            packet = self._fanout.push(push)
            self._bus.publish_push(push, packet)
        except Exception:
            log.exception("push failed", extra={"event": push.event})

    def _message_from_elsewhere(self, process: str, kind: str, header: dict[str, Any], packet: bytes) -> None:
        if kind == "push":
            self._fanout.deliver(
                users_of(header),
                placed(Encoded(packet), place_of(header)),
                event=header["event"],
                ephemeral=header["ephemeral"],
            )
        elif kind == "presence":
            self._presence.take(process, header)

    # ------------------------------------------------ letting go

    def _overflowed(self, connection: str) -> None:
        """Its client reads too slowly: cut off, it reconnects and catches up."""
        self._services.metrics.dropped.labels("slow reader").inc()
        self._abort(connection)

    def _abort(self, connection: str) -> None:
        outgoing = self._server.outgoing(connection)
        if outgoing is not None:
            outgoing.abort()
        self._cut(connection)

    def _flooding(self, connection: str) -> None:
        self._left(connection)
        self._close(connection, POLICY_VIOLATION)

    def _left(self, connection: str) -> None:
        device = self._devices.remove(connection)
        if device is not None and device.held is None:
            self._presence.left(device.actor)
            self._services.metrics.sockets.dec()
        self._set_deadline(connection)

    def _closed(self, connection: str) -> None:
        self._left(connection)
        self._clear_deadline(connection)
        self._crowds.leave(connection)

    def _revoked(self, devices: Sequence[Device]) -> None:
        """Their sessions have ended: they are told, closed, and from now on do nothing and get nothing."""
        told = encode_event("auth:revoked", {"code": "SESSION_ENDED"})
        for device in devices:
            device.send(told)
            self._left(device.connection)
        self._server.spawn(self._close_all([device.connection for device in devices], POLICY_VIOLATION))

    def _close(self, connection: str, code: int) -> None:
        self._server.spawn(self._close_all([connection], code))

    async def _close_all(self, connections: Iterable[str], code: int = SERVICE_RESTART) -> None:
        """Closes WebSockets with `code`, so that clients reconnect at once; ends polling."""
        queues = [self._server.outgoing(connection) for connection in connections]
        await asyncio.gather(*(queue.close(code) for queue in queues if queue is not None))
        await asyncio.gather(*(self._server.drop(connection) for connection in connections))

    async def _settled(self) -> None:
        """Handlers have acked and queues are empty, or it took too long."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if not self._dispatch.busy and all(device.outgoing.idle for device in self._devices):
                return
            await asyncio.sleep(0.01)


def _warn(device: Device) -> None:
    device.send(encode_event("auth:expiring", {"token_expires_at": device.token_expires_at}))


def _address() -> str:
    """Of who makes this request, as it was worked out where it came in."""
    attribution = ATTRIBUTION.get()
    return attribution.address if attribution is not None else ""


def _refused(error: WellioError) -> Refused:
    body = error_body(error)
    if isinstance(error, Unauthorized) and error.code != "TOKEN_EXPIRED":
        body["code"] = "UNAUTHORIZED"
    return Refused(error.message, {name: value for name, value in body.items() if name != "message"})


def _namespace(services: Services) -> str:
    """Apart from other installations on the same Redis: the name of the database."""
    return urlsplit(services.config.database_url or "").path.strip("/") or "wellio"
