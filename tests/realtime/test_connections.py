"""Connections: who comes in, what ends one, and what a client can't do to the others."""

import asyncio
import gc
import itertools
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import pytest
from socketio.exceptions import ConnectionError as ConnectionFailed

from tests.factories import House
from tests.realtime.conftest import Phone, Phones, Process, message
from tests.realtime.raw import ENGINE, Raw, Stalled, open_raw
from tests.waiting import eventually
from wellio.accounts import auth_sessions
from wellio.accounts.actors import Actor
from wellio.accounts.tokens import Claims
from wellio.db import Database
from wellio.limits import Standing
from wellio.realtime import server
from wellio.realtime.outgoing import MAX_QUEUED_BYTES, MAX_QUEUED_PACKETS

POLLING = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def refusal(phones: Phones, token: str | None) -> str:
    """The code a connection is refused with."""
    phone = phones.make()
    errors: list[Any] = []
    phone.client.on("connect_error", errors.append)
    with pytest.raises(ConnectionFailed):
        await phone.client.connect(phones.url, auth={"token": token} if token else None, transports=["websocket"])
    code: str = errors[0]["data"]["code"]
    return code


async def test_who_is_not_let_in(process: Process, phones: Phones, house: House) -> None:
    db = process.services.db
    assert await refusal(phones, None) == "UNAUTHORIZED"
    assert await refusal(phones, "rubbish") == "UNAUTHORIZED"
    assert await refusal(phones, process.token(house.coach, ttl=timedelta(hours=-1))) == "TOKEN_EXPIRED"
    await db.execute("update auth_sessions set revoked_at = now() where id = $1", house.owner.session_id)
    assert await refusal(phones, process.token(house.owner)) == "UNAUTHORIZED"
    await db.execute("update users set status = 'suspended' where id = $1", house.client.user_id)
    assert await refusal(phones, process.token(house.client)) == "UNAUTHORIZED"
    assert len(process.realtime._devices) == 0


async def test_eleventh_device_of_a_user_is_refused(process: Process, phones: Phones, house: House) -> None:
    token = process.token(house.coach)
    devices = [await phones.connect(token) for _ in range(10)]
    assert await refusal(phones, token) == "TOO_MANY_CONNECTIONS"
    await phones.connect(process.token(house.client))
    await devices[0].client.disconnect()
    await eventually(lambda: len(process.realtime._devices) == 10)
    await phones.connect(token)


async def test_no_compression_is_negotiated(process: Process, session: aiohttp.ClientSession) -> None:
    raw = await open_raw(session, process.url, compress=15)
    assert raw.websocket.compress == 0
    assert "Sec-WebSocket-Extensions" not in raw.websocket._response.headers


@pytest.mark.parametrize(
    ("origin", "headers", "status"),
    [
        ("http://{host}", {}, 200),
        ("https://app.example.org", {}, 200),
        (None, {}, 200),
        ("http://evil.example", {}, 400),
        ("null", {}, 400),
        ("http://{host}.evil.example", {}, 400),
        ("https://app.example.org.evil.example", {}, 400),
        ("http://evil.example", {"X-Forwarded-Host": "evil.example"}, 400),
        ("http://evil.example", {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}, 400),
    ],
)
async def test_only_listed_origins_and_our_own_may_connect(
    process: Process, session: aiohttp.ClientSession, origin: str | None, headers: dict[str, str], status: int
) -> None:
    if origin is not None:
        headers = headers | {"Origin": origin.format(host=urlsplit(process.url).netloc)}
    async with session.get(process.url + POLLING, headers=headers) as response:
        assert response.status == status
        allowed = response.headers.get("Access-Control-Allow-Origin")
        assert allowed == (headers.get("Origin") if status == 200 else None)
    if status == 400:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(process.url + ENGINE, headers=headers)


