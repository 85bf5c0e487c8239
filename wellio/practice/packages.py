"""Packages: a number of sessions that are sold together, good for so many days."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database
from wellio.errors import NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.credits import CreditCount, check_session_type
from wellio.practice.plans import OWNERS
from wellio.values import Currency, Flag, Input, Minor, Name, changed_values

# Clients see what is offered today. $3: one of them, or null.
LIST_PACKAGES = """
select p.id, p.name, p.credits, p.price_minor, p.currency, p.valid_days, p.session_type_id, p.archived_at, p.version,
       p.created_at
from packages p
where p.practice_id = $1
  and ($2 in ('owner', 'coach') or p.archived_at is null)
  and ($3::uuid is null or p.id = $3)
  and ($4::boolean or p.archived_at is null)
order by p.created_at, p.id
limit $5 offset $6
"""

COUNT_PACKAGES = """
select count(*)
from packages p
where p.practice_id = $1
  and ($2 in ('owner', 'coach') or p.archived_at is null)
  and ($3::boolean or p.archived_at is null)
"""

LOCK_PACKAGE = "select id from packages where practice_id = $1 and id = $2 for update"

INSERT_PACKAGE = """
insert into packages (id, practice_id, name, credits, price_minor, currency, valid_days, session_type_id)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""

UPDATE_PACKAGE = """
update packages
set name = $3, credits = $4, price_minor = $5, valid_days = $6,
    archived_at = case when $7 then coalesce(archived_at, now()) end,
    version = version + 1
where practice_id = $1 and id = $2
"""

ValidDays = Annotated[int, Field(ge=1, le=3660, strict=True)]


class NewPackage(Input):
    """`valid_days` null: for ever. `session_type_id` null: for sessions of any type."""

    name: Name
    credits: CreditCount
    price_minor: Minor
    currency: Currency | None = None
    valid_days: ValidDays | None = None
    session_type_id: UUID | None = None


class PackageChanges(Input):
    """Only the named fields change; what was bought stays as it is. `null`: valid for ever."""

    name: Name | None = None
    credits: CreditCount | None = None
    price_minor: Minor | None = None
    valid_days: ValidDays | None = None
    archived: Flag | None = None


class PackageQuery(PageQuery):
    archived: Annotated[bool, Field(description="archived ones too")] = False


CLEARABLE = frozenset({"valid_days"})


@dataclass(frozen=True, slots=True)
class Package:
    id: UUID
    name: str
    credits: int
    price_minor: int
    currency: str
    valid_days: int | None
    session_type_id: UUID | None
    archived_at: datetime | None
    version: int
    created_at: datetime


async def list_packages(db: Database, actor: Actor, query: PackageQuery) -> Page[Package]:
    who = actor.practice_id, actor.role.value
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_PACKAGES, *who, None, query.archived, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_PACKAGES, *who, query.archived)
    return page_of([Package(**dict(row)) for row in rows], query=query, total=total)


async def get_package(db: Database | Connection, actor: Actor, package_id: UUID) -> Package:
    """Raises NotFound."""
    archived_too = True
    row = await db.fetchrow(LIST_PACKAGES, actor.practice_id, actor.role.value, package_id, archived_too, 1, 0)
    if row is None:
        raise NotFound("No such package.")
    return Package(**dict(row))


async def create_package(outbox: Outbox, actor: Actor, new: NewPackage, *, once: Once | None = None) -> Package:
    """Raises Invalid for a session type of elsewhere."""
    actor.must_be(OWNERS)
    package_id = uuid7()
    async with outbox.transaction(once) as tx:
        await check_session_type(tx.connection, actor, new.session_type_id)
        currency = new.currency or (await get_practice(tx.connection, actor.practice_id)).currency
        await tx.connection.execute(
            INSERT_PACKAGE, package_id, actor.practice_id, new.name, new.credits, new.price_minor, currency,
            new.valid_days, new.session_type_id,
        )  # fmt: skip
        tx.record(_changed(actor, package_id, sorted(new.model_fields_set)))
        return await tx.answer(await get_package(tx.connection, actor, package_id))


async def change_package(
    outbox: Outbox, actor: Actor, package_id: UUID, changes: PackageChanges, *, if_version: int | None = None
) -> Package:
    """Raises NotFound, Invalid and PreconditionFailed."""
    actor.must_be(OWNERS)
    values = changed_values(changes, clearable=CLEARABLE)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_PACKAGE, actor.practice_id, package_id)
        before = await get_package(tx.connection, actor, package_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The package was changed since you read it; read it again.")
        names = ("name", "credits", "price_minor", "valid_days")
        after = [values.get(name, getattr(before, name)) for name in names]
        archived = values.get("archived", before.archived_at is not None)
        await tx.connection.execute(UPDATE_PACKAGE, actor.practice_id, package_id, *after, archived)
        tx.record(_changed(actor, package_id, sorted(values)))
        return await get_package(tx.connection, actor, package_id)


def _changed(actor: Actor, package_id: UUID, fields: list[str]) -> Event:
    return Event(
        type=EventType.PACKAGE_CHANGED,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        subject_id=package_id,
        payload={"changed": fields},
    )
