#!/usr/bin/env python3
"""Serves Wellio with the accounts and conversations that a comparison with other chat servers needs.

    DATABASE_URL=… REDIS_URL=… .venv/bin/python bench/rivals.py --port 7200      until it is interrupted

The database must be empty. Every server of a comparison gets the same people under the same ids, so that one load
generator drives them all: an id is the MD5 of "bench:" and its name, as a UUID of version 4.

    coach1..5@wellio-bench.com, member1..500@wellio-bench.com, password Bench-pass-1
    conversations 1..150: a coach and one to nine members; 151..200: four members each; 201: all 500 members

Limits hold, scaled up: they are a part of what a server costs. Prints the address and the server's process id.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from hashlib import md5
from typing import Any
from uuid import UUID

import asyncpg
from argon2 import PasswordHasher
from servers import ROOT, SECRET

PASSWORD = "Bench-pass-1"
COACHES, MEMBERS = 5, 500
GROUPS_OF_FOUR = range(151, 201)
EVERYBODY = 201


def bid(name: str) -> UUID:
    digits = md5(f"bench:{name}".encode(), usedforsecurity=False).hexdigest()
    return UUID(f"{digits[:12]}4{digits[13:16]}8{digits[17:]}")


def members_of(number: int) -> list[str]:
    if number == EVERYBODY:
        return [f"member:{n}" for n in range(1, MEMBERS + 1)]
    if number in GROUPS_OF_FOUR:
        return [f"member:{(number - GROUPS_OF_FOUR.start) * 4 + n}" for n in range(1, 5)]
    chosen = {f"member:{201 + (number * 17 + n * 31) % 300}" for n in range(1, 2 + number % 9)}
    return [f"coach:{1 + (number - 1) % COACHES}", *sorted(chosen)]


async def seed(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    practice = bid("practice:1")
    names = [f"coach:{n}" for n in range(1, COACHES + 1)] + [f"member:{n}" for n in range(1, MEMBERS + 1)]
    # As cheap as a hash may be: signing in is not what is compared.
    password_hash = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    await connection.execute("insert into practices (id, name, timezone) values ($1, 'Bench', 'UTC')", practice)
    await connection.executemany(
        "insert into users (id, practice_id, role, name, email, password_hash, timezone)"
        " values ($1, $2, $3, $4, $5, $6, 'UTC')",
        [(bid(n), practice, "coach" if n.startswith("coach") else "client", n, address(n), password_hash)
         for n in names],
    )  # fmt: skip
    await connection.executemany(
        "insert into clients (id, practice_id, coach_id, user_id, first_name, last_name, timezone)"
        " values ($1, $2, $3, $4, 'Member', $5, 'UTC')",
        [(bid(f"client:{n}"), practice, bid(f"coach:{1 + n % COACHES}"), bid(f"member:{n}"), str(n))
         for n in range(1, MEMBERS + 1)],
    )  # fmt: skip
    await seed_conversations(connection, practice)
    await connection.execute("vacuum analyze")
    await connection.close()


async def seed_conversations(connection: Any, practice: UUID) -> None:
    numbers = range(1, EVERYBODY + 1)
    await connection.executemany(
        "insert into conversations (id, practice_id, kind, title, created_by) values ($1, $2, 'group', $3, $4)",
        [(bid(f"conversation:{n}"), practice, f"Conversation {n}", bid(members_of(n)[0])) for n in numbers],
    )
    await connection.executemany(
        "insert into conversation_members (practice_id, conversation_id, user_id) values ($1, $2, $3)",
        [(practice, bid(f"conversation:{n}"), bid(name)) for n in numbers for name in members_of(n)],
    )


def address(name: str) -> str:
    return f"{name.replace(':', '')}@wellio-bench.com"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7200)
    parser.add_argument("--cpus", help="those that the server may use, as taskset takes them")
    options = parser.parse_args()
    missing = [name for name in ("DATABASE_URL", "REDIS_URL") if not os.environ.get(name)]
    if missing:
        sys.exit(f"Set {' and '.join(missing)}: the database must be empty.")
    environment = os.environ | {
        "PORT": str(options.port), "JWT_SECRET": SECRET, "WELLIO_DEMO": "0", "LOG_LEVEL": "warning",
        "RATE_LIMIT_SCALE": "10000",
    }  # fmt: skip
    pinned = ["taskset", "-c", options.cpus] if options.cpus else []
    command = [*pinned, sys.executable, "-m", "wellio"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            ready = next((line for line in process.stdout if line.startswith("ready ")), None)
            if ready is None:
                sys.exit("The server did not start; it says why above.")
            asyncio.run(seed(os.environ["DATABASE_URL"]))
            print(f"{ready.split()[1]} pid={process.pid}", flush=True)
            process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
