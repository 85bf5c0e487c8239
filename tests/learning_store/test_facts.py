"""What the learner makes of an event, whatever the event holds."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellio.events import Event, EventType
from wellio.learning.churn import Learner
from wellio.learning.facts import input_of, time_of
from wellio.learning.inputs import Fact, HorizonSet, Tick

PRACTICE, CLIENT = UUID(int=1), UUID(int=2)
THEN = datetime(2024, 5, 1, 12, tzinfo=UTC)


def event(type_: EventType, *, client: UUID | None = CLIENT, at: datetime = THEN, **payload: Any) -> Event:
    return Event(type=type_, practice_id=PRACTICE, client_id=client, occurred_at=at, payload=payload)


@pytest.mark.parametrize(
    ("given_", "kind", "active", "amount"),
    [
        (event(EventType.CLIENT_CREATED), "client_created", False, 0.0),
        (event(EventType.CLIENT_UPDATED, status="paused"), "client_ended", False, 0.0),
        (event(EventType.USER_LOGGED_IN), "logged_in", True, 0.0),
        (event(EventType.SESSION_BOOKED), "session_booked", True, 0.0),
        (event(EventType.SESSION_BOOKED, by="coach"), "session_booked", False, 0.0),
        (event(EventType.SESSION_COMPLETED), "session_attended", True, 0.0),
        (event(EventType.SESSION_MISSED), "session_missed", False, 0.0),
        (event(EventType.SESSION_CANCELLED), "session_cancelled", False, 0.0),
        (event(EventType.PARTICIPANT_JOINED, by="client"), "session_booked", True, 0.0),
        (event(EventType.PARTICIPANT_JOINED, by="waitlist"), "session_booked", False, 0.0),
        (event(EventType.PARTICIPANT_ATTENDED), "session_attended", True, 0.0),
        (event(EventType.PARTICIPANT_MISSED), "session_missed", False, 0.0),
        (event(EventType.PARTICIPANT_LEFT), "session_cancelled", False, 0.0),
        (event(EventType.MESSAGE_SENT, by="client"), "message_sent", True, 0.0),
        (event(EventType.MESSAGE_SENT, by="owner"), "message_sent", False, 0.0),
        (event(EventType.PAYMENT_RECORDED, amount_minor=13912), "payment", True, 139.12),
        (event(EventType.PAYMENT_REFUNDED, amount_minor=500), "refund", False, 5.0),
        (event(EventType.ACTIVITY_RECORDED, kind="yoga", active=True, amount_minor=100), "yoga", True, 1.0),
        (event(EventType.ACTIVITY_RECORDED, kind=7, active="yes"), "activity", False, 0.0),
    ],
)
def test_event_of_a_client_is_a_fact(given_: Event, kind: str, active: bool, amount: float) -> None:
    assert input_of(given_) == Fact(PRACTICE, CLIENT, THEN.timestamp(), kind, active, amount)


@pytest.mark.parametrize(
    "kind", [EventType.SESSION_RESCHEDULED, EventType.SESSION_STARTED, EventType.CONVERSATION_STARTED]
)
def test_some_events_are_not_learnt(kind: EventType) -> None:
    assert input_of(event(kind)) is None


@pytest.mark.parametrize("kind", [EventType.USER_LOGGED_IN, EventType.MESSAGE_SENT, EventType.SESSION_COMPLETED])
def test_event_of_nobodys_is_not_learnt(kind: EventType) -> None:
    """An owner signs in, coaches write to each other, a group session has no client of its own."""
    assert input_of(event(kind, client=None)) is None


@pytest.mark.parametrize("kind", [EventType.SESSION_NO_SHOW_UNDONE, EventType.PARTICIPANT_UNMARKED])
def test_miss_is_taken_back_at_its_own_time(kind: EventType) -> None:
    missed_at = THEN - timedelta(days=3)
    undone = input_of(event(kind, missed_at=missed_at.isoformat()))
    assert undone == Fact(PRACTICE, CLIENT, missed_at.timestamp(), "miss_undone", False)
    for nonsense in (None, "yesterday", 7):
        assert input_of(event(kind, missed_at=nonsense)) is None
    assert input_of(event(kind, client=None, missed_at=missed_at.isoformat())) is None


def test_status_ends_a_programme_only_where_it_does() -> None:
    assert input_of(event(EventType.CLIENT_UPDATED, changed=["tags"])) is None
    assert input_of(event(EventType.CLIENT_UPDATED, status="active")) is None


def test_practice_and_clock() -> None:
    registered = event(EventType.PRACTICE_REGISTERED, client=None, churn_horizon_days=45)
    assert input_of(registered) == HorizonSet(PRACTICE, THEN.timestamp(), 45.0)
    assert input_of(event(EventType.PRACTICE_REGISTERED, client=None)) is None
    assert input_of(event(EventType.CLOCK_TICKED, client=None)) == Tick(PRACTICE, THEN.timestamp())


def test_time_never_lies_after_the_record() -> None:
    """A clock once moved forward stays there."""
    ahead = event(EventType.CLOCK_TICKED, at=datetime.now(UTC) + timedelta(days=400))
    assert time_of(ahead) <= datetime.now(UTC).timestamp()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["missed_at", "kind", "active", "amount_minor", "by", "status", "churn_horizon_days", "starts_at"]
)
TIMES = st.integers(-70 * 365, 230 * 365).map(lambda days: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days))


@given(st.lists(st.tuples(st.sampled_from(EventType), st.dictionaries(KEYS, JSON), TIMES), max_size=12))
def test_nothing_that_a_log_may_hold_stops_the_learner(log: list[tuple[EventType, dict[str, Any], datetime]]) -> None:
    learner = Learner()
    for kind, payload, at in log:
        item = input_of(event(kind, at=at, **payload))
        if item is not None:
            learner.apply_all([item])
    learner.predict(learner.drain_changed())
    learner.drain_outcomes()
    assert Learner.load(learner.dump()).dump() == learner.dump()
