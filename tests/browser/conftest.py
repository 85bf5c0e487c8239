"""A headless Chromium, and Wellio without its background duties, so that only what a test does happens."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from tests.api import Api
from tests.browser.relay import Relay
from tests.conftest import SECRET
from tests.console.conftest import CHEAP_HASH
from tests.factories import PASSWORD, House
from wellio.accounts.actors import Actor
from wellio.accounts.tokens import Tokens
from wellio.app import build_app, open_services
from wellio.config import Config
from wellio.db import Database
from wellio.handlers.connections import Runner
from wellio.ids import uuid7
from wellio.live import Live
from wellio.realtime.server import Realtime

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 800}
TIMEOUT_MS = 15_000
expect.set_options(timeout=TIMEOUT_MS)


@dataclass(frozen=True, slots=True)
class Site:
    """Wellio behind a network that a test may cut; `api` goes round it."""

    api: Api
    relay: Relay
    live: Live
    house: House

    async def say(self, conversation_id: str, sender: Actor, body: str) -> None:
        message = {"conversation_id": conversation_id, "client_message_id": str(uuid7()), "body": body}
        assert (await self.api.post("/api/v1/messages", sender, message)).status == 201

    async def talk(self, sender: Actor, to: Actor) -> str:
        new = {"kind": "direct", "member_ids": [str(to.user_id)]}
        return str((await self.api.post("/api/v1/conversations", sender, new)).data["id"])

    async def bodies(self, conversation_id: str, reader: Actor) -> list[str]:
        """What is stored, oldest first."""
        answer = await self.api.get(f"/api/v1/conversations/{conversation_id}/messages?page_size=100", reader)
        return [message["body"] for message in answer.data[::-1]]


@pytest.fixture
async def site(config: Config, db: Database, house: House) -> AsyncIterator[Site]:
    await db.execute("update users set password_hash = $1", CHEAP_HASH)
    async with open_services(config) as services, aiohttp.ClientSession() as session:
        realtime = Realtime(services)
        runner = Runner(build_app(services, realtime), access_log=None, auto_decompress=False, shutdown_timeout=1)
        await runner.setup()
        await realtime.start()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        api = Api(session, f"http://127.0.0.1:{port}", Tokens(SECRET), db)
        async with Relay("127.0.0.1", port).listening() as relay:
            yield Site(api, relay, services.live, house)
        await realtime.stop()
        await runner.cleanup()


@pytest.fixture(scope="package")
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


OpenPage: TypeAlias = Callable[..., Awaitable[Page]]


@pytest.fixture
async def open_page(chromium: Browser) -> AsyncIterator[OpenPage]:
    """Makes pages in a context of their own each. No page may err, break its policy, or ask another host."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    async def make(url: str, **options: Any) -> Page:
        context = await chromium.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = await context.new_page()
        _listen(page, urlsplit(url).netloc, complaints)
        await page.goto(url)
        return page

    yield make
    for context in contexts:
        await context.close()
    assert complaints == []


def _listen(page: Page, host: str, complaints: list[str]) -> None:
    def on_console(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            complaints.append(message.text)

    def on_request(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != host:
            complaints.append(f"asks {request.url}")

    page.on("console", on_console)
    page.on("request", on_request)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))


async def sign_in(page: Page, db: Database, actor: Actor) -> None:
    """With the form, as a person does."""
    email = await db.fetchval("select email from users where id = $1", actor.user_id)
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(lambda url: urlsplit(url).path == "/")
