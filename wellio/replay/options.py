"""What `bin/replay` is told."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_CURRENCY = "EUR"
BATCH_LINES, MAX_BATCH_LINES = 500, 2000


@dataclass(frozen=True, slots=True)
class Options:
    path: Path
    practice: str
    horizon_days: int | None
    active: Sequence[str]
    context: Sequence[str]
    currency: str | None
    stop_on_error: bool
    batch_lines: int


def read_options(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(
        prog="replay",
        description="Replays a history (client_id,ts,type,amount; gzip or not; oldest first) as a practice's past.",
        epilog="Interrupted in whatever way, the same command goes on after the last whole batch.",
    )
    add = parser.add_argument
    add("file", type=Path, help="the history")
    add("--practice", metavar="NAME|ID", help="into which practice; a new name makes it (default: the file's name)")
    add("--horizon", type=_days, metavar="DAYS", help="churn is no activity for so long (default: 30)")
    add("--active", nargs="+", default=[], metavar="TYPE", help="types, unknown to Wellio, that clients do")
    add("--context", nargs="+", default=[], metavar="TYPE", help="types, unknown to Wellio, that clients do not do")
    add("--currency", type=_currency, help=f"ISO 4217 (default: {DEFAULT_CURRENCY})")
    add("--on-error", choices=("skip", "stop"), default="skip", help="what to do at a bad line (default: skip it)")
    add("--batch", type=_batch, default=BATCH_LINES, metavar="LINES", help=f"a transaction (default: {BATCH_LINES})")
    given = parser.parse_args(arguments)
    return Options(
        path=given.file,
        practice=given.practice or re.sub(r"(\.csv)?(\.gz)?$", "", given.file.name),
        horizon_days=given.horizon,
        active=given.active,
        context=given.context,
        currency=given.currency,
        stop_on_error=given.on_error == "stop",
        batch_lines=given.batch,
    )


def _days(text: str) -> int:
    days = int(text)
    if not 7 <= days <= 365:
        raise argparse.ArgumentTypeError("from 7 to 365 days")
    return days


def _currency(text: str) -> str:
    if not re.fullmatch("[A-Z]{3}", text):
        raise argparse.ArgumentTypeError("three capitals, such as EUR")
    return text


def _batch(text: str) -> int:
    lines = int(text)
    if not 1 <= lines <= MAX_BATCH_LINES:
        raise argparse.ArgumentTypeError(f"from 1 to {MAX_BATCH_LINES} lines")
    return lines
