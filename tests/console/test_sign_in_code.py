"""Signing in to the console with a second factor, without a script."""

import re

from tests.console.conftest import CHEAP_HASH, Browser, Page
from tests.factories import PASSWORD, House
from tests.handlers.test_mfa import App, turn_on
from wellio.accounts.actors import Actor


async def first_step(browser: Browser, actor: Actor) -> Page:
    sql = "update users set password_hash = $2 where id = $1 returning email"
    email = await browser.api.db.fetchval(sql, actor.user_id, CHEAP_HASH)
    return await browser.submit("/sign-in", email=email, password=PASSWORD)


async def second_step(browser: Browser, page: Page, code: str) -> Page:
    hidden = re.search(r'name="mfa_token" value="([^"]+)"', page.text)
    assert hidden, page.text
    form = {"csrf_token": page.token, "mfa_token": hidden[1], "code": code}
    return await browser.post("/sign-in/code", form, {"Origin": browser.api.url, "Sec-Fetch-Site": "same-origin"})


async def enrolled(browser: Browser, house: House) -> tuple[App, list[str]]:
    return await turn_on(browser.api, house.coach)


async def test_code_opens_home_and_password_alone_does_not(browser: Browser, house: House) -> None:
    app, _ = await enrolled(browser, house)
    page = await first_step(browser, house.coach)
    assert page.status == 200
    assert 'autocomplete="one-time-code"' in page.text
    assert "wellio_session" not in browser.cookies
    assert (await browser.get("/")).location == "/sign-in"
    assert (await second_step(browser, page, await app.next_code())).location == "/"
    assert "Carl Coach" in (await browser.get("/")).text


async def test_recovery_code_opens_home(browser: Browser, house: House) -> None:
    _, codes = await enrolled(browser, house)
    page = await first_step(browser, house.coach)
    assert (await second_step(browser, page, codes[0])).location == "/"


async def test_wrong_code_may_be_tried_again_until_the_sign_in_ends(browser: Browser, house: House) -> None:
    app, codes = await enrolled(browser, house)
    page = await first_step(browser, house.coach)
    for code in ("", *["aaaa-aaaa-aaaa-aaaa"] * 5):
        page = await second_step(browser, page, code)
        assert page.status == 422
        assert 'id="code-note"' in page.text
    ended = await second_step(browser, page, codes[0])
    assert ended.status == 422
    assert "begin again with your password" in ended.text
    assert 'name="password"' in ended.text
    page = await first_step(browser, house.coach)
    assert (await second_step(browser, page, await app.next_code())).location == "/"


async def test_second_step_by_itself_leads_to_the_first(browser: Browser, house: House) -> None:
    assert (await browser.get("/sign-in/code")).location == "/sign-in"
    await browser.get("/sign-in")
    assert (await browser.post("/sign-in/code", {"mfa_token": "x", "code": "123456"})).status == 403
