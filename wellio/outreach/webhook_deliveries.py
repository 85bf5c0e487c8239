"""What became of each event that a webhook was to be told of: the log, trying one again, and a test."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, NotFound
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.outreach.webhook_events import WebhookType, body_of
from wellio.outreach.webhooks import get_webhook
from wellio.pages import Page, PageQuery, page_of

KEEP_DAYS = 30
Status = Literal["waiting", "delivered", "failed"]

LIST_DELIVERIES = """
select id, webhook_id, event_id, type, subject_id, status, attempts, next_attempt_at, last_status, last_error,
       created_at, ended_at
from webhook_deliveries
where practice_id = $1 and webhook_id = $2
  and ($3::text is null or status = $3)
  and ($4::text is null or type = $4)
order by created_at desc, id desc
limit $5 offset $6
"""

COUNT_DELIVERIES = """
select count(*)
from webhook_deliveries
where practice_id = $1 and webhook_id = $2
  and ($3::text is null or status = $3)
  and ($4::text is null or type = $4)
"""

GET_DELIVERY = """
select id, webhook_id, event_id, type, subject_id, status, attempts, next_attempt_at, last_status, last_error,
       created_at, ended_at
from webhook_deliveries
where practice_id = $1 and webhook_id = $2 and id = $3
"""

GET_BODY = "select body from webhook_deliveries where practice_id = $1 and id = $2"

LIST_ATTEMPTS = """
select started_at, duration_ms, status, error, answer
from webhook_attempts
where practice_id = $1 and delivery_id = $2
order by started_at desc, id desc
limit 50
"""

# Its three days begin anew.
RESEND_DELIVERY = """
update webhook_deliveries
set status = 'waiting', ended_at = null, attempts = 0, next_attempt_at = now()
where practice_id = $1 and webhook_id = $2 and id = $3
returning id
"""

INSERT_TEST = """
insert into webhook_deliveries (id, practice_id, webhook_id, event_id, type, body)
values ($1, $2, $3, $1, $4, $5)
"""

DELETE_OLD_DELIVERIES = """
delete from webhook_deliveries where status <> 'waiting' and ended_at < now() - make_interval(days => $1)
"""


class DeliveryQuery(PageQuery):
    status: Status | None = None
    type: WebhookType | None = None


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """`id` is the `webhook-id` header. `last_error` says why the last attempt failed."""

    id: UUID
    webhook_id: UUID
    event_id: UUID
    type: WebhookType
    subject_id: UUID | None
    status: Status
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """`answer`: how the answer began. Without an answer there is neither status nor duration."""

    started_at: datetime
    duration_ms: int | None
    status: int | None
    error: str | None
    answer: str


@dataclass(frozen=True, slots=True)
class WebhookDeliveryDetail:
    """`body` as it is sent, byte for byte. Attempts the newest first, the last fifty."""

    id: UUID
    delivery: WebhookDelivery
    body: str
    attempts: Sequence[WebhookAttempt]


async def list_deliveries(db: Database, actor: Actor, webhook_id: UUID, query: DeliveryQuery) -> Page[WebhookDelivery]:
    """The newest first. Raises NotFound."""
    filters = (actor.practice_id, webhook_id, query.status, query.type and query.type.value)
    async with db.connection() as connection:
        await get_webhook(connection, actor, webhook_id)
        rows = await connection.fetch(LIST_DELIVERIES, *filters, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_DELIVERIES, *filters)
    return page_of([_delivery(row) for row in rows], query=query, total=total)


async def get_delivery(db: Database, actor: Actor, webhook_id: UUID, delivery_id: UUID) -> WebhookDeliveryDetail:
    """Raises NotFound."""
    async with db.connection() as connection:
        await get_webhook(connection, actor, webhook_id)
        delivery = await _find(connection, actor, webhook_id, delivery_id)
        body = await connection.fetchval(GET_BODY, actor.practice_id, delivery_id)
        rows = await connection.fetch(LIST_ATTEMPTS, actor.practice_id, delivery_id)
    return WebhookDeliveryDetail(delivery_id, delivery, body, [WebhookAttempt(**dict(row)) for row in rows])


async def resend_delivery(outbox: Outbox, actor: Actor, webhook_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Tries it again soon, under the same id. Raises NotFound, and Conflict for a webhook that is off."""
    async with outbox.transaction() as tx:
        await _must_be_on(tx.connection, actor, webhook_id)
        if await tx.connection.fetchval(RESEND_DELIVERY, actor.practice_id, webhook_id, delivery_id) is None:
            raise NotFound("No such delivery.")
        return await tx.answer(await _find(tx.connection, actor, webhook_id, delivery_id))


async def send_test(outbox: Outbox, actor: Actor, webhook_id: UUID, *, once: Once | None = None) -> WebhookDelivery:
    """Queues a `webhook.test`, whatever types it wants. Raises NotFound, and Conflict for a webhook that is off."""
    delivery_id = uuid7()
    body = body_of(WebhookType.TEST, datetime.now(UTC), {"webhook_id": webhook_id})
    async with outbox.transaction(once) as tx:
        await _must_be_on(tx.connection, actor, webhook_id)
        await tx.connection.execute(
            INSERT_TEST, delivery_id, actor.practice_id, webhook_id, WebhookType.TEST.value, body
        )
        return await tx.answer(await _find(tx.connection, actor, webhook_id, delivery_id))


async def _must_be_on(connection: Connection, actor: Actor, webhook_id: UUID) -> None:
    if not (await get_webhook(connection, actor, webhook_id)).enabled:
        raise Conflict('The webhook is off; turn it on with PATCH {"enabled": true}.', code="WEBHOOK_DISABLED")


async def _find(connection: Connection, actor: Actor, webhook_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    row = await connection.fetchrow(GET_DELIVERY, actor.practice_id, webhook_id, delivery_id)
    if row is None:
        raise NotFound("No such delivery.")
    return _delivery(row)


def _delivery(row: Row) -> WebhookDelivery:
    waits = row["status"] == "waiting"
    values = dict(row) | {"next_attempt_at": row["next_attempt_at"] if waits else None}
    return WebhookDelivery(**values | {"type": WebhookType(row["type"])})
