"""`bin/evaluate attendance`: scores what was said when it was said, takes any columns, tells of bad files."""

import csv
import gzip
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wellio.evaluate.attendance_columns import columns_of
from wellio.evaluate.attendance_file import Line, read_lines
from wellio.evaluate.attendance_replay import answer, scored_from
from wellio.evaluate.attendance_rivals import answer_as_rivals
from wellio.evaluate.run import main
from wellio.learning import metrics

HEADER = "booking_id,client_id,booked_ts,start_ts,outcome_ts,attended,amount,x_age,x_town,x_same,x_gap"
START = datetime(2025, 1, 6, 8, tzinfo=UTC)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Older clients come more often, and those of one town; a wait costs. One in ten outcomes is not known."""
    rng = random.Random(4)
    ages = {f"c{i}": (rng.randrange(18, 90), rng.choice(["x", "y", "z"])) for i in range(150)}
    path = tmp_path_factory.mktemp("attendance") / "bookings.csv.gz"
    with gzip.open(path, "wt", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(HEADER.split(","))
        for i in range(2000):
            booked = START + timedelta(minutes=25 * i)
            client = rng.choice(list(ages))
            age, town = ages[client]
            lead = rng.choice((0, 1, 4, 15))
            starts = booked + timedelta(days=lead, hours=2)
            came = int(rng.random() < 0.35 + age / 200 + 0.15 * (town == "x") - 0.01 * lead)
            known = rng.random() < 0.9
            gap = "" if i % 7 else rng.random()
            outcome = ((starts + timedelta(hours=1)).isoformat(), came) if known else ("", "")
            row = [f"b{i}", client, booked.isoformat(), starts.isoformat(), *outcome, 10, age, town, "same", gap]
            lines.writerow(row)
    return path


def run(capfdbinary: pytest.CaptureFixture[bytes], *arguments: object) -> dict[str, Any]:
    main(["attendance", *map(str, arguments)])
    found: dict[str, Any] = json.loads(capfdbinary.readouterr().out)
    return found


def test_figures_are_those_of_the_answers(path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = run(capfdbinary, path, "--check-restore", 4)
    answers = answer(read_lines(path, modulus=1, remainder=0, bad_line=_no_bad_line), lambda _: None)
    some = answers.asked >= scored_from(answers, None)
    p, y, later = answers.probability[some], answers.attended[some], answers.lead[some] > 0
    assert (found["bookings"], found["outcomes"], found["n"]) == (2000, len(answers.asked), int(some.sum()))
    assert found["base_rate"] == pytest.approx(y.mean(), abs=1e-5)
    assert found["auc"] == pytest.approx(metrics.auc(p, y), abs=1e-5)
    assert found["auc_lead"] == pytest.approx(metrics.auc(p[later], y[later]), abs=1e-5)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(p, y), abs=1e-5)
    assert found["log_loss"] < found["baselines"]["constant"]["log_loss"]
    assert found["auc"] > found["baselines"]["lead_table"]["auc"] + 0.03
    assert found["restore"]["compared"] > 0
    assert (found["restore"]["steps_differing"], found["restore"]["last_state_equal"]) == (0, True)


def test_nobody_knows_an_outcome_before_it_is_known(path: Path) -> None:
    """What is said of a booking stays the same when all that is not known by then is turned round."""
    lines = read_lines(path, modulus=1, remainder=0, bad_line=_no_bad_line)
    middle = lines.lines[700].booked_at
    turned = [line if line.outcome_at is None or line.outcome_at <= middle else _turn(line) for line in lines.lines]
    answers, other = (answer(type(lines)(some, lines.names), lambda _: None) for some in (lines.lines, turned))
    early = answers.asked <= middle
    assert np.array_equal(answers.probability[early], other.probability[early])
    assert not np.array_equal(answers.probability, other.probability)
    day = np.floor(middle / 86_400.0) * 86_400.0  # rivals are fitted at midnight
    rivals, others = (answer_as_rivals(some, 0.0, lambda _: None) for some in (answers, other))
    for name in ("constant", "lead_table", "logistic"):
        mine, theirs = rivals[name], others[name]
        assert mine is not None
        assert theirs is not None
        assert np.array_equal(mine[answers.asked < day], theirs[answers.asked < day])


def _turn(line: Line) -> Line:
    return replace(line, attended=not line.attended)


def test_columns_of_all_sorts_become_bounded_features() -> None:
    rows = [[str(i), "ab"[i % 2], "same", "" if i % 3 else "1.5", f"word {i}"] for i in range(100)]
    wide = [[*row, *(f"{i}{j}" for j in range(30))] for i, row in enumerate(rows)]
    names = [f"x_{i}" for i in range(35)]
    columns = columns_of(names, wide)
    assert columns.width <= 160
    assert columns.left_out
    seen = columns.features(wide[3], same_day=True)
    unseen = columns.features(["nan", "", "new", "inf", "?"] + ["-1e999"] * 30, same_day=False)
    assert len(seen) == len(unseen) == columns.width
    assert np.isfinite([*seen, *unseen]).all()
    assert not any(unseen[columns.width // 2 :])


def test_bad_lines_and_files_get_a_sentence(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    good = "b1,c1,2025-01-01T10:00:00,2025-01-02T10:00:00,2025-01-02T11:00:00,1,0,1,x,s,"
    bad = [good, good.replace("b1", "b2").replace(",1,0,", ",maybe,0,"), good.replace("b1,", ","), "b3,c1"]
    bad.append(good.replace("b1", "b4").replace("2025-01-02T11", "2024-01-02T11"))
    bad.append(good.replace("b1", "b5").replace("2025-01-01T10:00:00", "yesterday"))
    file = tmp_path / "bookings.csv"
    file.write_text("\n".join([HEADER, good, *bad]))
    main(["attendance", str(file), "--no-baselines"])
    told = capfdbinary.readouterr()
    assert json.loads(told.out)["bad_lines"] == 6
    for words in (
        b"line 3 has the booking_id 'b1'",
        b"line 4 has attended 'maybe'",
        b"before it was booked",
        b"no time",
    ):
        assert words in told.err
    for text, words in (
        ("client_id,ts\n", b"it lacks booking_id"),
        (HEADER, b"No booking with an outcome"),
        ("", b"it lacks booking_id"),
    ):
        file.write_text(text)
        with pytest.raises(SystemExit, match="1"):
            main(["attendance", str(file)])
        assert words in capfdbinary.readouterr().err
    with pytest.raises(SystemExit, match="1"):
        main(["attendance", str(tmp_path / "missing.csv")])


def _no_bad_line(number: int, reason: str) -> None:
    raise AssertionError((number, reason))
