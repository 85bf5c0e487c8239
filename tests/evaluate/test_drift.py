"""A change planted into a history, and how soon the learner is back."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.learning.histories import START, history
from wellio.evaluate.drift import Leaving, planted
from wellio.evaluate.replay import Answers, answer
from wellio.evaluate.scores import score_weeks, scored
from wellio.learning import metrics
from wellio.learning.clients import DAY, WEEK

DAY_OF_LEAVING = 360.0


def test_of_the_loyal_so_many_never_come_again_and_nobody_else_changes() -> None:
    facts = history(clients=100, days=300.0)
    since = facts[0].t + 200 * DAY
    kept = planted(facts, Leaving(200.0, 0.5))
    before = Counter(fact.client for fact in facts if fact.active and fact.t < since)
    after, left = ({fact.client for fact in some if fact.t >= since} for some in (facts, kept))
    gone = {client for client, n in before.items() if n > np.median(list(before.values()))} - left
    assert after - left <= gone
    assert 15 < len(gone) < 40
    assert kept == [fact for fact in facts if fact.t < since or fact.client not in gone]
    assert planted(facts, Leaving(None, 0.0)) == facts


@pytest.fixture(scope="module")
def answers() -> Answers:
    """Of clients who come once a week to every six weeks; `DAY_OF_LEAVING` days after the first event most leave."""
    slow = [replace(fact, t=START + 3.0 * (fact.t - START)) for fact in history(150, days=200.0, leave_days=1000.0)]
    facts = planted(slow, Leaving(DAY_OF_LEAVING, 0.6))
    return answer(facts, horizon=30.0, at_risk=90.0, progress=lambda _: None)


def test_when_the_loyal_leave_at_once_the_learner_follows_before_half_of_the_outcomes_are_due(answers: Answers) -> None:
    day = answers.asked[0] + DAY_OF_LEAVING * DAY

    def loss(first: float, last: float) -> float:
        """Of the weekly questions asked in these weeks, counted from the day."""
        some = scored(answers, first=day + first * WEEK, last=day + last * WEEK, kind="weekly")
        assert len(some) > 250
        return metrics.log_loss(answers.probability[some], answers.churned[some])

    assert loss(0, 2) > 1.0  # nobody could have known
    assert loss(4, 6) < 0.65  # .78 with outcomes of whole horizons alone
    assert loss(7, 9) < loss(-4, -2) + 0.05


def test_weeks_are_those_of_the_questions(answers: Answers) -> None:
    some = scored(answers, first=answers.asked[0] + 60 * DAY, last=answers.asked[0] + 300 * DAY, kind="weekly")
    weeks = score_weeks(answers, some, {"rule": answers.rule, "lightgbm": None})
    assert [week["asked"] for week in weeks] == sorted({week["asked"] for week in weeks})
    assert sum(week["n"] for week in weeks) == len(some)
    assert sum(week["n"] * week["log_loss"]["rule"] for week in weeks) / len(some) == pytest.approx(
        metrics.log_loss(answers.rule[some], answers.churned[some]), abs=1e-4
    )
    assert all(week["log_loss"].keys() == {"learner", "rule"} for week in weeks)
