#!/usr/bin/env python3
"""How long `GET /availability/slots` takes for a month of a busy coach, over HTTP.

    .venv/bin/python bench/slots.py [--requests 300]      own PostgreSQL and Redis in a new folder

The coach works 8 to 18 on weekdays, with buffers, limits, a date of its own a week and a day off; of the month's hours
some six in ten are booked, and a year of sessions lies behind. Prints one JSON object; times are milliseconds.
"""

import argparse
import asyncio
import json
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
from servers import own_server

DAY = timedelta(days=1)
HOURS = [{"starts": "08:00", "ends": "18:00"}]
AVAILABILITY = {
    "timezone": "America/New_York",
    "weekly": dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), HOURS),
    "increment_minutes": 15, "buffer_before_minutes": 5, "buffer_after_minutes": 10, "max_per_day": 12,
    "max_per_week": 50, "max_days_ahead": 90,
}  # fmt: skip
BOOK = """
insert into sessions (id, practice_id, coach_id, status, starts_at, ends_at, timezone, currency,
                      buffer_before_minutes, buffer_after_minutes)
select gen_random_uuid(), u.practice_id, u.id, case when day + hour < now() then 'completed' else 'scheduled' end,
       day + hour, day + hour + interval '45 min', 'UTC', 'EUR', 5, 10
from users u,
     generate_series(date_trunc('day', now()) - interval '365 days', now() + interval '40 days', '1 day') day,
     unnest(array['13:00', '14:00', '16:00', '17:00', '19:00', '20:00']::interval[]) hour
where extract(isodow from day) < 6
"""


async def set_up(session: aiohttp.ClientSession, url: str, database_url: str) -> dict[str, str]:
    """The query of a month from tomorrow."""
    connection = await asyncpg.connect(database_url)
    coach_id = await connection.fetchval("select id from users")
    await connection.execute(BOOK)
    await connection.execute("analyze")
    await connection.close()
    one = f"{url}/api/v1/availability/{coach_id}"
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    away = {"starts_at": (tomorrow + 10 * DAY).isoformat(), "ends_at": (tomorrow + 11 * DAY).isoformat()}
    dates = [{"day": f"{tomorrow + 7 * i * DAY:%Y-%m-%d}", "hours": HOURS} for i in range(4)]
    posts = [(f"{one}/time-off", away), *((f"{one}/overrides", body) for body in dates)]
    async with session.patch(one, json=AVAILABILITY) as answer:
        assert answer.status == 200, await answer.text()
    for path, body in posts:
        async with session.post(path, json=body) as answer:
            assert answer.status == 201, await answer.text()
    return {"from": tomorrow.isoformat(), "to": (tomorrow + 31 * DAY).isoformat(), "duration_minutes": "45"}


async def measure(url: str, token: str, database_url: str, requests: int) -> dict[str, Any]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        query = await set_up(session, url, database_url)
        took, slots = [], 0
        for _ in range(requests + 20):
            begun = time.perf_counter()
            async with session.get(f"{url}/api/v1/availability/slots", params=query) as answer:
                body = await answer.json()
                assert answer.status == 200, body
            took.append((time.perf_counter() - begun) * 1000)
            slots = len(body["data"]["slots"])
    times = sorted(took[20:])
    return {"slots": slots, "p50": round(statistics.median(times), 2), "p99": round(times[len(times) * 99 // 100], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    with own_server("slots") as served:
        print(json.dumps(asyncio.run(measure(served.url, served.token, served.database_url, options.requests))))


if __name__ == "__main__":
    main()
