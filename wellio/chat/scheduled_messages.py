"""Messages that are written now and sent later, at an instant or at a wall time of the recipient.

A wall time is turned into an instant when it is asked for. One that a change of clocks skips is read with the offset
before the gap, one that comes twice is its first instant (RFC 5545, 3.3.5), as everywhere in the practice's calendar.
`scheduled_sender.py` sends them. Words are sealed while they wait, and only their sender sees them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints

from wellio.accounts.actors import Actor
from wellio.chat.conversations import get_conversation
from wellio.chat.values import Body
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound, PreconditionFailed
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.live import Live
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.sealing import SealBroken, Sealer
from wellio.values import Day, Input, Moment, Zone

COLUMN = "scheduled_messages.body"
MAX_WAITING = 100
LONGEST_WAIT = timedelta(days=366)

Status = Literal["waiting", "sending", "sent", "failed"]
WallTime = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$"), Field(examples=["09:30"])]

LIST_SCHEDULED = """
select id, conversation_id, client_message_id, body, reply_to, send_at, timezone, status, failure, message_id, version,
       created_at
from scheduled_messages
where practice_id = $1 and sender_id = $2
  and ($3::uuid is null or id = $3) and ($4::uuid is null or conversation_id = $4) and ($5::text is null or status = $5)
order by send_at, id
limit $6 offset $7
"""

COUNT_SCHEDULED = """
select count(*) from scheduled_messages
where practice_id = $1 and sender_id = $2
  and ($3::uuid is null or conversation_id = $3) and ($4::text is null or status = $4)
"""

COUNT_WAITING = """
select count(*) from scheduled_messages where practice_id = $1 and sender_id = $2 and status in ('waiting', 'sending')
"""

GET_ZONE = "select timezone from users where practice_id = $1 and id = $2"

KNOWS_MESSAGE = "select exists (select from messages where conversation_id = $1 and id = $2)"

INSERT_SCHEDULED = """
insert into scheduled_messages (id, practice_id, conversation_id, sender_id, client_message_id, body, reply_to, send_at,
                                due_at, timezone)
values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)
on conflict on constraint scheduled_messages_once do nothing
returning id
"""

FIND_SCHEDULED = """
select id from scheduled_messages
where practice_id = $1 and sender_id = $2 and conversation_id = $3 and client_message_id = $4
"""

LOCK_SCHEDULED = "select id from scheduled_messages where practice_id = $1 and sender_id = $2 and id = $3 for update"

UPDATE_SCHEDULED = """
update scheduled_messages
set body = $3, send_at = $4, due_at = $4, timezone = $5, status = 'waiting', failure = null, version = version + 1,
    updated_at = now()
where practice_id = $1 and id = $2
"""

DELETE_SCHEDULED = "delete from scheduled_messages where practice_id = $1 and id = $2"

KEEP_DAYS = 30
DELETE_OLD_SCHEDULED = """
delete from scheduled_messages where status in ('sent', 'failed') and updated_at < now() - make_interval(days => $1)
"""


class When(Input):
    """`send_at`; or `local_date` and `local_time`, by the clock of `timezone`. In a direct conversation that is the
    recipient's own, unless another is named; for a group it has to be named."""

    send_at: Moment | None = None
    local_date: Day | None = None
    local_time: WallTime | None = None
    timezone: Zone | None = None


class NewScheduledMessage(When):
    """`client_message_id` is the message's once it is sent; the same again is the same scheduled message."""

    client_message_id: UUID
    body: Body
    reply_to: UUID | None = None


class ScheduledMessageChanges(When):
    """Other words, or another time."""

    body: Body | None = None


class ScheduledMessageQuery(PageQuery):
    conversation_id: UUID | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class ScheduledMessage:
    """`body` is null once it was sent, and where the key that sealed it is gone. `failure`: why it was not sent."""

    id: UUID
    conversation_id: UUID
    client_message_id: UUID
    body: str | None
    reply_to: UUID | None
    send_at: datetime
    timezone: str | None
    status: Status
    failure: str | None
    message_id: UUID | None
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Scheduled:
    """`created` is False when it was scheduled before."""

    message: ScheduledMessage
    created: bool


async def list_scheduled_messages(
    db: Database, sealer: Sealer, actor: Actor, query: ScheduledMessageQuery
) -> Page[ScheduledMessage]:
    """The actor's own, the next first."""
    who, filters = (actor.practice_id, actor.user_id), (query.conversation_id, query.status)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_SCHEDULED, *who, None, *filters, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_SCHEDULED, *who, *filters)
    return page_of([scheduled_of(sealer, row) for row in rows], query=query, total=total)


async def get_scheduled_message(
    db: Database | Connection, sealer: Sealer, actor: Actor, scheduled_id: UUID
) -> ScheduledMessage:
    """Raises NotFound, for another's too."""
    row = await db.fetchrow(LIST_SCHEDULED, actor.practice_id, actor.user_id, scheduled_id, None, None, 1, 0)
    if row is None:
        raise NotFound("No such scheduled message.")
    return scheduled_of(sealer, row)


