"""Rows as CSV, JSON Lines and Excel workbooks, some at a time. Pure but for the workbook's file; for a thread.

Times are UTC. In CSV whatever a spreadsheet might take for a formula begins with an apostrophe; in a workbook text is
text by its type, so it stands there as it is.
"""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, BinaryIO, Literal
from uuid import UUID

import xlsxwriter

from wellio.encoding import to_json

FormatName = Literal["csv", "jsonl", "xlsx"]
MEDIA: dict[FormatName, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

# What begins a formula in a spreadsheet (OWASP, "CSV Injection"), wide forms included; and what is skipped before it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
# Excel reads UTF-8 only by this mark; others skip it.
BOM = "\N{BYTE ORDER MARK}"

# Excel's own limits.
MAX_SHEET_ROWS = 1_048_576
MAX_CELL = 32_767

Row = Any  # a sequence of values: asyncpg's, which says so to nobody
Encode = Callable[[Sequence[Row]], bytes]


def csv_head(columns: Sequence[str]) -> bytes:
    return (BOM + _csv_text([columns])).encode()


def csv_lines(rows: Sequence[Row]) -> bytes:
    """RFC 4180. All text stands in quotes, so that no other separator cuts it; numbers and what is missing don't."""
    return _csv_text([[_plain(value) for value in row] for row in rows]).encode()


def json_lines(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    return b"".join(to_json(dict(zip(columns, map(_json, row), strict=True))) + b"\n" for row in rows)


def neutral(text: str) -> str:
    """What no spreadsheet takes for a formula. Text that looks as if it had been made so gets another apostrophe, so
    that what it was can be told: the first apostrophe goes if what follows would get one."""
    return f"'{text}" if text.lstrip(" '").startswith(FORMULA) else text


class Workbook:
    """Rows go to the disk as they come; a sheet that is full is followed by another with the same head."""

    def __init__(self, file: BinaryIO, name: str, columns: Sequence[str]) -> None:
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._book = xlsxwriter.Workbook(file, options)
        self._moment = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._name, self._columns = name, columns
        self._sheets = 0
        self._begin_sheet()

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if self._next == MAX_SHEET_ROWS:
                self._begin_sheet()
            for place, value in enumerate(row):
                self._write(place, value)
            self._next += 1

    def close(self) -> None:
        self._book.close()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._book.add_worksheet(self._name if self._sheets == 1 else f"{self._name} {self._sheets}")
        for place, column in enumerate(self._columns):
            self._sheet.write_string(0, place, column)
        self._next = 1

    def _write(self, place: int, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, bool):
            self._sheet.write_boolean(self._next, place, value)
        elif isinstance(value, int | float | Decimal):
            self._sheet.write_number(self._next, place, value)
        elif isinstance(value, datetime):
            self._sheet.write_datetime(self._next, place, value.astimezone(UTC).replace(tzinfo=None), self._moment)
        elif isinstance(value, date):
            self._sheet.write_datetime(self._next, place, value, self._day)
        else:
            self._sheet.write_string(self._next, place, _text(value)[:MAX_CELL])


def _csv_text(rows: Sequence[Row]) -> str:
    lines = io.StringIO(newline="")
    csv.writer(lines, quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return lines.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return _text(value)
    return value if isinstance(value, int | float | Decimal) else neutral(_text(value))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return value.isoformat() if isinstance(value, date) else str(value)


def _json(value: Any) -> Any:
    if isinstance(value, datetime | UUID):
        return _text(value)
    return float(value) if isinstance(value, Decimal) else value
