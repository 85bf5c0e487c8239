"""A real HTTP server on a port of loopback that hears webhooks: checks them, refuses, hangs, or hangs up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from standardwebhooks import Webhook

HANG, HANG_UP, HUGE, REDIRECT = "hang", "hang up", "huge", "redirect"


@dataclass(frozen=True, slots=True)
class Heard:
    headers: dict[str, str]
    body: bytes
    path: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def told(self) -> Any:
        return orjson.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """As the receiver's own library finds; raises what it raises."""
        Webhook(secret).verify(self.body, self.headers)
        return True


class Receiver:
    """`answers` are given one by one: a status, or a misdeed; then everything is taken with 204."""

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        self.heard: list[Heard] = []
        self.at_once = self.most_at_once = 0
        self.go_on = asyncio.Event()
        self.url = ""

    async def _hear(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.heard.append(Heard(headers, await request.read(), request.path))
            answer = self.answers.pop(0) if self.answers else 204
            return await self._answer(request, answer)
        finally:
            self.at_once -= 1

    async def _answer(self, request: web.Request, answer: int | str) -> web.StreamResponse:
        if answer == HANG:
            await self.go_on.wait()
        if answer == HANG_UP:
            assert request.transport
            request.transport.abort()
        if answer == REDIRECT:
            return web.Response(status=302, headers={"Location": f"{self.url}/elsewhere"})
        if answer == HUGE:
            return web.Response(body=b"word\x00 " * 100_000)
        return web.Response(status=answer if isinstance(answer, int) else 200, text="heard" if answer != 204 else None)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Receiver"]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._hear)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self.go_on.set()
            await runner.cleanup()
