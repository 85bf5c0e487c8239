"""The bench measures what it says, on the sample that comes with Wellio."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from wellio.learning.churn import Learner
from wellio.learning.inputs import Fact

bench: Any = import_module("bench.learner")  # a folder of scripts, no package
SAMPLE = Path(__file__).parents[2] / "wellio" / "data" / "sample_history.csv.gz"


@pytest.fixture(scope="module")
def sample() -> list[Fact]:
    facts: list[Fact] = bench.read(SAMPLE, frozenset({"purchase"}))
    return facts


def make() -> Learner:
    return Learner(horizon_days=45.0)


def test_the_sample_is_a_year_of_some_clients(sample: list[Fact]) -> None:
    assert 1300 <= len(sample) <= 1600
    assert 250 <= len({fact.client for fact in sample}) <= 300
    assert sample == sorted(sample, key=lambda fact: fact.t)
    assert {fact.kind for fact in sample} == {"activity", "refund"}


def test_real_clients_are_told_apart_better_than_by_their_silence(sample: list[Fact]) -> None:
    outcomes, seconds = bench.run(make(), sample)
    weekly = bench.quality(outcomes, sample, 45.0, 118.0)["weekly"]
    assert weekly["n"] > 4000
    assert weekly["auc"] > weekly["recency_only"]["auc"] + 0.07
    assert weekly["log_loss"] < weekly["recency_only"]["log_loss"] - 0.04
    assert weekly["ece"] < 0.05
    assert len(seconds) == 2


def test_a_restart_changes_nothing_on_real_events(sample: list[Fact]) -> None:
    found = bench.check_restore(make, sample, 5)
    assert found["events_differing"] == 0
    assert found["final_dump_equal"]


def test_flatness_is_a_ratio_of_costs(sample: list[Fact]) -> None:
    readings = iter(range(1000))
    waits = {7: 2.0, 11: 4.0}  # the readings after the older learner's second and third turn
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0 + waits.get(next(readings), 0.0)
        return now

    assert bench.flatness(make(), sample[:200], 800, clock) == {"200": 1.0, "400": 3.0, "600": 5.0}
