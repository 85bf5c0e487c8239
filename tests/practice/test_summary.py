"""Figures of periods: which days they take in, and how much of it is open where clocks change."""

from datetime import UTC, date, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellio.practice.slots import Opening
from wellio.practice.summary import (
    Counts,
    PeriodName,
    Sessions,
    Span,
    ahead_of,
    change_of,
    figures_of,
    open_minutes,
    spans_of,
)

NEW_YORK = ZoneInfo("America/New_York")
ALL_DAY = {day: [(0, 1440)] for day in range(1, 8)}


@pytest.mark.parametrize(
    ("period", "now", "before"),
    [
        ("today", ("2027-03-31", "2027-04-01"), ("2027-03-30", "2027-03-31")),
        ("this_week", ("2027-03-29", "2027-04-01"), ("2027-03-22", "2027-03-25")),
        ("last_week", ("2027-03-22", "2027-03-29"), ("2027-03-15", "2027-03-22")),
        ("this_month", ("2027-03-01", "2027-04-01"), ("2027-02-01", "2027-03-01")),  # no more than there is of it
        ("last_month", ("2027-02-01", "2027-03-01"), ("2027-01-01", "2027-02-01")),
        ("this_year", ("2027-01-01", "2027-04-01"), ("2026-01-01", "2026-04-01")),
        ("last_30_days", ("2027-03-02", "2027-04-01"), ("2027-01-31", "2027-03-02")),
    ],
)
def test_periods_on_the_last_day_of_march(period: PeriodName, now: tuple[str, str], before: tuple[str, str]) -> None:
    spans = spans_of(period, date(2027, 3, 31))
    assert [tuple(day.isoformat() for day in span) for span in spans[:2]] == [now, before]


@pytest.mark.parametrize(
    ("period", "ahead"),
    [
        ("today", ("2026-12-30", "2026-12-31")),
        ("this_week", ("2026-12-30", "2027-01-04")),
        ("last_week", ("2026-12-30", "2027-01-04")),
        ("this_month", ("2026-12-30", "2027-01-01")),
        ("this_year", ("2026-12-30", "2027-01-01")),
        ("last_90_days", ("2026-12-30", "2027-03-30")),
        (("2026-12-01", "2026-12-11"), ("2026-12-30", "2027-01-09")),  # over: as many days
        (("2026-12-01", "2027-01-05"), ("2026-12-30", "2027-01-05")),
        (("2027-02-01", "2027-02-08"), ("2027-02-01", "2027-02-08")),
        (("2027-12-20", "2028-02-01"), ("2027-12-20", "2027-12-31")),
        (("2027-12-31", "2028-02-01"), None),
    ],
)
def test_what_is_ahead_on_the_last_but_one_day_of_the_year(
    period: PeriodName | tuple[str, str], ahead: tuple[str, str] | None
) -> None:
    today = date(2026, 12, 30)
    if isinstance(period, tuple):
        span = ahead_of(None, Span(*(date.fromisoformat(day) for day in period)), today)
    else:
        span = ahead_of(period, spans_of(period, today)[0], today)
    assert (span and tuple(day.isoformat() for day in span)) == ahead


@given(period=st.sampled_from(get_args(PeriodName)), today=st.dates(date(2020, 1, 1), date(2035, 12, 31)))
def test_no_day_is_in_two_parts_and_none_is_empty(period: PeriodName, today: date) -> None:
    now, before, earlier = spans_of(period, today)
    assert earlier.first < earlier.end <= before.first < before.end <= now.first < now.end <= today + timedelta(days=1)
    assert before.end - before.first <= max(now.end - now.first, timedelta(days=366))


@pytest.mark.parametrize(("day", "hours"), [(date(2027, 3, 14), 23), (date(2026, 11, 1), 25), (date(2026, 11, 2), 24)])
def test_day_is_as_long_as_its_clocks_say(day: date, hours: int) -> None:
    first, end = Span(day, day + timedelta(days=1)).instants(NEW_YORK)
    assert end - first == timedelta(hours=hours)
    opening = Opening(zone=NEW_YORK, weekly=ALL_DAY)
    assert open_minutes([opening], first, end) == hours * 60


def test_open_minutes_are_of_the_coachs_clock_and_the_practices_day() -> None:
    """Nights of 22:00 to 06:00 in New York, on days of Berlin, whose clocks change on another date."""
    nights = Opening(zone=NEW_YORK, weekly={day: [(0, 360), (1320, 1440)] for day in range(1, 8)})
    berlin = ZoneInfo("Europe/Berlin")
    assert open_minutes([nights], *Span(date(2027, 3, 13), date(2027, 3, 16)).instants(berlin)) == (8 + 7 + 8) * 60


def test_time_off_wins_over_overrides_and_overrides_over_the_week() -> None:
    day = date(2027, 6, 7)
    opening = Opening(
        zone=UTC_ZONE,
        weekly={1: [(540, 1020)]},
        overrides={day: [(600, 720)]},
        time_off=[(datetime(2027, 6, 7, 11, tzinfo=UTC), datetime(2027, 6, 7, 13, tzinfo=UTC))],
    )
    bounds = Span(day, day + timedelta(days=1)).instants(UTC_ZONE)
    assert open_minutes([opening, opening], *bounds) == 120
    week_later = Span(day + timedelta(days=7), day + timedelta(days=8)).instants(UTC_ZONE)
    assert open_minutes([opening], *week_later) == 480


UTC_ZONE = ZoneInfo("UTC")


def test_rates_of_nothing_are_null_and_changes_are_differences() -> None:
    nothing = figures_of(Counts(), "EUR")
    assert (nothing.attendance_rate, nothing.retention_rate, nothing.utilisation) == (None, None, None)
    some = figures_of(
        Counts(
            sessions=Sessions(total=5, completed=3), attended=3, missed=1, late=1, active_clients=3, new_clients=2,
            retained=1, active_before=4, revenue={"USD": 500, "EUR": 900}, booked_minutes=90, open_minutes=360,
        ),
        "EUR",
    )  # fmt: skip
    assert (some.attendance_rate, some.no_show_rate, some.retention_rate, some.utilisation) == (0.6, 0.2, 0.25, 0.25)
    assert [(r.currency, r.net_minor) for r in some.revenue] == [("EUR", 900), ("USD", 500)]
    change = change_of(nothing, some)
    assert (change.sessions.total, change.active_clients, change.attendance_rate) == (-5, -3, None)
    assert [(r.currency, r.net_minor) for r in change.revenue] == [("EUR", -900), ("USD", -500)]
