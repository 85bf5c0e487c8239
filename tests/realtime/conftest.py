"""Sockets against Wellio as it is served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
import socketio
from aiohttp import web

from tests.api import Api
from tests.factories import House
from tests.realtime.javascript import JavaScript, javascript
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.app import build_app, open_services
from wellio.chat.openings import NewConversation, create_conversation
from wellio.config import Config
from wellio.db import Database
from wellio.handlers.connections import Runner
from wellio.live import Live
from wellio.outbox import Outbox
from wellio.realtime.server import Realtime
from wellio.services import Services


async def open_conversation(db: Database, actor: Actor, *others: Actor) -> UUID:
    kind = "direct" if len(others) == 1 else "group"
    new = NewConversation(kind=kind, member_ids=tuple(o.user_id for o in others))
    return (await create_conversation(Outbox(db), Live(), actor, new)).id


def message(conversation_id: UUID, body: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {"conversation_id": str(conversation_id), "client_message_id": str(uuid4()), "body": body, **fields}


@dataclass
class Phone:
    """A connected device by python-socketio's client. `events`: all that was pushed to it, in order."""

    client: socketio.AsyncClient
    events: list[tuple[str, Any]] = field(default_factory=list)
    lost: int = 0

    async def call(self, event: str, data: Any) -> Any:
        return await self.client.call(event, data, timeout=15)

    def of(self, event: str) -> list[Any]:
        return [data for name, data in self.events if name == event]

    async def until(self, event: str, count: int = 1) -> list[Any]:
        """The pushes of that name, when there are so many."""
        await eventually(lambda: len(self.of(event)) >= count)
        return self.of(event)

    async def first(self, event: str) -> Any:
        return (await self.until(event))[0]


class Phones:
    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: list[socketio.AsyncClient] = []

    async def connect(self, token: str | None, *, url: str | None = None, **options: Any) -> Phone:
        """Returns after session:ready. Raises socketio's ConnectionError when refused."""
        phone = self.make()
        auth = {"token": token} if token is not None else None
        await phone.client.connect(url or self.url, auth=auth, **{"transports": ["websocket"], **options})
        await phone.first("session:ready")
        return phone

    def make(self) -> Phone:
        client = socketio.AsyncClient(reconnection=False)
        phone = Phone(client)
        client.on("*", lambda event, data=None: phone.events.append((event, data)))
        client.on("disconnect", lambda *_: setattr(phone, "lost", phone.lost + 1))
        self._clients.append(client)
        return phone

    async def close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.gather(*(client.disconnect() for client in self._clients), return_exceptions=True)


@dataclass(frozen=True)
class Process:
    """One Wellio, as served, with its insides to reach into."""

    url: str
    services: Services
    realtime: Realtime

    def token(self, actor: Actor, **options: Any) -> str:
        return self.services.tokens.issue_access(
            user_id=actor.user_id, practice_id=actor.practice_id, session_id=actor.session_id, **options
        )


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Process]:
    async with open_services(config) as services:
        realtime = Realtime(services)
        runner = Runner(build_app(services, realtime), access_log=None, shutdown_timeout=2)
        await runner.setup()
        await realtime.start()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield Process(f"http://127.0.0.1:{runner.addresses[0][1]}", services, realtime)
        finally:
            await realtime.stop()
            await runner.cleanup()


@pytest.fixture
async def process(config: Config) -> AsyncIterator[Process]:
    async with serving(config) as made:
        yield made


@pytest.fixture
async def phones(process: Process) -> AsyncIterator[Phones]:
    made = Phones(process.url)
    yield made
    await made.close()


@pytest.fixture
async def direct(db: Database, house: House) -> UUID:
    """The conversation of a coach and their client."""
    return await open_conversation(db, house.coach, house.client)


@pytest.fixture
async def js(api: Api) -> AsyncIterator[JavaScript]:
    async with javascript(api.url) as clients:
        yield clients
