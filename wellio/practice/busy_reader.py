"""Reads from an iCalendar file (RFC 5545) when its owner is busy. Runs as a process of its own, which can be ended.

    python -m wellio.practice.busy_reader ZONE FIRST LAST < calendar.ics

ZONE is for times without one, FIRST and LAST are Unix seconds. Prints [[from, to], …] in Unix seconds, rising and
apart; or, with status 2, a sentence on what is wrong with the file. Strangers write these files: a rule that never
matches, or one that matches each second, would keep any reader in this process from ever coming back.
"""

import resource
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import recurring_ical_events
from icalendar import Calendar

CPU_S = 20
MEMORY_BYTES = 1024**3
MAX_EVENTS = 5000
MAX_BUSY = 20_000
UNREADABLE = 2
NO_CALENDAR = "The address gives no calendar: it must be one in the iCalendar format (.ics)."
SLOW_RULES = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
TIMES_OF_DAY = ("BYHOUR", "BYMINUTE", "BYSECOND")

Span = tuple[int, int]


class Unreadable(Exception):
    """Its text is for the calendar's owner."""


def read_busy(ics: bytes, *, zone: ZoneInfo, first: datetime, last: datetime) -> list[Span]:
    """Raises Unreadable."""
    if ics.upper().count(b"BEGIN:VEVENT") > MAX_EVENTS:
        raise Unreadable(f"The calendar has more than {MAX_EVENTS} events; share one with fewer.")
    calendar = _parsed(ics)
    zone = _zone_of(calendar, zone)
    for event in calendar.walk("VEVENT"):
        _check_rules(event)
    try:
        events = recurring_ical_events.of(calendar, skip_bad_series=True).between(first, last)
    except (ValueError, TypeError, KeyError, OverflowError, ArithmeticError) as error:
        raise Unreadable("The calendar could not be read: its times make no sense.") from error
    spans = sorted(span for event in events if _is_busy(event) and (span := _span(event, zone)))
    if len(spans) > MAX_BUSY:
        raise Unreadable(f"The calendar has more than {MAX_BUSY:,} appointments within the next two years.")
    return list(_joined(spans))


def _parsed(ics: bytes) -> Calendar:
    # The parser takes what there is; half a calendar would open the times of the other half.
    if b"BEGIN:VCALENDAR" in ics.upper() and not ics.rstrip().upper().endswith(b"END:VCALENDAR"):
        raise Unreadable("The calendar breaks off: it was not given as a whole.")
    try:
        calendar = Calendar.from_ical(ics.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, TypeError, KeyError, IndexError, UnicodeError) as error:
        raise Unreadable(NO_CALENDAR) from error
    if not isinstance(calendar, Calendar) or calendar.name != "VCALENDAR":
        raise Unreadable(NO_CALENDAR)
    return calendar


def _zone_of(calendar: Calendar, otherwise: ZoneInfo) -> ZoneInfo:
    """Of times that name none: the calendar's own, as Google and Apple write it."""
    try:
        return ZoneInfo(str(calendar["X-WR-TIMEZONE"]))
    except (KeyError, ValueError, OSError):
        return otherwise


def _check_rules(event: Any) -> None:
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        often = SLOW_RULES & {str(value).upper() for value in rule.get("FREQ", [])}
        if often or any(len(rule.get(part, [])) > 1 for part in TIMES_OF_DAY):
            raise Unreadable("The calendar has an event that repeats more than once a day; take it out.")


def _is_busy(event: Any) -> bool:
    """Not what its owner marked as free, and not what was called off."""
    free = str(event.get("TRANSP", "OPAQUE")).upper() == "TRANSPARENT"
    free = free or str(event.get("X-MICROSOFT-CDO-BUSYSTATUS", "BUSY")).upper() == "FREE"
    return not free and str(event.get("STATUS", "CONFIRMED")).upper() != "CANCELLED"


def _span(event: Any, zone: ZoneInfo) -> Span | None:
    """In whole seconds; None of what takes no time. Dates are days of the zone, however long these are."""
    starts_at, ends_at = (_instant(event[name].dt, zone) for name in ("DTSTART", "DTEND"))
    return (starts_at, ends_at) if starts_at < ends_at else None


def _instant(value: date | datetime, zone: ZoneInfo) -> int:
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    low = high = None
    for starts_at, ends_at in spans:
        if low is None or high is None or starts_at > high:
            if low is not None and high is not None:
                yield low, high
            low, high = starts_at, ends_at
        else:
            high = max(high, ends_at)
    if low is not None and high is not None:
        yield low, high


def main(zone: str, first: str, last: str) -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    bounds = {"first": datetime.fromtimestamp(int(first), UTC), "last": datetime.fromtimestamp(int(last), UTC)}
    try:
        spans = read_busy(sys.stdin.buffer.read(), zone=ZoneInfo(zone), **bounds)
    except Unreadable as error:
        sys.stderr.write(str(error))
        return UNREADABLE
    sys.stdout.buffer.write(orjson.dumps(spans))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
