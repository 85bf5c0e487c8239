"""Roll-ups: what each day of a practice came to, by coach, kept so that figures of long periods are sums of few rows.

A change notes the quarter of an hour that it falls into, in its own transaction (triggers of 0017_rollups.sql); here
the days of what was noted are counted anew. Whoever reads (`daily_between` in the schema) takes the days that hold as
they are rolled up and counts the others, so that figures are right after every change, whether this ever runs or not.
"""

from collections.abc import AsyncIterator, Callable
from datetime import date
from uuid import UUID

from wellio.db import Connection, Database
from wellio.errors import Unavailable

# Some 100 ms of work for a practice of 80,000 sessions a year; fewer where a statement's time does not suffice.
DAYS_AT_ONCE = 20

# $1: all, rather than those of which something has changed.
LIST_PRACTICES = """
select p.id
from practices p
left join rollups r on r.practice_id = p.id
where $1
   or r.timezone is distinct from p.timezone
   or exists (select from rollup_changes c where c.practice_id = p.id)
order by p.id
"""

ENSURE_ROLLUP = "insert into rollups (practice_id, timezone) values ($1, '') on conflict (practice_id) do nothing"

# Whoever rolls up the same practice at this moment does it for both.
LOCK_ROLLUP = """
select p.timezone, r.timezone = p.timezone as holds
from rollups r
join practices p on p.id = r.practice_id
where r.practice_id = $1
for update of r skip locked
"""

DELETE_ALL_FIGURES = "delete from daily_figures where practice_id = $1"
DELETE_ALL_REVENUE = "delete from daily_revenue where practice_id = $1"

# Every day from the first that there is anything on to the last: noon is on the same date everywhere.
NOTE_ALL_DAYS = """
with instants as (
    select min(s.starts_at) as t from sessions s where s.practice_id = $1
    union all
    select max(s.starts_at) from sessions s where s.practice_id = $1
    union all
    select min(p.paid_at) from payments p where p.practice_id = $1
    union all
    select max(p.paid_at) from payments p where p.practice_id = $1
    union all
    select min(c.created_at) from clients c where c.practice_id = $1
    union all
    select max(c.created_at) from clients c where c.practice_id = $1
), bounds as (
    select (min(t) at time zone $2)::date + time '12:00' as first, (max(t) at time zone $2)::date + time '12:00' as last
    from instants
)
insert into rollup_changes (practice_id, instant)
select $1, d at time zone $2
from bounds, generate_series(first, last, interval '1 day') d
"""

SET_ZONE = "update rollups set timezone = $2 where practice_id = $1"

FORGET_ZONE = "update rollups set timezone = '' where practice_id = $1"

# The latest first, which most people look at.
LIST_CHANGED_DAYS = """
select distinct (c.instant at time zone $2)::date as day
from rollup_changes c
where c.practice_id = $1
order by day desc
limit $3
"""

DELETE_CHANGES = (
    "delete from rollup_changes where practice_id = $1 and (instant at time zone $2)::date = any($3::date[])"
)

DELETE_FIGURES = "delete from daily_figures where practice_id = $1 and day = any($2::date[])"
DELETE_REVENUE = "delete from daily_revenue where practice_id = $1 and day = any($2::date[])"

INSERT_FIGURES = """
insert into daily_figures (practice_id, day, coach_id, total, open, completed, no_show, cancelled, late_cancelled,
                           cancelled_by_coach, booked_seconds, attended, missed, late, new_clients, attended_by)
select $1, n.* from count_days($1, $2, $3::date[]) n
"""

INSERT_REVENUE = """
insert into daily_revenue (practice_id, day, coach_id, currency, paid_minor, refunded_minor)
select $1, n.* from count_revenue_days($1, $2, $3::date[]) n
"""


async def roll_up(db: Database, told: Callable[[str], None] = lambda _: None, *, anew: bool = False) -> tuple[int, int]:
    """Counts anew what has changed, or with `anew` every day there is; `told` of its progress.

    Returns of how many practices and days. Those who ask meanwhile get right figures.
    """
    practices: list[UUID] = [row["id"] for row in await db.fetch(LIST_PRACTICES, anew)]
    days = 0
    for number, practice_id in enumerate(practices, 1):
        if anew:
            await db.execute(FORGET_ZONE, practice_id)
        async for rolled in _rolled(db, practice_id):
            days += rolled
            told(f"practice {number} of {len(practices)}: {days} days")
    return len(practices), days


async def _rolled(db: Database, practice_id: UUID) -> AsyncIterator[int]:
    """Counts a practice's changed days anew; gives after each transaction how many. Raises Unavailable."""
    at_once = rolled = DAYS_AT_ONCE
    while rolled == at_once:
        try:
            rolled = await roll_up_days(db, practice_id, at_once)
        except Unavailable:
            if at_once == 1:
                raise
            at_once = rolled = max(1, at_once // 4)
        else:
            yield rolled


async def roll_up_days(db: Database, practice_id: UUID, at_once: int = DAYS_AT_ONCE) -> int:
    """Counts a practice's latest changed days anew; returns how many, none when it is up to date. Raises Unavailable,
    when so many take too long, too.

    Statements see what was committed before each. So what is counted includes every change whose note was deleted, and
    the note of a later one stays for the next time.
    """
    async with db.transaction() as connection:
        await connection.execute(ENSURE_ROLLUP, practice_id)
        rollup = await connection.fetchrow(LOCK_ROLLUP, practice_id)
        if rollup is None:
            return 0
        zone: str = rollup["timezone"]
        if not rollup["holds"]:
            await _begin_anew(connection, practice_id, zone)
        days: list[date] = [row["day"] for row in await connection.fetch(LIST_CHANGED_DAYS, practice_id, zone, at_once)]
        await connection.execute(DELETE_CHANGES, practice_id, zone, days)
        await connection.execute(DELETE_FIGURES, practice_id, days)
        await connection.execute(DELETE_REVENUE, practice_id, days)
        await connection.execute(INSERT_FIGURES, practice_id, zone, days)
        await connection.execute(INSERT_REVENUE, practice_id, zone, days)
    return len(days)


async def _begin_anew(connection: Connection, practice_id: UUID, zone: str) -> None:
    """The days of another zone give way to notes of all days: readers count these until they are rolled up."""
    await connection.execute(DELETE_ALL_FIGURES, practice_id)
    await connection.execute(DELETE_ALL_REVENUE, practice_id)
    await connection.execute(NOTE_ALL_DAYS, practice_id, zone)
    await connection.execute(SET_ZONE, practice_id, zone)
