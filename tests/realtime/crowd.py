"""Many devices on raw WebSockets in one event loop, which keep the rules of docs/socket-protocol.md."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from aiohttp import WSMsgType

from tests.realtime.raw import ENGINE
from wellio.accounts.tokens import Tokens
from wellio.db import Database
from wellio.ids import uuid7

READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Person:
    token: str
    conversation_id: UUID


@dataclass(eq=False)
class Device:
    """`applied`: how far it has come in its conversation. `doubled`: pushes that it had already. `delays_s`: how long
    messages took that name the time they were sent at."""

    session: aiohttp.ClientSession
    person: Person
    applied: int = 0
    doubled: int = 0
    syncs: int = 0
    recovered: bool = False
    delays_s: list[float] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)
    closed_with: int | None = None
    _websocket: aiohttp.ClientWebSocketResponse | None = None
    _reading: asyncio.Task[None] | None = None
    _pid: str | None = None
    _offset: str | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _acks: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _numbers: int = 0

    async def connect(self, url: str) -> None:
        """Returns when it has all that there was. Raises aiohttp's errors, and TimeoutError."""
        self._ready.clear()
        self._websocket = await self.session.ws_connect(url + ENGINE, compress=0, max_msg_size=0)
        auth = {"token": self.person.token, "recovery": True, "pid": self._pid, "offset": self._offset}
        await self._websocket.send_str("40" + json.dumps(auth))
        self._reading = asyncio.create_task(self._read(self._websocket))
        async with asyncio.timeout(READY_WITHIN_S):
            await self._ready.wait()

    async def send(self, body: str) -> Any:
        """The ack. Raises TimeoutError when there is none."""
        self._numbers += 1
        number = self._numbers
        message = {
            "conversation_id": str(self.person.conversation_id), "client_message_id": str(uuid4()), "body": body,
        }  # fmt: skip
        return await self._ask(number, ["message:send", message])

    def abort(self) -> None:
        """The link breaks."""
        if self._websocket is not None and self._websocket._response.connection is not None:
            transport = self._websocket._response.connection.transport
            if transport is not None:
                transport.abort()

    async def close(self) -> None:
        if self._websocket is not None:
            await self._websocket.close()
        if self._reading is not None:
            await self._reading

    async def lost(self) -> None:
        """Returns when its connection has ended."""
        assert self._reading
        await self._reading

    async def _ask(self, number: int, event: list[Any]) -> Any:
        assert self._websocket
        ack = self._acks[number] = asyncio.get_running_loop().create_future()
        try:
            await self._websocket.send_str(f"42{number}{json.dumps(event)}")
            async with asyncio.timeout(READY_WITHIN_S):
                answer = await ack
        finally:
            del self._acks[number]
        if not answer["ok"]:
            self.refused.append(answer["error"])
        return answer

    async def _read(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        with suppress(aiohttp.ClientError, OSError):
            async for received in websocket:
                if received.type is WSMsgType.TEXT:
                    await self._take(websocket, received.data)
        self.closed_with = websocket.close_code
        for ack in self._acks.values():
            if not ack.done():
                ack.set_exception(ConnectionError("closed"))

    async def _take(self, websocket: aiohttp.ClientWebSocketResponse, frame: str) -> None:
        if frame == "2":
            await websocket.send_str("3")
        elif frame.startswith("43"):
            number, _, answer = frame[2:].partition("[")
            ack = self._acks.get(int(number))
            if ack is not None and not ack.done():
                ack.set_result(json.loads(f"[{answer}")[0])
        elif frame.startswith("40"):
            pid = json.loads(frame[2:])["pid"]
            self.recovered, self._pid = pid == self._pid, pid
        elif frame.startswith('42["message:new"'):
            _, message, self._offset = json.loads(frame[2:])
            self._apply(message)
        elif frame.startswith(('42["session:ready"', '42["chat:heads"')):
            name, told, *offset = json.loads(frame[2:])
            self._offset = offset[0] if offset else self._offset
            self._compare(told["heads"], ready=name == "session:ready")

    def _apply(self, message: Any) -> None:
        if message["seq"] == self.applied + 1:
            self._advance(message)
        elif message["seq"] <= self.applied:
            self.doubled += 1
        else:
            self._sync_soon(ready=False)

    def _advance(self, message: Any) -> None:
        self.applied += 1
        with suppress(ValueError):
            self.delays_s.append(time.time() - float(message["body"].split()[0]))

    def _compare(self, heads: Any, *, ready: bool) -> None:
        if heads.get(str(self.person.conversation_id), 0) > self.applied:
            self._sync_soon(ready=ready)
        elif ready:
            self._ready.set()

    def _sync_soon(self, *, ready: bool) -> None:
        self.syncs += 1
        self._syncing = asyncio.create_task(self._sync(ready=ready))

    async def _sync(self, *, ready: bool) -> None:
        more = True
        while more:
            self._numbers += 1
            cursors = {"cursors": {str(self.person.conversation_id): self.applied}}
            try:
                answer = await self._ask(self._numbers, ["chat:sync", cursors])
            except (OSError, TimeoutError, aiohttp.ClientError):
                return
            (conversation,) = answer["conversations"]
            for event in conversation["events"]:
                if event["seq"] == self.applied + 1:
                    self._advance(event)
            more = conversation["has_more"]
        if ready:
            self._ready.set()


async def make_people(db: Database, tokens: Tokens, pairs: int) -> list[tuple[Person, Person]]:
    """A practice of so many direct conversations, each of two people with a session of their own."""
    practice, now = uuid7(), datetime.now(UTC)
    users = [(uuid7(), uuid7()) for _ in range(2 * pairs)]
    conversations = [uuid7() for _ in range(pairs)]
    user_ids, session_ids = [u for u, _ in users], [s for _, s in users]
    async with db.transaction() as connection:
        await connection.execute("insert into practices (id, name, timezone) values ($1, 'Crowd', 'UTC')", practice)
        await connection.execute(
            "insert into users (id, practice_id, role, name, email, password_hash, timezone)"
            " select id, $1, 'coach', 'One', id || '@example.org', 'none', 'UTC' from unnest($2::uuid[]) t (id)",
            practice, user_ids,
        )  # fmt: skip
        await connection.execute(
            "insert into auth_sessions (id, practice_id, user_id, expires_at)"
            " select s, $1, u, $4 from unnest($2::uuid[], $3::uuid[]) t (s, u)",
            practice, session_ids, user_ids, now + timedelta(days=1),
        )  # fmt: skip
        await connection.execute(
            "insert into conversations (id, practice_id, kind, created_by)"
            " select c, $1, 'direct', u from unnest($2::uuid[], $3::uuid[]) t (c, u)",
            practice, conversations, user_ids[::2],
        )  # fmt: skip
        await connection.execute(
            "insert into conversation_members (practice_id, conversation_id, user_id)"
            " select $1, c, u from unnest($2::uuid[], $3::uuid[]) t (c, u)",
            practice, [c for c in conversations for _ in range(2)], user_ids,
        )  # fmt: skip
    life = timedelta(minutes=59)
    people = [
        Person(
            tokens.issue_access(user_id=user, practice_id=practice, session_id=session, ttl=life), conversations[n // 2]
        )
        for n, (user, session) in enumerate(users)
    ]
    return list(zip(people[::2], people[1::2], strict=True))


def percentile_ms(times_s: Sequence[float], share: float) -> float | None:
    ordered = sorted(times_s)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) if ordered else None
