"""Recurrence: the dates that a rule gives (RFC 5545, 3.3.10): wall times first, and only then instants of the zone.

Taken are FREQ (DAILY, WEEKLY, MONTHLY, YEARLY), INTERVAL, BYDAY, BYMONTHDAY and one of COUNT and UNTIL, which are
inclusive. A month without the day that a rule names is skipped, as the RFC has it. Everything else is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from dateutil import rrule

from wellio.errors import Invalid
from wellio.practice.wall_clock import instant_of, is_skipped

MAX_OCCURRENCES = 104
MAX_REACH = timedelta(days=3653)  # ten years
MAX_CHARS = 300

FREQUENCIES: Mapping[str, Literal[0, 1, 2, 3]] = {
    "DAILY": rrule.DAILY, "WEEKLY": rrule.WEEKLY, "MONTHLY": rrule.MONTHLY, "YEARLY": rrule.YEARLY,
}  # fmt: skip
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY = re.compile(r"([+-]?[1-5])?(MO|TU|WE|TH|FR|SA|SU)")
_NUMBER = re.compile(r"[0-9]{1,3}")
_MONTH_DAY = re.compile(r"[+-]?[0-9]{1,2}")
_UNTIL = re.compile(r"([0-9]{8})(?:T([0-9]{6})(Z?))?")
# Which of the parts BYDAY and BYMONTHDAY say something of which frequency (RFC 5545's table, what is simple of it).
_BY_PARTS = {
    "DAILY": {"BYDAY"}, "WEEKLY": {"BYDAY"}, "MONTHLY": {"BYDAY", "BYMONTHDAY"}, "YEARLY": set[str](),
}  # fmt: skip
_PARTS = ("FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "COUNT", "UNTIL")


@dataclass(frozen=True, slots=True)
class Day:
    """A weekday, 0 for Monday; of months the `nth` one (-1: the last), or each."""

    weekday: int
    nth: int | None = None

    def __str__(self) -> str:
        return f"{self.nth or ''}{WEEKDAYS[self.weekday]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`until`: a local date (all of it), a wall time, or an instant if it is aware."""

    frequency: str
    interval: int = 1
    days: tuple[Day, ...] = ()
    month_days: tuple[int, ...] = ()
    count: int | None = None
    until: date | datetime | None = None

    def __str__(self) -> str:
        """As an RRULE's value."""
        parts = {
            "FREQ": self.frequency,
            "INTERVAL": str(self.interval) if self.interval > 1 else "",
            "BYDAY": ",".join(map(str, self.days)),
            "BYMONTHDAY": ",".join(map(str, self.month_days)),
            "COUNT": str(self.count or ""),
            "UNTIL": _written(self.until) if self.until else "",
        }
        return ";".join(f"{name}={value}" for name, value in parts.items() if value)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """`wall` is what the rule says, naive; `starts_at` the instant. `shifted`: clocks skip that time on that day, so it
    was read with the offset before the gap, and they show a later one."""

    wall: datetime
    starts_at: datetime
    shifted: bool


def parse_rule(text: str) -> Rule:
    """Raises Invalid at `rrule`, with what is wrong and what may stand there."""
    parts = _parts_of(text)
    frequency = parts.pop("FREQ", "")
    if frequency not in FREQUENCIES:
        raise _refused(f"FREQ must be one of {', '.join(FREQUENCIES)}.")
    for name in ("BYDAY", "BYMONTHDAY"):
        if name in parts and name not in _BY_PARTS[frequency]:
            raise _refused(f"{name} does not go with FREQ={frequency}.")
    if ("COUNT" in parts) == ("UNTIL" in parts):
        raise _refused("Give either COUNT or UNTIL, so that the series has an end.")
    days = tuple(_day(item, frequency) for item in _items(parts, "BYDAY"))
    month_days = tuple(_month_day(item) for item in _items(parts, "BYMONTHDAY"))
    return Rule(
        frequency=frequency,
        interval=_number(parts, "INTERVAL", 366) or 1,
        days=days,
        month_days=month_days,
        count=_number(parts, "COUNT", MAX_OCCURRENCES),
        until=_until(parts["UNTIL"]) if "UNTIL" in parts else None,
    )


def occurrences_of(rule: Rule, start: datetime, zone: ZoneInfo) -> list[Occurrence]:
    """Of a series whose first wall time is `start`, naive; rising. Raises Invalid for a rule that `start` is no
    occurrence of, for more than MAX_OCCURRENCES, and for what reaches further than MAX_REACH."""
    found = _within(rule, start, zone)
    walls = list(islice(found, rule.count or MAX_OCCURRENCES + 1))
    if not walls or walls[0].wall != start:
        raise Invalid.field("starts_at", "Must be a time that the rule gives: the series begins with it.")
    if len(walls) > MAX_OCCURRENCES:
        raise _refused(f"A series has at most {MAX_OCCURRENCES} sessions; this one has more.")
    if len(walls) < (rule.count or 0) or _reaches_too_far(rule, start):
        raise _refused("A series reaches at most ten years.")
    return walls


