"""The home page: who sees what on it, and that nothing written by people acts in it."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.api import Api
from tests.console.conftest import Browser, NewBrowser
from tests.factories import House, make_house
from wellio.accounts.actors import Actor
from wellio.db import Database
from wellio.ids import uuid7

SCRIPT = "<script>alert('x')</script>"


async def predict(db: Database, client_id: UUID, probability: float, band: str, *, status: str = "ok") -> None:
    # Of tomorrow: the learner, who runs beside the test, never replaces a later one by its own.
    sql = """
        insert into predictions (practice_id, client_id, probability, band, reasons, status, horizon_days, as_of)
        select practice_id, id, $2, $3, $4, $5, 30, now() + interval '1 day' from clients where id = $1
        on conflict on constraint predictions_pkey do update
        set probability = $2, band = $3, reasons = $4, status = $5, as_of = excluded.as_of
    """
    reasons = [{"code": "silence", "text": "usually every 7 days, silent for 19", "weight": 1.5}]
    await db.execute(sql, client_id, probability, band, reasons, status)


async def book(api: Api, actor: Actor, client_id: UUID, starts_at: datetime, **fields: str) -> None:
    body = {"client_id": str(client_id), "starts_at": starts_at.isoformat(), "duration_minutes": 50, **fields}
    assert (await api.post("/api/v1/sessions", actor, json=body)).status == 201


async def write(api: Api, sender: Actor, to: Actor, body: str) -> str:
    """The conversation of the two, with a message more."""
    opened = await api.post("/api/v1/conversations", sender, {"kind": "direct", "member_ids": [str(to.user_id)]})
    conversation_id = str(opened.data["id"])
    message = {"conversation_id": conversation_id, "client_message_id": str(uuid7()), "body": body}
    assert (await api.post("/api/v1/messages", sender, message)).status in (200, 201)
    return conversation_id


async def test_coach_sees_their_day(browser: Browser, api: Api, house: House) -> None:
    await predict(api.db, house.client_id, 0.783, "high")
    await book(api, house.coach, house.client_id, datetime.now(UTC) + timedelta(days=2), title="Check-in")
    await write(api, house.client, house.coach, "See you then")
    text = (await browser.sign_in(house.coach)).text
    for words in (
        house.practice.name,
        "Check-in",
        "78 %",
        "usually every 7 days, silent for 19",
        "See you then",
        "has a session booked on",
    ):
        assert words in text
    assert re.search(r'class="badge"><span class="count">1</span>', text)


async def test_nothing_of_another_practice_is_on_the_page(
    browser: Browser, api: Api, house: House, db: Database
) -> None:
    other = await make_house(db, "Elsewhere")
    await db.execute("update clients set last_name = 'Canary' where practice_id = $1", other.practice.id)
    await db.execute("update users set name = name || ' Canary' where practice_id = $1", other.practice.id)
    await predict(db, other.client_id, 0.99, "high")
    soon = datetime.now(UTC) + timedelta(hours=1)
    await book(api, other.coach, other.client_id, soon, title="Canary")
    conversation_id = await write(api, other.client, other.coach, "Canary")
    await api.post("/api/v1/payments", other.owner, {"client_id": str(other.client_id), "amount_minor": 777_00})
    for actor in (house.owner, house.coach, house.client):
        await browser.sign_in(actor)
        for path in ("/", f"/?conversation={conversation_id}"):
            page = await browser.get(path)
            assert page.status == 200
            assert "Canary" not in page.text
            assert "777" not in page.text
        await browser.sign_out()


async def test_coach_sees_only_their_own_clients(browser: Browser, api: Api, house: House) -> None:
    await api.db.execute("update clients set last_name = 'Stranger' where id = $1", house.other_client_id)
    await predict(api.db, house.other_client_id, 0.95, "high")
    await book(api, house.other_coach, house.other_client_id, datetime.now(UTC) + timedelta(hours=1))
    assert "Stranger" not in (await browser.sign_in(house.coach)).text
    await browser.sign_out()
    assert "Stranger" in (await browser.sign_in(house.owner)).text


async def test_client_sees_sessions_and_messages_but_no_figures(browser: Browser, api: Api, house: House) -> None:
    await predict(api.db, house.client_id, 0.9, "high")
    await book(api, house.coach, house.client_id, datetime.now(UTC) + timedelta(days=1))
    await write(api, house.coach, house.client, "How are you?")
    text = (await browser.sign_in(house.client)).text
    assert "Carl Coach" in text
    assert "How are you?" in text
    for words in ("Revenue", "risk", "Active clients", "silent for"):
        assert words not in text


async def test_unsure_predictions_stand_nowhere(browser: Browser, api: Api, house: House) -> None:
    await predict(api.db, house.client_id, 0.9, "high", status="not_enough_history")
    text = (await browser.sign_in(house.coach)).text
    assert "Nobody stands out" in text
    assert "90 %" not in text


async def test_what_people_write_is_text(browser: Browser, api: Api, house: House) -> None:
    await api.db.execute("update clients set first_name = $1 where id = $2", SCRIPT, house.client_id)
    await api.db.execute("update practices set name = $1", SCRIPT)
    await api.db.execute("update users set name = $1 where id = $2", f"{SCRIPT} \"' x", house.client.user_id)
    await predict(api.db, house.client_id, 0.9, "high")
    await book(
        api, house.coach, house.client_id, datetime.now(UTC) + timedelta(minutes=5), title=SCRIPT, location=SCRIPT
    )
    await write(api, house.client, house.coach, SCRIPT)
    text = (await browser.sign_in(house.coach)).text
    assert text.count("&lt;script&gt;alert(") >= 6
    assert SCRIPT not in text
    scripts = re.findall(r"<script[^>]*>", text)
    assert scripts == re.findall(r'<script src="/static/[^"]+" (?:defer|type="module")>', text)


async def test_policy_lets_nothing_act_but_our_own_files(browser: Browser, house: House) -> None:
    for page in (await browser.get("/sign-in"), await browser.get("/register"), await browser.sign_in(house.coach)):
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:|https?://", page.text)


async def test_address_names_the_open_conversation(browser: Browser, api: Api, house: House) -> None:
    wanted = await write(api, house.client, house.coach, "From Klara")
    await write(api, house.owner, house.coach, "From Olga")
    await browser.sign_in(house.coach)
    assert _open(await _text(browser, "/")) == ["From Olga"]
    assert _open(await _text(browser, f"/?conversation={wanted}")) == ["From Klara"]
    assert _open(await _text(browser, "/?conversation=nonsense")) == ["From Olga"]


async def test_new_practice_is_told_what_to_do_next(new_browser: NewBrowser, house: House) -> None:
    text = (await new_browser().sign_in(house.owner)).text
    for words in ("No sessions ahead.", "Nobody stands out.", "No conversations yet.", 'href="/docs#/sessions"'):
        assert words in text


async def _text(browser: Browser, path: str) -> str:
    return (await browser.get(path)).text


def _open(text: str) -> list[str]:
    log = text.partition('role="log"')[2].partition("<form")[0]
    return re.findall(r'<p class="text">([^<]*)</p>', log)
