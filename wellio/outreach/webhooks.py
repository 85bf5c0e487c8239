"""Webhooks: addresses that a practice wants its events told to. `webhook_sender.py` tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.ids import uuid7
from wellio.mails import MailKind, queue_mail
from wellio.outbox import Outbox, Transaction
from wellio.outgoing import OutgoingRules, checked_url
from wellio.outreach.webhook_events import WebhookType
from wellio.outreach.webhook_signatures import make_secret
from wellio.pages import Page, PageQuery, fetch_page
from wellio.sealing import Sealer
from wellio.values import Flag, Input, Line, changed_values

MAX_WEBHOOKS = 20
OWNERS = frozenset({Role.OWNER})
SECRET, FORMER_SECRET = "webhooks.secret", "webhooks.former_secret"
FORMER_SERVES = "24 hours"
NOT_FOUND = "No such webhook."
DisabledReason = Literal["by_hand", "gone", "failing"]

LIST_WEBHOOKS = """
select id, url, description, event_types, disabled_at, disabled_reason, failures, failing_since, last_attempt_at,
       former_until, version, created_at, updated_at
from webhooks
where practice_id = $1
order by created_at, id
limit $2 offset $3
"""

COUNT_WEBHOOKS = "select count(*) from webhooks where practice_id = $1"

# So that those made at once are counted one after the other: a statement of its own, for the count to see what the
# one before has made.
LOCK_PRACTICE = "select id from practices where id = $1 for no key update"

GET_WEBHOOK = """
select id, url, description, event_types, disabled_at, disabled_reason, failures, failing_since, last_attempt_at,
       former_until, version, created_at, updated_at
from webhooks
where practice_id = $1 and id = $2
"""

LOCK_WEBHOOK = """
select id, url, description, event_types, disabled_at, disabled_reason, failures, failing_since, last_attempt_at,
       former_until, version, created_at, updated_at
from webhooks
where practice_id = $1 and id = $2
for update
"""

INSERT_WEBHOOK = """
insert into webhooks (id, practice_id, url, description, event_types, secret)
values ($1, $2, $3, $4, $5, $6)
"""

UPDATE_WEBHOOK = """
update webhooks
set url = $3, description = $4, event_types = $5, version = version + 1, updated_at = now()
where practice_id = $1 and id = $2
"""

ENABLE_WEBHOOK = """
update webhooks
set disabled_at = null, disabled_reason = null, failures = 0, failing_since = null, free_at = now()
where practice_id = $1 and id = $2
"""

DISABLE_WEBHOOK = """
update webhooks
set disabled_at = now(), disabled_reason = $3, version = version + 1, updated_at = now()
where practice_id = $1 and id = $2 and disabled_at is null
returning id
"""

FAIL_WAITING = """
update webhook_deliveries
set status = 'failed', ended_at = now(), last_error = 'The webhook was turned off.'
where practice_id = $1 and webhook_id = $2 and status = 'waiting'
"""

DELETE_WEBHOOK = "delete from webhooks where practice_id = $1 and id = $2 returning id"

LOCK_SIGNING_KEY = "select secret from webhooks where practice_id = $1 and id = $2 for update"

ROTATE_SIGNING_KEY = """
update webhooks
set secret = $3, former_secret = $4, former_until = now() + $5::text::interval, version = version + 1,
    updated_at = now()
