"""Changing a client: their fields, and archiving and restoring them, one by one or many at once.

Archived clients leave the default list and keep everything; restored, they get the status back that they had.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from wellio.accounts.actors import STAFF, Actor
from wellio.db import Connection
from wellio.errors import FieldError, Invalid, PreconditionFailed
from wellio.events import EventType
from wellio.outbox import Outbox, Transaction
from wellio.practice.client_fields import check_custom
from wellio.practice.clients import (
    MAX_TAGS,
    Client,
    Custom,
    Status,
    Tags,
    client_event,
    coach_for,
    get_client,
)
from wellio.values import Email, Input, Name, Phone, Text, Zone, changed_values

# As many as one row of the audit log names.
MAX_AT_ONCE = 200

LOCK_CLIENT = "select id from clients where practice_id = $1 and id = $2 for update"

UPDATE_CLIENT = """
update clients
set coach_id = $3, first_name = $4, last_name = $5, email = $6, phone = $7, status = $8, tags = $9, goals = $10,
    timezone = $11, custom = $12, version = version + 1, updated_at = now(),
    status_before = case when $8 <> 'archived' then null when status = 'archived' then status_before else status end
where practice_id = $1 and id = $2
"""

ARCHIVE_CLIENTS = """
update clients
set status_before = status, status = 'archived', version = version + 1, updated_at = now()
where practice_id = $1 and id = any($2::uuid[]) and status <> 'archived'
returning id, status
"""

RESTORE_CLIENTS = """
update clients
set status = coalesce(status_before, 'active'), status_before = null, version = version + 1, updated_at = now()
where practice_id = $1 and id = any($2::uuid[]) and status = 'archived'
returning id, status
"""

TAG_CLIENTS = """
update clients
set tags = tags || array(select t.tag from unnest($3::text[]) with ordinality t (tag, n)
                         where t.tag <> all(tags) order by t.n),
    version = version + 1, updated_at = now()
where practice_id = $1 and id = any($2::uuid[]) and not tags @> $3
returning id, status, cardinality(tags) as tag_count
"""

UNTAG_CLIENTS = """
update clients
set tags = array(select t.tag from unnest(tags) with ordinality t (tag, n) where t.tag <> all($3::text[]) order by t.n),
    version = version + 1, updated_at = now()
