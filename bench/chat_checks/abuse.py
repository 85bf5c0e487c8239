"""What nobody should send: each kind ends in errors or closed sockets, and the process is afterwards as it was before.

Each kind is done in rounds. The first ones leave something behind that is made once (caches, the allocator's arenas);
those of the second half may not.
"""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from chat_checks.scene import Scene, message, resources, until
from tests.realtime.faults import Wellio
from tests.realtime.raw import Raw, open_raw

ROUNDS = 6
LAST = 99_999  # the number of the event that ends what a caller sends
CALLERS = 8  # all may be devices of one user
# Over the second half of the rounds; the allocator goes on filling its arenas for a while.
MAY_GROW_MB = 8.0
POLLING = "/socket.io/?EIO=4&transport=polling"
DEEP = "[" * 40_000 + "]" * 40_000
GONE = (aiohttp.ClientError, OSError, TimeoutError, AssertionError, TypeError)

Abuse = Callable[["Caller"], Awaitable[str]]


class Caller:
    """One of many who abuse a process at the same time. `token`: of somebody who may come in."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, victims_sid: str) -> None:
        self.session, self.url, self.token, self.victims_sid = session, url, token, victims_sid

    async def frames(self, frames: Sequence[str | bytes], *, come_in: bool = False) -> str:
        """Sends them on a WebSocket; how that ended."""
        raw = await open_raw(self.session, self.url)
        try:
            if come_in:
                await raw.come_in(self.token)
            with suppress(ConnectionError):
                for frame in frames:
                    send = raw.websocket.send_bytes if isinstance(frame, bytes) else raw.websocket.send_str
                    await send(frame)  # type: ignore[arg-type]
                await raw.websocket.send_str(f'42{LAST}["no:such",{{}}]')
            return await _ending(raw)
        finally:
            await raw.websocket.close()

    async def status(self, method: str, query: str, **options: Any) -> str:
        async with self.session.request(method, self.url + query, **options) as answer:
            await answer.read()
            return str(answer.status)


async def _ending(raw: Raw) -> str:
    while (frame := await raw.next()) is not None:
        if frame.startswith(f"43{LAST}["):
            return f"still open, acked {json.loads(frame[len(f'43{LAST}') :])[0]['error']['code']}"
    return f"closed {raw.websocket.close_code}"


async def _polled(caller: Caller, body: str | bytes) -> str:
    """A polling connection is opened, and gets this body; whether it is there afterwards."""
    async with caller.session.get(caller.url + POLLING) as answer:
        if answer.status != 200:
            return str(answer.status)
        sid = json.loads((await answer.text())[1:])["sid"]
    posted = await caller.status("POST", f"{POLLING}&sid={sid}", data=body)
    return f"POST {posted}, then {await caller.status('POST', f'{POLLING}&sid={sid}', data='2')}"


async def _stolen(caller: Caller) -> str:
    """The name of a WebSocket's connection, by polling and by another WebSocket."""
    sid = caller.victims_sid
    read = await caller.status("GET", f"{POLLING}&sid={sid}")
    write = await caller.status("POST", f"{POLLING}&sid={sid}", data='42["message:send",{}]')
    try:
        await open_raw(caller.session, f"{caller.url}/socket.io/?EIO=4&transport=websocket&sid={sid}#")
    except (aiohttp.ClientError, AssertionError):
        return f"GET {read}, POST {write}, WebSocket refused"
    return f"GET {read}, POST {write}, WebSocket taken"


def _events(count: int) -> list[str]:
    return [f'42{n}["chat:sync",{{"cursors":{{}}}}]' for n in range(count)]


