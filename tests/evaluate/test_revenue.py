"""`bin/evaluate revenue`: the figures are those it says, of files of both formats, and bad files get a sentence."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wellio.evaluate.run import main

FIRST = date(2022, 12, 1)  # a Thursday


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def daily_lines(days: int, revenue: Callable[[int], float], name: str = "all", begin: int = 0) -> list[str]:
    """Days without revenue are left out."""
    rows = [(FIRST + timedelta(days=day), revenue(day)) for day in range(begin, days)]
    return [f"{name},{day},{amount}" for day, amount in rows if amount]


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    main(["revenue", *map(str, arguments)])
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


def test_figures_are_those_of_the_protocol(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The mean's, worked out the long way: weeks from Monday 5 December, a series from the week it begins in."""
    chance = np.random.default_rng(7)
    amounts = chance.gamma(0.5, 100.0, (2, 200)).round(2)
    lines = ["series,date,revenue"]
    for name, begin, row in zip("ab", (0, 30), amounts, strict=True):
        lines += daily_lines(200, lambda day, row=row: float(row[day]), name, begin)  # type: ignore[misc]
    months = ["--history-months", 2, "--horizon-months", 2]
    found = run(capfd, write(tmp_path / "two.csv", lines), "--horizon-weeks", 5, "--total-weeks", 3, *months)
    weekly, totals, n = [], [], 0
    for begin, row in zip((0, 30), amounts, strict=True):
        values = np.where(np.arange(200) >= begin, row, 0.0)[4:].reshape(28, 7).sum(axis=1)
        for at in range(max(begin - 4, 0) // 7 + 12, 28 - 5 + 1):
            history, actual = values[at - 12 : at], values[at : at + 5]
            scale = np.abs(np.diff(history)).mean()
            weekly.append(np.abs(actual - history.mean()).mean() / scale)
            totals.append(abs(actual[:3].sum() - 3 * history.mean()) / 3 / scale)
            n += 1
    assert found["weekly"]["n"] == n == 21
    assert found["weekly"]["baselines"]["mean"]["mase"] == pytest.approx(np.mean(weekly), abs=1e-4)
    assert found["totals"]["mean"]["error"] == pytest.approx(np.mean(totals), abs=1e-4)
    assert found["weekly"]["baselines"]["seasonal_naive"] is None
    for figures in (found["weekly"], found["monthly"], found["weekly"]["baselines"]["drift"]):
        assert {"mase", "wape", "coverage_80", "coverage_95", "interval_score_80"} < figures.keys()
        by_horizon = [each["interval_score_95"] for each in figures["by_horizon"]]
        assert np.mean(by_horizon) == pytest.approx(figures["interval_score_95"], abs=1e-3)


def test_seasons_are_known_after_a_year_and_months_are_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """December earns ten times as much: who looks a year back knows, as half of the product's forecast does."""
    lines = daily_lines(1123, lambda day: 1000.0 if (FIRST + timedelta(days=day)).month == 12 else 100.0 + day % 7)
    found = run(capfd, write(tmp_path / "years.csv", ["series,date,revenue", *lines]), "--history-months", 18)
    monthly = found["monthly"]
    assert monthly["n"] == 36 - 18 - 6 + 1
    assert monthly["baselines"]["seasonal_naive"]["mase"] < 0.1
    assert monthly["mase"] < 0.8 * monthly["baselines"]["mean"]["mase"]
    assert found["weekly"]["baselines"]["seasonal_naive"]["n"] < found["weekly"]["n"]


def test_events_become_practices_forecast_from_the_bottom_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(3)
    lines = []
    for client in range(90):
        for day in range(int(chance.integers(0, 150)), 300, int(chance.integers(5, 60))):
            at = f"{FIRST + timedelta(days=day)}T10:00:00"
            lines += [f"c{client},{at},purchase,50", f"c{client},{at},message_sent,"]
            lines += [f"c{client},{at},return,{-10 if client % 2 else 10}"] * (day % 9 == 0)
    path = write(tmp_path / "events.csv", ["client_id,ts,type,amount", *lines])
    found = run(capfd, path)
    assert (found["format"], found["series"], found["clients"]) == ("events", 2, 90)
    assert found["totals"].keys() > {"wellio", "bottom_up", "top_down", "mean", "ses"}
    assert found["totals"]["wellio"]["error"] < found["totals"]["last"]["error"]
    assert run(capfd, path) == found
    parts = [run(capfd, path, "--modulus", 3, "--remainder", r, "--no-baselines") for r in range(3)]
    assert sum(part["clients"] for part in parts) == 90
    assert "baselines" not in parts[0]["weekly"]


def test_odd_files_are_forecast_and_bad_ones_get_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["revenue", *map(str, arguments)])
        out, told = capfd.readouterr()
        assert ended.value.code in (1, 2)
        assert out == ""
        return told

    odd = [
        "series,date,revenue",
        *daily_lines(240, lambda day: -5.0 if day % 11 == 0 else 7.0 * (day < 80)),
        "quiet,2023-01-01,3",
    ]
    bad = ["all,yesterday,1", "all,2023-01-01,nan", "all,2023-01-01", "all,9999-01-01,1", ",2023-01-01,1"]
    main(["revenue", str(write(tmp_path / "odd.csv", [*odd, *bad]))])
    out, told = capfd.readouterr()
    found = json.loads(out)
    assert found["bad_lines"] == 5
    assert f"line {len(odd) + 1:,} has the day 'yesterday'" in told
    assert found["weekly"]["skipped"] > 0
    assert 0.0 <= found["weekly"]["coverage_80"] <= 1.0
    short = run(capfd, write(tmp_path / "short.csv", odd[:20]))
    assert short["weekly"] == short["monthly"] == {"n": 0, "skipped": 0}

    assert "can't be read" in refused(tmp_path / "none.csv")
    assert "must name the columns" in refused(write(tmp_path / "other.csv", ["a,b,c", "1,2,3"]))
    assert "No line with money" in refused(write(tmp_path / "empty.csv", odd[:1]))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00garbage")
    assert "damaged" in refused(cut)
    assert "--remainder" in refused(tmp_path / "odd.csv", "--modulus", 3, "--remainder", 3)
    assert "from 1 to 104" in refused(tmp_path / "odd.csv", "--horizon-weeks", 0)
    monkeypatch.setattr("wellio.evaluate.plots.find_spec", lambda _: None)
    assert "pip install" in refused(tmp_path / "odd.csv", "--plot", tmp_path / "plot.png")
