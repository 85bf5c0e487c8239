"""Pings: who answers them stays, who does not is let go."""

import json
from uuid import UUID

import aiohttp
import pytest

from tests.factories import House
from tests.realtime.conftest import message, serving
from tests.realtime.raw import open_raw
from tests.waiting import eventually
from wellio import db
from wellio.chat.values import NewMessage
from wellio.config import Config
from wellio.realtime import server


async def test_who_answers_pings_stays(config: Config, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(server, "PING_TIMEOUT_S", 4)
    async with serving(config) as process, aiohttp.ClientSession() as session:
        raw = await open_raw(session, process.url)
        await raw.come_in(process.token(house.client))
        for count in range(1, 50):
            while raw.frames.count("2") < count:
                assert await raw.next() is not None
            await raw.websocket.send_str("3")


async def test_who_sends_and_answers_no_ping_is_let_go_in_the_middle_of_it(
    config: Config, house: House, direct: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(server, "PING_TIMEOUT_S", 4)
    monkeypatch.setitem(db.SERVER_SETTINGS, "lock_timeout", "60s")
    monkeypatch.setitem(db.SERVER_SETTINGS, "statement_timeout", "60s")
    async with serving(config) as process, aiohttp.ClientSession() as session:
        raw = await open_raw(session, process.url)
        await raw.come_in(process.token(house.client))
        await process.services.messages.send(house.coach, NewMessage(**message(direct)))
        async with process.services.db.transaction() as holding:
            await holding.execute("select from conversation_members where conversation_id = $1 for update", direct)
            event = ["message:read", {"conversation_id": str(direct), "seq": 1}]
            await raw.websocket.send_str("421" + json.dumps(event))
            await eventually(lambda: process.realtime._dispatch.busy == 1)
            await raw.until_closed()
            await eventually(lambda: process.realtime._dispatch.busy == 0)
