"""When somebody is busy, read from calendars as they are and from calendars that mean harm."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.practice.ics import APPLE, GOOGLE, OUTLOOK, calendar_of, ics
from wellio.practice import calendar_fetcher
from wellio.practice.busy_reader import MAX_EVENTS, Unreadable, read_busy
from wellio.practice.calendar_fetcher import read_apart

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
FIRST = datetime(2027, 1, 1, tzinfo=UTC)
LAST = FIRST + timedelta(days=735)


def read(text: bytes, zone: ZoneInfo = NEW_YORK) -> list[tuple[datetime, datetime]]:
    spans = read_busy(text, zone=zone, first=FIRST, last=LAST)
    return [(datetime.fromtimestamp(low, UTC), datetime.fromtimestamp(high, UTC)) for low, high in spans]


def at(zone: ZoneInfo, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2027, month, day, hour, minute, tzinfo=zone).astimezone(UTC)


def test_google_series_with_its_exceptions_over_a_change_of_clocks() -> None:
    """Weekly without the 5th of April, the last one moved; an opaque weekend of 47 hours; neither birthday nor what
    was called off."""
    assert read(ics(GOOGLE)) == [
        (at(BERLIN, 3, 22, 10), at(BERLIN, 3, 22, 11)),
        (at(BERLIN, 3, 27), at(BERLIN, 3, 29)),
        (at(BERLIN, 3, 29, 10), at(BERLIN, 3, 29, 11)),
        (at(BERLIN, 4, 12, 15), at(BERLIN, 4, 12, 15, 30)),
    ]
    assert at(BERLIN, 3, 29) - at(BERLIN, 3, 27) == timedelta(hours=47)
    assert at(BERLIN, 3, 29, 10) - at(BERLIN, 3, 22, 10) == timedelta(days=7, hours=-1)


def test_outlook_zone_by_its_own_name_and_free_by_its_own_field() -> None:
    """Neighbouring appointments are one busy time; the tentative counts."""
    assert read(ics(OUTLOOK)) == [(at(BERLIN, 7, 1, 10), at(BERLIN, 7, 1, 12))]


def test_apple_floating_time_is_in_the_zone_of_the_calendar() -> None:
    assert read(ics(APPLE), BERLIN) == [
        (at(NEW_YORK, 5, 3, 9), at(NEW_YORK, 5, 3, 10)),
        (datetime(2027, 5, 4, 9, tzinfo=UTC), datetime(2027, 5, 4, 9, 45, tzinfo=UTC)),
    ]


def test_floating_time_and_whole_day_of_a_calendar_without_zone_are_the_coachs() -> None:
    text = calendar_of("DTSTART:20270301T100000\nDTEND:20270301T110000", "DTSTART;VALUE=DATE:20270302")
    assert read(text) == [
        (at(NEW_YORK, 3, 1, 10), at(NEW_YORK, 3, 1, 11)),
        (at(NEW_YORK, 3, 2), at(NEW_YORK, 3, 3)),
    ]


def test_moment_without_length_and_series_of_the_past_take_no_time() -> None:
    text = calendar_of(
        "DTSTART:20270301T100000Z",
        "DTSTART:20200301T100000Z\nDTEND:20200301T110000Z\nRRULE:FREQ=WEEKLY;COUNT=3",
    )
    assert read(text) == []


def test_one_bad_event_does_not_hide_the_others() -> None:
    text = calendar_of("DTSTART:banana", "DTSTART:20270301T100000Z\nDTEND:20270301T110000Z")
    assert len(read(text)) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "gives no calendar"),
        (b"<!doctype html><title>Sign in</title>", "gives no calendar"),
        (b"\x00\xff" * 50, "gives no calendar"),
        (b"BEGIN:VEVENT\r\nEND:VEVENT\r\n", "gives no calendar"),
        (ics(GOOGLE)[:1200], "breaks off"),
        (calendar_of("DTSTART:20270301T100000Z\nRRULE:FREQ=SECONDLY"), "more than once a day"),
        (calendar_of("DTSTART:20270301T100000Z\nRRULE:FREQ=HOURLY;COUNT=3"), "more than once a day"),
        (calendar_of("DTSTART:20270301T100000Z\nRRULE:FREQ=DAILY;BYMINUTE=1,2"), "more than once a day"),
        (b"BEGIN:VEVENT\n" * (MAX_EVENTS + 1), "more than 5000 events"),
    ],
)
def test_what_is_no_calendar_or_too_much_of_one_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        read(text)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 700 * 1440), st.integers(1, 3000)), max_size=12))
def test_busy_times_are_apart_and_cover_each_appointment(appointments: list[tuple[int, int]]) -> None:
    spans = [(FIRST + timedelta(minutes=m), FIRST + timedelta(minutes=m + n)) for m, n in appointments]
    text = calendar_of(*[f"DTSTART:{low:%Y%m%dT%H%M%SZ}\nDTEND:{high:%Y%m%dT%H%M%SZ}" for low, high in spans])
    busy = read(text)
    assert all(before[1] < after[0] for before, after in pairwise(busy))
    assert all(any(low <= start and end <= high for low, high in busy) for start, end in spans)
    assert {t for pair in busy for t in pair} <= {t for pair in spans for t in pair}


async def test_reader_apart_gives_the_same() -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    spans = await read_apart(ics(OUTLOOK), "America/New_York", now)
    assert [tuple(span) for span in spans] == [
        (int(at(BERLIN, 7, 1, 10).timestamp()), int(at(BERLIN, 7, 1, 12).timestamp()))
    ]
    with pytest.raises(Unreadable, match="gives no calendar"):
        await read_apart(b"<html>", "America/New_York", now)


async def test_rule_that_never_matches_is_ended_with_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 30th of February, looked for day by day until the year 9999."""
    monkeypatch.setattr(calendar_fetcher, "READ_S", 0.5)
    never = "DTSTART:19700301T100000Z\nDTEND:19700301T110000Z\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"
    with pytest.raises(Unreadable, match="too long to read"):
        await read_apart(calendar_of(*[never] * 50), "UTC", datetime(2027, 1, 1, tzinfo=UTC))
