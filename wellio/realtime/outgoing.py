"""What is on its way to one connection: encoded packets, in order, bounded, and written without a task each.

Leans on private parts of engineio 4.15 (`AsyncSocket.upgraded`, `upgrading`, and how it uses its queue) and of
aiohttp 3.14 (`WebSocketResponse._writer`), as `engine.py` does on the rest.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from aiohttp import web
from engineio.packet import MESSAGE, NOOP, Packet

MAX_QUEUED_PACKETS = 512
MAX_QUEUED_BYTES = 1024 * 1024
# Of a reader that takes nothing, though little comes: it may well answer pings.
STUCK_S = 15.0
# What one polling answer may hold; engine.io's own clients refuse more.
PACKETS_PER_POLL = 16
MAX_FRAMES_BYTES = 64 * 1024
CLOSE_TIMEOUT_S = 2.0
TEXT_FRAME = 0x81


class Encoded(Packet):  # type: ignore[misc]
    """A packet that is encoded once, whoever gets it and by whatever transport."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(MESSAGE)
        self.payload = payload
        self._text: str | None = None

    @property
    def size(self) -> int:
        return len(self.payload)

    @cached_property
    def frame(self) -> bytes:
        """As one unmasked WebSocket text frame (RFC 6455, 5.2)."""
        return frame_of(self.payload)

    def encode(self, b64: bool = False) -> str:  # noqa: FBT001, FBT002 - engineio's signature
        if self._text is None:
            self._text = self.payload.decode()
        return self._text


