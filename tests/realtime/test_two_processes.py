"""Two operating system processes, each behind a proxy, with official clients that keep the rule on both."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from tests.api import Api
from tests.factories import House
from tests.realtime.faults import Balancer, OwnRedis, Wellio, balancer, own_redis
from tests.realtime.javascript import JavaScript, javascript, needs_node
from tests.waiting import eventually

pytestmark = [*needs_node, pytest.mark.slow]


@dataclass
class Two:
    """`coach` is on one process, `client` on the other; the other's link to Redis leads through a proxy."""

    js: JavaScript
    processes: tuple[Wellio, Wellio]
    doors: tuple[Balancer, Balancer]
    redis: OwnRedis
    to_redis: Balancer
    conversation_id: UUID
    sent: int = 0

    async def say(self, client: str) -> None:
        """Returns with the ack."""
        self.sent += 1
        name = self.js.send(client, self.conversation_id, f"{client} {self.sent}")
        (answer,) = await eventually(lambda: self.js.acks(client, name))
        assert (answer["ok"], answer["data"]["seq"]) == (True, self.sent)

    async def converged(self) -> None:
        """Both have all of the log, once and in order."""
        want = list(range(1, self.sent + 1))

        def seqs(client: str) -> list[int]:
            return [event["seq"] for event in self.js.applied(client, self.conversation_id)]

        await eventually(lambda: seqs("coach") == want and seqs("client") == want)


@asynccontextmanager
async def two_processes(
    api: Api, house: House, direct: UUID, database_url: str, folder: Path, transports: list[str] | None = None
) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(own_redis())
        to_redis, *doors = [await stack.enter_async_context(balancer()) for _ in range(3)]
        to_redis.lead_to(redis.url)
        processes = (
            Wellio(database_url, redis.url, folder / "1"),
            Wellio(database_url, to_redis.redis_url, folder / "2"),
        )
        for process, door in zip(processes, doors, strict=True):
            stack.callback(process.kill)
            door.lead_to(process.url)
        await asyncio.gather(*(process.start() for process in processes))
        js = await stack.enter_async_context(javascript(api.url))
        for name, actor, door in (("coach", house.coach, doors[0]), ("client", house.client, doors[1])):
            options = {"transports": transports} if transports else {}
            await js.connected(name, api.token(actor), url=door.url, chat=True, **options)
        yield Two(js, processes, (doors[0], doors[1]), redis, to_redis, direct)


async def test_whatever_becomes_of_redis_or_a_process_both_sides_converge(
    api: Api, house: House, direct: UUID, database_url: str, tmp_path: Path
) -> None:
    async with two_processes(api, house, direct, database_url, tmp_path) as two:

        async def talk() -> None:
            for client in ("coach", "client", "coach"):
                await two.say(client)
            await two.converged()

        await talk()
        two.redis.kill()
        await talk()
        await two.redis.start()
        await talk()
        two.redis.freeze()
        try:
            await talk()
        finally:
            two.redis.thaw()
        await talk()
        await two.redis.flush()
        # The last message of all: no later one would tell of it.
        syncs = len(two.js.told("client", "sync"))
        two.to_redis.swallows = b"message:new"
        await two.say("coach")
        await two.converged()
        assert not two.to_redis.swallows
        assert len(two.js.told("client", "sync")) > syncs
        await talk()
        # Its process dies: the client goes to the other one, and what it missed comes by itself.
        syncs = len(two.js.told("client", "sync"))
        two.processes[1].kill()
        for _ in range(3):
            await two.say("coach")
        two.doors[1].lead_to(two.processes[0].url)
        await two.converged()
        assert two.js.told("client", "connect")[-1]["recovered"]
        assert len(two.js.told("client", "sync")) == syncs
        await two.say("client")
        await two.converged()
