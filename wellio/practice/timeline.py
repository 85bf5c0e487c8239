"""What happened with a client, newest first, read from the event log: what kind of thing, when, and by whom.

The log holds nothing that anybody wrote, and so does the timeline. Clients see what they took part in; what staff do
among themselves (notes, tags, edits of a profile) they don't, nor any type of event that is not named for them here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from wellio.accounts.actors import Actor, Role
from wellio.db import Database, Row
from wellio.errors import Invalid
from wellio.events import EventType
from wellio.practice.clients import get_client
from wellio.values import Input

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"(-?\d{1,17})\.(-?\d{1,19})")
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")

# The index events_client_idx, from the cursor on.
LIST_TIMELINE = """
select e.id, e.type, e.occurred_at, e.position, e.actor_id, u.name as actor_name, e.subject_id, e.payload
from events e
left join users u on u.practice_id = e.practice_id and u.id = e.actor_id
where e.practice_id = $1 and e.client_id = $2
  and ($3::text[] is null or e.type = any($3))
  and ($4::timestamptz is null or (e.occurred_at, e.position) < ($4, $5::bigint))
order by e.occurred_at desc, e.position desc
limit $6
"""

Kind = Literal["sessions", "payments", "messages", "notes", "goals", "measurements", "profile"]

# By how the names of their events begin.
KINDS: Mapping[Kind, tuple[str, ...]] = {
    "sessions": ("Session", "Series"),
    "payments": ("Payment", "Subscription", "Package", "Charge", "ClientCharged", "Credit"),
    "messages": ("Message",),
    "notes": ("Note",),
    "goals": ("Goal",),
    "measurements": ("Measurement",),
    "profile": ("ClientCreated", "ClientUpdated", "UserLoggedIn"),
}

SHOWN_TO_CLIENTS = (
    EventType.SESSION_BOOKED,
    EventType.SESSION_RESCHEDULED,
    EventType.SESSION_STARTED,
    EventType.SESSION_COMPLETED,
    EventType.SESSION_MISSED,
    EventType.SESSION_NO_SHOW_UNDONE,
    EventType.SESSION_CANCELLED,
    EventType.SERIES_BOOKED,
    EventType.SERIES_MOVED,
    EventType.SERIES_CANCELLED,
    EventType.PAYMENT_RECORDED,
    EventType.PAYMENT_REFUNDED,
    EventType.PAYMENT_VOIDED,
    EventType.SUBSCRIPTION_STARTED,
    EventType.SUBSCRIPTION_CHANGED,
    EventType.PACKAGE_PURCHASED,
    EventType.MESSAGE_SENT,
    EventType.GOAL_CHANGED,
    EventType.MEASUREMENT_RECORDED,
    EventType.MEASUREMENT_DELETED,
)

# Others are told by the words of their names: "Payment voided".
TEXTS: Mapping[str, str] = {
    EventType.CLIENT_CREATED: "Added as a client",
    EventType.CLIENT_UPDATED: "Profile changed",
    EventType.USER_LOGGED_IN: "Logged in",
    EventType.SESSION_MISSED: "Session missed",
    EventType.SESSION_NO_SHOW_UNDONE: "Attended after all",
    EventType.SERIES_BOOKED: "Series of sessions booked",
    EventType.SERIES_MOVED: "Series of sessions moved",
    EventType.SERIES_CANCELLED: "Series of sessions cancelled",
    EventType.MESSAGE_SENT: "Message sent",
    EventType.MEASUREMENT_RECORDED: "Measurement recorded",
}
TEXTS_BY_HOW: Mapping[tuple[str, str], str] = {
    (EventType.NOTE_CHANGED, "added"): "Note written",
    (EventType.NOTE_CHANGED, "deleted"): "Note deleted",
    (EventType.GOAL_CHANGED, "added"): "Goal set",
    (EventType.GOAL_CHANGED, "progressed"): "Progress towards a goal",
}
TEXTS_BY_STATUS: Mapping[tuple[str, str], str] = {
    (EventType.CLIENT_UPDATED, "archived"): "Archived",
    (EventType.CLIENT_UPDATED, "active"): "Became active",
    (EventType.CLIENT_UPDATED, "paused"): "Paused",
    (EventType.CLIENT_UPDATED, "churned"): "Left",
    (EventType.SESSION_CANCELLED, "late_cancelled"): "Session cancelled late",
    (EventType.SESSION_CANCELLED, "cancelled_by_coach"): "Session cancelled by the coach",
    (EventType.GOAL_CHANGED, "achieved"): "Goal achieved",
    (EventType.GOAL_CHANGED, "abandoned"): "Goal given up",
}

# Of a payload, what is shown.
DETAILS = ("starts_at", "ends_at", "status", "amount_minor", "price_minor", "credits", "currency", "kind")
STAFF_DETAILS = (*DETAILS, "changed")


class TimelineQuery(Input):
    """`before`: the `next_before` of the answer before."""

    before: Annotated[str, StringConstraints(max_length=60)] | None = None
    kind: Kind | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """`text` for people, `type` for programs. `subject_id`: the session, payment, note… `actor_*` null: the system."""

    id: UUID
    type: str
    at: datetime
    text: str
    actor_id: UUID | None
    actor_name: str | None
    subject_id: UUID | None
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Timeline:
    """`next_before`: where the older ones begin; null when there are none."""

    client_id: UUID
    entries: Sequence[TimelineEntry]
    next_before: str | None


async def read_timeline(db: Database, actor: Actor, client_id: UUID, query: TimelineQuery) -> Timeline:
    """Raises NotFound, and Invalid for a cursor that was never one of ours."""
    before = _place(query.before) if query.before is not None else (None, None)
    types = _types(actor, query.kind)
    async with db.connection() as connection:
        await get_client(connection, actor, client_id)
        # one more tells whether there is more
        rows = await connection.fetch(LIST_TIMELINE, actor.practice_id, client_id, types, *before, query.limit + 1)
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return Timeline(client_id, [_entry(actor, row) for row in shown], _cursor(shown[-1]) if more else None)


def _types(actor: Actor, kind: Kind | None) -> list[str] | None:
    """Which types of events; None for all."""
    types: Sequence[EventType] = SHOWN_TO_CLIENTS if actor.role is Role.CLIENT else tuple(EventType)
    if kind is not None:
        return [t.value for t in types if t.value.startswith(KINDS[kind])]
    return [t.value for t in types] if actor.role is Role.CLIENT else None


def text_of(kind: str, payload: Mapping[str, Any]) -> str:
    """In a few words, for people."""
    for texts, word in ((TEXTS_BY_STATUS, payload.get("status")), (TEXTS_BY_HOW, payload.get("how"))):
        if isinstance(word, str) and (kind, word) in texts:
            return texts[kind, word]
    return TEXTS.get(kind) or _WORD.sub(" ", kind).capitalize()


def _entry(actor: Actor, row: Row) -> TimelineEntry:
    payload = row["payload"]
    names = DETAILS if actor.role is Role.CLIENT else STAFF_DETAILS
    return TimelineEntry(
        id=row["id"],
        type=row["type"],
        at=row["occurred_at"],
        text=text_of(row["type"], payload),
        actor_id=row["actor_id"],
        actor_name=row["actor_name"],
        subject_id=row["subject_id"],
        details={name: payload[name] for name in names if name in payload},
    )


def _cursor(row: Row) -> str:
    return f"{(row['occurred_at'] - EPOCH) // timedelta(microseconds=1)}.{row['position']}"


def _place(cursor: str) -> tuple[datetime, int]:
    match = _CURSOR.fullmatch(cursor)
    try:
        if match is None or abs(int(match[2])) >= 2**63:
            raise OverflowError
        return EPOCH + timedelta(microseconds=int(match[1])), int(match[2])
    except OverflowError:
        raise Invalid.field("query.before", "Send next_before of the answer before, as it is.") from None