KINDS: Mapping[str, Abuse] = {
    "oversized frame": lambda c: c.frames(["4" + "x" * 1_000_000]),
    "oversized event": lambda c: c.frames([f'421["message:send",{{"body":"{"x" * 130_000}"}}]'], come_in=True),
    "oversized post": lambda c: _polled(c, "4" + "x" * 3_000_000),
    "binary": lambda c: c.frames([b"\x00\xff" * 1000], come_in=True),
    "bytes that are no text": lambda c: _polled(c, b"\xff\xfe4"),
    "no packet": lambda c: c.frames(["9", "", "xyz", "4", "4z", "42", "42{", "451-[]"], come_in=True),
    "JSON that is none": lambda c: c.frames(['421["message:send",{]', '422["message:send"'], come_in=True),
    "deep JSON": lambda c: c.frames([f'421["chat:sync",{DEEP}]'], come_in=True),
    "deep JSON at the door": lambda c: c.frames([f"40{DEEP}"]),
    "events at the door": lambda c: c.frames(_events(300)),
    "rubbish for a token": lambda c: c.frames([f'40{{"token":"{"x" * n}"}}' for n in range(50)]),
    "odd auth": lambda c: c.frames([f"40{each}" for each in ("[]", "7", '"x"', '{"token":[]}', '{"token":null}')]),
    "namespaces": lambda c: c.frames([f"40/space{n},{{}}" for n in range(300)]),
    "in and out": lambda c: c.frames([f'40{{"token":"{c.token}"}}', "41"] * 30),
    "flood of events": lambda c: c.frames(_events(2000), come_in=True),
    "flood of typing": lambda c: c.frames(
        [f'42["typing",{{"conversation_id":"{c.victims_sid}","on":true}}]' for _ in range(2000)], come_in=True),
    "flood of pings": lambda c: c.frames(["2"] * 2000),
    "acks of nothing": lambda c: c.frames([f"43{n}[]" for n in range(1000)], come_in=True),
    "stolen sid": _stolen,
    "EIO 3": lambda c: c.status("GET", POLLING.replace("EIO=4", "EIO=3")),
    "no EIO": lambda c: c.status("GET", "/socket.io/?transport=polling"),
    "JSONP": lambda c: c.status("GET", f"{POLLING}&j=0"),
    "made-up sid": lambda c: c.status("GET", f"{POLLING}&sid={'x' * 2000}"),
    "left handshake": lambda c: c.status("GET", POLLING),
}  # fmt: skip


# Of the others an error is enough.
MUST_BE_CLOSED = (
    "oversized frame", "binary", "no packet", "deep JSON at the door", "flood of events", "flood of typing",
)  # fmt: skip


async def abuse(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """Every kind, by many callers at once, while an official client talks on the same process."""
    house, process = scene.house, scene.processes[0]
    direct = await scene.open(house.coach, house.client)
    await scene.connect("victim", house.coach, 0)
    other = await open_raw(scene.session, process.url)
    sid = json.loads(other.frames[0][1:])["sid"]
    await other.come_in(scene.token(house.coach))
    before, after_rounds = resources(process), list[dict[str, float]]()
    peak = _Peak(process)
    watching = asyncio.create_task(peak.watch())
    endings: dict[str, Counter[str]] = {name: Counter() for name in KINDS}
    for number in range(ROUNDS):
        for name, kind in KINDS.items():
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
                token = scene.token(house.client if number % 2 else house.other_client)
                callers = [Caller(session, process.url, token, sid) for _ in range(CALLERS)]
                endings[name].update(await asyncio.gather(*(_ended(kind, caller) for caller in callers)))
        await until(lambda: resources(process)["fds"] <= before["fds"] + 5)
        ack = await scene.call("victim", "message:send", message(direct, f"after round {number}"))
        assert ack["ok"], f"the victim could not write: {ack}"
        after_rounds.append(resources(process))
    watching.cancel()
    await other.websocket.close()
    assert not scene.js.told("victim", "disconnect"), "the victim was cut off"
    taken = {name for name, each in endings.items() if any(e.endswith(("200", "taken")) for e in each)}
    assert taken <= {"left handshake"}, f"taken: { {name: endings[name] for name in taken} }"
    kept = {name: endings[name] for name in MUST_BE_CLOSED if any(not e.startswith("closed") for e in endings[name])}
    assert not kept, f"not closed: {kept}"
    memory = [after["rss_mb"] for after in after_rounds]
    assert memory[-1] - memory[ROUNDS // 2 - 1] < MAY_GROW_MB, f"memory grows: {memory} MB"
    return {
        "kinds": len(KINDS), "before": before, "peak": peak.found, "after": after_rounds[-1],
        "rss_mb_after_rounds": memory,
        "endings": {name: dict(each) for name, each in endings.items()},
    }  # fmt: skip


async def _ended(kind: Abuse, caller: Caller) -> str:
    try:
        async with asyncio.timeout(40):
            return await kind(caller)
    except GONE as error:
        return type(error).__name__


class _Peak:
    def __init__(self, process: Wellio) -> None:
        self._process = process
        self.found = resources(process)

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            now = resources(self._process)
            self.found = {name: max(now[name], self.found[name]) for name in now}
