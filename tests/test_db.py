"""Connections: kept while work follows on work, given back whatever becomes of them."""

import pytest

from tests.owner import as_owner
from wellio.db import KeptConnection, open_database
from wellio.errors import Unavailable

PID = "select pg_backend_pid()"


async def test_kept_connection_is_one_until_it_is_lost_or_given_back(database_url: str) -> None:
    db = await open_database(database_url, min_size=1, max_size=1)
    other = await open_database(database_url, min_size=1, max_size=1)
    kept = KeptConnection(db)

    async def ask() -> int:
        async with kept.connection() as connection:
            return int(await connection.fetchval(PID))

    first = await ask()
    assert await ask() == first
    await as_owner(other, f"select pg_terminate_backend({first})")
    with pytest.raises(Unavailable):
        await ask()
    assert await ask() != first
    await kept.give_back()
    await kept.give_back()
    assert await db.fetchval(PID)  # of a pool of one
    await db.close()
    await other.close()
