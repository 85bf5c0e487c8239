"""Wellio with the limits that a test is about: the usual tests meet none."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import aiohttp
import pytest
from aiohttp import CookieJar

from tests.api import Api
from tests.conftest import SECRET
from wellio.accounts.tokens import Tokens
from wellio.app import running
from wellio.config import Config
from wellio.db import Database
from wellio.http_limits import HttpLimits

Starter = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture
def narrow(config: Config, db: Database) -> Starter:
    """Wellio with other limits for connections."""

    @asynccontextmanager
    async def start(http: HttpLimits, **changes: Any) -> AsyncIterator[Api]:
        async with running(replace(config, **changes), http) as (host, port), aiohttp.ClientSession() as session:
            yield Api(session, f"http://{host}:{port}", Tokens(SECRET), db)

    return start


@pytest.fixture
def limited(config: Config, db: Database) -> Starter:
    """Wellio with its limits as they are, behind a trusted proxy: a caller's address is what a test says."""

    @asynccontextmanager
    async def start(**changes: object) -> AsyncIterator[Api]:
        settings: dict[str, Any] = {"rate_limit_scale": 1.0, "trusted_proxies": (ip_network("127.0.0.1"),)} | changes
        async with (
            running(replace(config, **settings)) as (host, port),
            aiohttp.ClientSession(cookie_jar=CookieJar(unsafe=True)) as session,
        ):
            yield Api(session, f"http://{host}:{port}", Tokens(SECRET), db)

    return start