where practice_id = $1 and id = any($2::uuid[]) and tags && $3
returning id, status, cardinality(tags) as tag_count
"""

ASSIGN_CLIENTS = """
update clients
set coach_id = $3, version = version + 1, updated_at = now()
where practice_id = $1 and id = any($2::uuid[]) and coach_id is distinct from $3
returning id, status
"""

# In one order for everyone.
LOCK_CLIENTS = "select id from clients where practice_id = $1 and id = any($2::uuid[]) order by id for update"

FIND_VISIBLE = "select id from visible_clients($1, $2, $3) where id = any($4::uuid[])"


class ClientChanges(Input):
    """Only the named fields change. `null` clears `email`, `phone` and `coach_id`."""

    first_name: Name | None = None
    last_name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None
    status: Status | None = None
    coach_id: UUID | None = None
    tags: Tags | None = None
    goals: Text | None = None
    timezone: Zone | None = None
    custom: Custom | None = None


CLEARABLE = frozenset({"email", "phone", "coach_id"})


class BulkChange(Input):
    """`tags` for tag and untag; `coach_id` for assign, null leaves them without a coach."""

    action: Literal["tag", "untag", "assign", "archive", "restore"]
    client_ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MAX_AT_ONCE)]
    tags: Tags = ()
    coach_id: UUID | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "BulkChange":
        if (self.action in ("tag", "untag")) != bool(self.tags):
            raise ValueError("tags belong to tag and untag, which need at least one")
        if (self.action == "assign") != ("coach_id" in self.model_fields_set):
            raise ValueError("coach_id belongs to assign, which needs one, or null for none")
        return self


@dataclass(frozen=True, slots=True)
class BulkChanged:
    """`changed`: those that were not so already."""

    matched: int
    changed: Sequence[UUID]


async def change_client(
    outbox: Outbox, actor: Actor, client_id: UUID, changes: ClientChanges, *, if_version: int | None = None
) -> Client:
    """Raises NotFound, Invalid, and PreconditionFailed when `if_version` is not the stored version."""
    actor.must_be(STAFF)
    values = _changed_values(changes)
    async with outbox.transaction() as tx:
        before = await _lock(tx.connection, actor, client_id, if_version)
        if "coach_id" in values:
            values["coach_id"] = await coach_for(tx.connection, actor, values["coach_id"], may_clear=True)
        if "custom" in values:
            await check_custom(tx.connection, actor.practice_id, values["custom"], before=before.custom)
        after = replace(before, **values)
        if after == before:
            return before
        await _update(tx.connection, actor.practice_id, after)
        changed = sorted(name for name in values if getattr(after, name) != getattr(before, name))
        status = {"status": after.status} if "status" in changed else {}
        tx.record(client_event(EventType.CLIENT_UPDATED, actor, client_id, changed=changed, **status))
        return await get_client(tx.connection, actor, client_id)


async def archive_client(outbox: Outbox, actor: Actor, client_id: UUID, *, if_version: int | None = None) -> Client:
    """One who is archived already stays as they are. Raises NotFound, PreconditionFailed."""
    return await _move(outbox, actor, client_id, ARCHIVE_CLIENTS, if_version)


async def restore_client(outbox: Outbox, actor: Actor, client_id: UUID, *, if_version: int | None = None) -> Client:
    """To the status they had. One who is not archived stays as they are. Raises NotFound, PreconditionFailed."""
    return await _move(outbox, actor, client_id, RESTORE_CLIENTS, if_version)


async def change_clients(outbox: Outbox, actor: Actor, change: BulkChange) -> BulkChanged:
    """All of them, or none. Raises Invalid with a path for each id that the actor does not see."""
    actor.must_be(STAFF)
    ids = list(dict.fromkeys(change.client_ids))
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_CLIENTS, actor.practice_id, ids)
        await _check_visible(tx.connection, actor, change.client_ids)
        coach_id = await coach_for(tx.connection, actor, change.coach_id, may_clear=True) if _assigns(change) else None
        sql, value = _statement(change, coach_id)
        changed = await _run(tx, actor, sql, ids, *value)
    return BulkChanged(matched=len(ids), changed=changed)


def _assigns(change: BulkChange) -> bool:
    return change.action == "assign"


def _statement(change: BulkChange, coach_id: UUID | None) -> tuple[str, tuple[Any, ...]]:
    """What to run, and its third argument if it has one."""
    statements: Mapping[str, tuple[str, tuple[Any, ...]]] = {
        "tag": (TAG_CLIENTS, (change.tags,)),
        "untag": (UNTAG_CLIENTS, (change.tags,)),
        "assign": (ASSIGN_CLIENTS, (coach_id,)),
        "archive": (ARCHIVE_CLIENTS, ()),
        "restore": (RESTORE_CLIENTS, ()),
    }
    return statements[change.action]


# What each statement changes, as events name it.
CHANGES = {
    TAG_CLIENTS: "tags",
    UNTAG_CLIENTS: "tags",
    ASSIGN_CLIENTS: "coach_id",
    ARCHIVE_CLIENTS: "status",
    RESTORE_CLIENTS: "status",
}


async def _run(tx: Transaction, actor: Actor, sql: str, ids: Sequence[UUID], *value: Any) -> list[UUID]:
    """Changes those of `ids` that need it, with an event for each; returns them in the order of `ids`."""
    rows = await tx.connection.fetch(sql, actor.practice_id, ids, *value)
    if any(row.get("tag_count", 0) > MAX_TAGS for row in rows):
        raise Invalid.field("tags", f"Some of them would have more than {MAX_TAGS} tags. Nothing was changed.")
    changed = CHANGES[sql]
    for row in rows:
        status = {"status": row["status"]} if changed == "status" else {}
        tx.record(client_event(EventType.CLIENT_UPDATED, actor, row["id"], changed=[changed], **status))
    done = {row["id"] for row in rows}
    return [client_id for client_id in ids if client_id in done]


async def _move(outbox: Outbox, actor: Actor, client_id: UUID, sql: str, if_version: int | None) -> Client:
    actor.must_be(STAFF)
    async with outbox.transaction() as tx:
        await _lock(tx.connection, actor, client_id, if_version)
        await _run(tx, actor, sql, [client_id])
        return await get_client(tx.connection, actor, client_id)


async def _lock(connection: Connection, actor: Actor, client_id: UUID, if_version: int | None) -> Client:
    await connection.execute(LOCK_CLIENT, actor.practice_id, client_id)
    client = await get_client(connection, actor, client_id)
    if if_version is not None and if_version != client.version:
        raise PreconditionFailed("The client was changed since you read it; read it again.")
    return client


async def _check_visible(connection: Connection, actor: Actor, ids: Sequence[UUID]) -> None:
    seen = {row["id"] for row in await connection.fetch(FIND_VISIBLE, *actor.scope, ids)}
    missing = [
        FieldError(f"client_ids.{n}", "No such client.") for n, client_id in enumerate(ids) if client_id not in seen
    ]
    if missing:
        raise Invalid("Some of these clients are not there. Nothing was changed.", fields=missing)


def _changed_values(changes: ClientChanges) -> dict[str, Any]:
    values = changed_values(changes, clearable=CLEARABLE)
    if "tags" in values:
        values["tags"] = list(values["tags"])
    return values


async def _update(connection: Connection, practice_id: UUID, client: Client) -> None:
    await connection.execute(
        UPDATE_CLIENT, practice_id, client.id, client.coach_id, client.first_name, client.last_name, client.email,
        client.phone, client.status, client.tags, client.goals, client.timezone, client.custom,
    )  # fmt: skip
