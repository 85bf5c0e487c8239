"""Forgotten passwords and addresses to be confirmed: from the page, through the mail, to the end."""

import re
from functools import partial

import pytest

from tests.console.conftest import Browser, NewBrowser
from tests.console.test_sign_in import REGISTRATION
from tests.factories import PASSWORD, House
from tests.waiting import eventually

NEW_PASSWORD = "a quite different one of mine"
LINK = re.compile(r'href="(http[^"]+\?token=[^"]+)"')


pytestmark = pytest.mark.usefixtures("mails_leave")


async def mailed_link(browser: Browser, path: str) -> str:
    """Where the newest mail with such a link leads, below the site's address."""
    link = await eventually(partial(_mailed_link, browser, path))
    assert link
    return link


async def _mailed_link(browser: Browser, path: str) -> str | None:
    for mail in re.findall(r'href="(/mailbox/[0-9a-f-]+)"', (await browser.get("/mailbox")).text):
        found = LINK.search((await browser.get(mail)).text)
        if found and found[1].startswith(f"{browser.api.url}/{path}?"):
            return found[1].removeprefix(browser.api.url)
    return None


async def email_of(browser: Browser, house: House) -> str:
    return str(await browser.api.db.fetchval("select email from users where id = $1", house.coach.user_id))


async def test_forgotten_password_is_replaced_by_the_mailed_link(
    browser: Browser, new_browser: NewBrowser, house: House
) -> None:
    other = new_browser()
    await other.sign_in(house.coach)
    email = await email_of(browser, house)
    assert 'href="/forgot-password"' in (await browser.get("/sign-in")).text
    sent = await browser.submit("/forgot-password", email=email)
    assert (sent.status, "a link is on its way" in sent.text) == (200, True)
    assert 'href="/mailbox"' in sent.text
    link = await mailed_link(browser, "reset-password")
    token = link.partition("=")[2]
    done = await browser.submit(link, token=token, password=NEW_PASSWORD, at="/reset-password")
    assert done.location == "/sign-in?notice=password-reset"
    assert "Your new password is set." in (await browser.get(done.location)).text
    assert (await other.get("/")).location == "/sign-in"
    assert (await browser.submit("/sign-in", email=email, password=PASSWORD)).status == 422
    assert (await browser.submit("/sign-in", email=email, password=NEW_PASSWORD)).location == "/"


async def test_page_after_asking_is_the_same_for_everybody(browser: Browser, house: House) -> None:
    email = await email_of(browser, house)
    known = await browser.submit("/forgot-password", email=email)
    unknown = await browser.submit("/forgot-password", email="nobody@example.org")
    assert known.text.replace(email, "") == unknown.text.replace("nobody@example.org", "")
    assert (known.status, set(known.headers)) == (unknown.status, set(unknown.headers))


async def test_used_link_says_so_and_changes_nothing(browser: Browser, house: House) -> None:
    await browser.submit("/forgot-password", email=await email_of(browser, house))
    link = await mailed_link(browser, "reset-password")
    token = link.partition("=")[2]
    weak = await browser.submit(link, token=token, password="short", at="/reset-password")
    assert weak.status == 422
    assert re.search(r'id="password-note">Use at least', weak.text)
    assert f'name="token" value="{token}"' in weak.text
    await browser.submit(link, token=token, password=NEW_PASSWORD, at="/reset-password")
    again = await browser.submit(link, token=token, password="yet another one of mine", at="/reset-password")
    assert again.status == 422
    assert "This link has been used already" in again.text
    assert (await browser.submit("/sign-in", email=await email_of(browser, house), password=NEW_PASSWORD)).location


async def test_opening_a_link_uses_nothing_up(browser: Browser, house: House) -> None:
    """Programs that look into mails follow links."""
    await browser.submit("/register", **REGISTRATION)
    link = await mailed_link(browser, "verify-email")
    for _ in range(3):
        assert (await browser.get(link)).status == 200
    assert "not confirmed" in (await browser.get("/account")).text
    done = await browser.submit(link, token=link.partition("=")[2], at="/verify-email")
    assert done.location == "/account?notice=address-verified"
    account = (await browser.get(done.location)).text
    assert "Your e-mail address is confirmed." in account
    assert "not confirmed" not in account
    again = await browser.submit(link, token=link.partition("=")[2], at="/verify-email")
    assert (again.status, "This link has been used already" in again.text) == (422, True)


@pytest.mark.parametrize("path", ["/reset-password", "/verify-email"])
async def test_token_in_the_address_is_told_to_nobody(
    browser: Browser, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    page = await browser.get(f"{path}?token=canary-in-the-address")
    assert page.headers["Referrer-Policy"] == "strict-origin"
    assert not re.findall(r'(?:src|href)="https?:', page.text)
    logged = [str(vars(record)) for record in caplog.records if record.name.startswith("wellio")]
    assert any(path in line for line in logged)
    assert not any("canary-in-the-address" in line for line in logged)


@pytest.mark.parametrize("path", ["/forgot-password", "/reset-password", "/verify-email"])
async def test_forms_of_other_sites_are_refused(browser: Browser, path: str) -> None:
    assert (await browser.post(path, {"email": "o@example.org", "token": "x", "password": NEW_PASSWORD})).status == 403


@pytest.mark.parametrize("token", ["", "x", "é\x00", "x" * 5000])
async def test_odd_tokens_are_answered_in_words(browser: Browser, token: str) -> None:
    for path in ("/reset-password", "/verify-email"):
        page = await browser.submit(f"{path}?token=x", at=path, token=token, password=NEW_PASSWORD)
        assert page.status == 422
        assert "This link has been used already" in page.text


async def test_notice_says_only_what_we_say(browser: Browser) -> None:
    assert "evil" not in (await browser.get("/sign-in?notice=evil")).text
