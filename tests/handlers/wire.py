"""HTTP by hand, for what no client sends."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.api import Api


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came, and whether the connection was closed after it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def place(api: Api) -> tuple[str, int]:
    host, port = api.url.removeprefix("http://").split(":")
    return host, int(port)


async def send(api: Api, data: bytes, *, within_s: float = 20) -> list[Reply]:
    """All answers to `data`, which ends with what makes the server hang up."""
    reader, writer = await asyncio.open_connection(*place(api))
    replies = []
    try:
        writer.write(data)
        async with asyncio.timeout(within_s):
            while (reply := await read_reply(reader)) is not None:
                replies.append(reply)
        return replies
    finally:
        writer.close()


async def read_reply(reader: asyncio.StreamReader) -> Reply | None:
    """None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split()[1])
    body = await reader.readexactly(int(headers.get("content-length", 0))) if status not in (204, 304) else b""
    return Reply(status, headers, body)


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side hangs up."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""
