"""Files of a practice's past: `client_id,ts,type,amount`, one event a line, oldest first, gzip or not.

A line is taken or refused whole, and has the number an editor shows (the header is line 1). Quoted fields may hold
commas, not line breaks. Memory is bounded whatever the file holds: nothing is read but line by line.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from wellio.practice.history_lines import (
    FIRST_TIME,
    MAX_LINE_BYTES,
    REQUIRED,
    BadLine,
    Entry,
    Line,
    LineParser,
    split,
    text_of,
)

GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"


class HistoryError(Exception):
    """The file can't be replayed; the sentence says why, for a person."""


class Damaged(Exception):
    """The file can be read no further than the line before `line`."""

    def __init__(self, line: int, error: Exception) -> None:
        super().__init__(f"{error}".rstrip("."))
        self.line = line
        # Found at the very end: it can't say which of the lines before is wrong.
        self.checksum_only = str(error).startswith(("CRC check failed", "Incorrect length"))


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines up to `lines_done`, parsed. `digest`: of all lines up to there. `refused`: number and reason of each."""

    entries: Sequence[Entry]
    lines_done: int
    digest: bytes
    refused: Sequence[tuple[int, str]] = ()


@dataclass(slots=True)
class Survey:
    """What a first reading of the whole file tells, before anything of it is taken.

    `types`: each with its first line. `damaged_at`: the line at which the compressed data can be read no further.
    """

    lines: int = 0
    columns: tuple[str, ...] = ()
    types: dict[str, int] = field(default_factory=dict)
    damaged_at: int | None = None
    damage: str = ""


class Reader:
    """The lines of a file in order, with the digest of those given so far. Blocking: to be used in a thread."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.number = 0

    def digest(self) -> bytes:
        """sha256 of the lines given, each with a line feed, however the file ends its lines."""
        return self._digest.copy().digest()

    def __iter__(self) -> Iterator[Line]:
        """Goes on where the last iteration stopped. Raises Damaged."""
        while (line := self._next()) is not None:
            yield line

    def _next(self) -> Line | None:
        try:
            raw = self._file.readline(MAX_LINE_BYTES + 2)
            if not raw:
                return None
            whole = len(raw) <= MAX_LINE_BYTES or raw.endswith(b"\n")
            while not raw.endswith(b"\n") and (more := self._file.readline(MAX_LINE_BYTES)):
                self._digest.update(raw)
                raw = more
        except (EOFError, zlib.error, OSError) as error:
            raise Damaged(self.number + 1, error) from error
        raw = raw.rstrip(b"\r\n")
        self._digest.update(raw + b"\n")
        self.number += 1
        if not whole:
            return Line(self.number, None)
        return Line(self.number, raw.removeprefix(BOM) if self.number == 1 else raw)


@contextmanager
def open_history(path: Path) -> Iterator[Reader]:
    """Raises HistoryError for a file that can't be opened."""
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == GZIP_MAGIC
            plain.seek(0)
            if zipped:
                with gzip.GzipFile(fileobj=plain) as unzipped:
                    yield Reader(unzipped)  # type: ignore[arg-type]
            else:
                yield Reader(plain)
    except OSError as error:
        raise HistoryError(f"{path} can't be read: {error.strerror or error}.") from error


def survey(path: Path) -> Survey:
    """Reads the whole file once. Raises HistoryError for one that is no history."""
    found = Survey()
    with open_history(path) as reader:
        try:
            _survey_lines(reader, found)
        except Damaged as damaged:
            if damaged.checksum_only or not found.columns:
                raise HistoryError(
                    f"The file is damaged ({damaged}): which of its lines are right can't be told. "
                    "Nothing was taken; get a sound copy."
                ) from damaged
            found.damaged_at, found.damage = damaged.line, str(damaged)
        found.lines = reader.number
    if found.lines < 2:
        raise HistoryError("The file holds no events: the first line names the columns, and no other can be read.")
    return found


def _survey_lines(reader: Reader, found: Survey) -> None:
    found.columns = _columns(next(iter(reader), None))
    at = found.columns.index("type")
    for line in reader:
        try:
            fields = split(text_of(line))
        except BadLine:
            continue  # told of when it is its turn
        if len(fields) == len(found.columns):
            found.types.setdefault(fields[at].strip(), line.number)


def _columns(header: Line | None) -> tuple[str, ...]:
    wanted = "The first line must name the columns: client_id,ts,type,amount."
    if header is None:
        raise HistoryError(f"The file is empty. {wanted}")
    try:
        names = tuple(name.strip().lower() for name in split(text_of(header)))
    except BadLine as bad:
        raise HistoryError(f"{wanted} It {bad}.") from bad
    missing = [name for name in REQUIRED if name not in names]
    if missing or len(set(names)) != len(names):
        raise HistoryError(f"{wanted} It lacks {', '.join(missing)}." if missing else f"{wanted} It names one twice.")
    return names


class Batches:
    """The lines after the reader's place, parsed, some hundred at a time. Blocking: to be used in a thread."""

    def __init__(self, reader: Reader, parser: LineParser, *, size: int, last_at: datetime | None) -> None:
        self._reader = reader
        self._lines = iter(reader)
        self._parser = parser
        self._size = size
        self._last_at = last_at or FIRST_TIME

    def next(self) -> Batch | None:
        """None at the end of the file, and where it is damaged: lines before that, but not a whole batch, are left."""
        entries: list[Entry] = []
        refused: list[tuple[int, str]] = []
        before = self._reader.number
        try:
            for line in islice(self._lines, self._size):
                try:
                    entry = self._in_order(self._parser.parse(line))
                except BadLine as bad:
                    refused.append((line.number, str(bad)))
                else:
                    entries += [entry] if entry else []
        except Damaged:
            return None
        if self._reader.number == before:
            return None
        return Batch(entries, self._reader.number, self._reader.digest(), refused)

    def _in_order(self, entry: Entry | None) -> Entry | None:
        """The learner's clock never goes back, so neither may the file's."""
        if entry is None:
            return None
        if entry.at < self._last_at:
            raise BadLine(f"is of {entry.at.isoformat()}, before the line above it ({self._last_at.isoformat()})")
        self._last_at = entry.at
        return entry


def skip(reader: Reader, lines: int, digest: bytes | None) -> None:
    """Passes over the lines that were taken before. Raises HistoryError when these are not they by their digest."""
    try:
        passed = sum(1 for _ in islice(reader, lines))
    except Damaged as damaged:
        raise HistoryError(f"The file is damaged at line {damaged.line:,}, before where it was left.") from damaged
    if passed < lines or digest not in (None, reader.digest()):
        raise HistoryError(
            f"The file is another one, or was changed: its first {lines:,} lines are not those this practice took. "
            "Nothing more was taken. Go on with the file it began with, or name a new practice with --practice."
        )


def first_time(path: Path, parser: LineParser) -> datetime:
    """The time of the first line that can be taken. Raises HistoryError when there is none."""
    reason = "nothing follows the header"
    with open_history(path) as reader:
        try:
            for line in islice(reader, 1, None):
                try:
                    if entry := parser.parse(line):
                        return entry.at
                except BadLine as bad:
                    reason = f"line {line.number:,} {bad}"
        except Damaged as damaged:
            reason = str(damaged)
    raise HistoryError(f"No line can be taken: {reason}.")
