"""Which events webhooks tell of, under which names and with what: ids, times, money and kinds.

Health data, notes, messages and whatever else somebody wrote never leave by a webhook; who needs them reads them over
the API, and is audited there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from wellio.consumers import is_history
from wellio.db import Connection, Row
from wellio.encoding import to_json
from wellio.events import Event, EventType
from wellio.ids import uuid7

LIST_LISTENERS = """
select id, practice_id, event_types
from webhooks
where practice_id = any($1::uuid[]) and disabled_at is null
"""

# Of an event that is older than the webhook nothing is told; of one that was told of already, nothing again.
INSERT_DELIVERIES = """
insert into webhook_deliveries (id, practice_id, webhook_id, event_id, type, subject_id, subject_version, body)
select t.id, w.practice_id, w.id, t.event_id, t.type, t.subject_id, t.subject_version, t.body
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::integer[], $7::text[])
     with ordinality t (id, webhook_id, event_id, type, subject_id, subject_version, body, place)
join webhooks w on w.id = t.webhook_id
join events e on e.id = t.event_id and e.recorded_at >= w.created_at
order by t.place
on conflict on constraint webhook_deliveries_event_key do nothing
"""


class WebhookType(StrEnum):
    SESSION_HELD = "session.held"
    SESSION_HOLD_ENDED = "session.hold_ended"
    SESSION_BOOKED = "session.booked"
    SESSION_RESCHEDULED = "session.rescheduled"
    SESSION_UPDATED = "session.updated"
    SESSION_STARTED = "session.started"
    SESSION_COMPLETED = "session.completed"
    SESSION_MISSED = "session.missed"
    SESSION_NO_SHOW_UNDONE = "session.no_show_undone"
    SESSION_CANCELLED = "session.cancelled"
    PARTICIPANT_JOINED = "participant.joined"
    PARTICIPANT_LEFT = "participant.left"
    PARTICIPANT_ATTENDED = "participant.attended"
    PARTICIPANT_MISSED = "participant.missed"
    PARTICIPANT_UNMARKED = "participant.unmarked"
    WAITLIST_JOINED = "waitlist.joined"
    WAITLIST_LEFT = "waitlist.left"
    WAITLIST_OFFERED = "waitlist.offered"
    WAITLIST_OFFER_EXPIRED = "waitlist.offer_expired"
    CLIENT_CREATED = "client.created"
    CLIENT_UPDATED = "client.updated"
    PAYMENT_RECORDED = "payment.recorded"
    PAYMENT_REFUNDED = "payment.refunded"
    PAYMENT_VOIDED = "payment.voided"
    SUBSCRIPTION_STARTED = "subscription.started"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    PACKAGE_PURCHASED = "package.purchased"
    TEST = "webhook.test"


@dataclass(frozen=True, slots=True)
class Telling:
    """`subject`: what the id of the event's subject is called. `names`: what of its payload is told."""

    type: WebhookType
    subject: str
    names: tuple[str, ...]


_SESSION = ("status", "coach_id", "starts_at", "ends_at", "by", "version", "sequence", "series_id")
_PLACE = ("status", "coach_id", "starts_at", "ends_at", "by", "version")
_WAITING = ("coach_id", "starts_at", "ends_at", "by", "version")
_PAYMENT = ("amount_minor", "currency")
_SUBSCRIPTION = ("plan_id", "status", "price_minor", "currency")

