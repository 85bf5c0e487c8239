"""One line of a practice's past, and what it can't be."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

MAX_LINE_BYTES = 4096
MAX_NAME_CHARS = 200
MAX_MINOR = 10**12
# The learner knows time from 1970 on.
FIRST_TIME = datetime(1970, 1, 2, tzinfo=UTC)
CLOCK_SKEW = timedelta(minutes=5)
REQUIRED = ("client_id", "ts", "type")
# ISO 4217: currencies whose minor unit is no hundredth.
WHOLE_CURRENCIES = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
THOUSANDTH_CURRENCIES = "BHD IQD JOD KWD LYD OMR TND"

_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?")
_AMOUNT = re.compile(r"-?\d{1,13}(?:\.\d{1,9})?")


class Kind(NamedTuple):
    """What a type of line means to the practice and the learner; `active`: whether the client did it."""

    name: str
    active: bool


PAYMENT, REFUND = "payment", "refund"

# Types with a meaning of their own, and the kind of fact they are. Others are named on the command line.
ACTIVE_TYPES = {
    "purchase": PAYMENT,
    "payment": PAYMENT,
    "session_booked": "session_booked",
    "session_attended": "session_attended",
    "session_completed": "session_attended",
    "message": "message_sent",
    "message_sent": "message_sent",
    "login": "logged_in",
    "logged_in": "logged_in",
    "diary": "diary_entry",
    "diary_entry": "diary_entry",
    "onboarding_step": "onboarding_step",
}
CONTEXT_TYPES = {
    "return": REFUND,
    "refund": REFUND,
    "session_missed": "session_missed",
    "no_show": "session_missed",
    "session_cancelled": "session_cancelled",
    "message_received": "message_sent",
    "client_ended": "client_ended",
}


def kinds_of(*, active: Sequence[str] = (), context: Sequence[str] = ()) -> dict[str, Kind]:
    """What each type means: the known ones, and those named, which are activity or context and no more."""
    kinds = {name: Kind(kind, active=True) for name, kind in ACTIVE_TYPES.items()}
    kinds |= {name: Kind(kind, active=False) for name, kind in CONTEXT_TYPES.items()}
    kinds |= {name: Kind(name, active=True) for name in active}
    return kinds | {name: Kind(name, active=False) for name in context}


class BadLine(Exception):
    """Why one line can't be taken."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the file. `amount_minor` is never negative; 0 for none."""

    client_ref: str
    at: datetime
    kind: Kind
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Line:
    """`text` is None for a line that is too long to be kept."""

    number: int
    raw: bytes | None


class LineParser:
    """Makes entries of lines. `types` are all that may occur."""

    def __init__(self, columns: Sequence[str], types: Mapping[str, Kind], currency: str, now: datetime) -> None:
        self._count = len(columns)
        self._client, self._ts, self._type = (columns.index(name) for name in REQUIRED)
        self._amount = columns.index("amount") if "amount" in columns else None
        self._types = types
        self._unit = Decimal(10) ** _digits(currency)
        self._latest = now + CLOCK_SKEW

    def parse(self, line: Line) -> Entry | None:
        """None for an empty line. Raises BadLine."""
        text = text_of(line)
        if not text.strip():
            return None
        fields = split(text)
        if len(fields) != self._count:
            raise BadLine(f"has {len(fields)} fields where the header names {self._count}")
        client_ref = self._client_ref(fields[self._client].strip())
        at = self._time(fields[self._ts].strip())
        kind = self._kind(fields[self._type].strip())
        return Entry(client_ref, at, kind, self._minor(kind, fields))

    def _client_ref(self, text: str) -> str:
        if not text or len(text) > MAX_NAME_CHARS or not text.isprintable():
            raise BadLine(f"has no client_id of 1 to {MAX_NAME_CHARS} printable characters")
        return text

    def _time(self, text: str) -> datetime:
        """Without an offset it is UTC."""
        try:
            if not _TIME.fullmatch(text):
                raise ValueError
            at = datetime.fromisoformat(text)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            raise BadLine(f"has the time {_shown(text)}, which is not like 2011-12-09T12:50:00") from None
        if not FIRST_TIME <= at <= self._latest:
            raise BadLine(f"has the time {_shown(text)}, which is not between 1970 and now")
        return at

    def _kind(self, text: str) -> Kind:
        kind = self._types.get(text)
        if kind is None:
            raise BadLine(f"has the unknown type {_shown(text)}")
        return kind

    def _minor(self, kind: Kind, fields: Sequence[str]) -> int:
        text = fields[self._amount].strip() if self._amount is not None else ""
        if not text:
            return 0
        if not _AMOUNT.fullmatch(text):
            raise BadLine(f"has the amount {_shown(text)}, which is not like 139.12")
        minor = int((Decimal(text) * self._unit).to_integral_value(ROUND_HALF_UP))
        if minor < 0 and kind.name == PAYMENT:
            raise BadLine(f"has the amount {_shown(text)}: a payment can't be negative, money given back is a refund")
        if abs(minor) > MAX_MINOR:
            raise BadLine(f"has the amount {_shown(text)}, which is too large")
        return abs(minor)


def text_of(line: Line) -> str:
    if line.raw is None:
        raise BadLine(f"is longer than {MAX_LINE_BYTES:,} bytes")
    if b"\0" in line.raw:
        raise BadLine("holds a NUL byte: the file is not UTF-8 text")
    try:
        return line.raw.decode()
    except UnicodeDecodeError:
        raise BadLine("is not UTF-8 text") from None


def split(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BadLine(f"is no CSV ({error})") from None


def _digits(currency: str) -> int:
    if currency in WHOLE_CURRENCIES.split():
        return 0
    return 3 if currency in THOUSANDTH_CURRENCIES.split() else 2


def _shown(text: str) -> str:
    """What a file holds, as it may stand in a terminal."""
    return ascii(text if len(text) <= 40 else text[:40] + "…")
