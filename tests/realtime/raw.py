"""Engine.IO by hand over a raw WebSocket, for what no client does."""

import asyncio
import json
from typing import Any

import aiohttp
from aiohttp import WSMsgType

ENGINE = "/socket.io/?EIO=4&transport=websocket"


class Raw:
    """A connection; `frames` are what came, `closed` the code it was closed with (1006: without goodbye)."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self.frames: list[str] = []

    async def come_in(self, token: str) -> dict[str, Any]:
        """CONNECT; gives session:ready."""
        await self.websocket.send_str("40" + json.dumps({"token": token}))
        while not (ready := [f for f in self.frames if f.startswith('42["session:ready"')]):
            await self.next()
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
