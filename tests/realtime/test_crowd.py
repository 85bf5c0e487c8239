"""Many devices at once, in small; bench/chat_faults.py does the same with thousands."""

import asyncio

import aiohttp

from tests.realtime.conftest import Process
from tests.realtime.crowd import Device, make_people
from tests.waiting import eventually


async def test_crowd_that_comes_back_in_one_moment_has_everything_once(process: Process) -> None:
    services = process.services
    pairs = await make_people(services.db, services.tokens, 20)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        devices = [Device(session, person) for pair in pairs for person in pair]
        writers = devices[::2]
        await asyncio.gather(*(device.connect(process.url) for device in devices))
        await asyncio.gather(*(writer.send(f"Hello {n}") for writer in writers for n in range(3)))
        await eventually(lambda: [device.applied for device in devices] == [3] * len(devices))
        for device in devices:
            device.abort()
        await asyncio.gather(*(device.lost() for device in devices))
        for writer in writers[:5]:
            await writer.connect(process.url)
            await writer.send("While you were away")
            writer.abort()
            await writer.lost()
        await asyncio.gather(*(device.connect(process.url) for device in devices))
        await eventually(lambda: [d.applied for d in devices] == [4] * 10 + [3] * 30)
        assert all(device.recovered for device in devices)
        assert {(device.doubled, device.syncs) for device in devices} == {(0, 0)}
        await asyncio.gather(*(device.close() for device in devices))
