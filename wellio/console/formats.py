"""How figures, times and reasons read on a page."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.learning.expected_attendance import UNLIKELY_BELOW
from wellio.practice.home import HomeSession, HomeSummary, Revenue

# ISO 4217: digits after the point, where they are not two.
NO_DIGITS = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF")
)
THREE_DIGITS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
STATUS_WORDS = {"in_progress": "under way", "no_show": "missed", "completed": "done"}
# Marks in a User-Agent, the particular before what everybody claims to be.
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
MINUS = "\N{MINUS SIGN}"


def money(minor: int, currency: str) -> str:
    """`€1,234.50`, or `CHF 1,234.50` for a currency without a sign of its own."""
    digits = 0 if currency in NO_DIGITS else 3 if currency in THREE_DIGITS else 2
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


def percent(probability: float) -> int:
    """In whole percent, and neither 0 nor 100: nobody is that sure."""
    return min(99, max(1, round(probability * 100)))


def clock(time: datetime, zone: ZoneInfo) -> str:
    return f"{time.astimezone(zone):%H:%M}"


def long_day(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B %Y}"


def short_day(time: datetime, zone: ZoneInfo) -> str:
    local = time.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b}"


def moment(time: datetime, zone: ZoneInfo, today: date) -> str:
    """The time alone where it is of today, the day alone where it is not."""
    local = time.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == today else f"{local.day} {local:%b}"


def stamp(time: datetime, zone: ZoneInfo, today: date) -> str:
    """The time, with its day before it where that is not today."""
    local = time.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == today else f"{local.day} {local:%b}, {local:%H:%M}"


def greeting(now: datetime, zone: ZoneInfo) -> str:
    hour = now.astimezone(zone).hour
    return "Good morning" if hour < 12 else "Good afternoon" if hour < 18 else "Good evening"


def by_day(summary: HomeSummary, zone: ZoneInfo) -> list[tuple[str, list[HomeSession]]]:
    """Today's sessions and the next ones, under the days they are on."""
    days: dict[date, dict[UUID, HomeSession]] = {}
    for session in (*summary.today_sessions, *summary.next_sessions):
        days.setdefault(session.starts_at.astimezone(zone).date(), {})[session.id] = session
    return [(_day_name(day, summary.today), list(sessions.values())) for day, sessions in days.items()]


def _day_name(day: date, today: date) -> str:
    names = {0: "Today", 1: "Tomorrow"}
    return names.get((day - today).days, f"{day:%A}, {day.day} {day:%B}")


def sessions_note(summary: HomeSummary, zone: ZoneInfo) -> str:
    done = sum(session.status == "completed" for session in summary.today_sessions)
    if summary.next_sessions:
        following = summary.next_sessions[0]
        day = "" if following in summary.today_sessions else f"{short_day(following.starts_at, zone)}, "
        ahead = f"next {day}{clock(following.starts_at, zone)}"
    else:
        ahead = "none ahead"
    return f"{done} done, {ahead}" if done else ahead


def status_word(status: str) -> str:
    return STATUS_WORDS.get(status, status)


def attendance_note(session: HomeSession) -> str:
    """Only where a reminder may be worth it."""
    chance = session.attendance
    return f"{percent(chance)} % likely to come" if chance is not None and chance < UNLIKELY_BELOW else ""


def initials(name: str) -> str:
    words: Sequence[str] = name.split()
    return "".join(word[0] for word in (words[0], words[-1])[: len(words)]).upper() if words else "?"


def device_name(agent: str) -> str:
    """`Firefox on Linux`, or the beginning of what it calls itself."""
    browser = next((name for mark, name in BROWSERS if mark in agent), "")
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if browser and system else agent[:60] or "An app without a name"


FILTERS = {
    "device_name": device_name,
    "money": money,
    "change": change,
    "percent": percent,
    "clock": clock,
    "long_day": long_day,
    "short_day": short_day,
    "moment": moment,
    "stamp": stamp,
    "greeting": greeting,
    "by_day": by_day,
    "sessions_note": sessions_note,
    "status_word": status_word,
    "attendance_note": attendance_note,
    "initials": initials,
}
