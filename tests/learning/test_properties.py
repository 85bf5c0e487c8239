"""Whatever comes in, in whatever order: the learner stays sane and deterministic."""

import math
from uuid import UUID

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learning.histories import START
from wellio.learning.answers import Key, Outcome
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY
from wellio.learning.inputs import Fact, Forget, HorizonSet, Input, Tick
from wellio.learning.questions import join

PRACTICES = [UUID(int=i) for i in (1, 2)]
CLIENTS = [UUID(int=i << 70) for i in range(1, 6)]
KINDS = [
    "session_booked",
    "session_attended",
    "session_missed",
    "session_cancelled",
    "message_sent",
    "payment",
    "refund",
    "client_created",
    "client_ended",
    "anything else",
]

any_float = st.floats(allow_nan=True, allow_infinity=True)
times = st.one_of(
    st.integers(0, 400 * 24).map(lambda hours: START + hours * 3600.0),
    st.integers(0, 60).map(lambda days: START + days * DAY),
    any_float,
)
facts = st.builds(
    Fact,
    practice=st.sampled_from(PRACTICES),
    client=st.sampled_from(CLIENTS),
    t=times,
    kind=st.sampled_from(KINDS),
    active=st.booleans(),
    amount=any_float,
    late_days=any_float,
)
ticks = st.builds(Tick, practice=st.sampled_from(PRACTICES), t=times)
horizons = st.builds(
    HorizonSet,
    practice=st.sampled_from(PRACTICES),
    t=times,
    horizon_days=st.one_of(st.floats(1.0, 60.0), any_float),
    at_risk_days=st.one_of(st.none(), any_float),
)
forgets = st.builds(Forget, practice=st.sampled_from(PRACTICES), client=st.sampled_from(CLIENTS), t=times)
sequences = st.lists(st.one_of(facts, facts, facts, ticks, horizons, forgets), max_size=60)
# Later by up to two days each: what a practice in use looks like, so that labels do fall due.
steps = st.lists(st.tuples(st.floats(0.0, 2 * DAY), facts), min_size=20, max_size=80)


def in_order(steps_: list[tuple[float, Fact]]) -> list[Input]:
    t, items = START, list[Input]()
    for seconds, fact in steps_:
        t += seconds
        items.append(Fact(fact.practice, fact.client, t, fact.kind, fact.active, fact.amount, fact.late_days))
    return items


def keys(learner: Learner) -> list[Key]:
    return [Key(practice.id, client) for practice in learner.practices for client in practice.clients]


def check_sane(learner: Learner, outcomes: list[Outcome]) -> None:
    for answer in learner.predict(keys(learner)):
        assert 0.0 < answer.probability < 1.0
        assert all(math.isfinite(reason.weight) for reason in answer.reasons)
    assert all(0.0 < outcome.probability < 1.0 for outcome in outcomes)
    assert all(np.isfinite(array).all() for array in learner.model.arrays().values())


@given(sequences)
@settings(max_examples=150, deadline=None)
def test_any_sequence_gives_finite_probabilities(items: list[Input]) -> None:
    learner = Learner(horizon_days=10.0)
    learner.apply_all(items)
    check_sane(learner, learner.drain_outcomes())


@given(steps)
@settings(max_examples=60, deadline=None)
def test_any_busy_practice_gives_finite_probabilities(steps_: list[tuple[float, Fact]]) -> None:
    learner = Learner(horizon_days=10.0)
    learner.apply_all(in_order(steps_))
    check_sane(learner, learner.drain_outcomes())


@given(sequences)
@settings(max_examples=100, deadline=None)
def test_no_clock_moves_back(items: list[Input]) -> None:
    learner = Learner(horizon_days=10.0)
    clocks: dict[UUID, float] = {}
    for item in items:
        learner.apply_all([item])
        for practice in learner.practices:
            assert practice.clock >= clocks.get(practice.id, 0.0)
            clocks[practice.id] = practice.clock


@given(st.one_of(sequences, steps.map(in_order)), st.data())
@settings(max_examples=80, deadline=None)
def test_dumped_and_loaded_goes_on_as_if_nothing_had_been(items: list[Input], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(items)))
    whole, first = Learner(horizon_days=10.0), Learner(horizon_days=10.0)
    whole.apply_all(items)
    first.apply_all(items[:cut])
    early = first.drain_outcomes()
    second = Learner.load(first.dump())
    second.apply_all(items[cut:])
    assert early + second.drain_outcomes() == whole.drain_outcomes()
    assert second.predict(keys(second)) == whole.predict(keys(whole))
    assert second.dump() == whole.dump()


@given(steps)
@settings(max_examples=60, deadline=None)
def test_each_question_is_answered_at_most_once(steps_: list[tuple[float, Fact]]) -> None:
    items = in_order(steps_)
    learner = Learner(horizon_days=10.0)
    learner.apply_all(items)
    outcomes = learner.drain_outcomes()
    events = [outcome for outcome in outcomes if outcome.kind == "event"]
    weekly = [(o.practice, o.client, o.asked_at) for o in outcomes if o.kind == "weekly"]
    assert learner.labels == learner.model.n == len(outcomes)
    assert len(weekly) == len(set(weekly))
    waiting = [join(queue.parts()).questions for practice in learner.practices for queue in practice.queues]
    assert len(events) + sum(int((q["kind"] == 0).sum()) for q in waiting) <= sum(
        1 for item in items if isinstance(item, Fact) and item.active
    )
