"""Makes what tests start from: practices with their people, straight in the database."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.accounts.auth_sessions import INSERT_SESSION
from wellio.accounts.practices import Practice, insert_practice
from wellio.accounts.users import User, insert_user
from wellio.db import Connection, Database
from wellio.ids import uuid7

PASSWORD = "correct horse battery"
# argon2id of PASSWORD with the cheapest parameters: tests sign in often.
PASSWORD_HASH = "$argon2id$v=19$m=8,t=1,p=1$HwCgQeQH3r6Ihd55zHTepw$E0HGSSFht69C4lk7ZFjAaw"


@dataclass(frozen=True, slots=True)
class House:
    """A practice with its owner, two coaches, and a client of each who has a log-in."""

    practice: Practice
    owner: Actor
    coach: Actor
    other_coach: Actor
    client: Actor
    other_client: Actor
    client_id: UUID
    other_client_id: UUID


async def make_practice(connection: Connection | Database, name: str = "Practice") -> Practice:
    practice = Practice(uuid7(), name, "Europe/Berlin", "EUR")
    await insert_practice(connection, practice)
    return practice


async def make_user(connection: Connection | Database, practice: Practice, role: Role, name: str) -> Actor:
    """A user with a live session."""
    user = User(
        uuid7(), practice.id, role, name, f"{name.lower().replace(' ', '.')}.{uuid7().hex[-8:]}@example.org", "UTC"
    )
    await insert_user(connection, user, password_hash=PASSWORD_HASH)
    return await sign_in(connection, Actor(user.id, practice.id, role, uuid7(), name))


async def sign_in(connection: Connection | Database, actor: Actor) -> Actor:
    """The same user on another device."""
    session_id, expires = uuid7(), datetime.now(UTC) + timedelta(days=1)
    await connection.execute(
        INSERT_SESSION, session_id, actor.practice_id, actor.user_id, None, "tests", "127.0.0.1", expires
    )
    return replace(actor, session_id=session_id)


async def make_client(
    connection: Connection | Database,
    practice: Practice,
    *,
    coach: Actor | None = None,
    user: Actor | None = None,
    first_name: str = "Ada",
    last_name: str = "Lovelace",
) -> UUID:
    client_id = uuid7()
    await connection.execute(
        "insert into clients (id, practice_id, coach_id, user_id, first_name, last_name, timezone)"
        " values ($1, $2, $3, $4, $5, $6, 'Europe/Berlin')",
        client_id,
        practice.id,
        coach.user_id if coach else None,
        user.user_id if user else None,
        first_name,
        last_name,
    )
    return client_id


async def make_house(db: Database, name: str = "Practice") -> House:
    async with db.transaction() as connection:
        practice = await make_practice(connection, name)
        owner = await make_user(connection, practice, Role.OWNER, "Olga Owner")
        coach = await make_user(connection, practice, Role.COACH, "Carl Coach")
        other_coach = await make_user(connection, practice, Role.COACH, "Cora Coach")
        client = await make_user(connection, practice, Role.CLIENT, "Klara Client")
        other_client = await make_user(connection, practice, Role.CLIENT, "Karim Client")
        client_id = await make_client(
            connection, practice, coach=coach, user=client, first_name="Klara", last_name="Client"
        )
        other_client_id = await make_client(
            connection, practice, coach=other_coach, user=other_client, first_name="Karim", last_name="Client"
        )
    return House(practice, owner, coach, other_coach, client, other_client, client_id, other_client_id)
