#!/usr/bin/env python3
"""Many clients book one slot at the same moment: how many get it, and what the others are told.

    .venv/bin/python bench/bookings.py [--at-once 500] [--rounds 50]      own PostgreSQL and Redis in a new folder

Each round is another slot of the same coach; the requests of a round leave together, each on a connection of its own.
Prints one JSON object; times are seconds from a round's begin to its last answer.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
from servers import SECRET, own_server

from wellio.accounts.tokens import Tokens

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ROUND_THE_CLOCK = [{"starts": "00:00", "ends": "24:00"}]
HOURS = {
    "timezone": "UTC", "weekly": dict.fromkeys(DAYS, ROUND_THE_CLOCK), "increment_minutes": 60,
}  # fmt: skip
MAKE_CLIENTS = """
with coach as (select practice_id, id from users where role = 'owner'),
     people as (
         insert into users (id, practice_id, role, name, email, password_hash, timezone)
         select gen_random_uuid(), practice_id, 'client', 'Client', n || '@example.org', 'none', 'UTC'
         from coach, generate_series(1, $1) n
         returning practice_id, id),
     made as (
         insert into clients (id, practice_id, coach_id, user_id, first_name, last_name, timezone)
         select gen_random_uuid(), people.practice_id, coach.id, people.id, 'Client', 'Client', 'UTC'
         from people, coach)
insert into auth_sessions (id, practice_id, user_id, expires_at)
select gen_random_uuid(), practice_id, id, now() + '1 day' from people
returning practice_id, user_id, id
"""


async def make_clients(database_url: str, count: int) -> tuple[UUID, list[str]]:
    """The coach, and a token for each client."""
    connection = await asyncpg.connect(database_url)
    coach_id = await connection.fetchval("select id from users")
    rows = await connection.fetch(MAKE_CLIENTS, count)
    await connection.close()
    tokens = Tokens(SECRET)
    issued = [
        tokens.issue_access(user_id=row["user_id"], practice_id=row["practice_id"], session_id=row["id"])
        for row in rows
    ]
    return coach_id, issued


async def open_hours(session: aiohttp.ClientSession, url: str, token: str, coach_id: UUID) -> str:
    """The type that is booked."""
    headers = {"Authorization": f"Bearer {token}"}
    async with session.patch(f"{url}/availability/{coach_id}", json=HOURS, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    new = {"name": "Coaching", "duration_minutes": 60}
    async with session.post(f"{url}/session-types", json=new, headers=headers) as answer:
        return str((await answer.json())["data"]["id"])


async def book(session: aiohttp.ClientSession, url: str, token: str, body: dict[str, str]) -> str:
    """`201`, or status and code of what it was instead."""
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(f"{url}/sessions", json=body, headers=headers) as answer:
        told = await answer.json()
        return "201" if answer.status == 201 else f"{answer.status} {told['error']['code']}"


async def measure(url: str, token: str, database_url: str, options: Any) -> dict[str, Any]:
    coach_id, tokens = await make_clients(database_url, options.at_once)
    outcomes, took, winners = Counter[str](), [], []
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        type_id = await open_hours(session, url, token, coach_id)
        for number in range(options.rounds):
            body = {"session_type_id": type_id, "starts_at": (first + timedelta(hours=number)).isoformat()}
            begun = time.perf_counter()
            told = await asyncio.gather(*(book(session, url, each, body) for each in tokens))
            took.append(time.perf_counter() - begun)
            outcomes.update(told)
            winners.append(told.count("201"))
    return {
        "outcomes": dict(outcomes), "rounds_with_exactly_one": winners.count(1), "rounds": options.rounds,
        "round_s_p50": round(statistics.median(took), 2), "round_s_max": round(max(took), 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    with own_server("bookings") as served:
        print(json.dumps(asyncio.run(measure(f"{served.url}/api/v1", served.token, served.database_url, options))))


if __name__ == "__main__":
    main()
