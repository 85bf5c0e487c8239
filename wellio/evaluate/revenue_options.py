"""What `bin/evaluate revenue` is told."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from wellio.evaluate.options import add_part, add_plot, check_part, count

DESCRIPTION = """Forecasts revenue again and again with what was known by then, and holds the forecasts against what
came in. FILE: series,date,revenue (days without revenue may be absent) or client_id,ts,type,amount, whose clients are
put together to practices; gzip or not."""


@dataclass(frozen=True, slots=True)
class RevenueOptions:
    """`warmup`: whole weeks, or months of four, of a series before the first forecast, where that is more than the
    history it needs."""

    path: Path
    history_weeks: int
    horizon_weeks: int
    history_months: int
    horizon_months: int
    total_weeks: int
    warmup: int
    practice_clients: int
    modulus: int
    remainder: int
    baselines: bool
    plot: Path | None


def add_arguments(revenue: argparse.ArgumentParser) -> None:
    add = revenue.add_argument
    weeks, months = count(1, 104), count(1, 24)
    add("path", type=Path, metavar="FILE", help="the history")
    add("--history-weeks", type=count(2, 520), default=12, metavar="N", help="weeks a weekly forecast knows")
    add("--horizon-weeks", type=weeks, default=8, metavar="N", help="weeks ahead")
    add("--history-months", type=count(2, 120), default=6, metavar="N", help="months before the first monthly forecast")
    add("--horizon-months", type=months, default=6, metavar="N", help="months ahead")
    add("--total-weeks", type=weeks, default=4, metavar="N", help="weeks that are added up to totals")
    add("--warmup", type=count(0, 520), default=0, metavar="WEEKS", help="weeks of a series before the first forecast")
    clients = count(1, 10**6)
    add("--practice-clients", type=clients, default=40, metavar="N", help="clients of a made-up practice, of events")
    add_part(revenue, "series or clients")
    add("--no-baselines", action="store_true", help="leave the simple methods out")
    add_plot(revenue, "forecasts with their intervals, and errors by horizon")


def options_of(revenue: argparse.ArgumentParser, given: argparse.Namespace) -> RevenueOptions:
    check_part(revenue, given)
    names = (name for name in RevenueOptions.__slots__ if name != "baselines")
    return RevenueOptions(baselines=not given.no_baselines, **{name: getattr(given, name) for name in names})
