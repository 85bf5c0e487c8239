#!/usr/bin/env python3
"""How long the client list and its facets take in a practice with 20,000 clients, over HTTP.

    .venv/bin/python bench/clients.py [--requests 60] [--clients 20000]     own PostgreSQL and Redis in a new folder

The requests take turns, so that what else the machine does falls on all of them alike. Prints one JSON object: of each
request the median, the slowest of a hundred and the quickest (what it takes where nothing else runs), in milliseconds;
`health` is what a request costs that asks nothing.
"""

import argparse
import asyncio
import json
import statistics
import time

import aiohttp
import asyncpg
from servers import own_server

# Every fortieth archived, ten coaches, up to three of thirty tags, nine in ten with a prediction.
FILL_CLIENTS = """
with coaches as (
    insert into users (id, practice_id, role, name, email, password_hash, timezone)
    select gen_random_uuid(), p.id, 'coach', 'Coach ' || n, n || '@coaches.example', 'none', 'UTC'
    from practices p, generate_series(0, 9) n
    returning id, practice_id
), numbered as (
    select id, practice_id, row_number() over () - 1 as n from coaches
)
insert into clients (id, practice_id, coach_id, first_name, last_name, email, phone, status, tags, timezone, custom,
                     goals, created_at, last_activity_at)
select gen_random_uuid(), c.practice_id, c.id,
       (array['Ana', 'Björn', 'Chloé', 'Dmitri', 'Élise', 'Fatima', 'Günther', 'Hana'])[1 + i % 8] || ' ' || i % 97,
       (array['Müller', 'García', 'Nguyễn', 'Smith', 'Øster', 'Łukasz', 'Kowalski'])[1 + i % 7] || i % 1009,
       'client.' || i || '@example.org', '+49 30 ' || 1000000 + i,
       case when i % 40 = 0 then 'archived'
            else (array['lead', 'onboarding', 'active', 'active', 'active', 'paused', 'churned'])[1 + i % 7] end,
       array(select distinct 'tag ' || (i * k) % 30 from generate_series(1, 1 + i % 3) k),
       'UTC', '{"shoe": 42, "source": "friend"}', repeat('Sleep, run and eat. ', 5),
       now() - make_interval(mins => i * 7),
       case when i % 9 > 0 then now() - make_interval(mins => (i * 31) % 90000) end
from generate_series(1, $1::int) i
join numbered c on c.n = i % 10
"""
FILL_PREDICTIONS = """
insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)
select practice_id, id, p, case when p < 0.3 then 'low' when p < 0.6 then 'medium' else 'high' end, 'ok', 30, now()
from (select practice_id, id, random() as p from clients) c
where random() < 0.9
"""
SORTS = (
    "-created_at", "created_at", "name", "-name", "churn_risk", "-churn_risk", "last_activity_at", "-last_activity_at",
)  # fmt: skip
FILTERS = {
    "all": "", "q": "q=garc", "q of two words": "q=ana%20mull", "q of one letter": "q=a", "q of nobody": "q=xyzzy",
    "active, tagged": "status=active&tag=tag%203", "high risk": "churn_band=high",
    "lately active": "last_activity_from=2000-01-01T00:00:00Z",
}  # fmt: skip


async def fill(database_url: str, clients: int) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(FILL_CLIENTS, clients)
    await connection.execute(FILL_PREDICTIONS)
    await connection.execute("vacuum analyze")
    await connection.close()


def requests_of(last_page: int) -> dict[str, str]:
    """Addresses by what they are called in the answer."""
    named = {"health": "/health/live"}
    for sort in SORTS:
        named[f"page 1 by {sort}"] = f"/api/v1/clients?sort={sort}"
        named[f"last page by {sort}"] = f"/api/v1/clients?sort={sort}&page={last_page}"
    for name, query in FILTERS.items():
        named[f"page 1, {name}"] = f"/api/v1/clients?{query}"
        named[f"facets, {name}"] = f"/api/v1/clients/facets?{query}"
    return named


async def measure(url: str, token: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        async with session.get(f"{url}/api/v1/clients") as answer:
            named = requests_of((await answer.json())["pagination"]["total_pages"])
        took: dict[str, list[float]] = {name: [] for name in named}
        for turn in range(options.requests + 10):
            for name, path in named.items():
                begun = time.perf_counter()
                async with session.get(url + path) as answer:
                    await answer.read()
                    assert answer.status == 200, (name, await answer.text())
                if turn >= 10:  # warm, and past the executions after which PostgreSQL may plan differently
                    took[name].append((time.perf_counter() - begun) * 1000)
    return {
        name: {
            "p50": round(statistics.median(times), 1),
            "p99": round(sorted(times)[len(times) * 99 // 100], 1),
            "best": round(min(times), 1),
        }
        for name, times in took.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=60, help="of each kind")
    parser.add_argument("--clients", type=int, default=20_000)
    options = parser.parse_args()
    with own_server("clients") as served:
        asyncio.run(fill(served.database_url, options.clients))
        print(json.dumps(asyncio.run(measure(served.url, served.token, options)), indent=1))


if __name__ == "__main__":
    main()
