"""A file of bookings: booking_id, client_id, booked_ts, start_ts, outcome_ts, attended, amount, and `x_` columns.

Times without an offset are the wall clock's; the wall clock of those with one is what they show.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wellio.practice.history_files import Damaged, HistoryError, open_history
from wellio.practice.history_lines import BadLine, split, text_of

REQUIRED = ("booking_id", "client_id", "booked_ts", "start_ts", "outcome_ts", "attended")
DAY = 86_400.0
_FIRST_YEAR, _LAST_YEAR = 1971, 2199


@dataclass(frozen=True, slots=True)
class Line:
    """Times in unix seconds. `attended` and `outcome_at` are None where nobody knows (cancelled, or yet to come).

    `lead_days`: from date to date, as the calendar shows them. `extra`: texts of the x_ columns.
    """

    id: str
    client: bytes  # a hash of the id, 16 bytes
    booked_at: float
    starts_at: float
    outcome_at: float | None
    attended: bool | None
    lead_days: float
    booked_hour: float
    starts_hour: float
    weekday: int
    amount: float
    extra: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    lines: Sequence[Line]
    names: Sequence[str]  # of the x_ columns


def read_lines(path: Path, *, modulus: int, remainder: int, bad_line: Callable[[int, str], None]) -> Lines:
    """In order of booking. Raises HistoryError for a file, or a part of it, without outcomes."""
    found: dict[str, Line] = {}
    with open_history(path) as reader:
        lines = iter(reader)
        try:
            header = next(lines, None)
            names = _names([] if header is None else split(text_of(header)))
            extra = [at for at, name in enumerate(names) if name.startswith("x_")]
            for line in lines:
                try:
                    one = _line(names, extra, split(text_of(line)))
                    if one.id in found:
                        raise BadLine(f"has the booking_id {one.id!a} of a line before")
                except BadLine as bad:
                    bad_line(line.number, str(bad))
                else:
                    found[one.id] = one
        except BadLine as bad:
            raise HistoryError(f"The first line can't be read: it {bad}.") from bad
        except Damaged as damaged:
            raise HistoryError(f"The file is damaged at line {damaged.line:,} ({damaged}): get a sound copy.") from None
    part = [one for one in found.values() if int.from_bytes(one.client) % modulus == remainder]
    if not any(one.attended is not None for one in part):
        raise HistoryError("No booking with an outcome is left: see the bad lines and --modulus.")
    return Lines(sorted(part, key=lambda one: (one.booked_at, one.id)), [names[at] for at in extra])


def _names(header: Sequence[str]) -> list[str]:
    names = [name.strip().lower() for name in header]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise HistoryError(
            f"The first line must name the columns {', '.join(REQUIRED)}; it lacks {', '.join(missing)}."
        )
    if len(set(names)) != len(names):
        raise HistoryError("The first line names a column twice.")
    return names


def _line(names: Sequence[str], extra: Sequence[int], fields: Sequence[str]) -> Line:
    """Raises BadLine."""
    if len(fields) != len(names):
        raise BadLine(f"has {len(fields)} fields, not {len(names)}")
    texts = dict(zip(names, map(str.strip, fields), strict=True))
    if not texts["booking_id"] or not texts["client_id"]:
        raise BadLine("names no booking, or no client")
    booked, starts = _moment(texts, "booked_ts"), _moment(texts, "start_ts")
    attended = _attended(texts["attended"])
    outcome = None if attended is None else _moment(texts, "outcome_ts").timestamp()
    if outcome is not None and outcome < booked.timestamp():
        raise BadLine("has an outcome before it was booked")
    return Line(
        id=texts["booking_id"],
        client=hashlib.blake2b(texts["client_id"].encode(), digest_size=16).digest(),
        booked_at=booked.timestamp(),
        starts_at=starts.timestamp(),
        outcome_at=outcome,
        attended=attended,
        lead_days=float(max((starts.date() - booked.date()).days, 0)),
        booked_hour=_hour(booked),
        starts_hour=_hour(starts),
        weekday=starts.weekday(),
        amount=_amount(texts.get("amount", "")),
        extra=tuple(fields[at].strip() for at in extra),
    )


def _moment(texts: dict[str, str], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(texts[name])
    except ValueError:
        raise BadLine(f"has a {name} that is no time: {texts[name][:40]!a}") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise BadLine(f"has a {name} of the year {moment.year}")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _hour(moment: datetime) -> float:
    return moment.hour + moment.minute / 60.0 + moment.second / 3600.0


def _attended(text: str) -> bool | None:
    known = {"1": True, "0": False, "true": True, "false": False, "": None}
    if text.lower() not in known:
        raise BadLine(f"has attended {text[:20]!a}, not 1, 0 or nothing")
    return known[text.lower()]


def _amount(text: str) -> float:
    try:
        amount = float(text or 0.0)
    except ValueError:
        raise BadLine(f"has an amount that is no number: {text[:40]!a}") from None
    if not math.isfinite(amount):
        raise BadLine("has an amount without end")
    return amount
