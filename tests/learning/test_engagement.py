"""Engagement: a rank that rises with whatever a client does, learnt from what came of earlier ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learning.histories import MONDAY, PRACTICE, START, client, context, history, learn, visit
from wellio.evaluate.ranks import spearman
from wellio.learning.answers import Key
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY
from wellio.learning.engagement import LEAST_WEIGHT, MARKS, PRIOR, Standing
from wellio.learning.inputs import Fact, Tick

KINDS = ["session_booked", "session_attended", "message_sent", "payment", "logged_in", "diary_entry", "anything else"]
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


def score(learner: Learner, number: int = 0) -> float:
    return learner.predict([Key(PRACTICE, client(number))])[0].engagement


@pytest.fixture(scope="module")
def saved() -> bytes:
    """A practice whose weights were learnt."""
    learner, _ = learn(history(clients=40, days=250.0))
    assert not np.array_equal(learner.engagement.weights, PRIOR)
    return learner.dump()


@given(
    acts=st.lists(st.tuples(st.floats(0.0, 40.0), st.sampled_from(KINDS), ANY_FLOAT), min_size=1, max_size=12),
    number=st.integers(0, 45),
)
@settings(max_examples=30, deadline=None)
def test_nothing_that_a_client_does_lowers_it(saved: bytes, acts: list[tuple[float, str, float]], number: int) -> None:
    done, undone = Learner.load(saved), Learner.load(saved)
    t = done.practices[0].clock
    undone.apply_all([visit(t, number)])
    done.apply_all([visit(t, number)])
    for days, kind, amount in acts:
        t += days * DAY
        for learner in (done, undone):
            learner.apply_all([context(t, "message_sent", 99)])
        before = score(done, number)
        done.apply_all([visit(t, number, kind, amount=amount)])
        assert before <= score(done, number) <= 100.0
        row = done.practices[0].rows[client(number).int]
        states = [each.practices[0].state[row].tolist() for each in (done, undone)]
        active, idle = (done.engagement.activity(state, t) for state in states)
        assert math.isfinite(active)
        assert active > idle


def test_it_is_the_share_of_clients_below() -> None:
    standing = Standing()
    assert standing.score(1.0) == 50.0
    standing.set_marks(np.arange(9.0))
    assert [standing.score(each) for each in (-1.0, 0.0, 4.0, 8.0, 9.0)] == [5.0, 10.0, 50.0, 90.0, 95.0]
    standing.set_marks(np.arange(10_000.0))
    assert len(standing.marks) == MARKS
    assert abs(standing.score(2_500.0) - 25.0) < 1.0


def test_weights_come_to_rank_what_comes_next() -> None:
    """Messages say who comes; what is paid says nothing."""
    rng = np.random.default_rng(5)
    keen = np.arange(60) % 2 == 0
    facts: list[Fact] = []
    for day in range(300):
        t = START + day * DAY
        for number in range(60):
            if rng.uniform() < (0.25 if keen[number] else 0.05):
                facts.append(visit(t + number, number, "message_sent"))
            if rng.uniform() < 0.1:
                facts.append(visit(t + 3600 + number, number, "payment", amount=rng.lognormal(4.0)))
    learner, _ = learn(sorted(facts, key=lambda fact: fact.t))
    assert (learner.engagement.weights >= LEAST_WEIGHT).all()
    scores = np.array([score(learner, number) for number in range(60)])
    assert spearman(scores, keen.astype(float)) > 0.6
    assert scores[keen].mean() > scores[~keen].mean() + 25.0


def test_who_never_did_anything_has_none_and_who_ended_teaches_nothing() -> None:
    facts = [*history(clients=10, days=60.0), context(START + 60 * DAY, "client_ended", 0)]
    learner, _ = learn([*facts, context(START + 60 * DAY, "message_sent", 77)])
    assert score(learner, 77) == 0.0
    before = learner.engagement.weights.copy()
    ended = [context(START + 60 * DAY, "client_ended", number) for number in range(10)]
    learner.apply_all([*ended, *[context(START + day * DAY, "message_sent", 99) for day in range(61, 150)]])
    np.testing.assert_array_equal(learner.engagement.weights, before)
    assert len(learner.practices[0].standing.checkpoints) <= 4


def test_each_night_and_monday_everybody_is_ranked_anew_once() -> None:
    learner, _ = learn([visit(START + hour * 3600.0, number) for number, hour in enumerate((0, 1, 1, 2))])
    assert learner.practices[0].standing.marks == []
    learner.drain_changed()
    hours = [(5.0, 4), (6.0, 0), (25.0, 4), (26.0, 0), (49.0, 4)]
    for hour, moved in hours:
        learner.apply_all([Tick(PRACTICE, START + hour * 3600.0)])
        assert len(learner.drain_changed()) == moved
    learner.apply_all([visit(MONDAY + 60.0, 9), Tick(PRACTICE, MONDAY + 3600.0)])
    assert len(learner.drain_changed()) == 5
    assert learner.practices[0].standing.ranked_at == MONDAY
    assert len(learner.practices[0].standing.marks) == 4