async def test_who_does_not_come_in_is_closed(
    process: Process, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECT_WITHIN_S", 0.1)
    raw = await open_raw(session, process.url)
    await raw.until_closed()
    async with session.get(process.url + POLLING) as response:
        sid = json.loads((await response.text())[1:])["sid"]

    async def gone() -> bool:
        async with session.post(f"{process.url}{POLLING}&sid={sid}", data="3") as polled:
            return polled.status == 400

    await eventually(gone)
    await eventually(lambda: not process.realtime._server.connections() or None)


async def test_who_has_asked_to_come_in_is_not_closed_because_that_takes_long(
    process: Process, phones: Phones, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, held = asyncio.Event(), asyncio.Event()

    async def slowly(db: Database, claims: Claims) -> Actor:
        asked.set()
        await held.wait()
        return await auth_sessions.authenticate(db, claims)

    monkeypatch.setattr(server, "authenticate", slowly)
    coming = asyncio.create_task(phones.connect(process.token(house.client)))
    await asked.wait()
    assert not process.realtime._deadlines
    held.set()
    assert (await coming).client.connected


@pytest.mark.parametrize(
    "frame",
    [
        b"binary", "bAAAA", "x", "", "9", "4", "49", "451-[\"message:send\",{\"_placeholder\":true,\"num\":0}]",
        "451000000-[\"x\"]", "461-1[]", "44{}", "42/admin,1[\"x\",{}]", "42123456789012345678[\"x\",{}]", "42{}", "42",
        "4" + "2" * 2000, "42[" + "[" * 50000, "40/admin,{", "40{", "43[]", "2probe", "5", "6", "\u0663",
        "42" + "x" * 200_000,
    ],
    ids=lambda f: f"{f[:12]!r}",
)  # fmt: skip
async def test_rubbish_ends_at_most_its_own_connection(
    process: Process, phones: Phones, house: House, direct: UUID, session: aiohttp.ClientSession, frame: bytes | str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    phone = await phones.connect(process.token(house.coach))
    raw = await open_raw(session, process.url)
    await raw.come_in(process.token(house.client))
    with caplog.at_level(logging.WARNING):
        send = raw.websocket.send_bytes if isinstance(frame, bytes) else raw.websocket.send_str
        await send(frame)  # type: ignore[arg-type]
        with suppress(ConnectionError):
            await raw.websocket.send_str('421["chat:sync",{"cursors":{}}]')
        while (answer := await raw.next()) is not None and not answer.startswith("431["):
            pass
    assert (await phone.call("message:send", message(direct)))["ok"]
    assert [r for r in caplog.records if r.exc_info] == []
    await raw.websocket.close()
    await eventually(lambda: len(process.realtime._devices) == 1)


async def test_event_that_is_not_json_is_acked(process: Process, session: aiohttp.ClientSession, house: House) -> None:
    raw = await open_raw(session, process.url)
    await raw.come_in(process.token(house.client))
    for text in ('["message:send",{"body":"\\ud800"}]', "[NaN]", "[", "[1e999]"):
        await raw.websocket.send_str(f"427{text}")
        while not (answer := await raw.next() or "closed").startswith("437["):
            assert answer != "closed"
        assert json.loads(answer[3:])[0]["ok"] is False


async def test_event_before_connect_is_refused(process: Process, session: aiohttp.ClientSession) -> None:
    raw = await open_raw(session, process.url)
    await raw.websocket.send_str('421["chat:sync",{"cursors":{}}]')
    assert json.loads((await raw.next() or "")[3:])[0]["error"]["code"] == "NOT_CONNECTED"


@pytest.mark.parametrize("probed", [False, True])
async def test_client_whose_upgrade_fails_goes_on_polling(
    process: Process, session: aiohttp.ClientSession, house: House, probed: bool
) -> None:
    url = process.url + POLLING
    async with session.get(url) as response:
        url += "&sid=" + json.loads((await response.text())[1:])["sid"]
    async with session.post(url, data="40" + json.dumps({"token": process.token(house.coach)})) as response:
        assert response.status == 200
    websocket = await session.ws_connect(url.replace("polling", "websocket"))
    if probed:
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
    await websocket.close()
    process.services.live.publish([house.coach.user_id], "insight:new", "still here")
    polled = ""
    while "still here" not in polled:
        async with session.get(url) as response:
            polled += await response.text()
            assert response.status == 200


async def test_jsonp_is_refused(process: Process, session: aiohttp.ClientSession) -> None:
    async with session.get(process.url + POLLING + "&j=0") as response:
        assert response.status == 400


async def test_expired_token_closes_the_connection(process: Process, phones: Phones, house: House) -> None:
    phone = await phones.connect(process.token(house.coach, ttl=timedelta(seconds=2)))
    assert await phone.first("auth:expiring")
    await eventually(lambda: phone.lost)
    await eventually(lambda: len(process.realtime._devices) == 0)


async def test_refreshed_token_keeps_the_connection(process: Process, phones: Phones, house: House) -> None:
    phone = await phones.connect(process.token(house.coach, ttl=timedelta(seconds=2)))
    stranger = await phone.call("auth:refresh", {"token": process.token(house.owner)})
    assert stranger["error"]["code"] == "UNAUTHORIZED"
    answer = await phone.call("auth:refresh", {"token": process.token(house.coach)})
    assert answer["ok"]
    (device,) = process.realtime._devices
    assert device.expires_at > time.time() + 600
    assert len([t for t in device.timers if not t.cancelled()]) == 2


@pytest.mark.parametrize("size", [100, 8000])
async def test_reader_that_stops_is_cut_off_and_the_others_go_on(
    process: Process, phones: Phones, house: House, direct: UUID, size: int
) -> None:
    stalled = Stalled(process.url)
    await stalled.connect(process.token(house.client))
    await eventually(lambda: len(process.realtime._devices) == 1)
    (device,) = process.realtime._devices
    client = await phones.connect(process.token(house.client))
    data = {"text": "x" * size}
    pushed, before = 0, len(client.events)
    while not device.outgoing.aborted:
        process.services.live.publish([house.client.user_id], "insight:new", data)
        pushed += 1
        assert device.outgoing.qsize() <= MAX_QUEUED_PACKETS
        assert device.outgoing.bytes <= MAX_QUEUED_BYTES
        if pushed % 100 == 0:
            await asyncio.sleep(0)
            await eventually(lambda: len(client.events) >= before + pushed)  # noqa: B023 - waited for here
        assert pushed < 200_000
    assert device.outgoing.qsize() <= 1  # only what ends the writer
    assert len(await client.until("insight:new", pushed)) == pushed
    await stalled.drained()
    stalled.socket.close()
    await eventually(lambda: len(process.realtime._devices) == 1)


async def test_slow_reader_does_without_ephemerals_first_and_gets_the_rest_in_order(
    process: Process, house: House
) -> None:
    stalled = Stalled(process.url)
    await stalled.connect(process.token(house.client))
    await eventually(lambda: len(process.realtime._devices) == 1)
    (device,) = process.realtime._devices
    await eventually(lambda: device.held is None)
    live, user = process.services.live, [house.client.user_id]
    numbers = itertools.count()
    while device.outgoing.qsize() < 64:
        live.publish(user, "insight:new", {"n": (number := next(numbers)), "text": "x" * 4000})
        assert number < 50_000
    queued = device.outgoing.qsize()
    live.publish(user, "typing", {}, ephemeral=True)
    assert device.outgoing.qsize() == queued
    reading = asyncio.ensure_future(stalled.read_until(b'"last"'))
    for _ in range(200):  # while it catches up
        live.publish(user, "insight:new", {"n": next(numbers)})
        await asyncio.sleep(0)
    live.publish(user, "insight:new", {"n": next(numbers), "text": "last"})
    received = await reading
    assert [int(n) for n in re.findall(rb'"n":(\d+)', received)] == list(range(next(numbers)))
    assert b"typing" not in received
    stalled.socket.close()


async def test_drain_tells_acks_and_closes_so_that_clients_come_back(
    process: Process, phones: Phones, house: House, direct: UUID, session: aiohttp.ClientSession
) -> None:
    phone = await phones.connect(process.token(house.coach))
    raw = await open_raw(session, process.url)
    await raw.come_in(process.token(house.client))
    polling = await phones.connect(process.token(house.owner), transports=["polling"])
    async with process.services.db.transaction() as holding:
        await holding.execute("select from conversations where id = $1 for update", direct)
        sending = asyncio.ensure_future(phone.call("message:send", message(direct)))
        await eventually(lambda: process.realtime._dispatch.busy == 1)
        stopping = asyncio.ensure_future(process.realtime.stop())
        assert (await phone.first("server:draining"))["reconnect_in_ms"] > 0
        with pytest.raises(ConnectionFailed):
            await phones.connect(process.token(house.coach))
    assert (await sending)["ok"]
    assert await raw.until_closed() == 1012
    await stopping
    assert any(f.startswith('42["server:draining"') for f in raw.frames)
    await eventually(lambda: phone.lost)
    await eventually(lambda: polling.lost)
    assert process.realtime._server.connections() == [] or all(
        process.realtime._server.outgoing(c) is None for c in process.realtime._server.connections()
    )


async def test_nothing_of_a_device_stays_when_it_has_gone(process: Process, phones: Phones, house: House) -> None:
    for transports in (["websocket"], ["polling"], ["polling", "websocket"]):
        phone: Phone = await phones.connect(process.token(house.coach), transports=transports)
        await phone.client.disconnect()
    await eventually(lambda: len(process.realtime._devices) == 0)
    manager = process.realtime._server.manager
    assert not manager.rooms.get("/", {}).get(None)
    assert (manager.pending_connect, manager.pending_disconnect) == ({}, {})
    assert process.realtime._devices._by_user == {}
    assert isinstance(phone, Phone)
    assert Raw is not None


async def test_connection_that_is_over_is_freed_without_the_garbage_collector(
    process: Process, session: aiohttp.ClientSession, house: House
) -> None:
    """Crowds that come and go would else fill the memory until its next full round."""

    def alive() -> int:
        return sum(isinstance(each, aiohttp.web.WebSocketResponse) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        raws = [await open_raw(session, process.url) for _ in range(2)]
        await raws[0].come_in(process.token(house.coach))
        await raws[1].come_in(process.token(house.client))
        assert alive() == before + 2
        raws[0].websocket._response.connection.transport.abort()  # type: ignore[union-attr]
        await raws[1].websocket.close()
        await eventually(lambda: alive() == before)
    finally:
        gc.enable()


async def test_nothing_is_kept_of_what_a_socket_has_sent(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    def kept() -> int:
        return sum(isinstance(each, Standing) for each in gc.get_objects())

    phone = await phones.connect(process.token(house.client))
    assert (await phone.call("message:send", message(direct)))["ok"]
    before = kept()
    for _ in range(5):
        assert (await phone.call("message:send", message(direct)))["ok"]
    assert kept() == before