async def schedule_message(
    outbox: Outbox,
    live: Live,
    sealer: Sealer,
    actor: Actor,
    conversation_id: UUID,
    new: NewScheduledMessage,
    *,
    once: Once | None = None,
) -> Scheduled:
    """Raises NotFound, Invalid (the time, reply_to), Conflict for too many."""
    scheduled_id = uuid7()
    sealed = sealer.seal(new.body.encode(), column=COLUMN, row_id=scheduled_id)
    async with outbox.transaction(once) as tx:
        send_at, zone = await _instant(tx.connection, actor, conversation_id, new)
        if new.reply_to and not await tx.connection.fetchval(KNOWS_MESSAGE, conversation_id, new.reply_to):
            raise Invalid.field("reply_to", "No such message in this conversation.")
        if await tx.connection.fetchval(COUNT_WAITING, actor.practice_id, actor.user_id) >= MAX_WAITING:
            raise Conflict(f"{MAX_WAITING} messages wait to be sent; cancel one first.", code="TOO_MANY_SCHEDULED")
        place = (actor.practice_id, conversation_id, actor.user_id, new.client_message_id)
        created = await tx.connection.fetchval(
            INSERT_SCHEDULED, scheduled_id, *place, sealed, new.reply_to, send_at, zone
        )
        if created is None:
            named = (actor.practice_id, actor.user_id, conversation_id, new.client_message_id)
            scheduled_id = await tx.connection.fetchval(FIND_SCHEDULED, *named)
        message = await tx.answer(await get_scheduled_message(tx.connection, sealer, actor, scheduled_id))
    if created is not None:
        tell_sender(live, actor.user_id, message)
    return Scheduled(message, created is not None)


async def change_scheduled_message(
    outbox: Outbox,
    live: Live,
    sealer: Sealer,
    actor: Actor,
    scheduled_id: UUID,
    changes: ScheduledMessageChanges,
    *,
    if_version: int | None = None,
) -> ScheduledMessage:
    """One that failed waits again. Raises NotFound, Conflict (it is sent), Invalid, PreconditionFailed."""
    async with outbox.transaction() as tx:
        before = await _lock_waiting(tx.connection, sealer, actor, scheduled_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("It was changed since you read it; read it again.")
        send_at, zone = before.send_at, before.timezone
        if changes.model_fields_set - {"body"}:
            send_at, zone = await _instant(tx.connection, actor, before.conversation_id, changes)
        elif before.status == "failed":
            send_at = max(send_at, datetime.now(UTC))
        body = changes.body if changes.body is not None else before.body
        if body is None:
            raise Invalid.field("body", "What it said can't be opened any more; write it anew.")
        sealed = sealer.seal(body.encode(), column=COLUMN, row_id=scheduled_id)
        await tx.connection.execute(UPDATE_SCHEDULED, actor.practice_id, scheduled_id, sealed, send_at, zone)
        message = await get_scheduled_message(tx.connection, sealer, actor, scheduled_id)
    tell_sender(live, actor.user_id, message)
    return message


async def cancel_scheduled_message(
    outbox: Outbox, live: Live, sealer: Sealer, actor: Actor, scheduled_id: UUID
) -> None:
    """Raises NotFound, Conflict (it is sent)."""
    async with outbox.transaction() as tx:
        before = await _lock_waiting(tx.connection, sealer, actor, scheduled_id)
        await tx.connection.execute(DELETE_SCHEDULED, actor.practice_id, scheduled_id)
    told = {"id": before.id, "conversation_id": before.conversation_id, "status": "cancelled"}
    live.publish([actor.user_id], "scheduled:changed", told)


def tell_sender(live: Live, sender_id: UUID, message: ScheduledMessage) -> None:
    """After the commit, to the sender's devices alone."""
    live.publish([sender_id], "scheduled:changed", message)


def scheduled_of(sealer: Sealer, row: Row) -> ScheduledMessage:
    """`row` may hold more than the message's own columns."""
    return ScheduledMessage(**{n: row[n] for n in ScheduledMessage.__slots__} | {"body": _opened(sealer, row)})


def _opened(sealer: Sealer, row: Row) -> str | None:
    if row["body"] is None:
        return None
    try:
        return sealer.unseal(row["body"], column=COLUMN, row_id=row["id"]).decode()
    except SealBroken:
        return None


async def _lock_waiting(connection: Connection, sealer: Sealer, actor: Actor, scheduled_id: UUID) -> ScheduledMessage:
    await connection.execute(LOCK_SCHEDULED, actor.practice_id, actor.user_id, scheduled_id)
    message = await get_scheduled_message(connection, sealer, actor, scheduled_id)
    if message.status in ("sending", "sent"):
        raise Conflict("It is sent already; edit or delete the message.", code="ALREADY_SENT")
    return message


async def _instant(
    connection: Connection, actor: Actor, conversation_id: UUID, when: When
) -> tuple[datetime, str | None]:
    """When to send, and by whose clock it was said. Raises NotFound for a conversation that the actor is not in."""
    conversation = await get_conversation(connection, actor, conversation_id)
    zone = when.timezone
    if when.send_at is not None:
        if when.local_date or when.local_time or zone:
            raise Invalid.field("send_at", "Goes without local_date, local_time and timezone.")
        return _checked("send_at", when.send_at), None
    if when.local_date is None or when.local_time is None:
        raise Invalid.field("send_at", "Give send_at, or local_date and local_time.")
    if zone is None and conversation.kind == "direct":
        (other,) = [m.user_id for m in conversation.members if m.user_id != actor.user_id]
        zone = await connection.fetchval(GET_ZONE, actor.practice_id, other)
    if zone is None:
        raise Invalid.field("timezone", "Name a time zone: the people of a group have their own.")
    wall = datetime.combine(when.local_date, time.fromisoformat(when.local_time), tzinfo=ZoneInfo(zone))
    return _checked("local_time", wall.astimezone(UTC)), zone


def _checked(field: str, at: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now < at <= now + LONGEST_WAIT:
        raise Invalid.field(field, "Must be in the future, and within a year.")
    return at
