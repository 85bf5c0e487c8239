"""The bench measures what it says, on the sample that comes with Wellio."""

from importlib import import_module
from typing import Any

import pytest

from wellio.evaluate.history import read_facts
from wellio.learning.churn import Learner
from wellio.learning.inputs import Fact

bench: Any = import_module("bench.learner")  # a folder of scripts, no package


@pytest.fixture(scope="module")
def sample() -> list[Fact]:
    return read_facts(bench.SAMPLE, ["purchase"], modulus=1, remainder=0, bad_line=lambda *_: None)


def test_flatness_is_a_ratio_of_costs(sample: list[Fact]) -> None:
    readings = iter(range(1000))
    waits = {7: 2.0, 11: 4.0}  # the readings after the older learner's second and third turn
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0 + waits.get(next(readings), 0.0)
        return now

    assert bench.flatness(Learner(horizon_days=45.0), sample[:200], 800, clock) == {"200": 1.0, "400": 3.0, "600": 5.0}


def test_a_crowds_monday_is_worked_off_in_pieces() -> None:
    found = bench.size(300)
    assert found["waiting"] > 4 * 300
    assert found["pieces"] > found["waiting"] / 512
    assert 0.0 < found["piece_median_ms"] <= found["piece_p99_ms"] <= found["piece_longest_ms"]
