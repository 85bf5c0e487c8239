"""Who sends too much is refused, then cut off; and nobody else notices."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from tests.factories import House
from tests.realtime.conftest import Phones, message, serving
from tests.realtime.raw import ENGINE, open_raw
from tests.waiting import eventually
from wellio.config import Config
from wellio.errors import TooMany
from wellio.limits import MESSAGES
from wellio.realtime.floods import EVENTS, MAX_TYPING, Crowds, Flood


async def test_pipelined_flood_is_refused_and_then_closed(config: Config, house: House) -> None:
    async with serving(replace(config, rate_limit_scale=1)) as process, aiohttp.ClientSession() as session:
        raw = await open_raw(session, process.url)
        told = (await raw.come_in(process.token(house.client)))["limits"]
        assert (told["events_per_s"], told["events_at_once"]) == (EVENTS.per_s, EVENTS.burst)

        async def flood() -> None:
            with suppress(ConnectionError):
                for n in range(10_000):
                    await raw.websocket.send_str(f'42{n}["chat:sync",{{"cursors":{{}}}}]')

        flooding = asyncio.create_task(flood())
        assert await raw.until_closed() in (1006, 1008)
        await flooding
        acks = [json.loads(frame[frame.index("[") :])[0] for frame in raw.frames if frame.startswith("43")]
        assert all(ack["ok"] for ack in acks[: EVENTS.burst])
        refused = [ack["error"] for ack in acks if not ack["ok"]]
        assert len(refused) >= 100
        assert refused[0]["code"] == "RATE_LIMITED"
        assert 0 < refused[0]["retry_after_ms"] <= 50
        assert not len(process.realtime._devices)
        await eventually(lambda: not process.realtime._server.eio.sockets)
        # It may come again.
        again = await open_raw(session, process.url)
        assert await again.come_in(process.token(house.client))


async def test_messages_of_a_user_are_counted_over_all_devices_and_rest(
    config: Config, house: House, direct: UUID
) -> None:
    async with serving(replace(config, rate_limit_scale=0.25)) as process, aiohttp.ClientSession() as session:
        phones = Phones(process.url)
        devices = [await phones.connect(process.token(house.coach)) for _ in range(2)]
        answers = await asyncio.gather(
            *(device.call("message:send", message(direct)) for device in devices for _ in range(5))
        )
        refused = [answer["error"] for answer in answers if not answer["ok"]]
        assert refused
        assert {error["code"] for error in refused} == {"RATE_LIMITED"}
        assert min(error["retry_after_ms"] for error in refused) > 0

        async def by_rest() -> Any:
            headers = {"Authorization": f"Bearer {process.token(house.coach)}"}
            url = f"{process.url}/api/v1/messages"
            async with session.post(url, json=message(direct), headers=headers) as answer:
                return answer.status == 429 and await answer.json()

        assert (await eventually(by_rest))["error"]["code"] == "RATE_LIMITED"
        other = await phones.connect(process.token(house.client))
        assert (await other.call("message:send", message(direct)))["ok"]

        await process.services.limits.clear(MESSAGES.of(house.coach.user_id))
        assert (await devices[0].call("message:send", message(direct)))["ok"]
        await phones.close()


async def test_connections_are_counted_by_the_callers_address(config: Config) -> None:
    behind = replace(config, rate_limit_scale=0.05, trusted_proxies=(ip_network("127.0.0.1"),))
    url_of = ENGINE.replace("websocket", "polling")
    async with serving(behind) as process, aiohttp.ClientSession() as session:

        async def open_from(address: str) -> tuple[int, str | None]:
            async with session.get(process.url + url_of, headers={"X-Forwarded-For": address}) as answer:
                return answer.status, answer.headers.get("Retry-After")

        statuses = [(await open_from("203.0.113.7"))[0] for _ in range(3)]
        assert statuses == [200] * 3
        status, wait = await eventually(lambda: _refused(open_from("203.0.113.7")))
        assert (status, int(wait or 0) > 0) == (429, True)
        assert (await open_from("203.0.113.8"))[0] == 200


async def _refused(answer: Any) -> Any:
    status, wait = await answer
    return (status, wait) if status != 200 else None


def test_addresses_have_so_many_connections_at_once() -> None:
    crowds = Crowds(most=2, most_local=3)
    for n, address in enumerate(("203.0.113.7", "203.0.113.7", "2001:db8::1", "2001:db8::2")):
        crowds.check(address)
        crowds.enter(str(n), address)
    for address in ("203.0.113.7", "2001:db8::ffff"):
        with pytest.raises(TooMany):
            crowds.check(address)
    for _ in range(2):  # leaving twice is leaving once
        crowds.leave("0")
        crowds.leave("2")
    crowds.check("203.0.113.7")
    crowds.check("2001:db8::ffff")


def test_typing_is_told_now_and_then_and_its_end_always() -> None:
    flood, one, other = Flood(1e-6), uuid4(), uuid4()
    told = [flood.tells_typing(one, on=on) for on in (False, True, True, False, False, True)]
    assert told == [False, True, False, True, False, False]
    assert flood.tells_typing(other, on=True)
    for _ in range(2 * MAX_TYPING):
        flood.tells_typing(uuid4(), on=True)
    assert len(flood._typing) <= MAX_TYPING
    flood.take_status()
    with pytest.raises(TooMany):
        flood.take_status()
