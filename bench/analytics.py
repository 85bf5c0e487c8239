#!/usr/bin/env python3
"""How long analytics take in a practice with 20,000 clients and 80,000 sessions in a year, over HTTP.

    .venv/bin/python bench/analytics.py [--requests 20] [--clients 20000] [--sessions 80000] [--only summary]

On a PostgreSQL and Redis of its own, in a new folder. Prints one JSON object: of each request the median, the slowest
and the quickest, in milliseconds. `counted` is the same before any day is rolled up, `rolled` after.
"""

import argparse
import asyncio
import json
import statistics
import time

import aiohttp
import asyncpg
from clients import fill
from servers import own_server

from wellio.db import open_database
from wellio.practice.rollups import roll_up

# Of each client as many, over the year until now; three in four attended. A coach's sessions follow each other.
FILL_SESSIONS = """
with numbered as (
    select c.*, row_number() over (partition by c.coach_id order by c.id) - 1 as n, count(*) over () as clients
    from clients c
)
insert into sessions (id, practice_id, coach_id, client_id, status, starts_at, ends_at, timezone, currency)
select gen_random_uuid(), practice_id, coach_id, id,
       (array['completed', 'completed', 'completed', 'completed', 'no_show', 'cancelled', 'late_cancelled'])
           [1 + (n * 7 + k) % 7],
       t, t + interval '50 minutes', 'UTC', 'EUR'
from numbered, generate_series(0, $1::int / clients::int - 1) k,
     lateral (select date_trunc('hour', now()) - make_interval(hours => (n + k * 2000)::int) as t) v
"""
FILL_PAYMENTS = """
insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)
select gen_random_uuid(), practice_id, client_id, 'payment', 6000, 'EUR', starts_at from sessions
where status = 'completed'
"""
# Four messages of every tenth client, each answered after a while.
FILL_MESSAGES = """
with asked as (
    insert into users (id, practice_id, role, name, email, password_hash, timezone)
    select gen_random_uuid(), practice_id, 'client', 'C', id || '@clients.example', 'none', 'UTC'
    from clients where get_byte(uuid_send(id), 15) < 26
    returning id, practice_id
), talks as (
    insert into conversations (id, practice_id, kind, created_by, last_seq, last_message_at)
    select gen_random_uuid(), practice_id, 'direct', id, 8, now() from asked
    returning id, practice_id, created_by
), coaches as (
    select array_agg(id) as ids from users where role = 'coach'
), members as (
    insert into conversation_members (practice_id, conversation_id, user_id)
    select practice_id, id, created_by from talks
    union all
    select practice_id, id, ids[1 + abs(hashtext(id::text)) % 10] from talks, coaches
    returning practice_id, conversation_id, user_id
)
insert into messages (id, practice_id, conversation_id, seq, sender_id, client_message_id, body, created_at)
select gen_random_uuid(), t.practice_id, t.id, k,
       case when k % 2 = 1 then t.created_by else ids[1 + abs(hashtext(t.id::text)) % 10] end, gen_random_uuid(), 'x',
       now() - make_interval(days => 40 - k * 4, mins => abs(hashtext(t.id::text || k)) % 5000)
from talks t, coaches, generate_series(1, 8) k
"""
REQUESTS = {
    "health": "/health/live",
    "home": "/api/v1/home/summary",
    "summary, month": "/api/v1/analytics/summary?period=last_month",
    "summary, 90 days": "/api/v1/analytics/summary?period=last_90_days",
    "summary, year": "/api/v1/analytics/summary?period=this_year",
    "attendance, year": "/api/v1/analytics/attendance?period=this_year",
    "retention by first session": "/api/v1/analytics/retention",
    "retention by sign-up": "/api/v1/analytics/retention?by=sign_up",
    "revenue by client, month": "/api/v1/analytics/revenue/clients?period=last_month",
    "revenue by client, year": "/api/v1/analytics/revenue/clients?period=this_year",
    "revenue by coach, year": "/api/v1/analytics/revenue/coaches?period=this_year",
    "revenue by plan, year": "/api/v1/analytics/revenue/plans?period=this_year",
    "lifetime values": "/api/v1/analytics/lifetime-values",
    "lifetime values, last page": "/api/v1/analytics/lifetime-values?page=150&page_size=100",
    "lifetime values by cohort": "/api/v1/analytics/lifetime-values/cohorts?months=36",
    "response times, year": "/api/v1/analytics/response-times?period=this_year",
    "revenue forecast, 6 months": "/api/v1/analytics/revenue-forecast?months=6",
    "onboarding, year": "/api/v1/analytics/onboarding?period=this_year",
}


async def fill_all(database_url: str, options: argparse.Namespace) -> None:
    await fill(database_url, options.clients)
    connection = await asyncpg.connect(database_url)
    for statement, *values in ((FILL_SESSIONS, options.sessions), (FILL_PAYMENTS,), (FILL_MESSAGES,)):
        await connection.execute(statement, *values)
    await connection.execute("vacuum analyze")
    await connection.close()


async def measure(url: str, token: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    named = {name: path for name, path in REQUESTS.items() if options.only in name}
    took: dict[str, list[float]] = {name: [] for name in named}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for turn in range(options.requests + 3):
            for name, path in named.items():
                begun = time.perf_counter()
                async with session.get(url + path) as answer:
                    await answer.read()
                    assert answer.status == 200, (name, await answer.text())
                if turn >= 3:
                    took[name].append((time.perf_counter() - begun) * 1000)
    return {
        name: {"p50": round(statistics.median(t), 1), "worst": round(max(t), 1), "best": round(min(t), 1)}
        for name, t in took.items()
    }


async def roll(database_url: str) -> dict[str, float]:
    db = await open_database(database_url)
    begun = time.perf_counter()
    practices, days = await roll_up(db)
    took = {"practices": practices, "days": days, "seconds": round(time.perf_counter() - begun, 2)}
    await db.execute("analyze daily_figures; analyze daily_revenue")
    await db.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20, help="of each kind")
    parser.add_argument("--clients", type=int, default=20_000)
    parser.add_argument("--sessions", type=int, default=80_000)
    parser.add_argument("--only", default="", help="what the names of the requests have in them")
    options = parser.parse_args()
    with own_server("analytics") as served:
        asyncio.run(fill_all(served.database_url, options))
        counted = asyncio.run(measure(served.url, served.token, options))
        rolled_in = asyncio.run(roll(served.database_url))
        rolled = asyncio.run(measure(served.url, served.token, options))
        print(json.dumps({"rolling up": rolled_in, "counted": counted, "rolled": rolled}, indent=1))


if __name__ == "__main__":
    main()
