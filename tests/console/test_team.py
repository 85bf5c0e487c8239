"""The team's page: who sees whom, who may invite and change whom, and the invitation from its mail to the end."""

import re

import pytest

from tests.console.conftest import Browser, NewBrowser, Page
from tests.console.test_links import mailed_link
from tests.factories import PASSWORD, House, make_client, make_house
from tests.handlers.test_mfa import forget_proof

pytestmark = pytest.mark.usefixtures("mails_leave")


async def team_of(browser: Browser, actor: object) -> Page:
    await browser.sign_in(actor)  # type: ignore[arg-type]
    return await browser.get("/team")


async def test_staff_see_the_people_they_may(browser: Browser, new_browser: NewBrowser, house: House) -> None:
    await make_house(browser.api.db, "Other")
    seen = (await team_of(browser, house.owner)).text
    assert [name in seen for name in ("Olga Owner", "Carl Coach", "Karim Client")] == [True] * 3
    assert seen.count("Carl Coach") == 2  # in the list, and what changes them
    coach = (await team_of(new_browser(), house.coach)).text
    assert [name in coach for name in ("Cora Coach", "Klara Client", "Karim Client")] == [True, True, False]
    assert "Suspend" not in coach
    assert "Invite a coach or owner" not in coach
    client = await team_of(new_browser(), house.client)
    assert client.status == 403


async def test_team_is_for_who_is_signed_in_and_forms_are_ours(browser: Browser, house: House) -> None:
    assert (await browser.get("/team")).location == "/sign-in"
    await browser.sign_in(house.owner)
    before = await browser.api.db.fetch("select id, role, status from users order by id")
    for path in ("invitations", f"{house.coach.user_id}", f"{house.coach.user_id}/sign-out"):
        form = {"email": "x@example.org", "role": "owner", "status": "suspended"}
        assert (await browser.post(f"/team/{path}", form)).status == 403
    assert await browser.api.db.fetch("select id, role, status from users order by id") == before
    assert await browser.api.db.fetchval("select count(*) from invitations") == 0


async def test_coach_is_invited_and_lets_themself_in(browser: Browser, new_browser: NewBrowser, house: House) -> None:
    await team_of(browser, house.owner)
    form = {"email": "nina@example.org", "role": "coach"}
    done = await browser.submit("/team", at="/team/invitations", **form)
    assert "The invitation is on its way." in (await browser.get(done.location)).text
    link = await mailed_link(browser, "invitation")
    nina = new_browser()
    page = await nina.get(link)
    assert "Olga Owner invites you as a coach" in page.text
    assert page.headers["Referrer-Policy"] == "strict-origin"
    accept = {"token": link.partition("=")[2], "name": "Nina New", "timezone": "Europe/Berlin"}
    weak = await nina.submit(link, at="/invitation", **accept, password="short")
    assert weak.status == 422
    assert re.search(r'id="password-note">Use at least', weak.text)
    assert 'value="Nina New"' in weak.text
    welcome = await nina.submit(link, at="/invitation", **accept, password="a password of her own")
    assert welcome.location == "/"
    assert "Nina New" in (await nina.get("/")).text
    assert "nina@example.org" in (await browser.get("/team")).text
    assert "Open invitations" not in (await browser.get("/team")).text
    used = await new_browser().get(link)
    assert (used.status, "This invitation is closed" in used.text) == (422, True)


async def test_client_is_invited_to_the_address_that_is_known(browser: Browser, house: House) -> None:
    client_id = await make_client(browser.api.db, house.practice, coach=house.coach, first_name="Ada")
    await browser.api.db.execute("update clients set email = 'ada@example.org' where id = $1", client_id)
    page = await team_of(browser, house.coach)
    assert "Ada Lovelace · ada@example.org" in page.text
    assert "Klara Client ·" not in page.text  # has a log-in already
    form = {"client_id": str(client_id), "email": ""}
    assert (await browser.submit("/team", at="/team/invitations", **form)).location == "/team?notice=invited"
    sent = await browser.api.db.fetchrow("select email, role, client_id from invitations")
    assert tuple(sent or ()) == ("ada@example.org", "client", client_id)


