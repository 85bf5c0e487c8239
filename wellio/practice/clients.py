"""Clients: the people a practice coaches.

An owner sees all of the practice's, a coach those assigned to them, a client only themself
(`visible_clients` in the schema). Lists of them are made in client_lists.py, changes in client_changes.py.
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
from wellio.errors import Conflict, Invalid, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.practice.client_fields import check_custom
from wellio.practice.duplicates import Person, find_duplicates
from wellio.values import Email, Flag, Input, Name, Phone, Tag, Text, Zone

Status = Literal["lead", "onboarding", "active", "paused", "churned", "archived"]
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

GET_CLIENT = """
select c.*, p.probability, p.band, p.engagement
from visible_clients($1, $2, $3) c
left join predictions p on p.practice_id = $1 and p.client_id = c.id
where c.id = $4
"""

INSERT_CLIENT = """
insert into clients (id, practice_id, coach_id, first_name, last_name, email, phone, status, tags, goals,
                     timezone, custom)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""

TOUCH_CLIENTS = """
update clients c
set last_activity_at = greatest(c.last_activity_at, t.at)
from unnest($2::uuid[], $3::timestamptz[]) t (id, at)
where c.practice_id = $1 and c.id = t.id
"""


class NewClient(Input):
    """`allow_duplicate`: add them although somebody like them is there already."""

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
    allow_duplicate: Flag = False


@dataclass(frozen=True, slots=True)
class Client:
    """`churn_risk` is the predicted probability 0..1, `engagement` the rank in the practice 0..100, or null."""

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


async def get_client(db: Database | Connection, actor: Actor, client_id: UUID) -> Client:
    """Raises NotFound."""
    row = await db.fetchrow(GET_CLIENT, *actor.scope, client_id)
    if row is None:
        raise NotFound("No such client.")
    return shown_to(actor, client_of(row))


def shown_to(actor: Actor, client: Client) -> Client:
    """What the practice thinks of a client, they are not shown: neither risk nor tags."""
    if actor.role is not Role.CLIENT:
        return client
    return replace(client, churn_risk=None, churn_band=None, engagement=None, tags=())


async def create_client(outbox: Outbox, actor: Actor, new: NewClient, *, once: Once | None = None) -> Client:
    """A coach's new client is their own. Raises Invalid; Conflict where the actor has somebody like them."""
    actor.must_be(STAFF)
    client_id = uuid7()
    async with outbox.transaction(once) as tx:
        coach_id = await coach_for(tx.connection, actor, new.coach_id)
        await check_custom(tx.connection, actor.practice_id, new.custom)
        if not new.allow_duplicate:
            await _refuse_duplicate(tx.connection, actor, new)
        zone = new.timezone or (await get_practice(tx.connection, actor.practice_id)).timezone
        await tx.connection.execute(
            INSERT_CLIENT, client_id, actor.practice_id, coach_id, new.first_name, new.last_name, new.email, new.phone,
            new.status, new.tags, new.goals, zone, new.custom,
        )  # fmt: skip
        tx.record(client_event(EventType.CLIENT_CREATED, actor, client_id))
        return await tx.answer(await get_client(tx.connection, actor, client_id))


async def _refuse_duplicate(connection: Connection, actor: Actor, new: NewClient) -> None:
    person = Person(new.first_name, new.last_name, new.email, new.phone)
    (found,) = await find_duplicates(connection, actor, [person])
    if found:
        raise Conflict(
            "There is somebody like this already. Send the same with allow_duplicate: true if it is another person.",
            code="POSSIBLE_DUPLICATE",
            details={
                "client_ids": [str(d.client_id) for d in found],
                "duplicates": [{"client_id": str(d.client_id), "alike_by": d.alike_by} for d in found],
            },
        )


async def touch_clients(connection: Connection, practice_id: UUID, seen: dict[UUID, datetime]) -> None:
    """Moves `last_activity_at` forward to when each client was last seen to do something."""
    if seen:
        ids = sorted(seen)  # one lock order for everyone
        await connection.execute(TOUCH_CLIENTS, practice_id, ids, [seen[i] for i in ids])


async def coach_for(
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


def client_event(event_type: EventType, actor: Actor, client_id: UUID, **payload: Any) -> Event:
    return event_about(event_type, actor, client_id, client_id, **payload)


def event_about(event_type: EventType, actor: Actor, client_id: UUID, subject_id: UUID, **payload: Any) -> Event:
    """Of something that hangs on a client."""
    return Event(
        type=event_type,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        client_id=client_id,
        subject_id=subject_id,
        payload=payload,
    )


def client_of(row: Row) -> Client:
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
        engagement=row["engagement"],
        last_activity_at=row["last_activity_at"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
