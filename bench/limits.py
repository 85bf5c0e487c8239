#!/usr/bin/env python3
"""What rate limits cost a GET, as a ratio; and that a Redis that hangs costs nothing.

    .venv/bin/python bench/limits.py [--requests 2000] [--rounds 6]      own PostgreSQL and two Redis in a new folder

Two servers side by side, one with its limits and one without any (planted), asked in turn, a round each; then the Redis
of the first is stopped (SIGSTOP) and the rounds go on. Prints one JSON object; times are milliseconds.
"""

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import aiohttp
from servers import environment_of, make_token, own_folder, serving

from wellio.embedded import start
from wellio.embedded.binaries import find_redis

WITHOUT = """
import runpy
from wellio import limits
async def take(self, *buckets):
    pass
limits.Limits.take = take
runpy.run_module("wellio", run_name="__main__")
"""


@contextmanager
def own_redis(port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(find_redis(None)), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


async def round_of(session: aiohttp.ClientSession, url: str, requests: int) -> list[float]:
    """Milliseconds of each of so many requests, one after the other."""
    took = []
    for _ in range(requests):
        begun = time.perf_counter()
        async with session.get(f"{url}/api/v1/clients") as answer:
            await answer.read()
            assert answer.status == 200
        took.append((time.perf_counter() - begun) * 1000)
    return took


async def measure(urls: dict[str, str], token: str, redis: subprocess.Popen[bytes], options: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for url in urls.values():
            await round_of(session, url, 200)
        for phase in ("redis", "redis_hangs"):
            if phase == "redis_hangs":
                redis.send_signal(signal.SIGSTOP)
            took: dict[str, list[float]] = {name: [] for name in urls}
            for _ in range(options.rounds):
                for name, url in urls.items():
                    took[name] += await round_of(session, url, options.requests // options.rounds)
            result[phase] = figures(took)
        redis.send_signal(signal.SIGCONT)
    return result


def figures(took: dict[str, list[float]]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: {"p50": round(statistics.median(times), 3), "p99": round(sorted(times)[len(times) * 99 // 100], 3),
               "max": round(max(times), 1), "slower_than_50_ms": sum(t > 50 for t in times)}
        for name, times in took.items()
    }  # fmt: skip
    return figures | {"ratio_p50": round(figures["limited"]["p50"] / figures["without"]["p50"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="to each server in each phase")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--redis-port", type=int, default=46379, help="a free one, for the Redis that is stopped")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder("limits"))
        running = stack.enter_context(start(folder / "data", postgres=True, redis=False)).running
        redis = stack.enter_context(own_redis(options.redis_port))
        environment = environment_of(folder, running.database_url, f"redis://127.0.0.1:{options.redis_port}")
        urls = {
            "limited": stack.enter_context(serving(environment, [sys.executable, "-m", "wellio"])),
            "without": stack.enter_context(serving(environment, [sys.executable, "-c", WITHOUT])),
        }
        token = asyncio.run(make_token(running.database_url))
        print(json.dumps(asyncio.run(measure(urls, token, redis, options)), indent=1))


if __name__ == "__main__":
    main()