def shift_rule(rule: Rule, days: int) -> Rule:
    """The rule whose dates lie `days` later than this one's. Raises Invalid where no rule says that."""
    if days == 0:
        return rule
    wraps = any(not 0 <= day.weekday + days <= 6 for day in rule.days) and len(rule.days) > 1 and rule.interval > 1
    if rule.frequency in ("MONTHLY", "YEARLY") or (rule.frequency == "DAILY" and rule.days) or wraps:
        raise Invalid.field(
            "starts_at", "Of this series the time of day can be moved, not the date; make a new series for other dates."
        )
    return replace(rule, days=tuple(Day((day.weekday + days) % 7) for day in rule.days))


def _within(rule: Rule, start: datetime, zone: ZoneInfo) -> Iterator[Occurrence]:
    """Until the rule's UNTIL, or MAX_REACH. Each instant comes once, also where a whole day is skipped (Apia, 2011)."""
    reach = start + MAX_REACH
    last: datetime | None = None
    for wall in takewhile(lambda wall: wall <= reach, _walls(rule, start)):
        starts_at = instant_of(zone, wall.date(), wall.time())
        if _ended(rule.until, wall, starts_at):
            return
        if last is None or starts_at > last:
            yield Occurrence(wall, starts_at, shifted=is_skipped(zone, wall))
        last = starts_at


def _walls(rule: Rule, start: datetime) -> Iterator[datetime]:
    dates = rrule.rrule(
        FREQUENCIES[rule.frequency],
        dtstart=start,
        interval=rule.interval,
        byweekday=[rrule.weekday(day.weekday, day.nth) for day in rule.days] or None,
        bymonthday=list(rule.month_days) or None,
    )
    # A rule that no date fulfils gives none until the year 9999, which some thousand steps reach.
    return iter(dates)


def _ended(until: date | datetime | None, wall: datetime, starts_at: datetime) -> bool:
    if isinstance(until, datetime):
        return (starts_at if until.tzinfo else wall) > until
    return until is not None and wall.date() > until


def _reaches_too_far(rule: Rule, start: datetime) -> bool:
    if rule.until is None:
        return False
    last = rule.until.date() if isinstance(rule.until, datetime) else rule.until
    return last > (start + MAX_REACH).date()


def _parts_of(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in text.strip().upper().removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if name not in _PARTS:
            raise _refused(f"Only {', '.join(_PARTS)} are taken, as in FREQ=WEEKLY;BYDAY=MO;COUNT=10.")
        if name in parts or not value:
            raise _refused(f"{name} must stand once, with a value.")
        parts[name] = value
    return parts


def _items(parts: Mapping[str, str], name: str) -> Sequence[str]:
    items = parts[name].split(",") if name in parts else []
    if len(set(items)) != len(items):
        raise _refused(f"{name} names something twice.")
    return items


def _day(text: str, frequency: str) -> Day:
    match = _DAY.fullmatch(text)
    if match is None or (match[1] and frequency != "MONTHLY"):
        raise _refused("BYDAY lists weekdays such as MO,WE; of a month also 1MO or -1FR.")
    return Day(WEEKDAYS.index(match[2]), int(match[1]) if match[1] else None)


def _month_day(text: str) -> int:
    number = int(text) if _MONTH_DAY.fullmatch(text) else 0
    if not 1 <= abs(number) <= 31:
        raise _refused("BYMONTHDAY lists days from 1 to 31, or from -31 to -1 counted from the month's end.")
    return number


def _number(parts: Mapping[str, str], name: str, most: int) -> int | None:
    if name not in parts:
        return None
    if not _NUMBER.fullmatch(parts[name]) or not 1 <= int(parts[name]) <= most:
        raise _refused(f"{name} must be a whole number from 1 to {most}.")
    return int(parts[name])


def _until(text: str) -> date | datetime:
    match = _UNTIL.fullmatch(text)
    try:
        day = datetime.strptime(match[1], "%Y%m%d").date() if match else None  # noqa: DTZ007 (a date)
        at = datetime.strptime(match[2], "%H%M%S").time() if match and match[2] else None  # noqa: DTZ007 (a wall time)
    except ValueError:
        day = None
    if match is None or day is None:
        raise _refused("UNTIL is a date such as 20270301, or a time such as 20270301T150000Z.")
    if at is None:
        return day
    return datetime.combine(day, at, tzinfo=UTC if match[3] else None)


def _written(until: date | datetime) -> str:
    if not isinstance(until, datetime):
        return f"{until:%Y%m%d}"
    return f"{until:%Y%m%dT%H%M%S}{'Z' if until.tzinfo else ''}"


def _refused(message: str) -> Invalid:
    return Invalid.field("rrule", message)
