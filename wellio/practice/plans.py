"""Plans: what clients subscribe to, with a price per period and perhaps credits for sessions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database
from wellio.errors import Invalid, NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.credits import CreditCount, check_session_type
from wellio.practice.periods import Interval
from wellio.values import Currency, Flag, Input, Minor, Name, changed_values

OWNERS = frozenset({Role.OWNER})

# Clients see what is offered today. $3: one of them, or null.
LIST_PLANS = """
select p.id, p.name, p.price_minor, p.currency, p.interval, p.session_credits, p.session_type_id, p.archived_at,
       p.version, p.created_at
from plans p
where p.practice_id = $1
  and ($2 in ('owner', 'coach') or p.archived_at is null)
  and ($3::uuid is null or p.id = $3)
  and ($4::boolean or p.archived_at is null)
order by p.created_at, p.id
limit $5 offset $6
"""

COUNT_PLANS = """
select count(*)
from plans p
where p.practice_id = $1
  and ($2 in ('owner', 'coach') or p.archived_at is null)
  and ($3::boolean or p.archived_at is null)
"""

LOCK_PLAN = "select id from plans where practice_id = $1 and id = $2 for update"

INSERT_PLAN = """
insert into plans (id, practice_id, name, price_minor, currency, interval, session_credits, session_type_id)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""

UPDATE_PLAN = """
update plans
set name = $3, price_minor = $4, session_credits = $5,
    archived_at = case when $6 then coalesce(archived_at, now()) end,
    version = version + 1
where practice_id = $1 and id = $2
"""


class NewPlan(Input):
    """`session_credits` are granted each period, for sessions of `session_type_id`, or of any type without one."""

    name: Name
    price_minor: Minor
    currency: Currency | None = None
    interval: Interval = "month"
    session_credits: CreditCount | None = None
    session_type_id: UUID | None = None


class PlanChanges(Input):
    """Only the named fields change; subscriptions keep what was agreed. `null` ends the credits of new ones."""

    name: Name | None = None
    price_minor: Minor | None = None
    session_credits: CreditCount | None = None
    archived: Flag | None = None


class PlanQuery(PageQuery):
    archived: Annotated[bool, Field(description="archived ones too")] = False


CLEARABLE = frozenset({"session_credits"})


@dataclass(frozen=True, slots=True)
class Plan:
    id: UUID
    name: str
    price_minor: int
    currency: str
    interval: Interval
    session_credits: int | None
    session_type_id: UUID | None
    archived_at: datetime | None
    version: int
    created_at: datetime


async def list_plans(db: Database, actor: Actor, query: PlanQuery) -> Page[Plan]:
    who = actor.practice_id, actor.role.value
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_PLANS, *who, None, query.archived, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_PLANS, *who, query.archived)
    return page_of([Plan(**dict(row)) for row in rows], query=query, total=total)


async def get_plan(db: Database | Connection, actor: Actor, plan_id: UUID) -> Plan:
    """Raises NotFound."""
    archived_too = True
    row = await db.fetchrow(LIST_PLANS, actor.practice_id, actor.role.value, plan_id, archived_too, 1, 0)
    if row is None:
        raise NotFound("No such plan.")
    return Plan(**dict(row))


async def create_plan(outbox: Outbox, actor: Actor, new: NewPlan, *, once: Once | None = None) -> Plan:
    """Raises Invalid for a session type of elsewhere, and for one without credits."""
    actor.must_be(OWNERS)
    if new.session_type_id is not None and new.session_credits is None:
        raise Invalid.field("session_type_id", "Goes with session_credits only.")
    plan_id = uuid7()
    async with outbox.transaction(once) as tx:
        await check_session_type(tx.connection, actor, new.session_type_id)
        currency = new.currency or (await get_practice(tx.connection, actor.practice_id)).currency
        await tx.connection.execute(
            INSERT_PLAN, plan_id, actor.practice_id, new.name, new.price_minor, currency, new.interval,
            new.session_credits, new.session_type_id,
        )  # fmt: skip
        tx.record(_changed(actor, plan_id, sorted(new.model_fields_set)))
        return await tx.answer(await get_plan(tx.connection, actor, plan_id))


async def change_plan(
    outbox: Outbox, actor: Actor, plan_id: UUID, changes: PlanChanges, *, if_version: int | None = None
) -> Plan:
    """Raises NotFound, Invalid and PreconditionFailed."""
    actor.must_be(OWNERS)
    values = changed_values(changes, clearable=CLEARABLE)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_PLAN, actor.practice_id, plan_id)
        before = await get_plan(tx.connection, actor, plan_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The plan was changed since you read it; read it again.")
        archived = values.get("archived", before.archived_at is not None)
        after = [values.get(name, getattr(before, name)) for name in ("name", "price_minor", "session_credits")]
        await tx.connection.execute(UPDATE_PLAN, actor.practice_id, plan_id, *after, archived)
        tx.record(_changed(actor, plan_id, sorted(values)))
        return await get_plan(tx.connection, actor, plan_id)


def _changed(actor: Actor, plan_id: UUID, fields: list[str]) -> Event:
    return Event(
        type=EventType.PLAN_CHANGED,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        subject_id=plan_id,
        payload={"changed": fields},
    )
