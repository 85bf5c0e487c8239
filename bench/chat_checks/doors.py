"""Those who take up room: readers that stop reading, and callers that begin a handshake and never end it."""

import argparse
import asyncio
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil  # type: ignore[import-untyped]

from chat_checks.scene import Scene, message, resources, seconds_until, until
from tests.realtime.raw import ENGINE, Stalled
from wellio.http_limits import HttpLimits

READERS, BODY = 8, "x" * 7900
MOST_PUSHED = 3000
# A queue holds 1 MiB, and its packets live somewhat longer than they are counted.
MEMORY_FOR_EACH_MB = 3.0
IDLE = 100
OF_ITS_OWN = 4  # connections to Redis and PostgreSQL that a process may open meanwhile
CONNECT_WITHIN_S, SLACK_S = 5.0, 5.0
POLLING = "/socket.io/?EIO=4&transport=polling"


async def slow(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """Devices of a member stop reading while messages come; another device of the same member reads on."""
    house, process = scene.house, scene.processes[0]
    direct = await scene.open(house.coach, house.client)
    await scene.connect("coach", house.coach, 0)
    await scene.connect("client", house.client, 0)
    for n in range(50):
        await scene.say("coach", direct, f"warm up {n}")
    before = resources(process)
    stalled = [Stalled(process.url) for _ in range(READERS)]
    for reader in stalled:
        await reader.connect(scene.token(house.client))
    ports = {reader.socket.getsockname()[1] for reader in stalled}
    await until(lambda: _held(process.pid, ports) == READERS)
    pushed, peak, acks_s = 0, before, list[float]()
    while _held(process.pid, ports):
        assert pushed < MOST_PUSHED, f"{_held(process.pid, ports)} stalled readers are still kept"
        began = time.perf_counter()
        asked = [scene.ask("coach", "message:send", message(direct, f"{pushed} {BODY}")) for _ in range(20)]
        for name in asked:
            assert (await scene.answer("coach", name))["ok"]
        acks_s.append(time.perf_counter() - began)
        pushed += 20
        peak = max(peak, resources(process), key=lambda r: r["rss_mb"])
        scene.js.lines[:] = [
            line for line in scene.js.lines if line.get("what") or line.get("event") == "session:ready"
        ]
    grown = peak["rss_mb"] - before["rss_mb"]
    assert grown < READERS * MEMORY_FOR_EACH_MB + 30, f"memory grew by {grown:.0f} MB"
    await until(lambda: resources(process)["fds"] <= before["fds"] + OF_ITS_OWN)
    for reader in stalled:
        reader.socket.close()
    last = await scene.say("coach", direct, "the last")
    await until(lambda: scene.js.events("client", "message:new")[-1:] == [last])
    assert not scene.js.told("client", "disconnect"), "a reader that reads was cut off"
    after = resources(process)
    return {
        "readers": READERS, "pushed": pushed, "before": before, "peak": peak, "after": after,
        "twenty_acks_max_ms": round(max(acks_s) * 1000),
    }  # fmt: skip


def _held(pid: int, ports: set[int]) -> int:
    """How many of these callers' connections a process still has."""
    connections = psutil.Process(pid).net_connections("tcp")
    return len([c for c in connections if c.raddr and c.raddr.port in ports and c.status == "ESTABLISHED"])


async def idle(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """TCP connections that say nothing, WebSockets and polling handshakes without a CONNECT, upgrades half done."""
    process = scene.processes[0]
    await scene.connect("client", scene.house.client, 0)
    before = resources(process)
    sockets = [await scene.session.ws_connect(process.url + ENGINE) for _ in range(IDLE)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        for _ in range(IDLE):
            async with session.get(process.url + POLLING) as answer:
                assert answer.status == 200
    address = urlsplit(process.url)
    silent = [await asyncio.open_connection(address.hostname, address.port) for _ in range(IDLE)]
    opened, peak = time.perf_counter(), resources(process)
    closed = await asyncio.gather(*(_closed_after(websocket) for websocket in sockets))
    assert max(closed) < CONNECT_WITHIN_S + SLACK_S, f"a WebSocket without CONNECT lived for {max(closed):.1f} s"
    assert (await scene.call("client", "chat:sync", {"cursors": {}}))["ok"]
    idle_s = HttpLimits().idle_s
    for reader, writer in silent:
        with suppress(OSError):
            async with asyncio.timeout(idle_s + SLACK_S - (time.perf_counter() - opened)):
                await reader.read()
        writer.close()
    silent_s = time.perf_counter() - opened
    await seconds_until(lambda: resources(process)["fds"] <= before["fds"] + OF_ITS_OWN, within_s=10)
    assert not scene.js.told("client", "disconnect")
    return {
        "of_each": IDLE, "before": before, "peak": peak, "after": resources(process),
        "websockets_closed_s": round(max(closed), 1), "silent_tcp_closed_s": round(silent_s, 1),
    }  # fmt: skip


async def _closed_after(websocket: aiohttp.ClientWebSocketResponse) -> float:
    began = time.perf_counter()
    async for _ in websocket:
        pass
    return time.perf_counter() - began
