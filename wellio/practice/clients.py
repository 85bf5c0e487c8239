"""Clients: the people a practice coaches.

An owner sees all of the practice's, a coach those assigned to them, a client only themself
(`visible_clients` in the schema).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import AfterValidator, Field

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.practices import get_practice
from wellio.accounts.users import is_coach
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid, NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.values import Email, Input, Line, Name, Phone, Tag, Text, Zone

Status = Literal["lead", "onboarding", "active", "paused", "churned", "archived"]
Sort = Literal["created_at", "-created_at", "name", "-name", "churn_risk", "-churn_risk", "-last_activity_at"]
MAX_TAGS = 50
MAX_CUSTOM_BYTES = 16_384


def _distinct(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


def _small(custom: dict[str, Any]) -> dict[str, Any]:
    # orjson refuses what PostgreSQL would: integers past 64 bits, lone surrogates; NUL is looked for.
    try:
        encoded = orjson.dumps(custom)
    except TypeError as error:
        raise ValueError("holds a value that can't be stored") from error
    if len(encoded) > MAX_CUSTOM_BYTES or b"\\u0000" in encoded:
        raise ValueError(f"must be at most {MAX_CUSTOM_BYTES} bytes of JSON, without NUL characters")
    return custom


Tags = Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS), AfterValidator(_distinct)]
Custom = Annotated[dict[str, Any], AfterValidator(_small)]

LIST_CLIENTS = """
select c.*, p.probability, p.band
from visible_clients($1, $2, $3) c
left join predictions p on p.practice_id = $1 and p.client_id = c.id
where ($4::text is null or c.status = $4)
  and ($5::text is null or c.tags @> array[$5])
  and ($6::uuid is null or c.coach_id = $6)
  and ($7::text is null or c.first_name || ' ' || c.last_name || ' ' || coalesce(c.email, '') ilike $7)
order by
  case when $8 = 'created_at' then c.created_at end,
  case when $8 = '-created_at' then c.created_at end desc,
  case when $8 = 'name' then lower(c.last_name) || ' ' || lower(c.first_name) end,
  case when $8 = '-name' then lower(c.last_name) || ' ' || lower(c.first_name) end desc,
  case when $8 = 'churn_risk' then p.probability end nulls last,
  case when $8 = '-churn_risk' then p.probability end desc nulls last,
  case when $8 = '-last_activity_at' then c.last_activity_at end desc nulls last,
  c.id
limit $9 offset $10
"""

COUNT_CLIENTS = """
select count(*)
from visible_clients($1, $2, $3) c
where ($4::text is null or c.status = $4)
  and ($5::text is null or c.tags @> array[$5])
  and ($6::uuid is null or c.coach_id = $6)
  and ($7::text is null or c.first_name || ' ' || c.last_name || ' ' || coalesce(c.email, '') ilike $7)
"""

GET_CLIENT = """
select c.*, p.probability, p.band
from visible_clients($1, $2, $3) c
left join predictions p on p.practice_id = $1 and p.client_id = c.id
where c.id = $4
"""

LOCK_CLIENT = "select id from clients where practice_id = $1 and id = $2 for update"

INSERT_CLIENT = """
insert into clients (id, practice_id, coach_id, first_name, last_name, email, phone, status, tags, goals,
                     timezone, custom)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""

UPDATE_CLIENT = """
update clients
set coach_id = $3, first_name = $4, last_name = $5, email = $6, phone = $7, status = $8, tags = $9, goals = $10,
    timezone = $11, custom = $12, version = version + 1, updated_at = now()
where practice_id = $1 and id = $2
"""

TOUCH_CLIENTS = """
update clients c
set last_activity_at = greatest(c.last_activity_at, t.at)
from unnest($2::uuid[], $3::timestamptz[]) t (id, at)
where c.practice_id = $1 and c.id = t.id
"""


class NewClient(Input):
    first_name: Name
    last_name: Name
    email: Email | None = None
    phone: Phone | None = None
    status: Status = "active"
    coach_id: UUID | None = None
    tags: Tags = ()
    goals: Text = ""
    timezone: Zone | None = None
    custom: Custom = Field(default_factory=dict)


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


class ClientQuery(PageQuery):
    status: Status | None = None
    tag: Tag | None = None
    coach_id: UUID | None = None
    q: Line | None = None
    sort: Sort = "-created_at"


@dataclass(frozen=True, slots=True)
class Client:
    """`churn_risk` is the predicted probability 0..1; null until there is a prediction."""

    id: UUID
    first_name: str
    last_name: str
    email: str | None
    phone: str | None
    status: Status
    coach_id: UUID | None
    user_id: UUID | None
    tags: Sequence[str]
    goals: str
    timezone: str
    custom: dict[str, Any]
    churn_risk: float | None
    churn_band: str | None
    engagement: float | None
    last_activity_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


async def list_clients(db: Database, actor: Actor, query: ClientQuery) -> Page[Client]:
    if query.tag is not None and actor.role is Role.CLIENT:
        raise Invalid.field("query.tag", "Tags are the practice's: a client can't filter by them.")
    pattern = f"%{_escape_like(query.q)}%" if query.q else None
    filters = (*actor.scope, query.status, query.tag, query.coach_id, pattern)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_CLIENTS, *filters, query.sort, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_CLIENTS, *filters)
    return page_of([_shown(actor, _client(row)) for row in rows], query=query, total=total)


