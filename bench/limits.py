#!/usr/bin/env python3
"""What rate limits cost a GET, as a ratio; and that a Redis that hangs costs nothing.

    .venv/bin/python bench/limits.py [--requests 2000] [--rounds 6]      own PostgreSQL and two Redis in a new folder

Two servers side by side, one with its limits and one without any (planted), asked in turn, a round each; then the Redis
of the first is stopped (SIGSTOP) and the rounds go on. Prints one JSON object; times are milliseconds.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from wellio.accounts.tokens import Tokens  # noqa: E402
from wellio.embedded import start  # noqa: E402
from wellio.embedded.binaries import find_redis  # noqa: E402
from wellio.ids import uuid7  # noqa: E402

SECRET = "a signing key for the bench: 0123456789 abcdefghijklmnopqrstuvwxyz"
WITHOUT = """
import runpy
from wellio import limits
async def take(self, *buckets):
    pass
limits.Limits.take = take
runpy.run_module("wellio", run_name="__main__")
"""


@contextmanager
def server(environment: dict[str, str], *, limited: bool) -> Iterator[str]:
    command = [sys.executable, *(("-m", "wellio") if limited else ("-c", WITHOUT))]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield next(line for line in process.stdout if line.startswith("ready ")).split()[1]
        finally:
            process.terminate()


@contextmanager
def own_redis(port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(find_redis(None)), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


async def make_token(database_url: str) -> str:
    connection = await asyncpg.connect(database_url)
    practice, user, session = uuid7(), uuid7(), uuid7()
    await connection.execute("insert into practices (id, name, timezone) values ($1, 'Bench', 'UTC')", practice)
    await connection.execute(
        "insert into users (id, practice_id, role, name, email, password_hash, timezone)"
        " values ($1, $2, 'owner', 'Busy', 'busy@example.org', 'none', 'UTC')", user, practice,
    )  # fmt: skip
    await connection.execute(
        "insert into auth_sessions (id, practice_id, user_id, expires_at) values ($1, $2, $3, now() + '1 day')",
        session, practice, user,
    )  # fmt: skip
    await connection.close()
    return Tokens(SECRET).issue_access(user_id=user, practice_id=practice, session_id=session)


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
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wellio-limits-")))
        folder.chmod(0o711)
        running = stack.enter_context(start(folder / "data", postgres=True, redis=False)).running
        redis = stack.enter_context(own_redis(options.redis_port))
        environment = os.environ | {
            "DATABASE_URL": running.database_url, "REDIS_URL": f"redis://127.0.0.1:{options.redis_port}", "PORT": "0",
            "JWT_SECRET": SECRET, "WELLIO_DEMO": "0", "LOG_LEVEL": "error", "WELLIO_DATA_DIR": str(folder / "var"),
            "RATE_LIMIT_SCALE": "1000000",
        }  # fmt: skip
        urls = {
            "limited": stack.enter_context(server(environment, limited=True)),
            "without": stack.enter_context(server(environment, limited=False)),
        }
        token = asyncio.run(make_token(running.database_url))
        print(json.dumps(asyncio.run(measure(urls, token, redis, options)), indent=1))


if __name__ == "__main__":
    main()
