"""Where the checks play: two Wellios on one database, each behind a proxy, official clients, and things to break.

Two, because what is promised is promised across processes; a proxy before each, so that a link can break and lead
elsewhere. The second process reaches Redis through one as well, which can lose a single publication.
"""

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import psutil  # type: ignore[import-untyped]

from tests.conftest import SECRET
from tests.factories import House, make_house
from tests.realtime.conftest import open_conversation
from tests.realtime.crowd import Device, make_people
from tests.realtime.faults import Balancer, OwnRedis, Wellio, balancer, own_redis
from tests.realtime.javascript import MISSING, JavaScript, javascript
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.accounts.tokens import Tokens
from wellio.db import Database, open_database
from wellio.embedded import start

AT_ONCE = 50  # connections under way while a crowd comes in slowly
WITHIN_S = 60.0


@dataclass
class Scene:
    """`doors[n]` leads to `processes[n]`. Official clients are named; those that keep the rule are docs/examples."""

    processes: Sequence[Wellio]
    doors: Sequence[Balancer]
    redis: OwnRedis
    to_redis: Balancer
    db: Database
    session: aiohttp.ClientSession
    tokens: Tokens
    house: House
    official: JavaScript | None
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def js(self) -> JavaScript:
        assert self.official, "needs Node.js, and `npm ci --ignore-scripts` in tests/js"
        return self.official

    def url(self, number: int) -> str:
        return self.processes[number % len(self.processes)].url

    def token(self, actor: Actor, **options: timedelta) -> str:
        return self.tokens.issue_access(
            user_id=actor.user_id, practice_id=actor.practice_id, session_id=actor.session_id, **options
        )

    # ------------------------------------------------ official clients

    async def open(self, *actors: Actor) -> UUID:
        return await open_conversation(self.db, *actors)

    async def connect(self, name: str, actor: Actor, door: int, **auth: Any) -> Any:
        """An official client with its default options that keeps the rule; its session:ready."""
        auth = {"token": self.token(actor), **auth}
        self.js.command("connect", client=name, url=self.doors[door].url, auth=auth, options={}, chat=True)
        return (await until(lambda: self.js.events(name, "session:ready")))[0]

    async def call(self, client: str, event: str, data: Any) -> Any:
        """The ack."""
        return await self.answer(client, self.ask(client, event, data))

    def ask(self, client: str, event: str, data: Any) -> str:
        """The name of the ack to come."""
        name = f"asked{next(self._names)}"
        self.js.command("emit", client=client, event=event, data=data, ack=name)
        return name

    async def answer(self, client: str, name: str) -> Any:
        return (await until(lambda: self.js.acks(client, name)))[0]

    async def say(self, client: str, conversation_id: UUID, body: str) -> Any:
        """The message, once it is acked."""
        ack = await self.call(client, "message:send", message(conversation_id, body))
        assert ack["ok"], ack
        return ack["data"]

    async def head(self, conversation_id: UUID) -> int:
        head: int = await self.db.fetchval("select last_seq from conversations where id = $1", conversation_id)
        return head

    async def converged(self, conversation_id: UUID, *clients: str) -> None:
        """Each has applied the whole log, once and in order."""
        want = list(range(1, await self.head(conversation_id) + 1))
        for client in clients:
            await until(lambda client=client: len(self.applied(client, conversation_id)) >= len(want))
            seqs = [event["seq"] for event in self.applied(client, conversation_id)]
            assert seqs == want, f"{client} has not every event once and in order"

    def applied(self, client: str, conversation_id: UUID) -> list[dict[str, Any]]:
        return self.js.applied(client, conversation_id)

    # ------------------------------------------------ many, by hand

    async def crowd(self, sockets: int) -> list[Device]:
        """Connected, the two of each conversation on different processes."""
        pairs = await make_people(self.db, self.tokens, -(-sockets // 2))
        devices = [Device(self.session, person) for pair in pairs for person in pair][:sockets]
        for begin in range(0, len(devices), AT_ONCE):
            some = devices[begin : begin + AT_ONCE]
            await asyncio.gather(*(d.connect(self.url(begin + n)) for n, d in enumerate(some)))
        return devices

    async def rest(self, method: str, path: str, actor: Actor, *, process: int = 0, **options: Any) -> Any:
        """Status and answer."""
        headers = {"Authorization": f"Bearer {self.token(actor)}"}
        async with self.session.request(
            method, f"{self.url(process)}/api/v1{path}", headers=headers, **options
        ) as answer:
            return answer.status, (await answer.json())["data"] if answer.status < 300 else await answer.text()


def message(conversation_id: UUID, body: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {"conversation_id": str(conversation_id), "client_message_id": str(uuid4()), "body": body, **fields}


def resources(process: Wellio) -> dict[str, float]:
    """Of a process, as the operating system tells it: memory in MB, file descriptors, TCP sockets."""
    found = psutil.Process(process.pid)
    return {
        "rss_mb": round(found.memory_info().rss / 1e6, 1),
        "fds": found.num_fds(),
        "sockets": len([c for c in found.net_connections("tcp") if c.status != "LISTEN"]),
    }


async def until(check: Callable[..., Any], *, within_s: float = WITHIN_S) -> Any:
    """As `eventually`, with the patience that a busy machine needs."""
    return await eventually(check, within_s=within_s)


async def seconds_until(check: Callable[..., Any], *, within_s: float) -> float:
    """How long it took. Raises AssertionError."""
    began = time.perf_counter()
    await eventually(check, within_s=within_s)
    return round(time.perf_counter() - began, 2)


@asynccontextmanager
async def open_scene(*, rate_limit_scale: float) -> AsyncIterator[Scene]:
    """Own PostgreSQL (fsync on) and Redis in a new folder; everything on loopback, and ended with the scene."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wellio-bench-")))
        folder.chmod(0o711)
        running = stack.enter_context(start(folder / "data", postgres=True, redis=False)).running
        redis = await stack.enter_async_context(own_redis())
        to_redis, *doors = [await stack.enter_async_context(balancer()) for _ in range(3)]
        to_redis.lead_to(redis.url)
        processes = []
        for number, (redis_url, door) in enumerate(zip((redis.url, to_redis.redis_url), doors, strict=True)):
            scale = rate_limit_scale
            process = Wellio(running.database_url, redis_url, folder / str(number), rate_limit_scale=scale)
            stack.callback(process.kill)
            await process.start()
            door.lead_to(process.url)
            processes.append(process)
        db = await open_database(running.database_url)
        stack.push_async_callback(db.close)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        js = None if MISSING else await stack.enter_async_context(javascript(doors[0].url))
        house = await make_house(db)
        yield Scene(processes, doors, redis, to_redis, db, session, Tokens(SECRET), house, js)
