"""Reasons: additive, in words with figures, and only where the figures agree."""

import math

import numpy as np
import pytest

from tests.learning.histories import PRACTICE, START, client, context, history, learn, visit
from wellio.learning import clients as c
from wellio.learning.answers import Key, Prediction
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY, WIDTH
from wellio.learning.features import COUNT, GROUPS, NAMES, features
from wellio.learning.model import sigmoid
from wellio.learning.reasons import MIN_WEIGHT, MOST, days, reasons_of, sum_groups


def weights(**by_group: float) -> list[float]:
    return [by_group.get(group, 0.0) for group in GROUPS]


def figures(**by_name: float) -> list[float]:
    return [by_name.get(name, 0.0) for name in NAMES]


def state(**by_column: float) -> list[float]:
    return [by_column.get(column, 0.0) for column in c.COLUMNS]


def said(group: str, weight: float, s: list[float], x: list[float], z: list[float]) -> str | None:
    reasons = reasons_of(weights(**{group: weight}), s, x, z)
    assert len(reasons) <= 1
    return reasons[0].text if reasons else None


REGULAR = state(gap_weight=3.0, gap_sum=3.0 * math.log(7.0))
ANY = figures()


def rhythm(silent: float) -> list[float]:
    return figures(silent_log=math.log1p(silent), typical_gap=math.log(5.0))


def test_says_the_rhythm_with_figures() -> None:
    assert said("rhythm", 0.8, REGULAR, rhythm(19), ANY) == "usually every 7 days, silent for 19 days"
    assert said("rhythm", -0.8, REGULAR, rhythm(1), ANY) == "usually every 7 days, silent for 1 day"
    assert said("rhythm", 0.8, state(), rhythm(19), ANY) == "one visit, then silent for 19 days"


def test_long_silence_is_never_said_to_lower_the_risk_nor_a_short_one_to_raise_it() -> None:
    assert said("rhythm", -0.8, REGULAR, rhythm(19), ANY) is None
    assert said("rhythm", 0.8, REGULAR, rhythm(1), ANY) is None


def test_small_weights_are_not_worth_a_word() -> None:
    assert said("rhythm", MIN_WEIGHT * 0.99, REGULAR, rhythm(19), ANY) is None


def test_engagement_is_a_monthly_rate() -> None:
    steady = 90.0 / math.log(2.0) / 7.5  # the decayed count of a visit every 7.5 days
    x = figures(visits_90=math.log(steady + 0.1))
    assert said("engagement", -1.0, REGULAR, x, figures(visits_90=1.0)) == (
        "about 4.0 visits a month over the last months, more than most"
    )
    assert said("engagement", 1.0, REGULAR, x, figures(visits_90=1.0)) is None
    for weight, z in ((1.0, -0.2), (-1.0, 0.2)):  # about what most do
        assert said("engagement", weight, REGULAR, x, figures(visits_90=z)) is None
    for every, often in (
        (40.0, "about one visit in 6 weeks"),
        (120.0, "about one visit in 4 months"),
        (999.0, "hardly a visit"),
    ):
        rare = figures(visits_90=math.log(90.0 / math.log(2.0) / every + 0.1))
        text = said("engagement", 1.0, REGULAR, rare, figures(visits_90=-1.0))
        assert text == f"{often} over the last months, fewer than most"


def test_trend_needs_two_months_and_a_change_of_its_direction() -> None:
    halved = figures(trend=math.log(0.5 / 3.0), tenure=math.log1p(100))
    low = figures(trend=-1.0)
    assert said("trend", 0.5, REGULAR, halved, low) == "visits down 50% on the months before"
    assert said("trend", -0.5, REGULAR, halved, low) is None
    assert said("trend", 0.5, REGULAR, figures(trend=math.log(0.5 / 3.0), tenure=math.log1p(30)), low) is None


def test_attendance_counts_sessions() -> None:
    s, z = state(attended=6.1, missed=2.0, cancelled=0.9), figures(missed_rate=1.0)
    assert said("attendance", 0.5, s, ANY, z) == "missed or cancelled about 3 of the last 9 sessions"
    assert said("attendance", -0.5, s, ANY, z) is None
    assert said("attendance", 0.5, REGULAR, ANY, z) is None


def test_money_is_late_or_little() -> None:
    assert said("money", 0.5, REGULAR, figures(lateness=math.log1p(9)), ANY) == "pays about 9 days late"
    assert said("money", 0.5, REGULAR, figures(amount=-1.0), ANY) == "spends less at a time than most"
    assert said("money", -0.5, REGULAR, figures(amount=1.0), ANY) == "spends more at a time than most"
    assert said("money", -0.5, REGULAR, figures(amount=-1.0), ANY) is None
    assert said("money", 0.5, REGULAR, figures(amount=-0.2), ANY) is None


