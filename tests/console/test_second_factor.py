"""Setting up an authenticator app on the console, and proving anew who one is."""

import re

import pytest

from tests.console.conftest import Browser
from tests.factories import PASSWORD, House
from tests.handlers.test_mfa import App, forget_proof, turn_on

HERE = "/account/second-factor"


async def enrol(browser: Browser, house: House) -> App:
    await browser.sign_in(house.coach)
    page = await browser.submit(HERE, at=f"{HERE}/enrol")
    assert re.search(r'<img src="data:image/svg\+xml;charset=utf-8,[^"]+" alt="QR code', page.text)
    secret = re.search(r'class="key">([A-Z2-7]+)<', page.text)
    assert secret
    return App(browser.api, house.coach, secret[1])


async def test_app_is_set_up_from_the_qr_code_to_the_recovery_codes(browser: Browser, house: House) -> None:
    app = await enrol(browser, house)
    wrong = await browser.submit(HERE, at=f"{HERE}/confirm", code=app.wrong_code())
    assert wrong.status == 422
    assert re.search(r'id="code-note">This is not the code of now', wrong.text)
    done = await browser.submit(HERE, at=f"{HERE}/confirm", code=await app.next_code())
    codes = re.findall(r"<li><code>([^<]+)</code>", done.text)
    assert len(set(codes)) == 10
    page = await browser.get(HERE)
    assert "10 of your recovery codes are left" in page.text
    assert codes[0] not in page.text
    assert '<span class="tag good">on</span>' in (await browser.get("/account")).text
    renewed = await browser.submit(HERE, at=f"{HERE}/recovery-codes")
    assert not set(codes) & set(re.findall(r"<li><code>([^<]+)</code>", renewed.text))
    off = await browser.submit(HERE, at=f"{HERE}/turn-off")
    assert "Signing in takes your password alone again." in (await browser.get(off.location)).text


@pytest.mark.parametrize("at", ["enrol", "recovery-codes", "turn-off"])
async def test_well_guarded_changes_ask_who_it_is_and_lead_back(browser: Browser, house: House, at: str) -> None:
    await browser.sign_in(house.coach)
    await forget_proof(browser.api)
    asked = await browser.submit(HERE, at=f"{HERE}/{at}")
    assert asked.location == f"/confirm?next={HERE}"
    assert await browser.api.db.fetchval("select count(*) from users where totp_secret is not null") == 0
    wrong = await browser.submit(asked.location, at="/confirm", next=HERE, password="wrong")
    assert (wrong.status, "The password is wrong." in wrong.text) == (403, True)
    back = await browser.submit(asked.location, at="/confirm", next=HERE, password=PASSWORD)
    assert back.location == f"{HERE}?notice=confirmed"
    assert "For ten minutes" in (await browser.get(back.location)).text
    assert (await browser.submit(HERE, at=f"{HERE}/{at}")).status in (200, 303, 409)


async def test_with_a_second_factor_its_code_is_asked_for(browser: Browser, house: House) -> None:
    await browser.sign_in(house.coach)
    app, _ = await turn_on(browser.api, house.coach)
    await forget_proof(browser.api)
    page = await browser.get("/confirm?next=/team")
    assert 'autocomplete="one-time-code"' in page.text
    assert 'type="password"' not in page.text
    wrong = await browser.submit("/confirm", next="/team", code="aaaa-aaaa-aaaa-aaaa")
    assert wrong.status == 403
    back = await browser.submit("/confirm", next="/team", code=await app.next_code())
    assert back.location == "/team?notice=confirmed"


@pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example", "/\\evil.example", "/sign-out", ""])
async def test_confirming_leads_nowhere_else(browser: Browser, house: House, place: str) -> None:
    await browser.sign_in(house.coach)
    page = await browser.get(f"/confirm?next={place}")
    assert "evil" not in page.text
    back = await browser.submit("/confirm", next=place, password=PASSWORD)
    assert back.location == "/account?notice=confirmed"


async def test_pages_are_for_who_is_signed_in_and_forms_are_ours(browser: Browser, house: House) -> None:
    for path in (HERE, "/confirm"):
        assert (await browser.get(path)).location == "/sign-in"
    await browser.sign_in(house.coach)
    for path in (f"{HERE}/enrol", f"{HERE}/confirm", f"{HERE}/recovery-codes", f"{HERE}/turn-off", "/confirm"):
        assert (await browser.post(path, {"password": PASSWORD, "code": "000000"})).status == 403
