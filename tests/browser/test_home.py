"""Home in a real browser: it goes live, and stays right whatever the network does."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.api import Api
from tests.browser.conftest import OpenPage, Site, sign_in
from tests.console.conftest import CHEAP_HASH
from tests.factories import House
from tests.waiting import eventually
from wellio.db import Database

pytestmark = pytest.mark.browser

MISSED = 30
LONG_MISSED = 250  # more than two answers of chat:sync hold

PREDICT = """
insert into predictions (practice_id, client_id, probability, band, reasons, status, horizon_days, as_of)
select practice_id, id, $2, 'high', '[{"code": "rhythm", "text": "silent for 19 days", "weight": 1}]', 'ok', 30, now()
from clients where id = $1
on conflict on constraint predictions_pkey do update set probability = excluded.probability
"""


async def open_home(site: Site, open_page: OpenPage, **options: object) -> Page:
    page = await open_page(site.relay.url, **options)
    await sign_in(page, site.api.db, site.house.coach)
    await expect(page.locator("#link-state")).to_have_text("Live")
    return page


def said(page: Page) -> Locator:
    return page.locator("#log .text")


def talk(page: Page, conversation_id: str) -> Locator:
    return page.locator(f"#talk-{conversation_id}")


async def test_coach_signs_in_and_sees_the_figures(site: Site, open_page: OpenPage) -> None:
    await site.api.db.execute(PREDICT, site.house.client_id, 0.8)
    page = await open_home(site, open_page)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Carl")
    await expect(page.locator(".tile").filter(has_text="At high risk").locator(".figure")).to_have_text("1")
    await expect(page.get_by_role("row").filter(has_text="Klara Client")).to_contain_text("80 %")


async def test_message_from_the_api_appears_at_once_and_once(site: Site, open_page: OpenPage) -> None:
    conversation = await site.talk(site.house.client, site.house.coach)
    await site.say(conversation, site.house.client, "first")
    page = await open_home(site, open_page)
    await site.say(conversation, site.house.client, "second <b>of two</b>")
    await expect(said(page)).to_have_text(["first", "second <b>of two</b>"])
    await expect(talk(page, conversation).locator(".count")).to_have_text("2")
    await expect(talk(page, conversation).locator(".talk-last")).to_have_text("second <b>of two</b>")
    await expect(page.locator("#messages-title .count")).to_have_text("2")


async def test_first_message_of_a_new_conversation_appears(site: Site, open_page: OpenPage) -> None:
    page = await open_home(site, open_page)
    await expect(page.get_by_text("No conversations yet.")).to_be_visible()
    conversation = await site.talk(site.house.client, site.house.coach)
    await site.say(conversation, site.house.client, "hello")
    await expect(said(page)).to_have_text(["hello"])
    await page.locator("#reply-body").fill("hello back")
    await page.keyboard.press("Enter")
    await expect(said(page)).to_have_text(["hello", "hello back"])


async def test_reply_is_shown_sent_and_reaches_the_other(site: Site, open_page: OpenPage) -> None:
    conversation = await site.talk(site.house.client, site.house.coach)
    await site.say(conversation, site.house.client, "Are you there?")
    page = await open_home(site, open_page)
    await page.locator("#reply-body").fill("Yes, I am.")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".message.mine .state")).to_have_text("sent")
    await expect(said(page)).to_have_text(["Are you there?", "Yes, I am."])
    await expect(page.locator("#reply-body")).to_have_value("")
    assert await site.bodies(conversation, site.house.client) == ["Are you there?", "Yes, I am."]


async def test_refused_message_says_why_and_can_be_sent_again(site: Site, open_page: OpenPage) -> None:
    conversation = await site.talk(site.house.client, site.house.coach)
    page = await open_home(site, open_page)
    leave = "update conversation_members set left_at = $2 where user_id = $1"
    await site.api.db.execute(leave, site.house.coach.user_id, datetime.now(UTC))
    await page.locator("#reply-body").fill("anybody?")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.failed .state")).to_contain_text("Not sent: No such conversation.")
    await site.api.db.execute(leave, site.house.coach.user_id, None)
    await page.get_by_role("button", name="Send again").click()
    await expect(page.locator(".message.mine .state")).to_have_text("sent")
    assert await site.bodies(conversation, site.house.client) == ["anybody?"]


async def test_after_a_lost_network_nothing_is_missing_or_doubled(site: Site, open_page: OpenPage) -> None:
    conversation = await site.talk(site.house.client, site.house.coach)
    other = await site.talk(site.house.owner, site.house.coach)
    await site.say(other, site.house.owner, "elsewhere 0")
    await site.say(conversation, site.house.client, "before")
    page = await open_home(site, open_page)
    site.relay.cut()
    await expect(page.locator("#link-state")).to_have_text("Reconnecting…")
    for n in range(MISSED):
        await site.say(conversation, site.house.client, f"missed {n}")
    await site.say(other, site.house.owner, "elsewhere 1")
    await page.locator("#reply-body").fill("written offline")
    await page.keyboard.press("Enter")
    await expect(page.locator(".message.pending .state")).to_have_text("waiting for the connection")
    site.relay.mend()
    await expect(page.locator("#link-state")).to_have_text("Live")
    await site.say(conversation, site.house.client, "after")
    await expect(page.locator(".message.pending")).to_have_count(0)
    stored = await eventually(lambda: _all_stored(site, conversation))
    assert stored
    assert stored == ["before", *[f"missed {n}" for n in range(MISSED)], *stored[MISSED + 1 :]]
    assert sorted(stored[MISSED + 1 :]) == ["after", "written offline"]
    await expect(said(page)).to_have_text(stored)
    await expect(talk(page, other).locator(".talk-last")).to_have_text("elsewhere 1")
    await expect(talk(page, other).locator(".count")).to_have_text("2")


async def test_long_absence_is_made_up_for(site: Site, open_page: OpenPage) -> None:
    conversation = await site.talk(site.house.client, site.house.coach)
    page = await open_home(site, open_page)
    site.relay.cut()
    await expect(page.locator("#link-state")).to_have_text("Reconnecting…")
    for n in range(LONG_MISSED):
        await site.say(conversation, site.house.client, str(n))
    site.relay.mend()
    await expect(said(page)).to_have_text([str(n) for n in range(LONG_MISSED)])


async def _all_stored(site: Site, conversation: str) -> list[str] | None:
    sql = "select body from messages where conversation_id = $1 order by seq"
    bodies = [row["body"] for row in await site.api.db.fetch(sql, UUID(conversation))]
    return bodies if len(bodies) == MISSED + 3 else None


async def test_event_that_comes_twice_counts_once(site: Site, open_page: OpenPage) -> None:
    conversation = await site.talk(site.house.client, site.house.coach)
    await site.say(conversation, site.house.client, "first")
    later = await site.talk(site.house.owner, site.house.coach)
    await site.say(later, site.house.owner, "open")
    page = await open_home(site, open_page)
    await expect(said(page)).to_have_text(["open"])
    await page.wait_for_load_state("networkidle")  # a list asked for before would come after what is live, and older
    await page.route(lambda url: urlsplit(url).path == "/", lambda route: route.abort())  # only what comes live
    path = f"/api/v1/conversations/{conversation}/messages"
    await site.say(conversation, site.house.client, "second")
    message = (await site.api.get(path, site.house.coach)).data[0]
    for _ in range(3):
        site.live.publish([site.house.coach.user_id], "message:new", message)
    await site.say(later, site.house.owner, "the end")
    await expect(said(page)).to_have_text(["open", "the end"])
    await expect(talk(page, conversation).locator(".count")).to_have_text("2")
    await expect(page.locator("#messages-title .count")).to_have_text("4")


async def test_message_that_came_while_the_page_was_made_is_not_doubled(site: Site, open_page: OpenPage) -> None:
    """The list was read before it, the thread after it: the log brings it once more."""
    conversation = await site.talk(site.house.client, site.house.coach)
    for body in ("one", "two"):
        await site.say(conversation, site.house.client, body)
    page = await open_home(site, open_page)

    async def as_of_before(route: Route) -> None:
        response = await route.fetch()
        text = (await response.text()).replace('data-seq="2"', 'data-seq="1"')
        await route.fulfill(response=response, body=text)

    await page.route(lambda url: urlsplit(url).path == "/", as_of_before, times=1)
    await page.reload()
    await expect(page.locator("#link-state")).to_have_text("Live")
    await site.say(conversation, site.house.client, "three")
    await expect(said(page)).to_have_text(["one", "two", "three"])


async def test_prediction_that_rises_moves_its_row_up(site: Site, open_page: OpenPage) -> None:
    house = site.house
    await site.api.db.execute("update clients set coach_id = $1", house.coach.user_id)
    await site.api.db.execute(PREDICT, house.client_id, 0.9)
    await site.api.db.execute(PREDICT, house.other_client_id, 0.7)
    page = await open_home(site, open_page)
    rows = page.locator("tr[data-client]")
    await expect(rows).to_contain_text(["Klara", "Karim"])
    await site.api.db.execute(PREDICT, house.other_client_id, 0.97)
    site.live.publish([house.coach.user_id], "churn:updated", {"client_id": str(house.other_client_id)})
    await expect(page.locator("tr.changed")).to_contain_text(["Karim"])
    await expect(rows).to_contain_text(["Karim", "Klara"])
    await expect(rows.first).to_contain_text("97 %")


async def test_notification_is_a_toast(site: Site, open_page: OpenPage) -> None:
    page = await open_home(site, open_page)
    news = {"title": "New session with <i>Klara</i>", "body": "Monday at 10:00"}
    site.live.publish([site.house.coach.user_id], "notification:new", news)
    await expect(page.get_by_text("New session with <i>Klara</i>")).to_be_visible()


async def test_who_is_online_has_a_mark(site: Site, open_page: OpenPage) -> None:
    await site.talk(site.house.client, site.house.coach)
    page = await open_home(site, open_page)
    face = page.locator(".face")
    await expect(face).not_to_have_attribute("data-presence", "online")
    theirs = await open_page(site.relay.url)
    await sign_in(theirs, site.api.db, site.house.client)
    await expect(face).to_have_attribute("data-presence", "online")


async def test_opening_a_conversation_reads_it(site: Site, open_page: OpenPage) -> None:
    first = await site.talk(site.house.client, site.house.coach)
    await site.say(first, site.house.client, "from Klara")
    second = await site.talk(site.house.owner, site.house.coach)
    await site.say(second, site.house.owner, "from Olga")
    page = await open_home(site, open_page)
    await expect(said(page)).to_have_text(["from Olga"])
    await talk(page, first).click()
    await expect(said(page)).to_have_text(["from Klara"])
    assert page.url.endswith(f"?conversation={first}")
    await expect(talk(page, first)).to_have_attribute("aria-current", "true")
    await expect(talk(page, first).locator(".badge")).to_be_hidden()
    await expect(page.locator("#messages-title .count")).to_have_text("1")
    await site.say(first, site.house.client, "read as it comes")
    await expect(said(page)).to_have_text(["from Klara", "read as it comes"])
    unread = "/api/v1/messages/unread-count"
    await eventually(lambda: _unread_is(site, unread, 1))
    await page.go_back()
    await expect(said(page)).to_have_text(["from Olga"])


async def _unread_is(site: Site, path: str, count: int) -> bool:
    return bool((await site.api.get(path, site.house.coach)).data["unread"] == count)


async def test_session_that_ends_elsewhere_leaves_the_page(site: Site, open_page: OpenPage) -> None:
    page = await open_home(site, open_page)
    await site.api.db.execute("update auth_sessions set revoked_at = now()")
    site.relay.cut()
    site.relay.mend()
    await page.wait_for_url("**/sign-in")


async def test_page_is_whole_without_scripts(site: Site, open_page: OpenPage) -> None:
    first = await site.talk(site.house.client, site.house.coach)
    await site.say(first, site.house.client, "from Klara")
    second = await site.talk(site.house.owner, site.house.coach)
    await site.say(second, site.house.owner, "from Olga")
    page = await open_page(site.relay.url, java_script_enabled=False)
    await sign_in(page, site.api.db, site.house.coach)
    await expect(said(page)).to_have_text(["from Olga"])
    await talk(page, first).click()
    await expect(said(page)).to_have_text(["from Klara"])
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/sign-in")


async def test_booked_session_appears_by_itself(api: Api, house: House, db: Database, open_page: OpenPage) -> None:
    await db.execute("update users set password_hash = $1", CHEAP_HASH)
    page = await open_page(api.url)
    await sign_in(page, db, house.coach)
    await expect(page.locator("#link-state")).to_have_text("Live")
    starts_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    session = {"client_id": str(house.client_id), "starts_at": starts_at, "duration_minutes": 50, "title": "Kick-off"}
    assert (await api.post("/api/v1/sessions", house.coach, session)).status == 201
    await expect(page.locator(".session")).to_contain_text("Kick-off")
