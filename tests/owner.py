"""What the schema's owner may do and the app may not: tests that change the schema, or empty tables."""

from wellio.db import Database


async def as_owner(db: Database, sql: str) -> None:
    async with db.transaction() as connection:
        await connection.execute("set local role none")
        await connection.execute(sql)
