"""Many devices: a steady load, all coming back at once, and a deploy; and writers whose process is killed."""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psutil  # type: ignore[import-untyped]

from chat_checks.scene import AT_ONCE, Scene
from tests.realtime.crowd import Device, make_people, percentile_ms
from tests.realtime.test_faults import check_history
from tests.realtime.writers import Writer

# In a process of its own: the crowd keeps this one's loop busy, and that is not the server's doing.
ASK_REST = """
import json, sys, threading, time, urllib.request
token, *urls = sys.argv[1:]
enough = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), enough.set()), daemon=True).start()
print("asking", flush=True)
took = []
while not enough.wait(0.05):
    url = urls[len(took) % 2] + "/api/v1/auth/me"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
    began = time.perf_counter()
    urllib.request.urlopen(request, timeout=30).read()
    took.append(time.perf_counter() - began)
print(json.dumps(took))
"""


async def kills(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """Writers that repeat until they are acked, while the process is killed again and again."""
    house = scene.house
    direct = await scene.open(house.coach, house.client)
    group = await scene.open(house.owner, house.coach, house.other_coach)
    wellio = scene.processes[0]
    talk = [(house.coach, direct), (house.client, direct), (house.owner, group), (house.coach, group)]
    writers = [Writer(wellio.url, scene.token(a), conversation, f"{a.name} {conversation}") for a, conversation in talk]
    each = options.messages // len(writers)
    writing = asyncio.gather(*(writer.write(each) for writer in writers))
    for kill in range(1, options.kills + 1):
        goal = kill * options.messages // (options.kills + 1) + random.randrange(20)
        while sum(len(w.acked) for w in writers) < goal and not writing.done():
            await asyncio.sleep(0.01)
        wellio.kill()
        await wellio.start()
    await writing
    await check_history(scene.db, writers)
    return {"acked": sum(len(w.acked) for w in writers), "kills": options.kills}


async def load(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """Messages at a steady rate from devices at random; each names the time at which it was sent."""
    devices = await scene.crowd(options.sockets)
    loop, sent, acks_s = asyncio.get_running_loop(), 0, list[float]()
    memory = [scene_memory(scene)]
    sending: set[asyncio.Task[None]] = set()

    async def send(device: Device) -> None:
        began = time.perf_counter()
        await device.send(f"{time.time()} {'x' * 100}")
        acks_s.append(time.perf_counter() - began)

    began = loop.time()
    while loop.time() < began + options.seconds:
        task = asyncio.create_task(send(random.choice(devices)))
        sending.add(task)
        task.add_done_callback(sending.discard)
        sent += 1
        if sent % (options.rate * 10) == 0:
            memory.append(scene_memory(scene))
        await asyncio.sleep(max(0.0, began + sent / options.rate - loop.time()))
    await asyncio.gather(*sending)
    left = await behind(scene, devices)
    memory.append(scene_memory(scene))
    delays = [delay for device in devices for delay in device.delays_s]
    return {
        "sockets": len(devices),
        "seconds": round(loop.time() - began),
        "sent": sent,
        "acked": len(acks_s),
        "deliveries": len(delays),
        "ack_p99_ms": percentile_ms(acks_s, 0.99),
        "delivery_p50_ms": percentile_ms(delays, 0.5),
        "delivery_p99_ms": percentile_ms(delays, 0.99),
        "memory_mb": memory,
        "syncs": sum(device.syncs for device in devices),
        "closed_with": Counter(str(d.closed_with) for d in devices if d.closed_with is not None),
        "failure": left or refusals(devices),
    }


async def storm(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """All links break, messages are sent meanwhile, and all come back in the same moment."""
    devices = await scene.crowd(options.sockets)
    for device in devices:
        device.abort()
    await asyncio.gather(*(device.lost() for device in devices))
    writers = devices[: max(2, options.sockets // 20)]
    for n, writer in enumerate(writers):
        await writer.connect(scene.url(n))
        await writer.send("while the others were away")
        writer.abort()
        await writer.lost()
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASK_REST, devices[0].person.token, *(scene.url(n) for n in range(2)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert asking.stdout
    await asking.stdout.readline()
    began = time.perf_counter()
    found = await asyncio.gather(*(d.connect(scene.url(n + 1)) for n, d in enumerate(devices)), return_exceptions=True)
    took_s = time.perf_counter() - began
    rest, _ = await asking.communicate(b"enough")
    rest_s = json.loads(rest)
    failures = [repr(each)[:200] for each in found if each is not None]
    return {
        "sockets": len(devices),
        "all_back_s": round(took_s, 2),
        "recovered": sum(device.recovered for device in devices),
        "doubled": sum(device.doubled for device in devices),
        "rest_calls": len(rest_s),
        "rest_p99_ms": percentile_ms(rest_s, 0.99),
        "failures": len(failures),
        "failure": failures[:1] or await behind(scene, devices) or refusals(devices),
    }


async def drain(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """SIGTERM to the process on which all are, while they send; they come back on the other, and miss nothing."""
    pairs = await make_people(scene.db, scene.tokens, -(-options.sockets // 2))
    devices = [Device(scene.session, person) for pair in pairs for person in pair][: options.sockets]
    for begin in range(0, len(devices), AT_ONCE):
        await asyncio.gather(*(d.connect(scene.processes[0].url) for d in devices[begin : begin + AT_ONCE]))
    writing = [asyncio.create_task(device.send(f"{time.time()}")) for device in devices]
    began = time.perf_counter()
    await scene.processes[0].drain()
    took_s = time.perf_counter() - began
    acks = await asyncio.gather(*writing, return_exceptions=True)
    await asyncio.gather(*(device.lost() for device in devices))
    codes = {str(code): sum(d.closed_with == code for d in devices) for code in {d.closed_with for d in devices}}
    for begin in range(0, len(devices), AT_ONCE):
        await asyncio.gather(*(d.connect(scene.processes[1].url) for d in devices[begin : begin + AT_ONCE]))
    return {
        "sockets": len(devices),
        "drained_s": round(took_s, 2),
        "closed_with": codes,
        "acked": sum(isinstance(ack, dict) and ack["ok"] for ack in acks),
        "recovered": sum(device.recovered for device in devices),
        "failure": await behind(scene, devices) or (None if took_s < 10 else "too slow"),
    }


async def behind(scene: Scene, devices: Sequence[Device]) -> str | None:
    """Whether a device ends with less than what is stored. What is on its way has half a minute."""
    rows = await scene.db.fetch("select id, last_seq from conversations")
    heads = {row["id"]: row["last_seq"] for row in rows}
    for _ in range(300):
        late = [d for d in devices if d.applied != heads[d.person.conversation_id]]
        if not late:
            return None
        await asyncio.sleep(0.1)
    return f"{len(late)} devices lack something"


def refusals(devices: Sequence[Device]) -> Any:
    return next((device.refused[0] for device in devices if device.refused), None)


def scene_memory(scene: Scene) -> list[int]:
    """Resident, of each process, in MB."""
    return [round(psutil.Process(process.pid).memory_info().rss / 1e6) for process in scene.processes]
