"""Engine.IO by hand over a raw WebSocket, for what no client does."""

import asyncio
import json
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import WSMsgType

ENGINE = "/socket.io/?EIO=4&transport=websocket"


class Raw:
    """A connection; `frames` are what came, `closed` the code it was closed with (1006: without goodbye)."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self.frames: list[str] = []

    async def come_in(self, token: str) -> dict[str, Any]:
        """CONNECT; gives session:ready. Raises ConnectionError for who is not let in."""
        await self.websocket.send_str("40" + json.dumps({"token": token}))
        while not (ready := [f for f in self.frames if f.startswith('42["session:ready"')]):
            if await self.next() is None:
                raise ConnectionError("closed")
        data: dict[str, Any] = json.loads(ready[0][2:])[1]
        return data

    async def next(self) -> str | None:
        """The next frame; None when the connection is closed."""
        received = await asyncio.wait_for(self.websocket.receive(), 15)
        if received.type is not WSMsgType.TEXT:
            return None
        self.frames.append(received.data)
        text: str = received.data
        return text

    async def until_closed(self) -> int | None:
        while await self.next() is not None:
            pass
        return self.websocket.close_code


async def open_raw(session: aiohttp.ClientSession, url: str, **options: Any) -> Raw:
    websocket = await session.ws_connect(url + ENGINE, max_msg_size=0, **options)
    raw = Raw(websocket)
    opened = await raw.next()
    assert opened
    assert opened.startswith("0{")
    return raw


class Stalled:
    """A client that came in and stopped reading."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self.socket = socket.socket()

    async def connect(self, token: str) -> None:
        loop = asyncio.get_running_loop()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        await loop.sock_connect(self.socket, (self._address.hostname, self._address.port))
        await self._send(
            f"GET {ENGINE} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await loop.sock_recv(self.socket, 4096)
        payload = f'40{{"token":"{token}"}}'.encode()
        # A masked text frame whose mask is zero.
        await self._send(bytes((0x81, 0x80 | 126)) + len(payload).to_bytes(2, "big") + bytes(4) + payload)

    async def _send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read_until(self, end: bytes) -> bytes:
        """Reads again; everything up to what ends with `end`."""
        received = bytearray()
        while end not in received[-10_000:]:
            received += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 1 << 20), 15)
        return bytes(received)

    async def drained(self) -> int:
        """Reads what is there until the connection ends; how many bytes."""
        loop, count = asyncio.get_running_loop(), 0
        with suppress(ConnectionError):
            while data := await asyncio.wait_for(loop.sock_recv(self.socket, 1 << 20), 15):
                count += len(data)
        return count
