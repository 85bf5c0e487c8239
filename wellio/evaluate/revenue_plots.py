"""Pictures for people: forecasts as fans before what came in, and how errors grow with the horizon."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from wellio.evaluate.revenue_files import RevenueFile
from wellio.evaluate.revenue_replay import TOP_DOWN, WELLIO, Answers, months_of
from wellio.evaluate.revenue_scores import score


def draw_revenue(path: Path, file: RevenueFile, weekly: Answers, monthly: Answers) -> None:
    """Left: the last monthly forecast of the largest series; right: weekly errors by horizon."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    if monthly.at:
        _fan(left, file, monthly)
    for model in weekly.points:
        found = score(weekly, model, by_horizon=True, bounds=False) if model != TOP_DOWN else None
        if found:
            errors = [each["mase"] for each in found["by_horizon"]]
            wide = 2.5 if model == WELLIO else 1.0
            right.plot(range(1, len(errors) + 1), errors, marker="o", markersize=3, linewidth=wide, label=model)
    right.set(xlabel="weeks ahead", ylabel="MASE", title="Errors of weekly forecasts")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def _fan(axes: Any, file: RevenueFile, monthly: Answers) -> None:
    sizes = [file.series[number].daily.sum() for number in monthly.series]
    shown = max(range(len(sizes)), key=lambda place: (sizes[place], monthly.at[place]))
    series, edges = file.series[monthly.series[shown]], months_of(file).edges
    at = int(np.searchsorted(edges, monthly.at[shown]))
    values = np.add.reduceat(series.daily[: edges[-1]], edges[:-1])
    days = [file.first + timedelta(days=int(edge)) for edge in edges[:-1]]
    point, bounds = monthly.points[WELLIO][shown], monthly.bounds[WELLIO][shown]
    ahead = days[at : at + len(point)]
    axes.plot(days, values, color="black", marker="o", markersize=3, linewidth=1, label="came in")
    axes.plot(ahead, point, color="C0", linewidth=2.5, label="forecast")
    axes.fill_between(ahead, bounds[0], bounds[1], color="C0", alpha=0.35, linewidth=0, label="80 %")
    axes.fill_between(ahead, bounds[2], bounds[3], color="C0", alpha=0.15, linewidth=0, label="95 %")
    axes.set(title=f"{series.name}: months from {ahead[0]}", ylabel="revenue")
    axes.set_ylim(bottom=min(0.0, float(values.min())))
    axes.tick_params(axis="x", rotation=30)
