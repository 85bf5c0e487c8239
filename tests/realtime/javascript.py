"""Official JavaScript clients, in one Node process, driven line by line."""

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.waiting import eventually

FOLDER = Path(__file__).parent.parent / "js"
NODE = shutil.which("node")
MISSING = NODE is None or not (FOLDER / "node_modules" / "socket.io-client").exists()

needs_node = [
    pytest.mark.node,
    pytest.mark.skipif(MISSING, reason="needs Node.js and `npm ci --ignore-scripts` in tests/js"),
]


class JavaScript:
    """`lines`: all that the clients told, in order."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process, self._url = process, url
        self._acks = itertools.count()
        self.lines: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            self.lines.append(json.loads(line))

    def command(self, do: str, **fields: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **fields}, default=str).encode() + b"\n")

    def connect(self, client: str, token: str, *, url: str | None = None, chat: bool = False, **options: Any) -> None:
        """`chat`: a client that keeps the rule, by docs/examples/client.mjs."""
        self.command("connect", client=client, url=url or self._url, auth={"token": token}, options=options, chat=chat)

    async def connected(self, client: str, token: str, **options: Any) -> Any:
        """The client's session:ready."""
        self.connect(client, token, **options)
        return (await eventually(lambda: self.events(client, "session:ready")))[0]

    async def call(self, client: str, event: str, data: Any) -> Any:
        """The ack."""
        name = f"ack{next(self._acks)}"
        self.command("emit", client=client, event=event, data=data, ack=name)
        return (await eventually(lambda: self.acks(client, name)))[0]

    def events(self, client: str, event: str) -> list[Any]:
        return [line["data"] for line in self.lines if line.get("client") == client and line.get("event") == event]

    async def until(self, client: str, event: str, count: int = 1) -> list[Any]:
        """The pushes of that name, when there are so many."""
        await eventually(lambda: len(self.events(client, event)) >= count)
        return self.events(client, event)

    def acks(self, client: str, name: str) -> list[Any]:
        return [line["data"] for line in self.lines if line.get("client") == client and line.get("ack") == name]

    def send(self, client: str, conversation_id: UUID, body: str) -> str:
        """Of a client that keeps the rule, which repeats it until it is acked. The name of its ack."""
        name = f"ack{next(self._acks)}"
        self.command("send", client=client, conversation_id=conversation_id, body=body, ack=name)
        return name

    def applied(self, client: str, conversation_id: UUID) -> list[dict[str, Any]]:
        """What a client that keeps the rule took of a conversation's log."""
        return [event for event in self.told(client, "applied") if event["conversation_id"] == str(conversation_id)]

    def told(self, client: str, what: str) -> list[Any]:
        return [line["data"] for line in self.lines if line.get("client") == client and line.get("what") == what]

    def seqs(self, client: str, conversation_id: UUID) -> list[int]:
        """Of the messages that were pushed to it, as they came."""
        return [m["seq"] for m in self.events(client, "message:new") if m["conversation_id"] == str(conversation_id)]


@asynccontextmanager
async def javascript(url: str) -> AsyncIterator[JavaScript]:
    assert NODE
    process = await asyncio.create_subprocess_exec(
        NODE, "clients.mjs", cwd=FOLDER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24
    )
    clients = JavaScript(process, url)
    reading = asyncio.create_task(clients.read())
    try:
        await eventually(lambda: clients.lines)
        yield clients
    finally:
        process.kill()
        await process.wait()
        await reading