async def get_client(db: Database | Connection, actor: Actor, client_id: UUID) -> Client:
    """Raises NotFound."""
    row = await db.fetchrow(GET_CLIENT, *actor.scope, client_id)
    if row is None:
        raise NotFound("No such client.")
    return _shown(actor, _client(row))


def _shown(actor: Actor, client: Client) -> Client:
    """What the practice thinks of a client, they are not shown: neither risk nor tags."""
    if actor.role is not Role.CLIENT:
        return client
    return replace(client, churn_risk=None, churn_band=None, engagement=None, tags=())


async def create_client(outbox: Outbox, actor: Actor, new: NewClient, *, once: Once | None = None) -> Client:
    """A coach's new client is their own. Raises Invalid for a coach_id that is not a coach of the practice."""
    actor.must_be(STAFF)
    client_id = uuid7()
    async with outbox.transaction(once) as tx:
        coach_id = await _coach_for(tx.connection, actor, new.coach_id)
        zone = new.timezone or (await get_practice(tx.connection, actor.practice_id)).timezone
        await tx.connection.execute(
            INSERT_CLIENT,
            client_id,
            actor.practice_id,
            coach_id,
            new.first_name,
            new.last_name,
            new.email,
            new.phone,
            new.status,
            new.tags,
            new.goals,
            zone,
            new.custom,
        )
        tx.record(_event(EventType.CLIENT_CREATED, actor, client_id))
        return await tx.answer(await get_client(tx.connection, actor, client_id))


async def change_client(
    outbox: Outbox, actor: Actor, client_id: UUID, changes: ClientChanges, *, if_version: int | None = None
) -> Client:
    """Raises NotFound, Invalid, and PreconditionFailed when `if_version` is not the stored version."""
    actor.must_be(STAFF)
    values = _changed_values(changes)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_CLIENT, actor.practice_id, client_id)
        before = await get_client(tx.connection, actor, client_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The client was changed since you read it; read it again.")
        if "coach_id" in values:
            values["coach_id"] = await _coach_for(tx.connection, actor, values["coach_id"], may_clear=True)
        after = replace(before, **values)
        if after == before:
            return before
        await _update(tx.connection, actor.practice_id, after)
        changed = sorted(name for name in values if getattr(after, name) != getattr(before, name))
        status = {"status": after.status} if "status" in changed else {}
        tx.record(_event(EventType.CLIENT_UPDATED, actor, client_id, changed=changed, **status))
        return await get_client(tx.connection, actor, client_id)


async def touch_clients(connection: Connection, practice_id: UUID, seen: dict[UUID, datetime]) -> None:
    """Moves `last_activity_at` forward to when each client was last seen to do something."""
    if seen:
        ids = sorted(seen)  # one lock order for everyone
        await connection.execute(TOUCH_CLIENTS, practice_id, ids, [seen[i] for i in ids])


def _changed_values(changes: ClientChanges) -> dict[str, Any]:
    values = {name: getattr(changes, name) for name in changes.model_fields_set}
    for name, value in values.items():
        if value is None and name not in CLEARABLE:
            raise Invalid.field(name, "Must not be null.")
    if "tags" in values:
        values["tags"] = list(values["tags"])
    return values


async def _coach_for(
    connection: Connection, actor: Actor, coach_id: UUID | None, *, may_clear: bool = False
) -> UUID | None:
    """The coach a client gets: a coach's clients are their own, an owner may assign or leave open."""
    if actor.role is Role.COACH:
        if coach_id not in (None, actor.user_id) or (may_clear and coach_id is None):
            raise Invalid.field("coach_id", "A coach's clients are their own; ask the owner to assign others.")
        return actor.user_id
    if coach_id is not None and not await is_coach(connection, actor.practice_id, coach_id):
        raise Invalid.field("coach_id", "No such coach in this practice.")
    return coach_id


async def _update(connection: Connection, practice_id: UUID, client: Client) -> None:
    await connection.execute(
        UPDATE_CLIENT,
        practice_id,
        client.id,
        client.coach_id,
        client.first_name,
        client.last_name,
        client.email,
        client.phone,
        client.status,
        client.tags,
        client.goals,
        client.timezone,
        client.custom,
    )


def _event(kind: EventType, actor: Actor, client_id: UUID, **payload: Any) -> Event:
    return Event(
        type=kind,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        client_id=client_id,
        subject_id=client_id,
        payload=payload,
    )


def _escape_like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _client(row: Row) -> Client:
    return Client(
        id=row["id"],
        first_name=row["first_name"],
        last_name=row["last_name"],
        email=row["email"],
        phone=row["phone"],
        status=row["status"],
        coach_id=row["coach_id"],
        user_id=row["user_id"],
        tags=row["tags"],
        goals=row["goals"],
        timezone=row["timezone"],
        custom=row["custom"],
        churn_risk=row["probability"],
        churn_band=row["band"],
        engagement=None,
        last_activity_at=row["last_activity_at"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
