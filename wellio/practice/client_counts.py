"""How many clients there are of a kind (0012_client_lists.sql): rows that changes add, put together from time to time.

What is counted never depends on it: the sum of the rows is right after every change.
"""

from wellio.db import Database

SUMMED_AT_ONCE = 4_000

# Two at once add up all the same: each row is taken away by one of them, which puts its count back.
SUM_COUNTS = """
with added as (
    select practice_id, coach_id, status, churn_band, tags
    from client_counts
    where not summed
    limit $1
    for update skip locked
), kinds as (
    select distinct practice_id, coach_id, status, churn_band, tags from added
), gone as (
    delete from client_counts c
    using kinds k
    where c.practice_id = k.practice_id and c.coach_id is not distinct from k.coach_id and c.status = k.status
      and c.churn_band is not distinct from k.churn_band and c.tags = k.tags
    returning c.*
), put_back as (
    insert into client_counts (practice_id, coach_id, status, churn_band, tags, clients, summed)
    select practice_id, coach_id, status, churn_band, tags, sum(clients), true
    from gone
    group by practice_id, coach_id, status, churn_band, tags
    having sum(clients) <> 0
)
select count(*) from gone
"""


async def sum_counts(db: Database) -> int:
    """Puts together what was added since; returns how many rows it took together."""
    taken: int = await db.fetchval(SUM_COUNTS, SUMMED_AT_ONCE)
    return taken