where practice_id = $1 and id = $2
"""

LIST_OWNERS = "select id, email from users where practice_id = $1 and role = 'owner' and status = 'active'"

WebhookUrl = Annotated[str, Field(max_length=2000, examples=["https://hooks.example.com/wellio"])]
WebhookTypes = Annotated[tuple[WebhookType, ...], Field(min_length=1, max_length=len(WebhookType))]


class NewWebhook(Input):
    """`event_types`: which to tell; left out: all, also those that a later version adds."""

    url: WebhookUrl
    event_types: WebhookTypes | None = None
    description: Line = ""


class WebhookChanges(Input):
    """Only the named fields change; `event_types` null: all. `enabled` false: nothing is told, and what waits never."""

    url: WebhookUrl | None = None
    event_types: WebhookTypes | None = None
    description: Line | None = None
    enabled: Flag | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """`failing_since`: no attempt has succeeded since. `former_signs_until`: the secret before still signs as well."""

    id: UUID
    url: str
    description: str
    event_types: Sequence[WebhookType] | None
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: DisabledReason | None
    failures: int
    failing_since: datetime | None
    last_attempt_at: datetime | None
    former_signs_until: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """`secret` signs, as Standard Webhooks says. It is shown this once."""

    id: UUID
    secret: str
    webhook: Webhook


async def list_webhooks(db: Database, actor: Actor, query: PageQuery) -> Page[Webhook]:
    actor.must_be(OWNERS)
    return await fetch_page(db, query, LIST_WEBHOOKS, COUNT_WEBHOOKS, (actor.practice_id,), _webhook)


async def get_webhook(db: Database | Connection, actor: Actor, webhook_id: UUID) -> Webhook:
    """Raises NotFound."""
    actor.must_be(OWNERS)
    row = await db.fetchrow(GET_WEBHOOK, actor.practice_id, webhook_id)
    if row is None:
        raise NotFound(NOT_FOUND)
    return _webhook(row)


async def create_webhook(
    outbox: Outbox, sealer: Sealer, actor: Actor, new: NewWebhook, *, rules: OutgoingRules
) -> WebhookSecret:
    """Raises Invalid for an address that is not called, and Conflict for one too many."""
    actor.must_be(OWNERS)
    url = _url(new.url, rules)
    webhook_id, secret = uuid7(), make_secret()
    sealed = sealer.seal(secret.encode(), column=SECRET, row_id=webhook_id)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_PRACTICE, actor.practice_id)
        if await tx.connection.fetchval(COUNT_WEBHOOKS, actor.practice_id) >= MAX_WEBHOOKS:
            raise Conflict(f"There are {MAX_WEBHOOKS} webhooks; delete those not used.", code="TOO_MANY_WEBHOOKS")
        await tx.connection.execute(
            INSERT_WEBHOOK, webhook_id, actor.practice_id, url, new.description, _types(new.event_types), sealed
        )
        # The answer is not kept for repeats: it holds the secret.
        return await tx.answer(WebhookSecret(webhook_id, secret, await get_webhook(tx.connection, actor, webhook_id)))


async def change_webhook(
    outbox: Outbox,
    actor: Actor,
    webhook_id: UUID,
    changes: WebhookChanges,
    *,
    rules: OutgoingRules,
    if_version: int | None = None,
) -> Webhook:
    """Raises NotFound, Invalid, PreconditionFailed."""
    actor.must_be(OWNERS)
    values = _changed_values(changes, rules)
    async with outbox.transaction() as tx:
        before = await _lock(tx, actor, webhook_id, if_version)
        after = [values.get(name, getattr(before, name)) for name in ("url", "description", "event_types")]
        await tx.connection.execute(UPDATE_WEBHOOK, actor.practice_id, webhook_id, *after)
        if changes.enabled is True and not before.enabled:
            await tx.connection.execute(ENABLE_WEBHOOK, actor.practice_id, webhook_id)
        if changes.enabled is False:
            await _disable(tx.connection, actor.practice_id, webhook_id, "by_hand")
        return await get_webhook(tx.connection, actor, webhook_id)


async def delete_webhook(outbox: Outbox, actor: Actor, webhook_id: UUID) -> None:
    """With its deliveries. Raises NotFound."""
    actor.must_be(OWNERS)
    async with outbox.transaction() as tx:
        if await tx.connection.fetchval(DELETE_WEBHOOK, actor.practice_id, webhook_id) is None:
            raise NotFound(NOT_FOUND)


async def rotate_secret(outbox: Outbox, sealer: Sealer, actor: Actor, webhook_id: UUID) -> WebhookSecret:
    """A new secret; for a day the one before signs as well. Raises NotFound."""
    actor.must_be(OWNERS)
    secret = make_secret()
    sealed = sealer.seal(secret.encode(), column=SECRET, row_id=webhook_id)
    async with outbox.transaction() as tx:
        before = await tx.connection.fetchval(LOCK_SIGNING_KEY, actor.practice_id, webhook_id)
        if before is None:
            raise NotFound(NOT_FOUND)
        former = sealer.seal(
            sealer.unseal(before, column=SECRET, row_id=webhook_id), column=FORMER_SECRET, row_id=webhook_id
        )
        await tx.connection.execute(ROTATE_SIGNING_KEY, actor.practice_id, webhook_id, sealed, former, FORMER_SERVES)
        return await tx.answer(WebhookSecret(webhook_id, secret, await get_webhook(tx.connection, actor, webhook_id)))


async def give_up(tx: Transaction, practice_id: UUID, webhook_id: UUID, reason: DisabledReason) -> bool:
    """Turns off what does not answer, and tells the owners; False when it was off already."""
    if not await _disable(tx.connection, practice_id, webhook_id, reason):
        return False
    tx.record(
        Event(
            type=EventType.WEBHOOK_DISABLED,
            practice_id=practice_id,
            subject_id=webhook_id,
            payload={"reason": reason},
        )
    )
    for owner in await tx.connection.fetch(LIST_OWNERS, practice_id):
        await queue_mail(
            tx.connection,
            MailKind.WEBHOOK_DISABLED,
            owner["email"],
            practice_id=practice_id,
            user_id=owner["id"],
            data={"webhook_id": webhook_id, "reason": reason},
        )
    return True


async def _disable(connection: Connection, practice_id: UUID, webhook_id: UUID, reason: DisabledReason) -> bool:
    disabled = await connection.fetchval(DISABLE_WEBHOOK, practice_id, webhook_id, reason)
    await connection.execute(FAIL_WAITING, practice_id, webhook_id)
    return disabled is not None


async def _lock(tx: Transaction, actor: Actor, webhook_id: UUID, if_version: int | None) -> Webhook:
    row = await tx.connection.fetchrow(LOCK_WEBHOOK, actor.practice_id, webhook_id)
    if row is None:
        raise NotFound(NOT_FOUND)
    if if_version is not None and if_version != row["version"]:
        raise PreconditionFailed("The webhook was changed since you read it; read it again.")
    return _webhook(row)


def _changed_values(changes: WebhookChanges, rules: OutgoingRules) -> Mapping[str, Any]:
    values = changed_values(changes, clearable=("event_types",))
    if "url" in values:
        values["url"] = _url(values["url"], rules)
    if "event_types" in values:
        values["event_types"] = _types(values["event_types"])
    return values


def _url(url: str, rules: OutgoingRules) -> str:
    try:
        return checked_url(url.strip(), rules)
    except ValueError as error:
        raise Invalid.field("url", f"The address {error}.") from None


def _types(event_types: Sequence[WebhookType] | None) -> list[str] | None:
    return None if event_types is None else sorted({kind.value for kind in event_types})


def _webhook(row: Row) -> Webhook:
    types = row["event_types"]
    return Webhook(
        id=row["id"],
        url=row["url"],
        description=row["description"],
        event_types=None if types is None else [WebhookType(kind) for kind in types],
        enabled=row["disabled_at"] is None,
        disabled_at=row["disabled_at"],
        disabled_reason=row["disabled_reason"],
        failures=row["failures"],
        failing_since=row["failing_since"],
        last_attempt_at=row["last_attempt_at"],
        former_signs_until=row["former_until"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
