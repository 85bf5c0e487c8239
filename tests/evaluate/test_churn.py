"""`bin/evaluate churn`: the questions are those it says, the figures are theirs, bad files get a sentence."""

import csv
import json
import math
import random
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from tests.learning.histories import history
from wellio.evaluate.baselines import BgNbd, answer_as_rivals
from wellio.evaluate.history import read_facts
from wellio.evaluate.replay import Answers, answer
from wellio.evaluate.run import main
from wellio.learning.clients import DAY, FIRST_MONDAY, WEEK
from wellio.learning.features import COUNT, NAMES, Floats
from wellio.learning.inputs import Fact

HORIZON, AT_RISK, WARMUP = 20.0, 45.0, 60.0
SETTINGS = ["--horizon", "20", "--at-risk", "45", "--warmup", "60"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("evaluate") / "history.csv", history(clients=40, days=260.0))


def write(path: Path, facts: Sequence[Fact]) -> Path:
    """As a file; what is not active under a name of its own."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["client_id", "ts", "type", "amount"])
        for fact in facts:
            at = datetime.fromtimestamp(round(fact.t), UTC).strftime("%Y-%m-%dT%H:%M:%S")
            lines.writerow([fact.client, at, "did" if fact.active else "context", fact.amount])
    return path


def run(capfdbinary: pytest.CaptureFixture[bytes], *arguments: object) -> dict[str, Any]:
    main(["churn", *map(str, arguments)])
    found: dict[str, Any] = json.loads(capfdbinary.readouterr().out)
    return found


def questions_of(facts: Sequence[Fact]) -> dict[str, list[bool]]:
    """The protocol, told the long way: from each client's active times alone."""
    times: dict[UUID, list[float]] = {}
    for fact in facts:
        if fact.active:
            times.setdefault(fact.client, []).append(fact.t)
    first, last = facts[0].t + WARMUP * DAY, facts[-1].t - HORIZON * DAY
    found: dict[str, list[bool]] = {"event": [], "weekly": []}
    mondays = np.arange(FIRST_MONDAY, last + 1, WEEK)
    for mine in times.values():
        found["event"] += [_silent(mine, t) for t in mine if first <= t <= last]
        for monday in mondays[mondays >= first].tolist():
            before = [t for t in mine if t < monday]
            if before and monday - before[-1] <= AT_RISK * DAY:
                found["weekly"].append(_silent([t + 1e-3 for t in mine], monday))
    return found


def _silent(times: Sequence[float], t: float) -> bool:
    return not any(t < other < t + HORIZON * DAY for other in times)


