"""`bin/evaluate revenue`: the forecast of a history's revenue, beside simple methods'."""

import argparse
from typing import Any

from wellio.evaluate.options import Command, Evaluation
from wellio.evaluate.plots import check_plot
from wellio.evaluate.revenue_files import EVENTS, RevenueFile, read_revenue
from wellio.evaluate.revenue_options import DESCRIPTION, RevenueOptions, add_arguments, options_of
from wellio.evaluate.revenue_plots import draw_revenue
from wellio.evaluate.revenue_replay import (
    BOTTOM_UP,
    SEASONAL,
    TOP_DOWN,
    WELLIO,
    Answers,
    Terms,
    answer,
    months_of,
    weeks_of,
)
from wellio.evaluate.revenue_rivals import METHODS
from wellio.evaluate.revenue_scores import score, score_totals
from wellio.evaluate.telling import progress_of, tell_bad_lines

WEEKS_OF_MONTH = 4


def run(revenue: argparse.ArgumentParser, given: argparse.Namespace) -> Evaluation:
    """Raises HistoryError."""
    return Evaluation(evaluate_revenue(options_of(revenue, given)))


REVENUE = Command("revenue", "forecasts of what comes in", DESCRIPTION, add_arguments, run)


def evaluate_revenue(options: RevenueOptions) -> dict[str, Any]:
    """Raises HistoryError."""
    if options.plot:
        check_plot(options.plot)
    bad_lines: list[tuple[int, str]] = []
    file = read_revenue(
        options.path,
        modulus=options.modulus,
        remainder=options.remainder,
        practice_clients=options.practice_clients,
        bad_line=lambda number, reason: bad_lines.append((number, reason)),
    )
    tell_bad_lines(bad_lines)
    weekly, monthly = _answers(file, options)
    found = {
        **_about(options, file, len(bad_lines)),
        "weekly": _figures(weekly, options),
        "totals": _totals(weekly, options),
        "monthly": _figures(monthly, options),
    }
    if options.plot:
        draw_revenue(options.plot, file, weekly, monthly)
    return found


def _answers(file: RevenueFile, options: RevenueOptions) -> tuple[Answers, Answers]:
    history, ahead = options.history_weeks, max(options.horizon_weeks, options.total_weeks)
    weekly = Terms(history, history, ahead, options.warmup, options.baselines)
    warmup_months = -(-options.warmup // WEEKS_OF_MONTH)
    monthly = Terms(options.history_months, None, options.horizon_months, warmup_months, options.baselines)
    progress = progress_of("series, by week", len(file.series))
    by_week = answer(file, weeks_of(file), weekly, progress)
    progress = progress_of("series, by month", len(file.series))
    return by_week, answer(file, months_of(file), monthly, progress)


def _about(options: RevenueOptions, file: RevenueFile, bad_lines: int) -> dict[str, Any]:
    events = {"clients": file.clients, "practice_clients": options.practice_clients} if file.kind == EVENTS else {}
    return {
        "file": options.path.name,
        "format": file.kind,
        "modulus": options.modulus,
        "remainder": options.remainder,
        "lines": file.lines,
        "bad_lines": bad_lines,
        "first_day": file.first.isoformat(),
        "days": len(file.series[0].daily),
        "series": len(file.series),
        **events,
        "history_weeks": options.history_weeks,
        "horizon_weeks": options.horizon_weeks,
        "history_months": options.history_months,
        "horizon_months": options.horizon_months,
        "warmup_weeks": options.warmup,
    }


def _figures(answers: Answers, options: RevenueOptions) -> dict[str, Any]:
    if not answers.at:
        return {"n": 0, "skipped": answers.skipped}
    found = {
        "n": len(answers.at),
        "skipped": answers.skipped,
        **(score(answers, WELLIO, by_horizon=True, bounds=True) or {}),
    }
    if options.baselines:
        names = (*METHODS, SEASONAL)
        found["baselines"] = {name: score(answers, name, by_horizon=True, bounds=True) for name in names}
    return found


def _totals(weekly: Answers, options: RevenueOptions) -> dict[str, Any]:
    if not weekly.at:
        return {"n": 0}
    rivals = (*METHODS, SEASONAL) if options.baselines else ()
    models = [name for name in (WELLIO, BOTTOM_UP, TOP_DOWN, *rivals) if name in weekly.points]
    figures = {name: score_totals(weekly, name, options.total_weeks) for name in models}
    return {"n": len(weekly.at), "weeks": options.total_weeks, **figures}
