"""/mailbox shows the mails of a development instance, and is nowhere else."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from uuid import uuid4

import aiohttp
import pytest

from tests.console.conftest import Browser, Page
from tests.factories import House
from tests.waiting import eventually
from wellio.app import running
from wellio.config import Config
from wellio.mails import MailKind, queue_mail

pytestmark = pytest.mark.usefixtures("mails_leave")


async def first_mail(browser: Browser) -> str | None:
    """Its address, once it is there."""
    found = re.search(r'href="(/mailbox/[0-9a-f-]{36})"', (await browser.get("/mailbox")).text)
    return found[1] if found else None


async def queue(browser: Browser, house: House) -> None:
    await browser.api.db.execute("update users set name = '<b>Olga</b>' where id = $1", house.owner.user_id)
    email = await browser.api.db.fetchval("select email from users where id = $1", house.owner.user_id)
    async with browser.api.db.transaction() as connection:
        await queue_mail(connection, MailKind.PASSWORD_RESET, email)


async def open_mail(browser: Browser, house: House) -> tuple[str, Page]:
    await queue(browser, house)
    path = await eventually(partial(first_mail, browser))
    assert path
    return path, await browser.get(path)


async def test_mail_is_shown_as_text_with_its_link(browser: Browser, house: House) -> None:
    assert "Nothing was sent yet" in (await browser.get("/mailbox")).text
    _, page = await open_mail(browser, house)
    link = f'<a href="{browser.api.url}/reset-password?token='
    assert link in page.text
    assert "&lt;b&gt;Olga&lt;/b&gt;" in page.text
    assert "<b>Olga" not in page.text
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]


async def test_html_of_a_mail_may_do_nothing(browser: Browser, house: House) -> None:
    path, page = await open_mail(browser, house)
    frame = re.search(r'<iframe [^>]*src="([^"]+)"[^>]*>', page.text)
    assert frame
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame[0]
    assert frame[1] == f"{path}/html"
    html = await browser.get(frame[1])
    policy = html.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert "sandbox allow-popups" in policy
    assert "script" not in policy
    assert html.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "&lt;b&gt;Olga&lt;/b&gt;" in html.text


@pytest.mark.parametrize("name", ["x", "6f1c6f3e-0000-4000-8000-000000000000", "..%2f..%2fjwt_secret", "%00"])
async def test_no_other_file_is_shown(browser: Browser, name: str) -> None:
    page = await browser.get(f"/mailbox/{name}")
    assert page.status == 404


@asynccontextmanager
async def served(config: Config) -> AsyncIterator[str]:
    async with running(config) as (host, port):
        yield f"http://{host}:{port}"


@pytest.mark.parametrize("changes", [{"smtp_url": "smtp://127.0.0.1:1"}, {"env": "production"}])
async def test_there_is_no_mailbox_elsewhere(config: Config, changes: dict[str, str]) -> None:
    async with served(replace(config, **changes)) as url, aiohttp.ClientSession() as session:  # type: ignore[arg-type]
        for path in ("/mailbox", f"/mailbox/{uuid4()}", f"/mailbox/{uuid4()}/html"):
            async with session.get(url + path) as response:
                answer = (response.status, await response.read())
            async with session.get(f"{url}/nothing-here") as response:
                assert answer == (404, await response.read())
