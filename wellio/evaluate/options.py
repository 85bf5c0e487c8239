"""What `bin/evaluate` is told."""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wellio.learning.practices import MAX_HORIZON, MIN_HORIZON

DEFAULT_HORIZON_DAYS = 30.0
MAX_CUTS = 1000


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


def read_options(arguments: Sequence[str] | None = None) -> ChurnOptions:
    parser = argparse.ArgumentParser(
        prog="evaluate", description="Replays a history through the learner and prints one JSON object of figures."
    )
    what = parser.add_subparsers(required=True, metavar="churn")
    churn = what.add_parser("churn", help="predictions that clients stay away", description=_CHURN)
    _add_churn(churn)
    given = parser.parse_args(arguments)
    active = [name for names in given.active for name in names.split(",") if name]
    if given.file is None and len(active) > 1:
        given.file = Path(active.pop())  # --active A B FILE: which of them is the file can't be told before
    if given.file is None:
        churn.error("name the history: evaluate churn FILE")
    if not 0 <= given.remainder < given.modulus:
        churn.error(f"--remainder is from 0 to {given.modulus - 1} with --modulus {given.modulus}")
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
    )


_CHURN = """Asks, weekly and after each active event, whether a client stays away for the next horizon, and holds the
answers against what came to pass. FILE: client_id,ts,type,amount; gzip or not."""


def _add_churn(churn: argparse.ArgumentParser) -> None:
    add = churn.add_argument
    days, whole = _number(MIN_HORIZON, MAX_HORIZON), _number(0.0, 10 * MAX_HORIZON)
    add("file", type=Path, nargs="?", metavar="FILE", help="the history")
    add("--horizon", type=days, default=DEFAULT_HORIZON_DAYS, metavar="DAYS", help="churn is no activity for so long")
    add("--active", nargs="+", action="extend", default=[], metavar="TYPE", help="what clients do; the rest is context")
    add("--at-risk", type=whole, metavar="DAYS", help="ask weekly up to this silence (default: 3 horizons)")
    add("--warmup", type=whole, metavar="DAYS", help="score from so long after the start (default: 2 horizons + 28)")
    add("--modulus", type=_count(1, 10**6), default=1, metavar="N", help="take one in N clients, by a hash of their id")
    add("--remainder", type=_count(0, 10**6), default=0, metavar="R", help="which of the N parts (default: 0)")
    cuts = _count(0, MAX_CUTS)
    add("--check-restore", type=cuts, default=0, metavar="N", help="restore at N random places; all must stay equal")
    add("--no-baselines", action="store_true", help="leave the rivals out (they take most of the time)")
    add("--plot", type=Path, metavar="PNG", help="draw calibration and AUC over time (needs matplotlib)")


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and least <= value <= most):
            raise argparse.ArgumentTypeError(f"from {least:g} to {most:g} days")
        return value

    return read


def _count(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"from {least} to {most}")
        return value

    return read
