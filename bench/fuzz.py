#!/usr/bin/env python3
"""Schemathesis against Wellio as it is served, on loopback, as each role: all phases, with fixed seeds.

    .venv/bin/python bench/fuzz.py                          some thousand requests
    .venv/bin/python bench/fuzz.py --requests 20000         the full dose

Own server, PostgreSQL and Redis in a new folder, rate limits out of the way. It runs role after role, with one seed
after the other, until so many requests were answered; prints one JSON object, and ends with 1 when anything was found.
"""

import argparse
import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.factories import make_house  # noqa: E402
from tests.fuzzing import ROLES, command  # noqa: E402
from wellio.accounts.actors import Actor  # noqa: E402
from wellio.accounts.tokens import Tokens  # noqa: E402
from wellio.db import open_database  # noqa: E402
from wellio.embedded import start  # noqa: E402
from wellio.migrations import migrate  # noqa: E402

COUNT = re.compile(r'^wellio_http_requests_total\{.*status="(\d+)"\} ([0-9.e+]+)$', re.MULTILINE)


async def make_people(database_url: str) -> dict[str, Actor | None]:
    """Somebody of each role, in a practice with people in it."""
    await migrate(database_url)
    db = await open_database(database_url, min_size=1)
    house = await make_house(db)
    await db.close()
    return {"owner": house.owner, "coach": house.coach, "client": house.client, "anonymous": None}


def token_of(actor: Actor | None, secret: str) -> str | None:
    if actor is None:
        return None
    return Tokens(secret).issue_access(
        user_id=actor.user_id, practice_id=actor.practice_id, session_id=actor.session_id
    )


@contextmanager
def serving(folder: Path, secret: str) -> Iterator[tuple[str, str]]:
    """Gives the addresses of Wellio and of its database."""
    with start(folder / "data", throwaway=True) as embedded:
        environment = os.environ | {
            "DATABASE_URL": embedded.running.database_url, "REDIS_URL": embedded.running.redis_url, "PORT": "0",
            "JWT_SECRET": secret, "WELLIO_DEMO": "0", "WELLIO_DATA_DIR": str(folder / "var"), "LOG_LEVEL": "error",
            "RATE_LIMIT_SCALE": "1000000",
        }  # fmt: skip
        served = [sys.executable, "-m", "wellio"]
        with subprocess.Popen(served, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            url = next(line.split()[1] for line in process.stdout if line.startswith("ready "))
            try:
                yield url, embedded.running.database_url
            finally:
                process.terminate()
                process.wait(20)


def statuses(url: str) -> Counter[str]:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        return Counter({status: int(float(count)) for status, count in _summed(answer.read().decode())})


def _summed(text: str) -> Iterator[tuple[str, float]]:
    sums: dict[str, float] = {}
    for status, count in COUNT.findall(text):
        sums[status] = sums.get(status, 0.0) + float(count)
    yield from sums.items()


def fuzz(url: str, people: dict[str, Actor | None], secret: str, options: argparse.Namespace) -> dict[str, object]:
    began, runs, failed = time.monotonic(), 0, []
    while (asked := statuses(url).total()) < options.requests:
        role = ROLES[runs % len(ROLES)]
        seed = options.seed + runs // len(ROLES)
        print(f"{asked:,} of {options.requests:,} requests; as {role}, seed {seed}", file=sys.stderr, flush=True)
        made = subprocess.run(
            command(url, token_of(people[role], secret), seed=seed, examples=options.examples),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        runs += 1
        if made.returncode:
            failed.append(f"{role}, seed {seed}")
            print(made.stdout[-options.shown :], made.stderr[-2000:], file=sys.stderr)
    by_status = statuses(url)
    return {
        "requests": by_status.total(),
        "by_status": dict(sorted(by_status.items())),
        "runs": runs,
        "failed": failed,
        "s": round(time.monotonic() - began, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--examples", type=int, default=20, help="of each operation and phase, in one run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shown", type=int, default=20_000, help="characters of a failed run's report")
    options = parser.parse_args(arguments)
    secret = secrets.token_urlsafe(48)
    with tempfile.TemporaryDirectory(prefix="wellio-fuzz-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with serving(folder, secret) as (url, database_url):
            people = asyncio.run(make_people(database_url))
            figures = fuzz(url, people, secret, options)
    print(json.dumps(figures, indent=2))
    server_errors = [status for status in figures["by_status"] if status == "500"]  # type: ignore[attr-defined]
    return 1 if figures["failed"] or server_errors else 0


if __name__ == "__main__":
    sys.exit(main())