def test_the_questions_and_figures_are_those_of_the_protocol(
    path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    found = run(capfdbinary, path, "--active", "did", *SETTINGS, "--check-restore", "3")
    facts = read_facts(path, ["did"], modulus=1, remainder=0, bad_line=lambda *_: None)
    for kind, churned in questions_of(facts).items():
        figures = found[kind]
        assert figures["n"] == len(churned) > 200
        assert figures["base_rate"] == pytest.approx(sum(churned) / len(churned), abs=1e-5)
        assert {"pr_auc", "mean_weekly_auc", "brier", "ece"} < figures.keys()
        assert {"constant", "recency", "bg_nbd", "logistic", "lightgbm"} < figures["baselines"].keys()
        assert figures["log_loss"] < figures["baselines"]["constant"]["log_loss"]
    engagement = found["engagement"]
    assert engagement["n"] == found["weekly"]["n"]
    assert engagement["spearman"] > 0.0
    assert engagement["baselines"].keys() == {"decayed_count_30", "decayed_count_90"}
    assert len(found["restore"]["cuts"]) == 3
    assert found["restore"]["compared"] > len(facts) / 2
    assert found["restore"]["events_differing"] == 0
    assert found["restore"]["last_snapshot_equal"]
    assert 0 < found["us_per_step"]["event"] < found["us_per_step"]["event_and_label"]


def test_a_modulus_parts_the_clients(path: Path) -> None:
    parts = [read_facts(path, ["did"], modulus=3, remainder=r, bad_line=lambda *_: None) for r in range(3)]
    clients = [{fact.client for fact in part} for part in parts]
    assert sum(map(len, clients)) == len(set().union(*clients)) == 40
    assert min(map(len, clients)) > 5


def test_rivals_know_nothing_that_is_not_due(path: Path) -> None:
    facts = read_facts(path, ["did"], modulus=1, remainder=0, bad_line=lambda *_: None)
    answers = answer(facts, horizon=HORIZON, at_risk=AT_RISK, progress=lambda _: None)
    moment = answers.due[len(answers.due) // 2]
    later = answers.due > moment
    turned = Answers(
        **{name: getattr(answers, name) for name in Answers.__slots__ if name != "churned"},
        churned=np.where(later, ~answers.churned, answers.churned),
    )
    told, told_turned = (answer_as_rivals(some, HORIZON, lambda _: None) for some in (answers, turned))
    before = answers.asked < moment
    for name, p in told.items():
        other = told_turned[name]
        if p is not None and other is not None:
            assert (p[before] == other[before]).all(), name
            assert name in ("rule", "bg_nbd") or (p[~before] != other[~before]).any(), name


def test_the_counting_model_finds_what_made_its_clients() -> None:
    chance, now, horizon = random.Random(3), 400.0, 60.0
    people = [_buyer(chance, now + horizon) for _ in range(4000)]
    seen = np.array([[len(b), b[-1], now] for times in people if (b := [t for t in times if t <= now])])
    asked = np.zeros((len(seen), COUNT))
    columns = {"visits": seen[:, 0], "tenure": seen[:, 2], "silent_log": now - seen[:, 1]}
    for name, values in columns.items():
        asked[:, NAMES.index(name)] = np.log1p(values)
    none: Floats = np.zeros((0, 0))
    probability = BgNbd(horizon).fit(none, none > 0, seen)(asked)
    silent = np.array([not any(t > now for t in times) for times in people])
    for low, high in ((0.0, 0.4), (0.4, 0.8), (0.8, 1.0)):
        some = (probability >= low) & (probability < high)
        assert probability[some].mean() == pytest.approx(silent[some].mean(), abs=0.05)
        assert some.sum() > 200


def _buyer(chance: random.Random, until: float) -> list[float]:
    rate, leaving = chance.gammavariate(1.2, 1.0 / 30.0), chance.betavariate(1.0, 3.0)
    t, times = 0.0, [0.0]
    while chance.random() > leaving and (t := t + chance.expovariate(rate)) < until:
        times.append(t)
    return times


def test_bad_files_and_commands_get_a_sentence(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["churn", *map(str, arguments)])
        out, told = capfd.readouterr()
        assert ended.value.code in (1, 2)
        assert out == ""
        return told

    empty, cut = tmp_path / "empty.csv", tmp_path / "cut.csv.gz"
    empty.write_text("")
    cut.write_bytes(b"\x1f\x8b\x08\x00garbage")
    assert "can't be read" in refused(tmp_path / "none.csv")
    assert "must name the columns" in refused(empty)
    assert "damaged" in refused(cut)
    assert "'did'" in refused(path)
    assert "no events of type 'purchase'" in refused(path, "--active", "purchase")
    assert "No active event" in refused(path, "--active", "did", "--modulus", 100_000)
    assert "name the history" in refused("--active", "did")
    assert "--remainder" in refused(path, "--modulus", 3, "--remainder", 3)
    assert "from 1 to 730 days" in refused(path, "--horizon", "nan")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("wellio.evaluate.plots.find_spec", lambda _: None)
    assert "pip install" in refused(path, "--active", "did", "--plot", tmp_path / "plot.png")


def test_bad_lines_are_told_and_left_out(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = write(tmp_path / "short.csv", history(clients=5, days=40.0))
    lines = path.read_text().splitlines()
    lines[3:3] = ["x,yesterday,did,1", "x,2020-01-01T00:00:00,did,nan"]
    path.write_text("\n".join(lines))
    main(["churn", "--no-baselines", "--active", "did", str(path)])
    out, told = capfdbinary.readouterr()
    found = json.loads(out)
    assert found["bad_lines"] == 2
    assert b"line 4 has the time" in told
    assert found["weekly"] == {"n": 0}
    assert not math.isnan(found["us_per_step"]["event"])
