"""Files: kept by browsers as long as they may be, and nothing but files of ours."""

import re

import pytest

from tests.console.conftest import Browser


async def test_file_named_with_its_digest_is_kept_for_ever(browser: Browser) -> None:
    page = await browser.get("/sign-in")
    found = re.search(r'href="(/static/console\.css\?v=[0-9a-f]{12})"', page.text)
    assert found
    answer = await browser.get(found[1])
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"].startswith("text/css")


async def test_file_named_without_is_asked_for_each_time(browser: Browser) -> None:
    answer = await browser.get("/static/docs.js")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "javascript" in answer.headers["Content-Type"]
    async with browser.session.get(
        browser.api.url + "/static/docs.js", headers={"If-None-Match": answer.headers["ETag"]}
    ) as again:
        assert again.status == 304


@pytest.mark.parametrize("path", ["", "vendor", "vendor/", "..%2fapp.py", "%2e%2e/app.py", "nothing.js", "vendor/%00"])
async def test_nothing_else_is_served(browser: Browser, path: str) -> None:
    answer = await browser.get(f"/static/{path}")
    assert answer.status in (403, 404)
    assert answer.headers["Cache-Control"] == "no-store"
