"""Practices: the tenants. One is registered together with its owner."""

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from wellio.accounts.actors import Role
from wellio.accounts.addresses import queue_verification
from wellio.accounts.auth_sessions import OpenSession
from wellio.accounts.passwords import Passwords, check_new_password
from wellio.accounts.users import User, insert_user
from wellio.db import Connection, Database
from wellio.events import Event, EventType
from wellio.ids import uuid7
from wellio.limits import REGISTER, Limits
from wellio.outbox import Outbox
from wellio.values import Currency, Email, Input, Name, Zone

DEFAULT_HORIZON_DAYS = 30

T = TypeVar("T")

INSERT_PRACTICE = """
insert into practices (id, name, timezone, currency, churn_horizon_days)
values ($1, $2, $3, $4, $5)
"""

GET_PRACTICE = """
select id, name, timezone, currency, churn_horizon_days
from practices
where id = $1
"""


class Registration(Input):
    """A new practice and its owner."""

    practice_name: Name
    name: Name
    email: Email
    password: str
    timezone: Zone
    currency: Currency = "EUR"


@dataclass(frozen=True, slots=True)
class Practice:
    id: UUID
    name: str
    timezone: str
    currency: str
    churn_horizon_days: int = DEFAULT_HORIZON_DAYS


async def register_practice(
    outbox: Outbox,
    passwords: Passwords,
    limits: Limits,
    open_session: OpenSession[T],
    registration: Registration,
    *,
    address: str,
) -> T:
    """The practice with its owner, signed in. Raises Invalid (password), Conflict (EMAIL_TAKEN) and TooMany.

    EMAIL_TAKEN tells that an address has an account; the limit by address is what keeps that from being tried out.
    """
    await check_new_password(
        registration.password, known=(registration.name, registration.email, registration.practice_name)
    )
    await limits.take(REGISTER.of(address))
    password_hash = await passwords.hash(registration.password)
    practice = Practice(uuid7(), registration.practice_name, registration.timezone, registration.currency)
    owner = User(uuid7(), practice.id, Role.OWNER, registration.name, registration.email, registration.timezone)
    async with outbox.transaction() as tx:
        await insert_practice(tx.connection, practice)
        await insert_user(tx.connection, owner, password_hash=password_hash)
        await queue_verification(tx.connection, owner)
        tx.record(registered_event(practice, owner))
        return await open_session(tx, owner)


def registered_event(practice: Practice, owner: User) -> Event:
    return Event(
        type=EventType.PRACTICE_REGISTERED,
        practice_id=practice.id,
        actor_id=owner.id,
        payload={"churn_horizon_days": practice.churn_horizon_days},
    )


async def insert_practice(connection: Connection | Database, practice: Practice) -> None:
    await connection.execute(
        INSERT_PRACTICE,
        practice.id,
        practice.name,
        practice.timezone,
        practice.currency,
        practice.churn_horizon_days,
    )


async def get_practice(db: Database | Connection, practice_id: UUID) -> Practice:
    """The practice of an actor, who could not be one without it."""
    row = await db.fetchrow(GET_PRACTICE, practice_id)
    assert row is not None
    return Practice(row["id"], row["name"], row["timezone"], row["currency"], row["churn_horizon_days"])
