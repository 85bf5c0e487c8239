"""Signing in and out of the console, and what it refuses."""

import re
from dataclasses import replace

import aiohttp
import pytest

from tests.api import Api
from tests.console.conftest import Browser, NewBrowser, Page
from tests.factories import PASSWORD, House
from wellio.app import running
from wellio.config import Config

REGISTRATION = {
    "practice_name": "Northside",
    "name": "Olga Owner",
    "email": "olga@example.org",
    "password": PASSWORD,
    "timezone": "Europe/Berlin",
    "currency": "EUR",
}


async def test_visitor_of_home_is_sent_to_sign_in(browser: Browser) -> None:
    assert (await browser.get("/")).location == "/sign-in"


async def test_right_password_opens_home(browser: Browser, house: House) -> None:
    home = await browser.sign_in(house.coach)
    assert home.status == 200
    assert "Carl Coach" in home.text
    assert (await browser.get("/sign-in")).location == "/"


async def test_wrong_password_and_unknown_address_get_the_same_page(browser: Browser, house: House) -> None:
    await browser.sign_in(house.coach)
    await browser.sign_out()
    email = await browser.api.db.fetchval("select email from users where id = $1", house.coach.user_id)
    wrong = await browser.submit("/sign-in", email=email, password="not the password")
    unknown = await browser.submit("/sign-in", email="nobody@example.org", password="not the password")
    assert wrong.status == unknown.status == 422
    assert wrong.text.replace(email, "") == unknown.text.replace("nobody@example.org", "")
    assert re.search(r'id="password-note">The e-mail address or the password is wrong\.', wrong.text)
    assert "not the password" not in wrong.text


async def test_malformed_address_is_told_beside_its_field(browser: Browser) -> None:
    page = await browser.submit("/sign-in", email="olga", password=PASSWORD)
    assert page.status == 422
    assert re.search(r'id="email-note">Is not an e-mail address\.', page.text)
    assert 'value="olga"' in page.text


@pytest.mark.parametrize(
    "fields", [{}, {"email": "a@b\x00.org", "password": "x"}, {"email": "o@example.org", "next": "/"}]
)
async def test_odd_forms_are_answered_in_words(browser: Browser, fields: dict[str, str]) -> None:
    assert (await browser.submit("/sign-in", **fields)).status == 422


async def test_scripts_never_see_the_cookie_and_other_sites_never_send_it(browser: Browser) -> None:
    page = await browser.submit("/register", **REGISTRATION)
    cookie = page.set_cookies["wellio_session"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} <= set(cookie)
    assert "Secure" not in cookie  # loopback has no TLS
    assert "Max-Age=0" in page.set_cookies["wellio_visit"]


async def test_production_keeps_cookies_to_tls_and_to_this_host(config: Config) -> None:
    async with (
        running(replace(config, env="production")) as (host, port),
        aiohttp.ClientSession() as session,
        session.get(f"http://{host}:{port}/sign-in") as response,
    ):
        cookie = response.headers["Set-Cookie"]
        assert response.headers["Strict-Transport-Security"].startswith("max-age=")
    assert cookie.startswith("__Host-wellio_visit=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Secure"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


async def test_form_without_our_token_is_refused_as_a_page(
    browser: Browser, new_browser: NewBrowser, house: House
) -> None:
    await browser.get("/sign-in")
    foreign = (await new_browser().get("/sign-in")).token
    for token in ({}, {"csrf_token": ""}, {"csrf_token": "é"}, {"csrf_token": foreign}):
        page = await browser.post("/sign-in", {"email": "o@example.org", "password": PASSWORD, **token})
        assert page.status == 403
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "reload it" in page.text
    assert (await browser.post("/register", REGISTRATION)).status == 403
    assert await browser.api.db.fetchval("select count(*) from practices") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
    ],
)
async def test_form_from_another_site_is_refused(browser: Browser, house: House, headers: dict[str, str]) -> None:
    home = await browser.sign_in(house.coach)
    assert (await browser.post("/sign-out", {"csrf_token": home.token}, headers)).status == 403
    assert (await browser.get("/")).status == 200


