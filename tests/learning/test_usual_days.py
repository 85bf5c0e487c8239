"""The counterfactual is what the model says of the same client on the day on which they would usually have come."""

import math

import pytest

from tests.learning.histories import PRACTICE, START, client, context, history, learn
from wellio.learning.answers import Key
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY, GAP_SUM, GAP_WEIGHT, LAST


def test_it_is_what_the_model_says_of_that_day() -> None:
    learner, _ = learn([*history(clients=40, days=200.0), context(START + 205 * DAY, "message_sent", 99)])
    [practice] = learner.practices
    told = {p.client: p for p in learner.predict([Key(PRACTICE, each) for each in practice.clients])}
    late = 0
    for number in range(40):
        answer, state = told[client(number)], practice.state[practice.rows[client(number).int]]
        weight = state[GAP_WEIGHT]
        usual_day = state[LAST] + max(math.exp(state[GAP_SUM] / weight), 1.0) * DAY if weight else math.inf
        if usual_day >= practice.clock or answer.status != "ok":
            assert answer.usual is None
            continue
        late += 1
        then = Learner.load(learner.dump())
        then.practices[0].clock = usual_day
        [on_that_day] = then.predict([Key(PRACTICE, client(number))])
        assert answer.usual == pytest.approx(on_that_day.probability, abs=1e-9)
    assert 10 < late < 40
    assert told[client(99)].usual is None
