"""`bin/evaluate attendance`: what the attendance model says of a file's bookings, beside its rivals."""

import argparse
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wellio.evaluate.attendance_file import Lines, read_lines
from wellio.evaluate.attendance_replay import Answers, answer, check_restore, scored_from
from wellio.evaluate.attendance_rivals import answer_as_rivals
from wellio.evaluate.options import Command, Evaluation, add_part, add_plot, check_part, count, number
from wellio.evaluate.plots import check_plot
from wellio.evaluate.telling import progress_of, tell, tell_bad_lines
from wellio.learning import metrics
from wellio.learning.features import Floats

MAX_CUTS, MAX_WARMUP_DAYS = 1000, 36_500.0
SHOWN_RIVALS = ("lead_table", "lightgbm")
DESCRIPTION = """Says of each booking, when it is made, whether its client will come, learns each outcome when it is
known, and holds the answers against what came to pass. FILE: booking_id,client_id,booked_ts,start_ts,outcome_ts,
attended,amount and x_ columns; gzip or not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    days = number(0.0, MAX_WARMUP_DAYS)
    add("file", type=Path, metavar="FILE", help="the bookings")
    add("--warmup", type=days, metavar="DAYS", help="score from so long after the first outcome (default: 1/10 known)")
    add_part(parser, "clients")
    add("--check-restore", type=count(0, MAX_CUTS), default=0, metavar="N", help="store and restore at N random places")
    add("--no-baselines", action="store_true", help="leave the rivals out (they take most of the time)")
    add_plot(parser, "calibration")


def run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Evaluation:
    """Raises HistoryError."""
    check_part(parser, given)
    if given.plot:
        check_plot(given.plot)
    bad_lines: list[tuple[int, str]] = []
    found = read_lines(
        given.file,
        modulus=given.modulus,
        remainder=given.remainder,
        bad_line=lambda number, reason: bad_lines.append((number, reason)),
    )
    tell_bad_lines(bad_lines)
    gc.freeze()  # what is loaded by now stays: walking it again and again would count as the model's time
    answers = answer(found, progress_of("bookings and outcomes", 2 * len(found.lines)))
    if answers.columns.left_out:
        tell(f"Too many columns: left out {', '.join(answers.columns.left_out)}.")
    first = scored_from(answers, given.warmup)
    rivals = {} if given.no_baselines else answer_as_rivals(answers, first, progress_of("fits", 0))
    some = np.flatnonzero(answers.asked >= first)
    told = {**_about(given, found, len(bad_lines), answers), **score(answers, some, rivals)}
    told["us_per_step"] = {
        "booking": round(answers.booking_s * 1e6, 1),
        "outcome": round(answers.outcome_s * 1e6, 1),
    }
    if given.plot:
        draw(given.plot, answers, some, rivals)
    if not given.check_restore:
        return Evaluation(told)
    told["restore"] = check_restore(found, given.check_restore, progress_of("restored", 2 * len(found.lines)))
    same = not told["restore"]["steps_differing"] and told["restore"]["last_state_equal"]
    return Evaluation(told, "" if same else "a restored model went on differently.")


ATTENDANCE = Command("attendance", "who comes to what is booked", DESCRIPTION, add_arguments, run)


def score(answers: Answers, some: NDArray[np.int64], rivals: Mapping[str, Floats | None]) -> dict[str, Any]:
    """Of the bookings `some`; `base_rate` is the share attended. `…_lead`: of those not booked on the day itself."""
    if not len(some):
        return {"n": 0}
    y, later = answers.attended[some], answers.lead[some] > 0.0
    found: dict[str, Any] = {
        "n": len(some),
        "n_lead": int(later.sum()),
        "base_rate": round(float(y.mean()), 5),
        **_figures(answers.probability[some], y, later),
    }
    if rivals:
        found["baselines"] = {
            name: "not installed" if p is None else _figures(p[some], y, later) for name, p in rivals.items()
        }
    return found


def _figures(p: Floats, y: NDArray[np.bool_], later: NDArray[np.bool_]) -> dict[str, float | None]:
    found = {"auc": metrics.auc(p, y), "log_loss": metrics.log_loss(p, y), "brier": metrics.brier(p, y)}
    found["ece"] = metrics.ece(p, y)
    if later.any():
        p, y = p[later], y[later]
        found |= {"auc_lead": metrics.auc(p, y), "log_loss_lead": metrics.log_loss(p, y), "ece_lead": metrics.ece(p, y)}
    return {name: round(value, 5) if np.isfinite(value) else None for name, value in found.items()}


def _about(given: argparse.Namespace, found: Lines, bad_lines: int, answers: Answers) -> dict[str, Any]:
    return {
        "file": given.file.name,
        "warmup_days": given.warmup,
        "modulus": given.modulus,
        "remainder": given.remainder,
        "bookings": len(found.lines),
        "outcomes": len(answers.asked),
        "clients": len({line.client for line in found.lines}),
        "features": int(answers.x.shape[1]),
        "bad_lines": bad_lines,
    }


def draw(path: Path, answers: Answers, some: NDArray[np.int64], rivals: Mapping[str, Floats | None]) -> None:
    """Calibration, of all bookings (left) and of those for a later day (right)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    models: Sequence[tuple[str, Floats | None]] = [
        ("model", answers.probability),
        *[(name, rivals.get(name)) for name in SHOWN_RIVALS],
    ]
    for axes, part, title in zip(
        figure.subplots(1, 2), (some, some[answers.lead[some] > 0.0]), ("all bookings", "for a later day"), strict=True
    ):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, p in models:
            if p is not None and len(part):
                bins = metrics.calibration(p[part], answers.attended[part])
                axes.plot([b.probability for b in bins], [b.rate for b in bins], marker="o", markersize=4, label=name)
        axes.set(xlabel="predicted", ylabel="attended", title=f"Calibration: {title}")
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
