"""Features of a question, and that one client's are those of many."""

import math

import numpy as np
import pytest

from tests.learning.histories import START, client, context, history, learn, visit
from wellio.learning.clients import DAY, new_row, observe
from wellio.learning.features import COUNT, GROUPS, NAMES, Norms, features, features_of
from wellio.learning.inputs import Fact

NORMS = Norms(math.log(10.0), 1.0, math.log1p(50.0))


def asked(day: float, *facts: Fact) -> dict[str, float]:
    row = new_row(client(0), facts[0].t)
    for fact in facts:
        observe(row, fact, fact.t)
    values = features_of(row, START + day * DAY, NORMS, 30.0)
    return dict(zip(NAMES, values, strict=True))


def weekly(*, visits: int = 10, amount: float = 0.0, kind: str = "activity") -> list[Fact]:
    return [visit(START + 7 * DAY * i, amount=amount, kind=kind) for i in range(visits)]


def test_one_client_alone_has_the_features_it_has_among_many() -> None:
    learner, _ = learn(history(clients=40, days=200.0))
    practice = learner.practices[0]
    rows = practice.state[: len(practice.clients)]
    norms = practice.norms(learner.gaps, learner.amounts)
    many = features(rows, practice.clock, norms, 30.0)
    alone = [features_of(row.tolist(), practice.clock, norms, 30.0) for row in rows]
    np.testing.assert_allclose(many, np.array(alone), rtol=1e-12, atol=1e-13)
    assert many.shape == (len(rows), COUNT)
    assert np.array_equal(features(rows[:1], practice.clock, norms, 30.0)[0], alone[0])


def test_groups_lie_together_as_their_sums_need() -> None:
    assert len(GROUPS) == 8
    assert len(set(NAMES)) == COUNT


def test_silence_by_hand() -> None:
    x = asked(63 + 19, *weekly())
    typical = math.exp(x["typical_gap"])
    assert x["silent_log"] == pytest.approx(math.log(20))
    assert x["silent_root"] == pytest.approx(math.sqrt(19))
    assert 7.0 < typical < 8.0
    assert x["silent_to_typical"] == pytest.approx(19 / typical)
    assert x["tenure"] == pytest.approx(math.log(63 + 19 + 1))


def test_idle_probabilities_are_paretos() -> None:
    # Ten visits over 63 days and a prior of one gap of ten days, then 19 days of silence.
    x = asked(63 + 19, *weekly())
    assert x["idle_log_probability"] == pytest.approx(11 * math.log(73 / (73 + 19)))
    assert x["horizon_log_probability"] == pytest.approx(11 * math.log(92 / (92 + 30)))


def test_a_client_without_gaps_has_the_populations() -> None:
    x = asked(3, visit(START))
    assert math.exp(x["typical_gap"]) == pytest.approx(10.0)
    assert x["gap_spread"] == pytest.approx(1.0)


def test_a_slowing_client_trends_down() -> None:
    steady = asked(63, *weekly())
    slowing = asked(63 + 50, *weekly(), visit(START + (63 + 45) * DAY))
    assert slowing["trend"] < steady["trend"]
    assert slowing["last_gap_to_typical"] > 0.0 > asked(64, *weekly(), visit(START + 64 * DAY))["last_gap_to_typical"]


def test_the_index_of_kinds_counts_kinds() -> None:
    kinds = ("session_attended", "message_sent", "payment")
    assert asked(70, *weekly())["kinds"] == pytest.approx(1.0)
    mixed = [visit(START + i * DAY / 24, kind=kind) for i, kind in enumerate(kinds)]
    assert asked(1, *mixed)["kinds"] == pytest.approx(3.0, abs=0.01)


def test_missed_and_cancelled_sessions_raise_their_rates() -> None:
    sessions = weekly(kind="session_attended")
    missed = asked(70, *sessions, context(START + 64 * DAY, "session_missed"))
    plain = asked(70, *sessions)
    assert missed["missed_rate"] > plain["missed_rate"]
    assert missed["cancelled_rate"] < plain["cancelled_rate"]


def test_money_is_measured_against_the_practice() -> None:
    assert asked(63, *weekly(amount=200.0))["amount"] > 0.0 > asked(63, *weekly(amount=10.0))["amount"]
    assert asked(63, *weekly())["amount"] == 0.0


def test_a_question_about_the_past_of_a_row_is_finite() -> None:
    assert all(map(math.isfinite, asked(-1000, *weekly()).values()))
    assert all(map(math.isfinite, asked(40_000, *weekly()).values()))
