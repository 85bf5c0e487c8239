"""Goals of a client, and how far they have come: from where they began to where they want to be, in any unit.

Staff set goals; clients see theirs and record progress. Entries of progress are added, never changed; the latest by
its time is where the goal stands.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid, NotFound, PreconditionFailed
from wellio.events import EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.clients import event_about, get_client, touch_clients
from wellio.practice.measurements import Unit
from wellio.values import Day, Input, Line, Moment, Name, Quantity, Text, changed_values

Status = Literal["active", "achieved", "abandoned"]
CLOCK_SKEW = timedelta(minutes=5)

LIST_GOALS = """
select id, client_id, title, description, unit, start_value, target_value, current_value, due_on, status, created_by,
       version, created_at, updated_at
from client_goals
where practice_id = $1 and client_id = $2 and ($3::uuid is null or id = $3) and ($4::text is null or status = $4)
order by created_at desc, id
limit $5 offset $6
"""

COUNT_GOALS = """
select count(*) from client_goals where practice_id = $1 and client_id = $2 and ($3::text is null or status = $3)
"""

LOCK_GOAL = "select id from client_goals where practice_id = $1 and client_id = $2 and id = $3 for update"

INSERT_GOAL = """
insert into client_goals (id, practice_id, client_id, title, description, unit, start_value, target_value,
                          current_value, due_on, created_by)
values ($1, $2, $3, $4, $5, $6, $7::float8::numeric, $8::float8::numeric, $7::float8::numeric, $9, $10)
"""

UPDATE_GOAL = """
update client_goals
set title = $3, description = $4, target_value = $5::float8::numeric, due_on = $6, status = $7,
    version = version + 1, updated_at = now()
