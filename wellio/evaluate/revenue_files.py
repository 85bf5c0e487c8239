"""A file's revenue by day: of its series, or of practices made up of its clients."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wellio.learning.features import Floats
from wellio.practice.history_files import Damaged, HistoryError, open_history
from wellio.practice.history_lines import CONTEXT_TYPES, REFUND, BadLine, Line, split, text_of

DAILY, EVENTS = "daily series", "events"
COLUMNS = {DAILY: ("series", "date", "revenue"), EVENTS: ("client_id", "ts", "type", "amount")}
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2099, 12, 31)
MAX_AMOUNT = 1e13
MAX_CELLS = 50_000_000  # series times days

_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")


@dataclass(frozen=True, slots=True)
class Visits:
    """Days on which clients paid or got back [v], by day: the client's number, the day's index and the net."""

    clients: int
    client: NDArray[np.int64]
    day: NDArray[np.int64]
    amount: Floats


@dataclass(frozen=True, slots=True)
class Series:
    """`daily` [d] from the file's first day to its last; `begin`: the index of the series' own first day."""

    name: str
    daily: Floats
    begin: int
    visits: Visits | None = None


@dataclass(frozen=True, slots=True)
class RevenueFile:
    kind: str
    first: date
    series: Sequence[Series]
    lines: int
    clients: int


# Money by whose it is (a series or a client) and the day's ordinal.
Money = Mapping[str, dict[int, float]]


def read_revenue(
    path: Path, *, modulus: int, remainder: int, practice_clients: int, bad_line: Callable[[int, str], None]
) -> RevenueFile:
    """Of either format. A day or a client that comes twice is added up. Raises HistoryError."""
    money: dict[str, dict[int, float]] = {}
    with open_history(path) as reader:
        lines = iter(reader)
        try:
            kind, at = _columns(next(lines, None))
            for line in lines:
                try:
                    entry = _parse(line, kind, at)
                except BadLine as bad:
                    bad_line(line.number, str(bad))
                else:
                    if entry and hash_of(entry[0]) % modulus == remainder:
                        days = money.setdefault(entry[0], {})
                        days[entry[1]] = days.get(entry[1], 0.0) + entry[2]
        except Damaged as damaged:
            raise HistoryError(f"The file is damaged at line {damaged.line:,} ({damaged}): get a sound copy.") from None
    if not money:
        raise HistoryError("No line with money is left: see the bad lines and --modulus.")
    first = min(min(days) for days in money.values())
    length = max(max(days) for days in money.values()) - first + 1
    groups = list(_practices(sorted(money, key=hash_of), practice_clients)) if kind == EVENTS else [[s] for s in money]
    if len(groups) * length > MAX_CELLS:
        raise HistoryError(f"{len(groups):,} series of {length:,} days are too many: see --modulus, and the first day.")
    named = _named(groups) if kind == EVENTS else {group[0]: group for group in groups}
    series = [_series(name, {one: money[one] for one in group}, first, length, kind) for name, group in named.items()]
    clients = len(money) if kind == EVENTS else 0
    return RevenueFile(kind, date.fromordinal(first), series, reader.number - 1, clients)


def hash_of(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def _columns(header: Line | None) -> tuple[str, list[int]]:
    """The format, and where its columns are."""
    try:
        names = [name.strip().lower() for name in split(text_of(header))] if header else []
    except BadLine:
        names = []
    for kind, wanted in COLUMNS.items():
        if all(names.count(name) == 1 for name in wanted):
            return kind, [names.index(name) for name in wanted] + [len(names)]
    raise HistoryError(f"The first line must name the columns: {' or '.join(','.join(c) for c in COLUMNS.values())}.")


def _parse(line: Line, kind: str, at: Sequence[int]) -> tuple[str, int, float] | None:
    """Whose, the day's ordinal and the net; None for a line without money. Raises BadLine."""
    text = text_of(line)
    if not text.strip():
        return None
    fields = [field.strip() for field in split(text)]
    if len(fields) != at[-1]:
        raise BadLine(f"has {len(fields)} fields where the header names {at[-1]}")
    if kind == DAILY:
        name, day, amount = (fields[i] for i in at[:3])
        return _name(name, "series"), _day(day), _amount(amount)
    name, ts, of, amount = (fields[i] for i in at[:4])
    net = _amount(amount) if amount else 0.0
    net = -abs(net) if CONTEXT_TYPES.get(of) == REFUND else net
    return (_name(name, "client_id"), _day(ts), net) if net else None


def _name(text: str, column: str) -> str:
    if not text or not text.isprintable():
        raise BadLine(f"has no {column}")
    return text


def _day(text: str) -> int:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        at = datetime.fromisoformat(text)
        day = (at if at.tzinfo is None else at.astimezone(UTC)).date()
    except (ValueError, OverflowError):
        raise BadLine(f"has the day {text[:40]!a}, which is not like 2011-12-09") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise BadLine(f"has the day {text[:40]!a}, which is not between {FIRST_DAY} and {LAST_DAY}")
    return day.toordinal()


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not abs(amount) <= MAX_AMOUNT:
        raise BadLine(f"has the amount {text[:40]!a}, which is not like 139.12")
    return amount


def _practices(clients: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Groups of `size` in the order given; what is left makes one more where it is half of that at least."""
    for start in range(0, len(clients), size):
        if start == 0 or 2 * (len(clients) - start) >= size:
            yield clients[start : start + size]


def _named(groups: Iterable[Sequence[str]]) -> dict[str, Sequence[str]]:
    return {f"practice {number}": group for number, group in enumerate(groups)}


def _series(name: str, money: Money, first: int, length: int, kind: str) -> Series:
    rows = sorted((day - first, number, net) for number, days in enumerate(money.values()) for day, net in days.items())
    day, client, amount = (np.array(column) for column in zip(*rows, strict=True))
    daily: Floats = np.bincount(day, weights=amount, minlength=length).astype(float)
    visits = Visits(len(money), client.astype(np.int64), day.astype(np.int64), amount) if kind == EVENTS else None
    return Series(name, daily, int(day[0]), visits)