def frame_of(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((TEXT_FRAME, size)) + payload
    if size < 65536:
        return bytes((TEXT_FRAME, 126)) + size.to_bytes(2, "big") + payload
    return bytes((TEXT_FRAME, 127)) + size.to_bytes(8, "big") + payload


class Turn:
    """The connections that are written to in this turn of the event loop: flushed together at its end, by one callback
    and not by one each."""

    def __init__(self) -> None:
        self._written: list[Outgoing] = []

    def add(self, outgoing: "Outgoing") -> None:
        if not self._written:
            asyncio.get_running_loop().call_soon(self._flush)
        self._written.append(outgoing)

    def _flush(self) -> None:
        written, self._written = self._written, []
        for outgoing in written:
            outgoing.flush()


class Outgoing:
    """The packets on their way to one connection, in order and bounded: what engineio takes for its queue.

    While the WebSocket can take more, packets are written as they come, those of one turn of the event loop in one
    go: a system call costs more than all the rest. Otherwise (polling, an upgrade under way, a slow reader) they wait
    here for engineio's writer or the next poll. A connection that lets too much pile up is aborted: its client
    reconnects and catches up.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        # Lists: a deque that is nearly always empty takes 760 bytes.
        self._packets: list[Packet | None] = []
        self._polls: list[asyncio.Future[None]] = []
        self._writer: asyncio.Future[None] | None = None  # engineio's writer, while it has nothing to write
        self._handed = 0
        self.bytes = 0
        self._allowed_packets, self._allowed_bytes = MAX_QUEUED_PACKETS, MAX_QUEUED_BYTES
        self._moved_at = 0.0  # when a packet was last taken, or came into the empty queue (monotonic)
        self._frames: list[bytes] = []  # written at the end of this turn of the event loop
        self._frames_size = 0
        self._socket: Any = None  # engineio.AsyncSocket
        self._websocket: web.WebSocketResponse | None = None
        self._transport: asyncio.Transport | None = None
        self._ended = False  # the client has signed off
        self._closing = False  # a close frame is on its way
        self._over = False  # nothing is read from it any more
        self._closed: asyncio.Event | None = None  # made for who waits until it is over
        self.aborted = False
        self.takes_offsets = True
        self.on_overflow: Callable[[], None] = lambda: None

    def belongs_to(self, socket: Any) -> None:
        self._socket = socket

    def attach(self, websocket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        """The connection has a WebSocket now; it may still be probing it before it leaves polling."""
        self._websocket, self._transport = websocket, transport

    def detach(self) -> None:
        """The connection is over: nothing here refers any more to what refers to this, so that it is freed at once."""
        self.aborted = True
        self._packets.clear()
        self._frames.clear()
        self._socket = self._websocket = self._transport = None

    # ------------------------------------------------ what engineio calls

    def qsize(self) -> int:
        return len(self._packets)

    def empty(self) -> bool:
        return not self._packets

    async def put(self, packet: Packet | None) -> None:
        self.put_nowait(packet)

    def put_nowait(self, packet: Packet | None) -> None:
        """None ends the writer. What comes after an abort goes nowhere."""
        # engineio's own (pings) go by its writer, which would else take the connection for dead: it waits for a packet
        # no longer than a ping's interval and timeout.
        if isinstance(packet, Encoded) and self._may_write():
            self._write(packet)
            return
        if packet is not None:
            if self.aborted:
                return
            self.flush()
            if self._too_much(packet):
                self.on_overflow()
                return
            self.bytes += _size(packet)
        else:
            self._end()
        if not self._packets:
            self._moved_at = time.monotonic()
        self._packets.append(packet)
        self._wake()

    def _too_much(self, packet: Packet) -> bool:
        """More than may wait, or what waits has not moved for long."""
        if len(self._packets) >= self._allowed_packets or self.bytes + _size(packet) > self._allowed_bytes:
            return True
        return bool(self._packets) and time.monotonic() - self._moved_at > STUCK_S

    async def get(self) -> Packet | None:
        while not self._packets:
            reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            polled = not self._upgraded
            if polled:
                self._polls.append(reader)
            else:
                self._writer = reader
                self._release_polls()
            try:
                await reader
            finally:
                self._forget(reader)
            if polled and (self._upgraded or self._ended):
                self._handed = PACKETS_PER_POLL
                return Packet(NOOP)
        self._handed = 0
        return self.get_nowait()

    def get_nowait(self) -> Packet | None:
        if not self._packets or self._handed >= PACKETS_PER_POLL:
            raise asyncio.QueueEmpty
        self._handed += 1
        self._moved_at = time.monotonic()
        packet = self._packets.pop(0)
        if not self._packets:
            self._allowed_packets, self._allowed_bytes = MAX_QUEUED_PACKETS, MAX_QUEUED_BYTES
        if packet is not None:
            self.bytes -= _size(packet)
        return packet

    def task_done(self) -> None:
        """Nobody waits for the queue to be worked off."""

    async def join(self) -> None:
        """Returns at once: a polite close would wait for ever on a reader that has stopped."""

    # ------------------------------------------------ what Wellio calls

    def put_first(self, packets: Iterable[Packet]) -> None:
        """What a connection begins with, however much that is: as much more may wait until all has been taken."""
        self._allowed_packets = self._allowed_bytes = sys.maxsize
        for packet in packets:
            self.put_nowait(packet)
        self._allowed_packets, self._allowed_bytes = MAX_QUEUED_PACKETS + self.qsize(), MAX_QUEUED_BYTES + self.bytes

    @property
    def idle(self) -> bool:
        """Everything was handed to the operating system's socket, or to polls."""
        return not self._packets and not self._frames and (not self._upgraded or self._writer is not None)

    def end(self) -> None:
        """The client has signed off: the poll that it left open is answered."""
        self._ended = True
        self._release_polls()

    def abort(self) -> None:
        """Cuts the connection off, without a word to the client and without waiting for it."""
        self._stop()
        if self._transport is not None and not self._closing:
            self._transport.abort()

    async def close(self, code: int) -> None:
        """Closes the WebSocket, if that is what it is, with `code`. Who does not answer in time is cut off."""
        writer = self._websocket._writer if self._websocket is not None and self._upgraded else None
        transport = self._transport
        if writer is None or transport is None:
            return
        self._closing = True
        self.flush()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                # Not WebSocketResponse.close(): it hangs up before the client has answered.
                await writer.close(code)
                await self._until_over()
        except (TimeoutError, OSError):
            transport.abort()
        self._stop()

    def _end(self) -> None:
        self._over = True
        if self._closed is not None:
            self._closed.set()

    async def _until_over(self) -> None:
        if not self._over:
            self._closed = self._closed or asyncio.Event()
            await self._closed.wait()

    def _stop(self) -> None:
        self.aborted = True
        self._packets.clear()
        self._frames.clear()
        self.bytes = 0
        self.put_nowait(None)

    @property
    def _upgraded(self) -> bool:
        socket = self._socket
        return socket is not None and socket.upgraded and not socket.upgrading

    def _may_write(self) -> bool:
        """Whether the next packet may go to the WebSocket: nothing is before it in the queue, and it takes more."""
        if self._frames:  # as those before it in this turn
            return self._takes_more()
        waiting = self._writer
        return (
            not self._packets and waiting is not None and not waiting.done() and not self.aborted and self._takes_more()
        )

    def _write(self, packet: Encoded) -> None:
        """At the end of this turn."""
        if not self._frames:
            self._turn.add(self)
        frame = packet.frame
        self._frames.append(frame)
        self._frames_size += len(frame)
        if self._frames_size > MAX_FRAMES_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hands what was written in this turn of the event loop to the operating system."""
        frames = self._frames
        if not frames:
            return
        self._frames, self._frames_size = [], 0
        writer = self._websocket._writer if self._websocket is not None else None  # aiohttp's (3.14)
        if writer is not None and not writer._closing and not writer.transport.is_closing():
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            writer.transport.write(data)
            writer._output_size += len(data)

    def _takes_more(self) -> bool:
        writer = self._websocket._writer if self._websocket is not None else None
        return writer is not None and not writer._closing and not writer.protocol._paused

    def _wake(self) -> None:
        if self._upgraded:
            if self._writer is not None and not self._writer.done():
                self._writer.set_result(None)
            return
        for reader in self._polls:
            if not reader.done():
                reader.set_result(None)
                return

    def _release_polls(self) -> None:
        """Polls that were left behind end empty: they would take packets with them, or time out."""
        for reader in self._polls:
            if not reader.done():
                reader.set_result(None)

    def _forget(self, reader: "asyncio.Future[None]") -> None:
        if reader is self._writer:
            self._writer = None
        elif reader in self._polls:
            self._polls.remove(reader)
            if reader.cancelled() or self._packets:  # a poll that gave up passes its turn on
                self._wake()


def _size(packet: Packet) -> int:
    return packet.size if isinstance(packet, Encoded) else len(packet.encode())