async def test_address_that_nobody_knows_is_asked_for(browser: Browser, house: House) -> None:
    client_id = await make_client(browser.api.db, house.practice, coach=house.coach)
    await team_of(browser, house.coach)
    page = await browser.submit("/team", at="/team/invitations", client_id=str(client_id), email="")
    assert page.status == 422
    assert re.search(r'id="client-email-note">Is not an e-mail address', page.text)
    assert f'value="{client_id}" selected' in page.text


async def test_coach_invites_no_staff(browser: Browser, house: House) -> None:
    await team_of(browser, house.coach)
    page = await browser.submit("/team", at="/team/invitations", email="x@example.org", role="owner")
    assert page.status == 403
    assert await browser.api.db.fetchval("select count(*) from invitations") == 0


async def test_open_invitation_is_sent_again_and_withdrawn(
    browser: Browser, new_browser: NewBrowser, house: House
) -> None:
    await team_of(browser, house.owner)
    await browser.submit("/team", at="/team/invitations", email="nina@example.org", role="coach")
    invitation_id = await browser.api.db.fetchval("select id from invitations")
    first = await mailed_link(browser, "invitation")
    await browser.submit("/team", at=f"/team/invitations/{invitation_id}/resend")
    assert (await browser.get("/team")).text.count("nina@example.org") == 3  # and what the two buttons are for
    done = await browser.submit("/team", at=f"/team/invitations/{invitation_id}/withdraw")
    assert "withdrawn" in (await browser.get(done.location)).text
    assert "nina@example.org" not in (await browser.get("/team")).text
    assert (await new_browser().get(first)).status == 422
    strange = await browser.submit("/team", at="/team/invitations/x/withdraw")
    assert strange.status == 404


async def test_owner_changes_roles_and_suspends(browser: Browser, new_browser: NewBrowser, house: House) -> None:
    coach = new_browser()
    await coach.sign_in(house.coach)
    await team_of(browser, house.owner)
    path = f"/team/{house.coach.user_id}"
    assert (await browser.submit("/team", at=path, status="suspended")).location == "/team?notice=member"
    assert '<span class="tag warn">suspended</span>' in (await browser.get("/team")).text
    assert (await coach.get("/")).location == "/sign-in"
    await browser.submit("/team", at=path, status="active")
    await browser.submit("/team", at=path, role="owner")
    assert await browser.api.db.fetchval("select role from users where id = $1", house.coach.user_id) == "owner"
    await coach.submit("/sign-in", email="x@example.org", password=PASSWORD)
    assert (await browser.submit("/team", at=f"{path}/sign-out")).location == "/team?notice=member-signed-out"


async def test_change_of_a_member_asks_who_it_is(browser: Browser, house: House) -> None:
    await team_of(browser, house.owner)
    await forget_proof(browser.api)
    asked = await browser.submit("/team", at=f"/team/{house.coach.user_id}", status="suspended")
    assert asked.location == "/confirm?next=/team"
    assert await browser.api.db.fetchval("select status from users where id = $1", house.coach.user_id) == "active"


async def test_foreign_and_missing_people_are_the_same(browser: Browser, house: House) -> None:
    other = await make_house(browser.api.db, "Other")
    await team_of(browser, house.owner)
    foreign = await browser.submit("/team", at=f"/team/{other.coach.user_id}", status="suspended")
    missing = await browser.submit("/team", at="/team/6f1c6f3e-0000-4000-8000-000000000000", status="suspended")
    assert foreign.status == missing.status == 404
    assert foreign.text == missing.text
    status = await browser.api.db.fetchval("select status from users where id = $1", other.coach.user_id)
    assert status == "active"
