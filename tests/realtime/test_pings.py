"""Pings: who answers them stays, who does not is let go."""

import aiohttp
import pytest

from tests.factories import House
from tests.realtime.conftest import serving
from tests.realtime.raw import open_raw
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
