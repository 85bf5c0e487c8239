"""A browser without a window: keeps cookies, follows no redirect, and fills forms from the page it read."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import aiohttp
import pytest
from argon2 import PasswordHasher

from tests.api import Api
from tests.factories import PASSWORD
from wellio.accounts.actors import Actor

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
# Signing in is tested often, how slow the hash is elsewhere.
CHEAP_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    text: str
    headers: Mapping[str, str]
    set_cookies: Mapping[str, str]

    @property
    def token(self) -> str:
        found = TOKEN.search(self.text)
        assert found, self.text
        return found[1]

    @property
    def location(self) -> str:
        assert self.status == 303, (self.status, self.text)
        return self.headers["Location"]


@dataclass(frozen=True, slots=True)
class Browser:
    session: aiohttp.ClientSession
    api: Api

    async def get(self, path: str) -> Page:
        return await self._call("GET", path)

    async def post(self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Page:
        return await self._call("POST", path, data=dict(form), headers=dict(headers or {}))

    async def submit(self, path: str, *, at: str = "", **fields: str) -> Page:
        """Reads the page with the form, and sends the form as a person would; `at` where it is sent to."""
        token = (await self.get(path)).token
        return await self.post(
            at or path, {"csrf_token": token, **fields}, {"Origin": self.api.url, "Sec-Fetch-Site": "same-origin"}
        )

    async def sign_in(self, actor: Actor) -> Page:
        """Home, as that user sees it."""
        sql = "update users set password_hash = $2 where id = $1 returning email"
        email = await self.api.db.fetchval(sql, actor.user_id, CHEAP_HASH)
        assert (await self.submit("/sign-in", email=email, password=PASSWORD)).location == "/"
        return await self.get("/")

    async def sign_out(self) -> Page:
        return await self.post("/sign-out", {"csrf_token": (await self.get("/")).token})

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.session.cookie_jar}

    async def _call(self, method: str, path: str, **options: object) -> Page:
        url = self.api.url + path
        async with self.session.request(method, url, allow_redirects=False, **options) as response:  # type: ignore[arg-type]
            cookies = {name: morsel.OutputString() for name, morsel in response.cookies.items()}
            return Page(response.status, await response.text(), response.headers.copy(), cookies)


NewBrowser: TypeAlias = Callable[[], Browser]


@pytest.fixture
async def new_browser(api: Api) -> AsyncIterator[NewBrowser]:
    sessions: list[aiohttp.ClientSession] = []

    def make() -> Browser:
        # unsafe: cookies of an address that is a number
        sessions.append(aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)))
        return Browser(sessions[-1], api)

    yield make
    for session in sessions:
        await session.close()


@pytest.fixture
async def browser(new_browser: NewBrowser) -> Browser:
    return new_browser()
