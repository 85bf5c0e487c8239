"""The private parts of python-socketio 5.18 and python-engineio 4.15 that Wellio leans on, and nothing else does.

Taken from the libraries: handshake, polling, upgrade, pings, namespaces. Replaced here, each for a reason:

* the queue of a connection (`outgoing.py`, a part of this): it had no bound, and cost two tasks and a timer a packet;
* the WebSocket: permessage-deflate off (33 kB a connection, not 134), and a handle to abort it by;
* the dispatch of events: a client could name `connect` and `disconnect`, packets that do not parse logged a stack
  trace each, and reading one took a task, a timer and two turns of the event loop more;
* rooms: leaving scanned all of them, so there are none.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import engineio
import socketio
from aiohttp import web
from bidict import ValueDuplicationError
from engineio.async_drivers import aiohttp as driver

from wellio.limits import STANDINGS
from wellio.realtime.outgoing import Encoded, Outgoing, Turn
from wellio.tasks import end_tasks

log = logging.getLogger(__name__)

# EVENT packets of the default namespace: type, ack id, arguments.
EVENT = re.compile(r"2([0-9]{0,15})(\[.*)", re.DOTALL)
CONNECT, DISCONNECT, ACK = "0", "1", "3"
PYTHON_TIME = re.compile(r"(^|&)t=\d+\.\d+(&|$)", re.ASCII)
# What a client may send in a frame: CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP. No binary, no base64.
FRAME_TYPES = frozenset("123456")
EVENT_FRAME = "42"


class PlainWebSocket(driver.WebSocket):  # type: ignore[misc]
    """engineio's WebSocket for aiohttp without compression, which refuses frames that its decoder trips over."""

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        request: web.Request = environ["aiohttp.request"]
        self._sock = web.WebSocketResponse(compress=False, max_msg_size=self.server.max_http_buffer_size)
        await self._sock.prepare(request)
        socket = self.handler.__self__
        assert request.transport is not None
        socket.queue.attach(self._sock, request.transport)
        # All three would be kept for as long as the connection lives, and nobody looks at them again.
        STANDINGS.set(None)
        environ.clear()
        self._sock.headers.clear()
        await self.handler(self)
        if socket.upgraded:
            socket.queue.detach()
        else:  # a probe that came to nothing: its client goes on polling
            socket.upgrading = False
        return self._given_back()

    def _given_back(self) -> web.WebSocketResponse:
        """What ended it stays in frames that refer to themselves: they should keep no more of the connection."""
        websocket: web.WebSocketResponse = self._sock
        del self._sock
        websocket._exception = None
        return websocket

    async def wait(self) -> str:
        """The next frame for engineio, which makes a task and a timer for each: events are dealt with here, as it would
        deal with them. (Its timer runs out when there is nothing else for long: pongs are missing then.)"""
        socket = self.handler.__self__
        while True:
            data = await super().wait()
            if not isinstance(data, str) or data[:1] not in FRAME_TYPES:
                raise OSError("not a frame of ours")
            if not data.startswith(EVENT_FRAME) or socket.upgrading or not socket.upgraded:
                return data
            try:
                await self.server.handlers["message"](socket.sid, data[1:])
            except Exception:
                log.exception("an event was not dealt with")
            await asyncio.sleep(0)  # others' turn, if more of this client's is here already


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """engineio with bounded queues, plain WebSockets, and tasks that have an owner."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._turn = Turn()
        self._async = {**driver._async, "websocket": PlainWebSocket}
        self.tasks: set[asyncio.Task[Any]] = set()

    def create_queue(self, *_args: Any, **_options: Any) -> Outgoing:
        return Outgoing(self._turn)

    def start_background_task(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.create_task(target(*args, **kwargs), name="engineio")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def stop(self) -> None:
        await end_tasks(self.tasks)


class Roomless(socketio.AsyncManager):  # type: ignore[misc]
    """Who is connected, and nothing else: leaving costs the same however many are connected."""

    def __init__(self, on_accepted: Callable[[str], None]) -> None:
        super().__init__()
        self._on_accepted = on_accepted

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        sid: str = self.server.eio.generate_id()
        try:
            self.basic_enter_room(sid, namespace, None, eio_sid=eio_sid)
        except ValueDuplicationError:  # connected already
            return None
        self.pending_connect.setdefault(namespace, []).append(sid)
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        """Called when the client has been told that it is connected: from here on it takes events."""
        if self.is_pre_connected(sid, namespace):  # it may have gone while it was let in
            await super().connect(sid, namespace)
            self._on_accepted(self.eio_sid_from_sid(sid, namespace))
        return sid


Acknowledge = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the server asks and tells, about a connection by engineio's name for it.

    opened: it is there. connect: may it come in, with this auth payload? (raises ConnectionRefusedError; gives what
    it shall call the connection by when it comes back, its `pid`, or None)
    accepted: it was told that it is in. event: the JSON of an event's name and arguments; acknowledges with JSON, once,
    and returns when the next may come.
    overflowed: it takes too little. left: it signed off, or is going. closed: it is gone.
    """

    opened: Callable[[str], None]
    connect: Callable[[str, Any], Awaitable[str | None]]
    accepted: Callable[[str], None]
    event: Callable[[str, str, Acknowledge], Awaitable[None]]
    overflowed: Callable[[str], None]
    left: Callable[[str], None]
    closed: Callable[[str], None]


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """python-socketio whose events go to one hook, in the order in which a client sent them."""

    def __init__(self, hooks: Hooks, **options: Any) -> None:
        self._hooks = hooks
        self._pids: dict[str, str] = {}  # of those who are being let in
        super().__init__(
            client_manager=Roomless(hooks.accepted),
            async_mode="aiohttp",
            async_handlers=False,
            always_connect=False,
            **options,
        )
        self.on("connect", self._connect)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def outgoing(self, connection: str) -> Outgoing | None:
        """None when the connection is closed or closing."""
        socket = self.eio.sockets.get(connection)
        return None if socket is None or socket.closed else socket.queue

    def connections(self) -> list[str]:
        return list(self.eio.sockets)

    async def drop(self, connection: str) -> None:
        """Ends a connection of any transport at once."""
        socket = self.eio.sockets.get(connection)
        if socket is not None:
            socket.queue.abort()
            await socket.close(wait=False, abort=True)
            # One that polls, or never came back, would else be kept until engineio's round comes by.
            self.eio.sockets.pop(connection, None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` in a task that ends with the server."""

        async def run() -> None:
            await work

        self.eio.start_background_task(run)

    async def stop(self) -> None:
        await self.eio.stop()

    # ------------------------------------------------ engineio's events

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, {})
        queue: Outgoing = self.eio.sockets[eio_sid].queue
        queue.takes_offsets = takes_offsets(environ)
        queue.belongs_to(self.eio.sockets[eio_sid])
        queue.on_overflow = lambda: self._hooks.overflowed(eio_sid)
        self._hooks.opened(eio_sid)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        """One client's messages come one after the other: the next is read when this one was dealt with."""
        kind = data[:1] if isinstance(data, str) else ""
        if kind == "2":
            await self._event(eio_sid, data)
        elif kind in (CONNECT, DISCONNECT):
            try:
                await super()._handle_eio_message(eio_sid, data)
            except (ValueError, TypeError, RecursionError):  # a packet that does not parse
                await self.drop(eio_sid)
        elif kind != ACK:  # we ask for no acks; binary and unknown packets are not ours
            await self.drop(eio_sid)

    async def _event(self, eio_sid: str, data: str) -> None:
        packet = EVENT.fullmatch(data)
        if packet is None:
            await self.drop(eio_sid)
            return
        await self._hooks.event(eio_sid, packet[2], partial(self._acknowledge, eio_sid, packet[1].encode()))

    def _acknowledge(self, eio_sid: str, ack_id: bytes, answer: bytes) -> None:
        queue = self.outgoing(eio_sid)
        if ack_id and queue is not None:
            queue.put_nowait(Encoded(b"43%s[%s]" % (ack_id, answer)))

    async def _handle_disconnect(self, eio_sid: str, namespace: str, reason: str | None = None) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        self._hooks.left(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        sid = self.manager.sid_from_eio_sid(eio_sid, "/")
        if sid is not None:  # it went while it was let in
            await self.manager.disconnect(sid, "/")
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and reason == self.reason.CLIENT_DISCONNECT:
            socket.queue.end()
        self._hooks.closed(eio_sid)

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        eio_sid = self.manager.eio_sid_from_sid(sid, "/")
        if pid := await self._hooks.connect(eio_sid, auth):
            self._pids[eio_sid] = pid

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        if str(pkt.packet_type) == CONNECT and eio_sid in self._pids:
            pkt.data["pid"] = self._pids.pop(eio_sid)
        await super()._send_packet(eio_sid, pkt)


def takes_offsets(environ: dict[str, Any]) -> bool:
    """Whether a client's handlers stand one argument more. Python's do not: they are called with all there are.

    It is known by its timestamp, seconds with a fraction (JavaScript's, Java's and Swift's have no point in theirs, or
    none), and by the libraries that it connects through.
    """
    named = environ.get("HTTP_USER_AGENT", "").lower().startswith(("python", "websocket-client"))
    return not named and PYTHON_TIME.search(environ.get("QUERY_STRING", "")) is None


class Sparingly(logging.Filter):
    """Lets a few records a minute through, without their stack traces: whoever sends rubbish fills no disk.

    Nor do they repeat it: of "Invalid session …" the session is a secret of its client, and could be anything.
    """

    PER_MINUTE = 10

    def __init__(self) -> None:
        super().__init__()
        self._minute, self._count = 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        minute = int(record.created // 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        record.exc_info = None
        record.msg, record.args = " ".join(filter(str.isalpha, record.getMessage().split()[:2])), ()
        return self._count <= self.PER_MINUTE
