"""How figures, times and reasons read on a page."""

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from wellio.practice.home import Revenue

# ISO 4217: digits after the point, where they are not two.
EXPONENTS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
}
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
STATUS_WORDS = {"in_progress": "under way", "no_show": "missed", "completed": "done"}
MINUS = "\N{MINUS SIGN}"


def money(minor: int, currency: str) -> str:
    """`€1,234.50`, or `CHF 1,234.50` for a currency without a sign of its own."""
    digits = EXPONENTS.get(currency, 2)
    whole, part = divmod(abs(minor), 10**digits)
    amount = f"{whole:,}.{part:0{digits}}" if digits else f"{whole:,}"
    return f"{MINUS if minor < 0 else ''}{SYMBOLS.get(currency, currency + chr(0xA0))}{amount}"


def change(revenue: Revenue) -> str:
    """This month against the same days of the last, as `+12 %`; empty without anything to compare with."""
    before, now = revenue.last_month_so_far_minor, revenue.this_month_minor
    if before <= 0:
        return ""
    percent = round((now - before) * 100 / before)
    return f"{MINUS if percent < 0 else '+'}{abs(percent)}\N{NO-BREAK SPACE}%"


def percent(share: float) -> int:
    return round(share * 100)


def clock(time: datetime, zone: str) -> str:
    return f"{time.astimezone(ZoneInfo(zone)):%H:%M}"


def long_day(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B %Y}"


def short_day(time: datetime, zone: str) -> str:
    local = time.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day} {local:%b}"


def moment(time: datetime, zone: str, today: date) -> str:
    """The time alone where it is of today, the day alone where it is not."""
    local = time.astimezone(ZoneInfo(zone))
    return f"{local:%H:%M}" if local.date() == today else f"{local.day} {local:%b}"


def status_word(status: str) -> str:
    return STATUS_WORDS.get(status, status)


def initials(name: str) -> str:
    words: Sequence[str] = name.split()
    return "".join(word[0] for word in (words[0], words[-1])[: len(words)]).upper() if words else "?"


FILTERS = {
    "money": money,
    "change": change,
    "percent": percent,
    "clock": clock,
    "long_day": long_day,
    "short_day": short_day,
    "moment": moment,
    "status_word": status_word,
    "initials": initials,
}
