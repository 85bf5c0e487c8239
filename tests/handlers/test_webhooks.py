"""Webhooks over the API. tests/outreach/test_webhook_sender.py has what becomes of deliveries."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.api import Answer, Api
from tests.conftest import SECRET
from tests.factories import House
from tests.outreach.receiver import Receiver
from tests.waiting import eventually
from wellio.accounts.tokens import Tokens
from wellio.app import running
from wellio.config import Config
from wellio.db import Database
from wellio.outreach import webhook_sender
from wellio.outreach.webhooks import MAX_WEBHOOKS

BASE = "/api/v1/webhooks"
URL = "https://hooks.example.org/wellio"


async def make(api: Api, house: House, **more: Any) -> Any:
    return (await api.post(BASE, house.owner, json={"url": URL, **more})).data


async def test_secret_is_shown_once(api: Api, house: House) -> None:
    made = await make(api, house, description="Accounting", event_types=["payment.recorded"])
    assert made["secret"].startswith("whsec_")
    read = await api.get(f"{BASE}/{made['id']}", house.owner)
    assert "secret" not in read.data
    assert made["secret"] not in (await api.get(BASE, house.owner)).raw.decode()
    assert (read.data["url"], read.data["event_types"], read.data["enabled"]) == (URL, ["payment.recorded"], True)
    rotated = (await api.post(f"{BASE}/{made['id']}/rotate-secret", house.owner)).data
    assert rotated["secret"] != made["secret"]
    assert rotated["webhook"]["former_signs_until"] is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://10.0.0.1/",
        "https://169.254.169.254/latest", "https://user:pass@hooks.example.org/", "https://hooks.example.org:22/",
        "ftp://hooks.example.org/", "hooks.example.org", "", "https://2130706433/",
    ],
)  # fmt: skip
async def test_address_that_is_not_called_is_refused(api: Api, house: House, url: str) -> None:
    answer = await api.post(BASE, house.owner, json={"url": url})
    assert (answer.status, answer.field_paths) == (422, ["url"])
    made = await make(api, house)
    changed = await api.patch(f"{BASE}/{made['id']}", house.owner, json={"url": url})
    assert (changed.status, changed.field_paths) == (422, ["url"])


@pytest.mark.parametrize(
    "body",
    [
        {"url": URL, "event_types": []}, {"url": URL, "event_types": ["session.eaten"]}, {"url": None}, {},
        {"url": URL, "secret": "whsec_mine"}, {"url": URL, "event_types": "session.booked"},
    ],
)  # fmt: skip
async def test_wrong_fields_are_refused(api: Api, house: House, body: dict[str, Any]) -> None:
    assert (await api.post(BASE, house.owner, json=body)).status == 422


async def test_it_is_changed_by_the_version_that_was_read(api: Api, house: House) -> None:
    made = await make(api, house)
    path = f"{BASE}/{made['id']}"
    changed = await api.patch(path, house.owner, json={"event_types": ["client.created"]}, headers={"If-Match": '"1"'})
    assert (changed.data["version"], changed.headers["ETag"]) == (2, '"2"')
    late = await api.patch(path, house.owner, json={"description": "x"}, headers={"If-Match": '"1"'})
    assert late.status == 412
    assert (await api.patch(path, house.owner, json={"event_types": None})).data["event_types"] is None
    assert (await api.patch(path, house.owner, json={"url": None})).field_paths == ["url"]


async def test_webhook_that_is_off_is_neither_tested_nor_resent(api: Api, house: House) -> None:
    made = await make(api, house)
    path = f"{BASE}/{made['id']}"
    delivery = (await api.post(f"{path}/test", house.owner)).data
    off = (await api.patch(path, house.owner, json={"enabled": False})).data
    assert (off["enabled"], off["disabled_reason"]) == (False, "by_hand")
    for address in (f"{path}/test", f"{path}/deliveries/{delivery['id']}/resend"):
        answer = await api.post(address, house.owner)
        assert (answer.status, answer.code) == (409, "WEBHOOK_DISABLED")
    (failed,) = (await api.get(f"{path}/deliveries", house.owner)).data
    assert (failed["status"], failed["last_error"]) == ("failed", "The webhook was turned off.")
    on = (await api.patch(path, house.owner, json={"enabled": True})).data
    assert (on["enabled"], on["disabled_at"]) == (True, None)
    assert (await api.post(f"{path}/test", house.owner)).status == 201


async def test_practice_has_so_many_and_no_more(api: Api, house: House) -> None:
    made = await asyncio.gather(*(_post(api, house) for _ in range(MAX_WEBHOOKS + 3)))
    assert sorted(answer.status for answer in made) == [201] * MAX_WEBHOOKS + [409] * 3
    assert {answer.code for answer in made if answer.status == 409} == {"TOO_MANY_WEBHOOKS"}


async def _post(api: Api, house: House) -> Answer:
    return await api.post(BASE, house.owner, json={"url": URL})


async def test_log_is_filtered_and_paged(api: Api, house: House) -> None:
    made = await make(api, house)
    path = f"{BASE}/{made['id']}/deliveries"
    for _ in range(3):
        await api.post(f"{BASE}/{made['id']}/test", house.owner)
    answer = await api.get(path, house.owner, params={"status": "waiting", "type": "webhook.test", "page_size": "2"})
    assert (len(answer.data), answer.body["pagination"]["total"]) == (2, 3)
    assert (await api.get(path, house.owner, params={"status": "failed"})).data == []
    assert (await api.get(path, house.owner, params={"status": "lost"})).status == 422
    detail = (await api.get(f"{path}/{answer.data[0]['id']}", house.owner)).data
    assert detail["attempts"] == []
    assert '"type":"webhook.test"' in detail["body"]


async def test_repeated_test_with_a_key_is_one(api: Api, house: House) -> None:
    made = await make(api, house)
    path, key = f"{BASE}/{made['id']}/test", {"Idempotency-Key": "one"}
    first, second = [await api.post(path, house.owner, headers=key) for _ in range(2)]
    assert first.raw == second.raw


async def test_deleted_webhook_is_gone_with_its_log(api: Api, house: House, db: Database) -> None:
    made = await make(api, house)
    await api.post(f"{BASE}/{made['id']}/test", house.owner)
    assert (await api.call("DELETE", f"{BASE}/{made['id']}", house.owner)).status == 200
    assert (await api.get(f"{BASE}/{made['id']}", house.owner)).status == 404
    assert (await api.call("DELETE", f"{BASE}/{uuid4()}", house.owner)).status == 404
    assert await db.fetchval("select count(*) from webhook_deliveries") == 0


@pytest.fixture
async def trying_out(
    config: Config, db: Database, nobody_is_called: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    """Wellio as a developer runs it to try webhooks out."""
    monkeypatch.setattr(webhook_sender, "AT_ONCE", 4)
    monkeypatch.setattr(webhook_sender, "POLL_S", 0.02)
    trying = replace(config, outgoing_loopback=True)
    async with running(trying) as (host, port), aiohttp.ClientSession() as session:
        yield Api(session, f"http://{host}:{port}", Tokens(SECRET), db)


async def test_booking_over_the_api_is_heard_by_a_receiver(trying_out: Api, house: House) -> None:
    api = trying_out
    async with Receiver().open() as receiver:
        made = await make(api, house, url=f"{receiver.url}/hook")
        booking = {"client_id": str(house.client_id), "starts_at": "2031-02-03T10:00:00Z", "duration_minutes": 30}
        session = (await api.post("/api/v1/sessions", house.coach, json=booking)).data
        await eventually(lambda: receiver.heard)
        (heard,) = receiver.heard
        assert heard.is_signed_with(made["secret"])
        assert (heard.told["type"], heard.told["data"]["session_id"]) == ("session.booked", session["id"])
        path = f"{BASE}/{made['id']}/deliveries/{heard.id}"

        async def delivered() -> bool:
            detail = (await api.get(path, house.owner)).data
            attempts = [attempt["status"] for attempt in detail["attempts"]]
            return bool(detail["delivery"]["status"] == "delivered" and attempts == [204])

        await eventually(delivered)
        await api.post(f"{path}/resend", house.owner)
        await eventually(lambda: len(receiver.heard) == 2)
        assert receiver.heard[1].id == heard.id
