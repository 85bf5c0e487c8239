#!/usr/bin/env python3
"""Whether the time of an answer tells who has an account: log-in and password reset, for six kinds of address.

    .venv/bin/python bench/timing.py [--requests 300]      own server, PostgreSQL and Redis in a new folder

The kinds come in random order on one connection; each is compared with all others (Mann-Whitney U, ratio of medians).
It fails when they differ beyond chance (p < 0.001) and by more than 5 %. The same is measured on a server with a
planted early return for unknown addresses, where it must fail: else it could not have seen anything. Wants a quiet
machine. Prints one JSON object; status 1 when a kind can be told, or the planted one can't.
"""

import argparse
import asyncio
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import aiohttp
import asyncpg
from servers import environment_of, own_folder, serving

from wellio.accounts.passwords import Passwords
from wellio.embedded import start
from wellio.ids import uuid7

WARM_UP = 20
RATIO, P = 0.05, 0.001
KINDS = ("owner", "client", "suspended", "unverified", "second_factor", "unknown")
# Run before Wellio in the server that must be caught.
PLANTED = """
import runpy
from wellio.accounts import passwords
from wellio.handlers import password_changes
verify, reset = passwords.Passwords.verify, password_changes.request_reset
async def early_verify(self, stored, password):
    return False if stored is None else await verify(self, stored, password)
async def early_reset(outbox, limits, request, **options):
    if not request.email.startswith("unknown"):
        await reset(outbox, limits, request, **options)
passwords.Passwords.verify, password_changes.request_reset = early_verify, early_reset
runpy.run_module("wellio", run_name="__main__")
"""


async def make_users(database_url: str) -> None:
    """One of each kind but the unknown, all with a hash of full strength."""
    connection = await asyncpg.connect(database_url)
    practice, password_hash = uuid7(), await Passwords().hash("the right password of everybody")
    await connection.execute("insert into practices (id, name, timezone) values ($1, 'Bench', 'UTC')", practice)
    for kind in KINDS[:-1]:
        await connection.execute(
            "insert into users (id, practice_id, role, name, email, password_hash, timezone, status, email_verified_at,"
            " totp_enabled_at, totp_secret) values ($1, $2, $3, $4, $5, $6, 'UTC', $7,"
            " case when $8 then null else now() end, case when $9 then now() end, case when $9 then ''::bytea end)",
            uuid7(),
            practice,
            "owner" if kind == "owner" else "client",
            kind,
            f"{kind}@example.org",
            password_hash,
            "suspended" if kind == "suspended" else "active",
            kind == "unverified",
            kind == "second_factor",
        )
    await connection.close()


def body_of(route: str, kind: str) -> dict[str, str]:
    email = {"email": f"{kind}@example.org"}
    return email | {"password": "a password that nobody has"} if route == "login" else email


async def measure(url: str, route: str, requests: int) -> dict[str, list[float]]:
    """Milliseconds of each answer, by kind."""
    order = [kind for kind in KINDS for _ in range(requests)]
    random.shuffle(order)
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for number, kind in enumerate([*KINDS] * math.ceil(WARM_UP / len(KINDS)) + order):
            begun = time.perf_counter()
            async with session.post(f"{url}/api/v1/auth/{route}", json=body_of(route, kind)) as answer:
                await answer.read()
                assert answer.status in (401, 202), await answer.text()
            if number >= WARM_UP:
                took[kind].append((time.perf_counter() - begun) * 1000)
    return took


def verdict(took: dict[str, list[float]]) -> dict[str, Any]:
    kinds = {}
    for kind, own in took.items():
        others = [value for other, values in took.items() if other != kind for value in values]
        ratio, p = statistics.median(own) / statistics.median(others), mann_whitney(own, others)
        told = p < P and abs(ratio - 1) > RATIO
        kinds[kind] = {
            "median_ms": round(statistics.median(own), 2),
            "ratio": round(ratio, 3),
            "p": float(f"{p:.2g}"),
            "told": told,
        }
    return {"kinds": kinds, "told": any(kind["told"] for kind in kinds.values())}


def mann_whitney(one: Sequence[float], other: Sequence[float]) -> float:
    """The two-sided p of the U test, by its normal approximation: there are hundreds of values, and hardly any ties."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum = sum(rank for rank, (_, group) in enumerate(ranked, start=1) if group == 0)
    n, m = len(one), len(other)
    u = rank_sum - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="of each kind")
    options = parser.parse_args()
    result: dict[str, Any] = {"requests_of_each_kind": options.requests}
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder("timing"))
        running = stack.enter_context(start(folder / "data", postgres=True, redis=True)).running
        # Rate limits are out of reach: here every try counts as a failure.
        environment = environment_of(folder, running.database_url or "", running.redis_url or "")
        for name, program in (("wellio", ("-m", "wellio")), ("planted", ("-c", PLANTED))):
            with serving(environment, [sys.executable, *program]) as url:
                if name == "wellio":
                    asyncio.run(make_users(running.database_url))
                result[name] = {
                    route: verdict(asyncio.run(measure(url, route, options.requests)))
                    for route in ("login", "password-reset")
                }
    result["passed"] = all(not result["wellio"][r]["told"] and result["planted"][r]["told"] for r in result["wellio"])
    print(json.dumps(result, indent=1))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
