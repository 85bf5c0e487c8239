"""Abuse ends in errors or closed sockets, and leaves nothing behind (frames that are rubbish: test_connections.py)."""

import asyncio
import json
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from tests.factories import House
from tests.realtime.conftest import Phones, Process, message
from tests.realtime.raw import Raw, open_raw
from tests.waiting import eventually
from wellio.realtime import server

POLLING = "/socket.io/?EIO=4&transport=polling"
DEEP = "[" * 40_000 + "]" * 40_000


def kept(process: Process) -> dict[str, int]:
    """All that the socket server holds of connections."""
    realtime = process.realtime
    sio = realtime._server
    return {
        "sockets": len(sio.eio.sockets),
        # engineio's next ping of a connection that has gone ends when it would have been due
        "tasks": len([task for task in sio.eio.tasks if "_send_ping" not in repr(task.get_coro())]),
        "devices": len(realtime._devices),
        "environments": len(sio.environ),
        "rooms": sum(len(members) for rooms in sio.manager.rooms.values() for members in rooms.values()),
        "pending": sum(len(waiting) for waiting in sio.manager.pending_connect.values()),
        "namespaces": len(sio.manager.rooms),
        "addresses": len(realtime._crowds._customers),
        "pids": len(sio._pids),
    }


async def until_quiet(raw: Raw) -> None:
    """All that was sent was dealt with, or the connection is closed."""
    try:
        await raw.websocket.send_str('42987["no:such",{}]')
    except ConnectionError:
        return
    while (frame := await raw.next()) is not None and not frame.startswith("43987"):
        pass


async def test_abuse_leaves_nothing_behind(
    process: Process, phones: Phones, house: House, direct: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECT_WITHIN_S", 0.5)
    victim = await phones.connect(process.token(house.coach))
    token = process.token(house.client)
    connect = "40" + json.dumps({"token": token})
    await eventually(lambda: kept(process)["devices"] == 1 and kept(process)["pids"] == 0)
    before = kept(process)
    floods: dict[str, list[str]] = {
        "namespaces": [f"40/space{n},{{}}" for n in range(300)],
        "CONNECT again and again": [connect] * 50,
        "in and out": [connect, "41"] * 50,
        "deep JSON in an event": [connect, f'421["chat:sync",{DEEP}]', f'422["chat:sync",{{"cursors":{DEEP}}}]'],
        "deep JSON at the door": [f"40{DEEP}"],
        "events before CONNECT": [f'42{n}["chat:sync",{{"cursors":{{}}}}]' for n in range(500)],
        "odd auth": [f"40{each}" for each in ("[]", "7", '"x"', '{"token":[]}', '{"token":"x","pid":[],"offset":{}}')],
        "acks of nothing": [f"43{n}[]" for n in range(300)],
        "pings": ["2"] * 300,
    }
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for name, frames in floods.items():
            raw = await open_raw(session, process.url)
            try:
                for frame in frames:
                    await raw.websocket.send_str(frame)
            except ConnectionError:  # closed already
                pass
            await until_quiet(raw)
            await raw.websocket.close()
            await eventually(lambda: kept(process) == before)
            assert (await victim.call("chat:sync", {"cursors": {}}))["ok"], name

        async def knock(query: str = POLLING) -> tuple[int, str]:
            async with session.get(process.url + query) as answer:
                return answer.status, await answer.text()

        # Handshakes that are never completed, and of a protocol before ours.
        doors = await asyncio.gather(*(knock() for _ in range(300)))
        assert {status for status, _ in doors} == {200}
        assert (await knock(POLLING.replace("EIO=4", "EIO=3")))[0] == 400
        await eventually(lambda: kept(process) == before)
        await check_stolen_sid(session, process, victim.client.eio.sid)
    assert (await victim.call("message:send", message(direct)))["ok"]
    assert await victim.first("message:new")
    assert victim.lost == 0


async def check_stolen_sid(session: aiohttp.ClientSession, process: Process, sid: str) -> None:
    """Of a connection by WebSocket, its name alone opens nothing."""
    stolen: list[Any] = [
        session.get(f"{process.url}{POLLING}&sid={sid}"),
        session.post(f"{process.url}{POLLING}&sid={sid}", data='42["message:send",{}]'),
    ]
    for request in stolen:
        async with request as answer:
            assert answer.status == 400, answer.method
    with pytest.raises((aiohttp.ClientError, AssertionError)):
        await open_raw(session, f"{process.url}/socket.io/?EIO=4&transport=websocket&sid={sid}#")
