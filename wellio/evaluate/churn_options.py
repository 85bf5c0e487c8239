"""What `bin/evaluate churn` is told."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wellio.evaluate.drift import Leaving
from wellio.evaluate.options import add_part, add_plot, check_part, count, number
from wellio.learning.practices import MAX_HORIZON, MIN_HORIZON

DEFAULT_HORIZON_DAYS = 30.0
MAX_CUTS = 1000
DESCRIPTION = """Asks, weekly and after each active event, whether a client stays away for the next horizon, and holds
the answers against what came to pass. FILE: client_id,ts,type,amount; gzip or not."""


@dataclass(frozen=True, slots=True)
class ChurnOptions:
    """Days throughout. `active` is empty where the types' own meaning is to hold."""

    path: Path
    horizon: float
    at_risk: float
    warmup: float
    active: Sequence[str]
    modulus: int
    remainder: int
    cuts: int
    baselines: bool
    plot: Path | None
    by_week: bool
    leaving: Leaving | None


def add_arguments(churn: argparse.ArgumentParser) -> None:
    add = churn.add_argument
    days, whole = number(MIN_HORIZON, MAX_HORIZON), number(0.0, 10 * MAX_HORIZON)
    add("file", type=Path, nargs="?", metavar="FILE", help="the history")
    add("--horizon", type=days, default=DEFAULT_HORIZON_DAYS, metavar="DAYS", help="churn is no activity for so long")
    add("--active", nargs="+", action="extend", default=[], metavar="TYPE", help="what clients do; the rest is context")
    add("--at-risk", type=whole, metavar="DAYS", help="ask weekly up to this silence (default: 3 horizons)")
    add("--warmup", type=whole, metavar="DAYS", help="score from so long after the start (default: 2 horizons + 28)")
    add_part(churn, "clients")
    cuts = count(0, MAX_CUTS)
    add("--check-restore", type=cuts, default=0, metavar="N", help="restore at N random places; all must stay equal")
    add("--no-baselines", action="store_true", help="leave the rivals out (they take most of the time)")
    add("--by-week", action="store_true", help="also tell the figures of each week's questions")
    share = number(0.0, 1.0, "")
    add("--leave-share", type=share, metavar="SHARE", help="plant a change: so many of the loyal leave in one day")
    add("--leave-day", type=whole, metavar="DAYS", help="that day, from the first event on (default: the middle)")
    add_plot(churn, "calibration and AUC over time")


def options_of(churn: argparse.ArgumentParser, given: argparse.Namespace) -> ChurnOptions:
    active = [name for names in given.active for name in names.split(",") if name]
    if given.file is None and len(active) > 1:
        given.file = Path(active.pop())  # --active A B FILE: which of them is the file can't be told before
    if given.file is None:
        churn.error("name the history: evaluate churn FILE")
    check_part(churn, given)
    if given.leave_day is not None and given.leave_share is None:
        churn.error("say how many leave on that day: --leave-share")
    return ChurnOptions(
        path=given.file,
        horizon=given.horizon,
        at_risk=3.0 * given.horizon if given.at_risk is None else given.at_risk,
        warmup=2.0 * given.horizon + 28.0 if given.warmup is None else given.warmup,
        active=tuple(active),
        modulus=given.modulus,
        remainder=given.remainder,
        cuts=given.check_restore,
        baselines=not given.no_baselines,
        plot=given.plot,
        by_week=given.by_week,
        leaving=None if given.leave_share is None else Leaving(given.leave_day, given.leave_share),
    )