def test_messages_wait_on_either_side() -> None:
    assert said("messages", 0.5, state(unanswered=2.0), ANY, ANY) == "2 messages not answered"
    assert said("messages", 0.5, state(waiting=1.0), ANY, ANY) == "waits for an answer to 1 message"
    assert said("messages", -0.5, state(messages=3.0), ANY, ANY) == "answers messages"
    assert said("messages", -0.5, state(unanswered=2.0, messages=3.0), ANY, ANY) is None
    assert said("messages", 0.5, state(), ANY, ANY) is None


def test_tenure_is_said_in_days() -> None:
    x = figures(tenure=math.log1p(12))
    assert said("tenure", 0.5, REGULAR, x, figures(tenure=-1.0)) == "only 12 days with the practice"
    assert said("tenure", -0.5, REGULAR, x, figures(tenure=1.0)) == "12 days with the practice"
    assert said("tenure", -0.5, REGULAR, x, figures(tenure=-1.0)) is None
    assert said("tenure", -0.4, REGULAR, x, figures(tenure=1.0)) is None


def test_the_heaviest_come_first_and_not_too_many() -> None:
    z = figures(tenure=-1.0, visits_90=-1.0)
    x = [a + b for a, b in zip(rhythm(19), figures(tenure=math.log1p(5), amount=-1.0), strict=True)]
    every = weights(rhythm=-0.3, engagement=0.9, tenure=0.5, money=0.4, horizon=3.0)
    assert [reason.code for reason in reasons_of(every, REGULAR, x, z)] == ["engagement", "tenure", "money"]
    late = weights(rhythm=-0.3, engagement=0.9), weights(rhythm=0.3, engagement=0.9)
    told = [[reason.code for reason in reasons_of(each, REGULAR, x, z)] for each in late]
    assert told == [["engagement"], ["rhythm", "engagement"]]
    assert MOST == 3


def test_days_are_words() -> None:
    assert [days(d) for d in (0.2, 1.2, 1.6, 30.4)] == ["less than a day", "1 day", "2 days", "30 days"]


def test_the_sums_by_reason_are_the_log_odds() -> None:
    learner, _ = learn(history())
    practice, model = learner.practices[0], learner.model
    rows = practice.state[: len(practice.clients)]
    x = features(rows, practice.clock, practice.norms(learner.gaps, learner.amounts), 30.0)
    added, average, _ = model.explain(model.look(x, 30.0))
    groups = sum_groups(added)
    assert groups.shape == (len(rows), len(GROUPS))
    assert (model.shares > 0.0).all()  # each member has its part
    np.testing.assert_allclose(groups.sum(axis=1) + average, model.logits(x, 30.0), atol=1e-9)
    asked = learner.predict([Key(PRACTICE, c) for c in practice.clients])
    shown = {p.client: p.probability for p in asked if p.status == "ok"}
    logits = dict(zip(practice.clients, model.logits(x, 30.0).tolist(), strict=True))
    assert all(p == pytest.approx(sigmoid(logits[c]), abs=1e-9) for c, p in shown.items())
    assert len(shown) > 20


def answer(learner: Learner, number: int) -> Prediction:
    return learner.predict([Key(PRACTICE, client(number))])[0]


@pytest.fixture(scope="module")
def taught() -> Learner:
    return learn(history(clients=150, days=500.0))[0]


def test_a_regular_who_falls_silent_is_explained_by_it(taught: Learner) -> None:
    learner = Learner.load(taught.dump())
    now = learner.practices[0].clock
    learner.apply_all([visit(now + 7 * i * DAY, 1000) for i in range(12)])
    learner.apply_all([context(now + (77 + day) * DAY, "message_sent", 1) for day in range(1, 29)])
    reasons = {reason.code: reason for reason in answer(learner, 1000).reasons}
    assert reasons["rhythm"].weight > 0.0
    assert reasons["rhythm"].text == "usually every 7 days, silent for 28 days"


def test_reasons_never_contradict_themselves(taught: Learner) -> None:
    learner = Learner.load(taught.dump())
    answers = learner.predict([Key(PRACTICE, c) for c in learner.practices[0].clients])
    spoken = [reason for a in answers if a.status == "ok" for reason in a.reasons]
    assert len(spoken) > 100
    for reason in spoken:
        assert abs(reason.weight) >= MIN_WEIGHT
        for word, raises in {"fewer": True, "down": True, "less at": True, "more": False, "up": False}.items():
            assert not (f" {word} " in reason.text and (reason.weight > 0.0) != raises), reason


def test_lists_are_as_long_as_what_they_mirror() -> None:
    assert len(state()) == WIDTH
    assert len(figures()) == COUNT
    assert START > 0
