"""Pages that anybody can use: no axe-core finding that matters, no sideways scroll, small files."""

import gzip
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage, Site, sign_in
from tests.browser.test_home import PREDICT
from wellio.console.static import STATIC

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RUN_AXE = """
async () => (await axe.run({resultTypes: ["violations"]})).violations
    .filter((found) => ["serious", "critical"].includes(found.impact))
    .map((found) => `${found.id}: ${found.nodes.map((node) => node.html).join(" | ")}`)
"""
SCROLLS_SIDEWAYS = """
() => [...document.querySelectorAll("*")]
    .filter((e) => e === document.documentElement || ["auto", "scroll"].includes(getComputedStyle(e).overflowX))
    .filter((e) => e.scrollWidth > e.clientWidth)
    .map((e) => e.outerHTML.slice(0, 100))
"""
LOOKS = pytest.mark.parametrize("scheme", ["light", "dark"])
SCREENS = pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])


async def findings(page: Page) -> list[str]:
    await page.evaluate(AXE)
    found: list[str] = await page.evaluate(RUN_AXE)
    return found


async def too_wide(page: Page) -> list[str]:
    """What scrolls sideways, the page itself included."""
    found: list[str] = await page.evaluate(SCROLLS_SIDEWAYS)
    return found


@pytest.mark.browser
@LOOKS
@SCREENS
async def test_forms_are_accessible(site: Site, open_page: OpenPage, scheme: str, screen: dict[str, int]) -> None:
    page = await open_page(f"{site.relay.url}/sign-in", viewport=screen, color_scheme=scheme)
    assert await findings(page) == []
    await page.get_by_label("E-mail address").fill("nobody@example.org")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Password")).to_have_accessible_description(
        "The e-mail address or the password is wrong."
    )
    assert await findings(page) == []
    await page.goto(f"{site.relay.url}/register")
    assert await findings(page) == []
    assert await too_wide(page) == []


@pytest.mark.browser
@LOOKS
@SCREENS
@pytest.mark.parametrize("role", ["coach", "client"])
async def test_home_is_accessible(
    site: Site, open_page: OpenPage, scheme: str, screen: dict[str, int], role: str
) -> None:
    house = site.house
    await site.api.db.execute(PREDICT, house.client_id, 0.93)
    await site.api.db.execute("update clients set last_name = 'van der Wolkenstein-Hohenberg-Trostburg'")
    conversation = await site.talk(house.client, house.coach)
    await site.say(conversation, house.client, "A long-" + "wo" * 60 + "rd, and https://example.org/" + "x" * 80)
    page = await open_page(site.relay.url, viewport=screen, color_scheme=scheme)
    await sign_in(page, site.api.db, getattr(house, role))
    await expect(page.locator("#link-state")).to_have_text("Live")
    site.live.publish([getattr(house, role).user_id], "notification:new", {"title": "News", "body": "of something"})
    await expect(page.locator(".toast")).to_be_visible()
    assert await findings(page) == []
    assert await too_wide(page) == []


@pytest.mark.browser
async def test_docs_need_nothing_from_elsewhere(site: Site, open_page: OpenPage) -> None:
    page = await open_page(f"{site.relay.url}/docs")
    page.set_default_timeout(90_000)  # the viewer reads the whole document before it draws
    await page.locator("#operations-tag-home").click()
    await page.locator("#operations-home-get_home_summary button").first.click()
    await expect(page.get_by_text("sessions_today").first).to_be_visible(timeout=90_000)


def test_files_are_small() -> None:
    scripts = [*STATIC.glob("console*.js"), *STATIC.glob("vendor/socket.io/*.js")]
    assert sum(len(gzip.compress(path.read_bytes())) for path in scripts) < 300_000
    assert (STATIC / "console.css").stat().st_size < 12_000
