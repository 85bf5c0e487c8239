"""The link between processes: whatever becomes of Redis, acks go on, and what was lost is repaired by itself."""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from chat_checks.scene import Scene, until
from tests.realtime.crowd import percentile_ms

EACH, QUIET_S = 20, 1.5
# An ack that waited for Redis would take its time-outs. A push that was lost is found by a sweep each second.
ACK_WITHIN_S, REPAIRED_WITHIN_S = 2.0, 5.0

Fault = Callable[[Scene], Awaitable[None]]


async def _none(_scene: Scene) -> None:
    pass


async def _kill(scene: Scene) -> None:
    scene.redis.kill()


async def _start(scene: Scene) -> None:
    await scene.redis.start()


async def _hang(scene: Scene) -> None:
    scene.redis.freeze()


async def _go_on(scene: Scene) -> None:
    scene.redis.thaw()


async def _flush(scene: Scene) -> None:
    await scene.redis.flush()


async def _restart(scene: Scene) -> None:
    scene.redis.kill()
    await scene.redis.start()


async def _lose_the_last(scene: Scene) -> None:
    scene.to_redis.swallows = b"message:new"


# What happens before the messages, in their middle, before the last of them, and after.
FAULTS: Mapping[str, Sequence[Fault]] = {
    "none": (_none, _none, _none, _none),
    "killed": (_kill, _none, _none, _start),
    "hung": (_hang, _none, _none, _go_on),
    "flushed": (_none, _flush, _none, _none),
    "restarted": (_none, _restart, _none, _none),
    "last push lost": (_none, _none, _lose_the_last, _none),
}


async def redis(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """From one process to the other, with an official client on each and a pair by hand that is timed."""
    house = scene.house
    direct = await scene.open(house.coach, house.client)
    await scene.connect("coach", house.coach, 0)
    await scene.connect("client", house.client, 1)
    sender, receiver = await scene.crowd(2)
    figures: dict[str, Any] = {}
    for name, (before, amid, last, after) in FAULTS.items():
        acks_s: list[float] = []
        receiver.delays_s.clear()
        await before(scene)
        try:
            for n in range(EACH):
                if n == EACH // 2:
                    await amid(scene)
                await scene.say("coach", direct, name)
                if n == EACH - 1:
                    # What comes now shall be the last of all: what the learner makes of the others is told by then.
                    await asyncio.sleep(QUIET_S)
                    await last(scene)
                began = time.perf_counter()
                assert (await sender.send(f"{time.time()} {name}"))["ok"]
                acks_s.append(time.perf_counter() - began)
                await asyncio.sleep(0.05)
            await until(lambda: receiver.applied == sender.applied)
            await scene.converged(direct, "coach", "client")
        finally:
            await after(scene)
        figures[name] = {
            "ack_p50_ms": percentile_ms(acks_s, 0.5),
            "ack_max_ms": percentile_ms(acks_s, 1),
            "delivery_p50_ms": percentile_ms(receiver.delays_s, 0.5),
            "delivery_max_ms": percentile_ms(receiver.delays_s, 1),
        }
        assert not scene.to_redis.swallows, "nothing was there to lose"
        assert max(acks_s) < ACK_WITHIN_S, f"{name}: an ack took {max(acks_s):.1f} s"
        assert len(receiver.delays_s) == EACH, f"{name}: {len(receiver.delays_s)} of {EACH} came"
        assert max(receiver.delays_s) < REPAIRED_WITHIN_S, f"{name}: came after {max(receiver.delays_s):.1f} s"
    return figures
