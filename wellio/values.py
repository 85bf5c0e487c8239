"""The kinds of field that request bodies are made of, with their limits."""

import re
from collections.abc import Container
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from wellio.errors import Invalid

_EMAIL = re.compile(r"[^@\s,;:<>()\[\]\\\"]{1,64}@[^@\s,;:<>()\[\]\\\"]{1,190}\.[^@\s.,;:<>()\[\]\\\"]{2,63}")
ZONES = frozenset(available_timezones())
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SURROGATES = re.compile("[\ud800-\udfff]")
# PostgreSQL's timestamptz and Python's datetime both hold these years.
_FIRST_YEAR, _LAST_YEAR = 1900, 2200


class Input(BaseModel):
    """A request body or query: unknown fields are refused, and nothing is guessed from another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def check_not_null(changes: Input, *, clearable: Container[str] = ()) -> None:
    """Raises Invalid for a null that a PATCH names where there is nothing to clear."""
    for name in changes.model_fields_set:
        if getattr(changes, name) is None and name not in clearable:
            raise Invalid.field(name, "Must not be null.")


def changed_values(changes: Input, *, clearable: Container[str] = ()) -> dict[str, Any]:
    """What a PATCH names. Raises Invalid as `check_not_null`."""
    check_not_null(changes, clearable=clearable)
    return {name: getattr(changes, name) for name in changes.model_fields_set}


def _storable(text: str) -> str:
    if "\0" in text or _SURROGATES.search(text):
        raise ValueError("must not hold NUL characters or lone surrogates")
    return text


def _one_line(text: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("must not hold control characters or line breaks")
    return _storable(text)


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text) or len(text) > 254:
        raise ValueError("is not an e-mail address")
    return _one_line(text)


def _zone(text: str) -> str:
    if text not in ZONES:
        raise ValueError("is not an IANA time zone, such as Europe/Berlin")
    return text


def _written_time(value: object) -> object:
    # Pydantic would read a bare number as Unix seconds, or milliseconds; RFC 3339 has one reading.
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("must be a time of RFC 3339, such as 2026-05-06T10:00:00+02:00")
    return value


def _sane_time(time: datetime) -> datetime:
    if not _FIRST_YEAR <= time.year < _LAST_YEAR:
        raise ValueError(f"must be between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    return time


def _written_day(value: object) -> object:
    # Pydantic would read a number as Unix seconds.
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a date, such as 2026-05-06")
    return value


def _four_decimals(number: float) -> float:
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -4:
        raise ValueError("must have at most four decimals")
    return number


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_one_line)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500), AfterValidator(_one_line)]
Text = Annotated[str, StringConstraints(max_length=8000), AfterValidator(_storable)]
Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=254), AfterValidator(_email)]
Phone = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^\+?[0-9 ()./-]{3,40}$")]
Tag = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50), AfterValidator(_one_line)]
Zone = Annotated[str, AfterValidator(_zone), Field(examples=["Europe/Berlin"])]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), Field(examples=["EUR"])]
Moment = Annotated[AwareDatetime, BeforeValidator(_written_time), AfterValidator(_sane_time)]
Day = Annotated[date, BeforeValidator(_written_day), Field(examples=["2026-05-06"])]
# A measured number: of no other JSON type, and with at most four decimals, so that it is stored as it was sent.
Quantity = Annotated[float, Field(strict=True, ge=-1e9, le=1e9), AfterValidator(_four_decimals)]
# Of a body: neither 1 nor "true". (A query is text, and takes bool.)
Flag = Annotated[bool, Field(strict=True)]
# Integer minor units; up to ten billion of the major unit.
Minor = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Url = Annotated[
    str,
    StringConstraints(max_length=2000, pattern=r"^(https://[^\s<>\"]+)?$"),
    AfterValidator(_one_line),
]
