"""The page of one's account: what it shows, what it changes, and what it refuses."""

import re
from typing import Any

import pytest

from tests.console.conftest import Browser, NewBrowser, Page
from tests.factories import PASSWORD, House
from wellio.db import Database

NEW_PASSWORD = "a quite different one of mine"


@pytest.fixture
async def account(browser: Browser, house: House) -> Page:
    await browser.sign_in(house.coach)
    return await browser.get("/account")


async def user(db: Database, house: House) -> Any:
    return await db.fetchrow("select * from users where id = $1", house.coach.user_id)


async def test_account_is_for_who_is_signed_in(browser: Browser, house: House) -> None:
    assert (await browser.get("/account")).location == "/sign-in"
    for path in ("profile", "address", "verification", "password", "devices/x/sign-out", "sign-out-everywhere"):
        assert (await browser.post(f"/account/{path}", {})).location == "/sign-in"


async def test_forms_without_our_token_change_nothing(browser: Browser, house: House, account: Page) -> None:
    before = await user(browser.api.db, house)
    for path in ("profile", "address", "verification", "password", "devices/x/sign-out", "sign-out-everywhere"):
        form = {"name": "Evil", "email": "e@example.org", "timezone": "UTC", "new_password": NEW_PASSWORD}
        assert (await browser.post(f"/account/{path}", form)).status == 403
    assert await user(browser.api.db, house) == before


async def test_name_and_zone_are_saved(browser: Browser, house: House, account: Page) -> None:
    assert '<option value="UTC" selected>' in account.text
    form = {"name": "Carla <b>", "timezone": "Asia/Kolkata"}
    done = await browser.submit("/account", at="/account/profile", **form)
    page = await browser.get(done.location)
    assert "Saved." in page.text
    assert 'value="Carla &lt;b&gt;"' in page.text
    assert '<option value="Asia/Kolkata" selected>' in page.text


@pytest.mark.parametrize(
    ("at", "form", "field", "words"),
    [
        ("profile", {"name": "", "timezone": "UTC"}, "name", "String should have at least 1"),
        ("profile", {"name": "Carl", "timezone": "Mars"}, "timezone", "Is not an IANA time zone"),
        ("address", {"email": "carl"}, "email", "Is not an e-mail address"),
        ("password", {"current_password": "wrong", "new_password": NEW_PASSWORD}, "current_password", "This is not"),
        ("password", {"current_password": PASSWORD, "new_password": "short"}, "new_password", "Use at least"),
        ("password", {}, "current_password", "Is required"),
    ],
)
async def test_what_is_wrong_stands_beside_its_field(
    browser: Browser, account: Page, at: str, form: dict[str, str], field: str, words: str
) -> None:
    page = await browser.submit("/account", at=f"/account/{at}", **form)
    assert page.status == 422
    assert re.search(rf'id="{field}-note">{words}', page.text)
    assert NEW_PASSWORD not in page.text
    assert PASSWORD not in page.text


async def test_changed_password_keeps_this_browser_and_ends_the_others(
    browser: Browser, new_browser: NewBrowser, house: House, account: Page
) -> None:
    other = new_browser()
    await other.sign_in(house.coach)
    form = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    done = await browser.submit("/account", at="/account/password", **form)
    assert "Your password is changed" in (await browser.get(done.location)).text
    assert (await other.get("/")).location == "/sign-in"


async def test_lost_device_is_signed_out(
    browser: Browser, new_browser: NewBrowser, house: House, account: Page
) -> None:
    other = new_browser()
    other.session.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    await other.sign_in(house.coach)
    page = await browser.get("/account")
    assert "Firefox on Linux" in page.text
    (lost,) = [
        row["id"]
        for row in await browser.api.db.fetch("select id from auth_sessions where user_agent like '%Firefox%'")
    ]
    done = await browser.submit("/account", at=f"/account/devices/{lost}/sign-out")
    assert "That device is signed out." in (await browser.get(done.location)).text
    assert (await other.get("/")).location == "/sign-in"
    again = await browser.submit("/account", at=f"/account/devices/{lost}/sign-out")
    assert again.status == 404


async def test_device_of_somebody_else_is_no_device(browser: Browser, house: House, account: Page) -> None:
    page = await browser.submit("/account", at=f"/account/devices/{house.owner.session_id}/sign-out")
    assert page.status == 404
    sql = "select revoked_at from auth_sessions where id = $1"
    assert await browser.api.db.fetchval(sql, house.owner.session_id) is None


async def test_signing_out_everywhere_ends_this_session_too(
    browser: Browser, new_browser: NewBrowser, house: House, account: Page
) -> None:
    other = new_browser()
    await other.sign_in(house.coach)
    done = await browser.submit("/account", at="/account/sign-out-everywhere")
    assert "You are signed out everywhere." in (await browser.get(done.location)).text
    for one in (browser, other):
        assert (await one.get("/")).location == "/sign-in"


async def test_new_address_waits_for_its_link(browser: Browser, house: House, account: Page) -> None:
    done = await browser.submit("/account", at="/account/address", email="new@example.org")
    page = await browser.get(done.location)
    assert "Changes to new@example.org once" in page.text
    assert (await user(browser.api.db, house))["pending_email"] == "new@example.org"
    await browser.submit("/account", at="/account/verification")
    count = "select count(*) from mails where recipient = 'new@example.org'"
    assert await browser.api.db.fetchval(count) == 2
    same = await browser.submit("/account", at="/account/address", email=(await user(browser.api.db, house))["email"])
    assert same.location == "/account?notice=address-kept"


async def test_new_address_asks_who_it_is_when_that_was_long_ago(browser: Browser, house: House, account: Page) -> None:
    await browser.api.db.execute("update auth_sessions set authenticated_at = now() - interval '11 minutes'")
    asked = await browser.submit("/account", at="/account/address", email="new@example.org")
    assert asked.location == "/confirm?next=/account"
    assert (await user(browser.api.db, house))["pending_email"] is None