TELLINGS: Mapping[EventType, Telling] = {
    EventType.SESSION_HELD: Telling(WebhookType.SESSION_HELD, "session_id", _SESSION),
    EventType.SESSION_HOLD_ENDED: Telling(WebhookType.SESSION_HOLD_ENDED, "session_id", _SESSION),
    EventType.SESSION_BOOKED: Telling(WebhookType.SESSION_BOOKED, "session_id", _SESSION),
    EventType.SESSION_RESCHEDULED: Telling(
        WebhookType.SESSION_RESCHEDULED, "session_id", (*_SESSION, "previous_start_at", "previous_ends_at")
    ),
    EventType.SESSION_UPDATED: Telling(WebhookType.SESSION_UPDATED, "session_id", _SESSION),
    EventType.SESSION_STARTED: Telling(WebhookType.SESSION_STARTED, "session_id", _SESSION),
    EventType.SESSION_COMPLETED: Telling(WebhookType.SESSION_COMPLETED, "session_id", _SESSION),
    EventType.SESSION_MISSED: Telling(WebhookType.SESSION_MISSED, "session_id", _SESSION),
    EventType.SESSION_NO_SHOW_UNDONE: Telling(WebhookType.SESSION_NO_SHOW_UNDONE, "session_id", _SESSION),
    EventType.SESSION_CANCELLED: Telling(WebhookType.SESSION_CANCELLED, "session_id", _SESSION),
    EventType.PARTICIPANT_JOINED: Telling(WebhookType.PARTICIPANT_JOINED, "session_id", _PLACE),
    EventType.PARTICIPANT_LEFT: Telling(WebhookType.PARTICIPANT_LEFT, "session_id", _PLACE),
    EventType.PARTICIPANT_ATTENDED: Telling(WebhookType.PARTICIPANT_ATTENDED, "session_id", _PLACE),
    EventType.PARTICIPANT_MISSED: Telling(WebhookType.PARTICIPANT_MISSED, "session_id", _PLACE),
    EventType.PARTICIPANT_UNMARKED: Telling(WebhookType.PARTICIPANT_UNMARKED, "session_id", _PLACE),
    EventType.WAITLIST_JOINED: Telling(WebhookType.WAITLIST_JOINED, "session_id", _WAITING),
    EventType.WAITLIST_LEFT: Telling(WebhookType.WAITLIST_LEFT, "session_id", (*_WAITING, "ended")),
    EventType.WAITLIST_OFFERED: Telling(WebhookType.WAITLIST_OFFERED, "session_id", (*_WAITING, "expires_at")),
    EventType.WAITLIST_OFFER_EXPIRED: Telling(WebhookType.WAITLIST_OFFER_EXPIRED, "session_id", _WAITING),
    EventType.CLIENT_CREATED: Telling(WebhookType.CLIENT_CREATED, "client_id", ()),
    EventType.CLIENT_UPDATED: Telling(WebhookType.CLIENT_UPDATED, "client_id", ("changed", "status")),
    EventType.PAYMENT_RECORDED: Telling(WebhookType.PAYMENT_RECORDED, "payment_id", _PAYMENT),
    EventType.PAYMENT_REFUNDED: Telling(WebhookType.PAYMENT_REFUNDED, "payment_id", _PAYMENT),
    EventType.PAYMENT_VOIDED: Telling(WebhookType.PAYMENT_VOIDED, "payment_id", _PAYMENT),
    EventType.SUBSCRIPTION_STARTED: Telling(WebhookType.SUBSCRIPTION_STARTED, "subscription_id", _SUBSCRIPTION),
    EventType.SUBSCRIPTION_CHANGED: Telling(WebhookType.SUBSCRIPTION_CHANGED, "subscription_id", _SUBSCRIPTION),
    EventType.PACKAGE_PURCHASED: Telling(
        WebhookType.PACKAGE_PURCHASED, "purchase_id", ("package_id", "credits", "price_minor", "currency")
    ),
}


async def queue_deliveries(connection: Connection, events: Sequence[Event]) -> None:
    """A delivery of each event to each webhook that wants it, once."""
    told = [event for event in events if event.type in TELLINGS and not _is_brought_in(event)]
    listeners = await connection.fetch(LIST_LISTENERS, list({event.practice_id for event in told}))
    pairs = [(event, row["id"]) for event in told for row in listeners if _wants(row, event)]
    columns: list[list[Any]] = [
        [uuid7() for _ in pairs],
        [webhook_id for _, webhook_id in pairs],
        [event.id for event, _ in pairs],
        [TELLINGS[event.type].type.value for event, _ in pairs],
        [event.subject_id for event, _ in pairs],
        [event.payload.get("version", 0) for event, _ in pairs],
        [body_of_event(event) for event, _ in pairs],
    ]
    if pairs:
        await connection.execute(INSERT_DELIVERIES, *columns)


def body_of_event(event: Event) -> str:
    telling = TELLINGS[event.type]
    ids: dict[str, UUID | None] = {telling.subject: event.subject_id, "client_id": event.client_id}
    data = ids | {name: event.payload[name] for name in telling.names if name in event.payload}
    return body_of(telling.type, event.occurred_at, data)


def body_of(kind: WebhookType, timestamp: Any, data: Mapping[str, Any]) -> str:
    return to_json({"type": kind.value, "timestamp": timestamp, "data": data}).decode()


def _wants(listener: Row, event: Event) -> bool:
    types = listener["event_types"]
    return listener["practice_id"] == event.practice_id and (types is None or TELLINGS[event.type].type in types)


def _is_brought_in(event: Event) -> bool:
    """Of an import or a replay. What somebody enters by hand is news, though it happened a while ago."""
    return event.actor_id is None and is_history(event)