where practice_id = $1 and id = $2
"""

INSERT_PROGRESS = """
insert into goal_progress (id, practice_id, goal_id, value, note, reached_at, recorded_by)
values ($1, $2, $3, $4::float8::numeric, $5, $6, $7)
"""

# Also when an entry is made up for: what counts is when it was reached.
UPDATE_CURRENT = """
update client_goals g
set current_value = p.value, version = version + 1, updated_at = now()
from (
    select value from goal_progress where practice_id = $1 and goal_id = $2 order by reached_at desc, id desc limit 1
) p
where g.practice_id = $1 and g.id = $2
"""

LIST_PROGRESS = """
select id, goal_id, value, note, reached_at, recorded_by, created_at
from goal_progress
where practice_id = $1 and goal_id = $2 and ($3::uuid is null or id = $3)
order by reached_at desc, id desc
limit $4 offset $5
"""

COUNT_PROGRESS = "select count(*) from goal_progress where practice_id = $1 and goal_id = $2"


class NewGoal(Input):
    """From `start_value` to `target_value`, upwards or downwards; by default from 0 to 100 %."""

    title: Name
    description: Text = ""
    unit: Unit = "%"
    start_value: Quantity = 0.0
    target_value: Quantity = 100.0
    due_on: Day | None = None


class GoalChanges(Input):
    """Only the named fields change; `null` takes the date away."""

    title: Name | None = None
    description: Text | None = None
    target_value: Quantity | None = None
    due_on: Day | None = None
    status: Status | None = None


class GoalQuery(PageQuery):
    status: Status | None = None


class NewProgress(Input):
    value: Quantity
    note: Line = ""
    reached_at: Moment | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """`progress`: the share of the way that is done, 0..1."""

    id: UUID
    client_id: UUID
    title: str
    description: str
    unit: str
    start_value: float
    target_value: float
    current_value: float
    progress: float
    due_on: date | None
    status: Status
    created_by: UUID
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    id: UUID
    goal_id: UUID
    value: float
    note: str
    reached_at: datetime
    recorded_by: UUID
    created_at: datetime


async def list_goals(db: Database, actor: Actor, client_id: UUID, query: GoalQuery) -> Page[Goal]:
    """The newest first. Raises NotFound."""
    async with db.connection() as connection:
        await get_client(connection, actor, client_id)
        rows = await connection.fetch(
            LIST_GOALS, actor.practice_id, client_id, None, query.status, query.page_size, query.offset
        )
        total = await connection.fetchval(COUNT_GOALS, actor.practice_id, client_id, query.status)
    return page_of([_goal(row) for row in rows], query=query, total=total)


async def get_goal(db: Database | Connection, actor: Actor, client_id: UUID, goal_id: UUID) -> Goal:
    """Raises NotFound."""
    try:
        await get_client(db, actor, client_id)
    except NotFound:
        raise NotFound("No such goal.") from None
    row = await db.fetchrow(LIST_GOALS, actor.practice_id, client_id, goal_id, None, 1, 0)
    if row is None:
        raise NotFound("No such goal.")
    return _goal(row)


async def set_goal(outbox: Outbox, actor: Actor, client_id: UUID, new: NewGoal, *, once: Once | None = None) -> Goal:
    """Raises NotFound, Invalid."""
    actor.must_be(STAFF)
    _check_way(new.start_value, new.target_value)
    goal_id = uuid7()
    async with outbox.transaction(once) as tx:
        await get_client(tx.connection, actor, client_id)
        await tx.connection.execute(
            INSERT_GOAL, goal_id, actor.practice_id, client_id, new.title, new.description, new.unit, new.start_value,
            new.target_value, new.due_on, actor.user_id,
        )  # fmt: skip
        tx.record(event_about(EventType.GOAL_CHANGED, actor, client_id, goal_id, how="added", by=actor.role.value))
        return await tx.answer(await get_goal(tx.connection, actor, client_id, goal_id))


async def change_goal(
    outbox: Outbox, actor: Actor, client_id: UUID, goal_id: UUID, changes: GoalChanges, *, if_version: int | None = None
) -> Goal:
    """Raises NotFound, Invalid, PreconditionFailed."""
    actor.must_be(STAFF)
    values = changed_values(changes, clearable=("due_on",))
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_GOAL, actor.practice_id, client_id, goal_id)
        before = await get_goal(tx.connection, actor, client_id, goal_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The goal was changed since you read it; read it again.")
        _check_way(before.start_value, values.get("target_value", before.target_value))
        names = ("title", "description", "target_value", "due_on", "status")
        after = [values[name] if name in values else getattr(before, name) for name in names]
        await tx.connection.execute(UPDATE_GOAL, actor.practice_id, goal_id, *after)
        moved = values.get("status", before.status) != before.status
        payload = {"how": "changed", "by": actor.role.value} | ({"status": values["status"]} if moved else {})
        tx.record(event_about(EventType.GOAL_CHANGED, actor, client_id, goal_id, **payload))
        return await get_goal(tx.connection, actor, client_id, goal_id)


async def list_progress(db: Database, actor: Actor, client_id: UUID, goal_id: UUID, query: PageQuery) -> Page[Progress]:
    """The latest first. Raises NotFound."""
    async with db.connection() as connection:
        await get_goal(connection, actor, client_id, goal_id)
        rows = await connection.fetch(LIST_PROGRESS, actor.practice_id, goal_id, None, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_PROGRESS, actor.practice_id, goal_id)
    return page_of([_progress(row) for row in rows], query=query, total=total)


async def record_progress(
    outbox: Outbox, actor: Actor, client_id: UUID, goal_id: UUID, new: NewProgress, *, once: Once | None = None
) -> Progress:
    """Raises NotFound, Invalid."""
    now = datetime.now(UTC)
    reached_at = new.reached_at or now
    if reached_at > now + CLOCK_SKEW:
        raise Invalid.field("reached_at", "Must not be in the future.")
    progress_id = uuid7()
    async with outbox.transaction(once) as tx:
        await tx.connection.execute(LOCK_GOAL, actor.practice_id, client_id, goal_id)
        await get_goal(tx.connection, actor, client_id, goal_id)
        await tx.connection.execute(
            INSERT_PROGRESS, progress_id, actor.practice_id, goal_id, new.value, new.note, reached_at, actor.user_id
        )
        await tx.connection.execute(UPDATE_CURRENT, actor.practice_id, goal_id)
        if actor.role is Role.CLIENT:
            await touch_clients(tx.connection, actor.practice_id, {client_id: now})
        payload = {"how": "progressed", "by": actor.role.value}
        tx.record(event_about(EventType.GOAL_CHANGED, actor, client_id, goal_id, **payload))
        row = await tx.connection.fetchrow(LIST_PROGRESS, actor.practice_id, goal_id, progress_id, 1, 0)
        assert row is not None
        return await tx.answer(_progress(row))


def share_done(start: float, target: float, current: float) -> float:
    """Of the way from `start` to `target`, whichever is higher: 0..1, to four decimals."""
    return round(min(1.0, max(0.0, (current - start) / (target - start))), 4)


def _check_way(start: float, target: float) -> None:
    if start == target:
        raise Invalid.field("target_value", "Must differ from start_value.")


def _goal(row: Row) -> Goal:
    values: dict[str, Any] = dict(row)
    values |= {name: float(values[name]) for name in ("start_value", "target_value", "current_value")}
    done = share_done(values["start_value"], values["target_value"], values["current_value"])
    return Goal(**values, progress=done)


def _progress(row: Row) -> Progress:
    return Progress(**{**dict(row), "value": float(row["value"])})
