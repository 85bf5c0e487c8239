"""As new users would: register, confirm an address, invite a coach, be one, forget a password; by the mailbox."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import Page, expect

from tests.api import Api
from tests.browser.conftest import DESKTOP, PHONE, TIMEOUT_MS, OpenPage, sign_in
from tests.browser.test_look import findings, too_wide
from tests.conftest import SECRET
from tests.console.conftest import CHEAP_HASH
from tests.factories import PASSWORD, House
from tests.handlers.test_mfa import App
from wellio.accounts.tokens import Tokens
from wellio.app import running
from wellio.config import Config
from wellio.db import Database

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("mails_leave")]

OWNERS, COACHS, RESET = "the password of olga", "the password of nina", "another password of nina"


@pytest.fixture
async def served(config: Config, db: Database) -> AsyncIterator[Api]:
    """With the duties of the leader: mails are sent."""
    async with running(config) as (host, port), aiohttp.ClientSession() as session:
        yield Api(session, f"http://{host}:{port}", Tokens(SECRET), db)


async def follow_mail(page: Page, url: str, subject: str, button: str) -> None:
    """Opens the newest mail of that subject, and the link of its button; the frame opens it in a tab of its own."""
    mail = page.locator(".mail").filter(has_text=subject).first
    await page.goto(f"{url}/mailbox")
    while not await mail.count():
        await page.reload()
    await mail.click()
    link = page.frame_locator("iframe").get_by_role("link", name=button)
    address = await link.get_attribute("href")
    assert address
    assert address.startswith(url)
    async with page.expect_popup() as popup:
        await link.click()
    opened = await popup.value
    assert opened.url == address
    await opened.close()
    await page.goto(address)


async def sound(page: Page) -> None:
    assert await findings(page) == []
    assert await too_wide(page) == []


async def arrive(page: Page, path: str) -> None:
    await page.wait_for_url(lambda url: urlsplit(url).path == path, timeout=TIMEOUT_MS)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_from_registering_to_a_forgotten_password(
    served: Api, open_page: OpenPage, screen: dict[str, int]
) -> None:
    url = served.url
    olga = await open_page(f"{url}/register", viewport=screen)
    await olga.get_by_label("Practice").fill("Northside")
    await olga.get_by_label("Your name").fill("Olga Owner")
    await olga.get_by_label("E-mail address").fill("olga@example.org")
    await olga.get_by_label("Password").fill(OWNERS)
    await olga.get_by_label("Time zone").select_option("Europe/Berlin")
    await olga.get_by_role("button", name="Register").click()
    await arrive(olga, "/")

    await olga.get_by_role("link", name="Account").click()
    await expect(olga.get_by_text("not confirmed")).to_be_visible()
    await sound(olga)
    await follow_mail(olga, url, "Confirm your e-mail address", "Confirm this address")
    await sound(olga)
    await olga.get_by_role("button", name="Confirm the address").click()
    await expect(olga.get_by_role("status")).to_have_text("Your e-mail address is confirmed.")

    await olga.get_by_role("link", name="Team").click()
    await olga.locator("#staff-email").fill("nina@example.org")
    await olga.get_by_role("button", name="Send the invitation").click()
    await expect(olga.get_by_role("heading", name="Open invitations")).to_be_visible()
    await sound(olga)

    nina = await open_page(f"{url}/mailbox", viewport=screen)
    await follow_mail(nina, url, "Olga Owner invites you to Northside", "Accept the invitation")
    await nina.get_by_label("Your name").fill("Nina New")
    await nina.get_by_label("Password").fill(COACHS)
    await nina.get_by_label("Time zone").select_option("Asia/Tokyo")
    await sound(nina)
    await nina.get_by_role("button", name="Accept and sign in").click()
    await arrive(nina, "/")
    await expect(nina.get_by_role("heading", level=1)).to_contain_text("Nina")
    await nina.get_by_role("button", name="Sign out").click()
    await arrive(nina, "/sign-in")

    await nina.get_by_role("link", name="Forgot your password?").click()
    await sound(nina)
    await nina.get_by_label("E-mail address").fill("nina@example.org")
    await nina.get_by_role("button", name="Send the link").click()
    await sound(nina)
    await nina.get_by_role("link", name="mailbox").click()
    await sound(nina)
    await follow_mail(nina, url, "Choose a new password", "Choose a new password")
    await sound(nina)
    await nina.get_by_label("New password").fill(RESET)
    await nina.get_by_role("button", name="Set the password").click()
    await arrive(nina, "/sign-in")
    await nina.get_by_label("E-mail address").fill("nina@example.org")
    await nina.get_by_label("Password").fill(RESET)
    await nina.get_by_role("button", name="Sign in").click()
    await arrive(nina, "/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_second_step_and_lost_device_by_keyboard_and_without_script(
    served: Api, open_page: OpenPage, house: House, scheme: str
) -> None:
    """On a phone with scripts turned off; axe needs them, and looks at the same pages in the other tests."""
    db = served.db
    email = await db.fetchval(
        "update users set password_hash = $2 where id = $1 returning email", house.coach.user_id, CHEAP_HASH
    )
    page = await open_page(f"{served.url}/sign-in", viewport=PHONE, color_scheme=scheme, java_script_enabled=False)
    await page.get_by_label("E-mail address").fill(email)
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await arrive(page, "/")
    await page.goto(f"{served.url}/account")
    await expect(page.get_by_text("this one")).to_be_visible()
    await page.get_by_role("button", name=re.compile("^Sign out tests")).click()
    await expect(page.get_by_role("status")).to_have_text("That device is signed out.")
    await page.get_by_role("link", name="Set it up").click()
    await page.get_by_role("button", name="Set it up").click()
    await expect(page.get_by_role("img", name=re.compile("^QR code"))).to_be_visible()
    app = App(served, house.coach, await page.locator(".key").inner_text())
    await page.get_by_label("Code").fill(app.code())
    await page.keyboard.press("Enter")
    await expect(page.locator(".codes li")).to_have_count(10)
    await page.get_by_role("link", name="I have kept them").click()
    await expect(page.get_by_role("heading", name="Your account")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_pages_of_an_account_are_accessible(
    served: Api, open_page: OpenPage, house: House, scheme: str, screen: dict[str, int]
) -> None:
    await served.db.execute("update users set password_hash = $1", CHEAP_HASH)
    await served.db.execute(
        "update users set name = 'Wolfeschlegelsteinhausenbergerdorff ' || name where role = 'coach'"
    )
    page = await open_page(f"{served.url}/sign-in", viewport=screen, color_scheme=scheme)
    await sign_in(page, served.db, house.owner)
    for path in ("/account", "/account/second-factor", "/team", "/confirm?next=/team", "/invitation?token=x"):
        await page.goto(f"{served.url}{path}")
        await sound(page)
    await page.goto(f"{served.url}/team")
    for summary in await page.locator("summary").all():
        await summary.click()
    await sound(page)
    await page.goto(f"{served.url}/account/second-factor")
    await page.get_by_role("button", name="Set it up").click()
    await sound(page)
    await page.get_by_label("Code").fill("12345")
    await page.get_by_role("button", name="Turn it on").click()
    await expect(page.get_by_label("Code")).to_have_accessible_description(re.compile("^This is not the code of now"))
    await sound(page)
