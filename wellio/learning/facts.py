"""What the learner makes of an event: a fact about a client, a tick of a practice's clock, a setting, or nothing.

Active is what a client does (books or attends a session, writes, pays, logs in, records); what the coach or the system
does is context. Nothing here raises, whatever a payload holds: the learner may not stop at an event, nor skip one.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from wellio.consumers import recorded_at_s
from wellio.events import Event, EventType
from wellio.learning.inputs import (
    ACTIVITY,
    CLIENT_CREATED,
    CLIENT_ENDED,
    LOGGED_IN,
    MESSAGE_SENT,
    MISS_UNDONE,
    PAYMENT,
    REFUND,
    SESSION_ATTENDED,
    SESSION_BOOKED,
    SESSION_CANCELLED,
    SESSION_MISSED,
    Fact,
    Forget,
    HorizonSet,
    Input,
    Tick,
)

# A client in one of these is not expected: being silent then is no churn.
ENDING_STATUSES = frozenset({"paused", "archived"})
MAX_KIND_CHARS = 64


def input_of(event: Event) -> Input | None:
    """None for what is not learnt."""
    make = _MAKERS.get(event.type)
    return None if make is None else make(event)


def time_of(event: Event) -> float:
    """Unix seconds; never after the event was recorded, because a clock once moved forward stays there."""
    return min(event.occurred_at.timestamp(), recorded_at_s(event))


def _fact(event: Event, kind: str, *, active: bool, amount: float = 0.0) -> Fact | None:
    if event.client_id is None:
        return None
    return Fact(event.practice_id, event.client_id, time_of(event), kind, active, amount)


def _always(kind: str, *, active: bool) -> Callable[[Event], Input | None]:
    return lambda event: _fact(event, kind, active=active)


def _booked(event: Event) -> Input | None:
    """A booking is the client's unless the event says that it was made for them."""
    return _fact(event, SESSION_BOOKED, active=event.payload.get("by", "client") == "client")


def _message(event: Event) -> Input | None:
    return _fact(event, MESSAGE_SENT, active=event.payload.get("by") == "client")


def _payment(event: Event) -> Input | None:
    return _fact(event, PAYMENT, active=True, amount=_amount(event.payload))


def _refund(event: Event) -> Input | None:
    return _fact(event, REFUND, active=False, amount=_amount(event.payload))


def _activity(event: Event) -> Input | None:
    kind = event.payload.get("kind")
    known = kind if isinstance(kind, str) and 0 < len(kind) <= MAX_KIND_CHARS else ACTIVITY
    return _fact(event, known, active=event.payload.get("active") is True, amount=_amount(event.payload))


def _client_updated(event: Event) -> Input | None:
    """Only a change of status matters here, and only one that ends the programme."""
    status = event.payload.get("status")
    if not isinstance(status, str) or status not in ENDING_STATUSES:
        return None
    return _fact(event, CLIENT_ENDED, active=False)


def _measured(event: Event) -> Input | None:
    """Who records their own weight is there; what the coach records says nothing of the client."""
    return _fact(event, ACTIVITY, active=True) if event.payload.get("by") == "client" else None


def _miss_undone(event: Event) -> Input | None:
    """At the time of the miss, so that exactly this one is taken back. Older events don't say it: nothing is learnt."""
    missed_at = _moment(event.payload.get("missed_at"))
    if event.client_id is None or missed_at is None:
        return None
    t = min(missed_at.timestamp(), time_of(event))
    return Fact(event.practice_id, event.client_id, t, MISS_UNDONE, active=False)


def _erased(event: Event) -> Input | None:
    return None if event.client_id is None else Forget(event.practice_id, event.client_id, time_of(event))


def _horizon(event: Event) -> Input | None:
    days = _number(event.payload.get("churn_horizon_days"))
    return HorizonSet(event.practice_id, time_of(event), days) if days > 0 else None


def _tick(event: Event) -> Input | None:
    return Tick(event.practice_id, time_of(event))


def _amount(payload: dict[str, Any]) -> float:
    """Major units, as if every currency had a hundred minor ones: the learner only compares within a practice."""
    return _number(payload.get("amount_minor")) / 100.0


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0


_MAKERS: dict[EventType, Callable[[Event], Input | None]] = {
    EventType.PRACTICE_REGISTERED: _horizon,
    EventType.CLOCK_TICKED: _tick,
    EventType.CLIENT_CREATED: _always(CLIENT_CREATED, active=False),
    EventType.CLIENT_UPDATED: _client_updated,
    EventType.CLIENT_ERASED: _erased,
    EventType.MEASUREMENT_RECORDED: _measured,
    EventType.USER_LOGGED_IN: _always(LOGGED_IN, active=True),
    EventType.SESSION_BOOKED: _booked,
    EventType.SESSION_COMPLETED: _always(SESSION_ATTENDED, active=True),
    EventType.SESSION_MISSED: _always(SESSION_MISSED, active=False),
    EventType.SESSION_NO_SHOW_UNDONE: _miss_undone,
    EventType.SESSION_CANCELLED: _always(SESSION_CANCELLED, active=False),
    # A place in a group is to its client what a session alone with the coach is.
    EventType.PARTICIPANT_JOINED: _booked,
    EventType.PARTICIPANT_ATTENDED: _always(SESSION_ATTENDED, active=True),
    EventType.PARTICIPANT_MISSED: _always(SESSION_MISSED, active=False),
    EventType.PARTICIPANT_UNMARKED: _miss_undone,
    EventType.PARTICIPANT_LEFT: _always(SESSION_CANCELLED, active=False),
    EventType.MESSAGE_SENT: _message,
    EventType.PAYMENT_RECORDED: _payment,
    EventType.PAYMENT_REFUNDED: _refund,
    EventType.ACTIVITY_RECORDED: _activity,
}
