"""What `bin/replay` tells: how it goes, which lines are bad, how good the predictions were."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from wellio.learning.quality import Quality

SHOWN_BAD_LINES = 20
TOLD_EVERY_S = 5.0


class Teller:
    """Says how it goes: a bar on a terminal, else a line every few seconds; bad lines as they come."""

    def __init__(self, out: Console, errors: Console) -> None:
        self.out = out
        self._errors = errors
        self._bar: Progress | None = None
        self._started = self._told_at = monotonic()
        self._before = self._lines = self._learnt = 0
        self._bad_lines = 0

    def say(self, words: str) -> None:
        self.out.print(words, markup=False)

    @asynccontextmanager
    async def progress(self, lines: int, done: int) -> AsyncIterator[None]:
        self._lines, self._before = lines, done
        self._started = self._told_at = monotonic()
        if not self.out.is_terminal:
            yield
            return
        columns = (BarColumn(None), TaskProgressColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
        with Progress(*columns, console=self.out) as self._bar:
            self._bar.add_task("replay", total=lines, completed=done, speed="")
            yield

    def show(self, done: int, learnt: int) -> None:
        """`done` lines are taken; `learnt` events are, of those taken by this run."""
        self._learnt = learnt
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done, speed=f"{self._speed():,.0f} events/s")
        elif monotonic() - self._told_at > TOLD_EVERY_S:
            self._told_at = monotonic()
            left_s = (self._lines - done) * (monotonic() - self._started) / max(1, done - self._before)
            share = done / self._lines
            self.say(
                f"{done:,} of {self._lines:,} lines ({share:.0%}), {self._speed():,.0f} events/s, {left_s:.0f} s left"
            )

    def bad_lines(self, refused: Sequence[tuple[int, str]]) -> None:
        for number, reason in refused:
            self._bad_lines += 1
            if self._bad_lines <= SHOWN_BAD_LINES:
                self._errors.print(f"line {number:,} {reason}", markup=False)

    def summary(self) -> None:
        if self._bad_lines > SHOWN_BAD_LINES:
            self._errors.print(f"… and {self._bad_lines - SHOWN_BAD_LINES:,} more bad lines.", markup=False)
        took_s = monotonic() - self._started
        self.say(f"{self._learnt:,} events taken and learnt in {took_s:.1f} s: {self._speed():,.0f} events/s.")

    def _speed(self) -> float:
        return self._learnt / max(monotonic() - self._started, 1e-9)


def quality_table(qualities: Sequence[Quality]) -> Table:
    """`by week`: the mean of each week's own AUC; `rule`: of the simple rule, which knows the silence alone."""
    table = _table("asked", "n", "base", "AUC", "by week", "log loss", "ECE", "rule AUC", "rule loss")
    for q in qualities:
        figures = (q.base_rate, q.auc, q.weekly_auc, q.log_loss, q.ece, q.rule_auc, q.rule_log_loss)
        table.add_row(q.kind, f"{q.n:,}", *["–" if figure is None else f"{figure:.4f}" for figure in figures])
    return table


def calibration_table(quality: Quality) -> Table:
    table = _table("n", "predicted", "happened")
    for part in quality.calibration:
        table.add_row(f"{part.n:,}", f"{part.probability:.3f}", f"{part.rate:.3f}")
    return table


def _table(*headers: str) -> Table:
    return Table(
        *[Column(header, no_wrap=True, justify="right") for header in headers],
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