async def test_signing_in_makes_a_new_cookie_and_ends_the_session_before(browser: Browser, house: House) -> None:
    planted = "a" * 43
    browser.session.cookie_jar.update_cookies({"wellio_session": planted})
    await browser.sign_in(house.coach)
    first = browser.cookies["wellio_session"]
    assert first != planted
    browser.session.cookie_jar.update_cookies({"wellio_session": first})
    visit = (await browser.get("/register")).token
    email = await browser.api.db.fetchval("select email from users where id = $1", house.coach.user_id)
    await browser.post("/sign-in", {"csrf_token": visit, "email": email, "password": PASSWORD})
    assert browser.cookies["wellio_session"] not in (first, planted)
    live = "select count(*) from auth_sessions where cookie_hash is not null and revoked_at is null"
    assert await browser.api.db.fetchval(live) == 1


async def test_sign_out_ends_the_session_everywhere(browser: Browser, house: House, api: Api) -> None:
    home = await browser.sign_in(house.coach)
    cookie = browser.cookies["wellio_session"]
    token = (await _session_token(browser, home.token)).text.split('"')[3]
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await api.get("/api/v1/auth/me", headers=bearer)).status == 200
    assert (await browser.sign_out()).location == "/sign-in"
    assert "wellio_session" not in browser.cookies
    browser.session.cookie_jar.update_cookies({"wellio_session": cookie})
    assert (await browser.get("/")).location == "/sign-in"
    assert (await api.get("/api/v1/auth/me", headers=bearer)).status == 401


async def test_suspended_user_is_out_at_once(browser: Browser, house: House) -> None:
    await browser.sign_in(house.coach)
    await browser.api.db.execute("update users set status = 'suspended' where id = $1", house.coach.user_id)
    assert (await browser.get("/")).location == "/sign-in"


async def test_session_token_is_for_our_own_script_alone(browser: Browser, house: House) -> None:
    home = await browser.sign_in(house.coach)
    answer = await _session_token(browser, home.token)
    assert answer.status == 200
    assert '"expires_in": 900' in answer.text
    for header in ("", "x"):
        refused = await _session_token(browser, header)
        assert refused.status == 403
        assert '"code":"FORM_REFUSED"' in refused.text
    await browser.sign_out()
    ended = await _session_token(browser, home.token)
    assert ended.status == 401
    assert '"code":"SESSION_ENDED"' in ended.text


async def _session_token(browser: Browser, form_token: str) -> Page:
    return await browser.post("/session/token", {}, {"X-CSRF-Token": form_token})


async def test_registering_opens_home_and_leaves_no_other_session(browser: Browser) -> None:
    assert (await browser.submit("/register", **REGISTRATION)).location == "/"
    home = await browser.get("/")
    assert "Northside" in home.text
    live = await browser.api.db.fetch("select cookie_hash from auth_sessions where revoked_at is null")
    assert [row["cookie_hash"] is not None for row in live] == [True]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("email", "olga", "Is not an e-mail address."),
        ("password", "too short", "Use at least 15 characters"),
        ("practice_name", "", "String should have at least 1 character."),
        ("timezone", "Berlin", "Is not an IANA time zone"),
        ("currency", "euro", "String should match pattern"),
    ],
)
async def test_wrong_field_of_a_registration_is_told_beside_it(
    browser: Browser, field: str, value: str, words: str
) -> None:
    page = await browser.submit("/register", **REGISTRATION | {field: value})
    assert page.status == 422
    assert re.search(rf'id="{field}-note">{re.escape(words)}', page.text)
    assert PASSWORD not in page.text


async def test_taken_address_is_told(browser: Browser, new_browser: NewBrowser) -> None:
    await new_browser().submit("/register", **REGISTRATION)
    page = await browser.submit("/register", **REGISTRATION)
    assert page.status == 409
    assert 'value="Northside"' in page.text
    assert 'class="note error"' in page.text


async def test_form_of_the_wrong_kind_or_size_is_refused(browser: Browser) -> None:
    await browser.get("/sign-in")
    assert (await browser.post("/sign-in", {}, {"Content-Type": "application/json"})).status == 415
    assert (await browser.post("/sign-in", {"email": "x" * 70_000})).status == 413
    assert (await browser.post("/sign-in", {str(n): "" for n in range(50)})).status == 400
