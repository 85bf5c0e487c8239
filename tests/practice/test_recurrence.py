"""Rules as dates and instants, against a reading of the wall clock that knows nothing of rules."""

# ruff: noqa: DTZ001 (wall times have no zone)

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellio.errors import Invalid
from wellio.practice.recurrence import WEEKDAYS, occurrences_of, parse_rule, shift_rule

ZONES = ("Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York", "Europe/Berlin", "America/Santiago", "UTC")
NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)


def instants(rule: str, start: datetime, zone: str) -> list[str]:
    return [f"{o.starts_at:%Y-%m-%dT%H:%MZ}" for o in occurrences_of(parse_rule(rule), start, ZoneInfo(zone))]


def walls(rule: str, start: datetime) -> list[str]:
    return [f"{o.wall:%Y-%m-%d}" for o in occurrences_of(parse_rule(rule), start, ZoneInfo("UTC"))]


def first_shown(zone: ZoneInfo, wall: datetime) -> datetime | None:
    """The first instant at which a clock of `zone` shows `wall`, found by trying every offset there is."""
    minutes = (timedelta(minutes=offset) for offset in range(14 * 60, -12 * 60 - 1, -15))
    tried = (wall.replace(tzinfo=UTC) - offset for offset in minutes)
    return next((at for at in tried if at.astimezone(zone).replace(tzinfo=None) == wall), None)


def test_weekly_three_o_clock_in_chicago_stays_three_o_clock() -> None:
    found = instants("FREQ=WEEKLY;COUNT=2", datetime(2025, 3, 2, 15), "America/Chicago")
    assert found == ["2025-03-02T21:00Z", "2025-03-09T20:00Z"]


def test_skipped_time_is_read_with_the_offset_before_the_gap_and_flagged() -> None:
    start = datetime(2027, 3, 13, 2, 30)
    found = occurrences_of(parse_rule("FREQ=DAILY;COUNT=3"), start, NEW_YORK)
    assert [o.shifted for o in found] == [False, True, False]
    assert found[1].starts_at == datetime(2027, 3, 14, 7, 30, tzinfo=UTC)
    assert found[1].starts_at.astimezone(NEW_YORK).isoformat() == "2027-03-14T03:30:00-04:00"
    assert found[1].wall == datetime(2027, 3, 14, 2, 30)


def test_time_shown_twice_is_the_first() -> None:
    found = instants("FREQ=DAILY;COUNT=3", datetime(2026, 10, 31, 1, 30), "America/New_York")
    assert found == ["2026-10-31T05:30Z", "2026-11-01T05:30Z", "2026-11-02T06:30Z"]


def test_monthly_on_the_31st_skips_months_without_it() -> None:
    found = walls("FREQ=MONTHLY;BYMONTHDAY=31;COUNT=7", datetime(2027, 1, 31, 10))
    assert [day[5:7] for day in found] == ["01", "03", "05", "07", "08", "10", "12"]
    assert walls("FREQ=MONTHLY;COUNT=7", datetime(2027, 1, 31, 10)) == found


def test_count_and_until_are_inclusive() -> None:
    start = datetime(2027, 1, 4, 10)
    weekly = ["2027-01-04", "2027-01-11", "2027-01-18"]
    assert walls("FREQ=WEEKLY;COUNT=3", start) == weekly
    for until in ("20270118", "20270118T100000", "20270118T100000Z"):
        assert walls(f"FREQ=WEEKLY;UNTIL={until}", start) == weekly
    for until in ("20270117", "20270118T095959", "20270118T095959Z"):
        assert walls(f"FREQ=WEEKLY;UNTIL={until}", start) == weekly[:2]


def test_until_in_utc_is_compared_as_an_instant() -> None:
    start = datetime(2027, 3, 13, 2, 30)
    assert len(instants("FREQ=DAILY;UNTIL=20270314T073000Z", start, "America/New_York")) == 2
    assert len(instants("FREQ=DAILY;UNTIL=20270314T072959Z", start, "America/New_York")) == 1


def test_weekdays_and_ordinals() -> None:
    assert walls("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;COUNT=4", datetime(2027, 1, 4, 10)) == [
        "2027-01-04", "2027-01-06", "2027-01-18", "2027-01-20",
    ]  # fmt: skip
    assert walls("FREQ=MONTHLY;BYDAY=-1FR;COUNT=3", datetime(2027, 1, 29, 10)) == [
        "2027-01-29", "2027-02-26", "2027-03-26",
    ]  # fmt: skip
    assert walls("RRULE:FREQ=YEARLY;COUNT=2", datetime(2027, 1, 29, 10)) == ["2027-01-29", "2028-01-29"]


@pytest.mark.parametrize(
    "rule",
    [
        "", "nonsense", "COUNT=3", "FREQ=HOURLY;COUNT=3", "FREQ=SECONDLY;COUNT=3", "FREQ=WEEKLY",
        "FREQ=WEEKLY;COUNT=3;UNTIL=20270101", "FREQ=WEEKLY;COUNT=0", "FREQ=WEEKLY;COUNT=105", "FREQ=WEEKLY;COUNT=-1",
        "FREQ=WEEKLY;COUNT=٣", "FREQ=WEEKLY;COUNT=3;COUNT=4", "FREQ=WEEKLY;INTERVAL=0;COUNT=3", "FREQ=WEEKLY;COUNT=",
        "FREQ=WEEKLY;BYDAY=1MO;COUNT=3", "FREQ=WEEKLY;BYDAY=XX;COUNT=3", "FREQ=WEEKLY;BYDAY=MO,MO;COUNT=3",
        "FREQ=MONTHLY;BYDAY=6MO;COUNT=3", "FREQ=MONTHLY;BYMONTHDAY=0;COUNT=3", "FREQ=MONTHLY;BYMONTHDAY=32;COUNT=3",
        "FREQ=DAILY;BYMONTHDAY=1;COUNT=3", "FREQ=YEARLY;BYDAY=MO;COUNT=3", "FREQ=DAILY;BYSECOND=1;COUNT=3",
        "FREQ=DAILY;BYSETPOS=1;COUNT=3", "FREQ=DAILY;WKST=SU;COUNT=3", "FREQ=DAILY;UNTIL=20271399",
        "FREQ=DAILY;UNTIL=20270101T250000Z", "FREQ=DAILY;UNTIL=2027-01-01", "FREQ=DAILY;COUNT=3\nX:Y",
    ],
)  # fmt: skip
def test_what_is_no_rule_of_ours_is_refused_at_rrule(rule: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_rule(rule)
    assert refusal.value.details["fields"][0]["path"] == "rrule"


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("FREQ=DAILY;UNTIL=20270501", "rrule"),  # 117 days
        ("FREQ=YEARLY;COUNT=12", "rrule"),
        ("FREQ=YEARLY;UNTIL=20500101", "rrule"),
        ("FREQ=WEEKLY;BYDAY=TU;COUNT=3", "starts_at"),
        ("FREQ=MONTHLY;BYMONTHDAY=31;INTERVAL=12;COUNT=3", "starts_at"),
        ("FREQ=DAILY;UNTIL=20261231", "starts_at"),
    ],
)
def test_series_without_reasonable_dates_is_refused(rule: str, path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        occurrences_of(parse_rule(rule), datetime(2027, 1, 4, 10), NEW_YORK)
    assert refusal.value.details["fields"][0]["path"] == path


def test_series_of_the_most_there_may_be() -> None:
    assert len(walls("FREQ=WEEKLY;COUNT=104", datetime(2027, 1, 4, 10))) == 104


def test_no_instant_comes_twice_where_a_day_was_skipped_whole() -> None:
    found = instants("FREQ=DAILY;COUNT=3", datetime(2011, 12, 29, 10), "Pacific/Apia")
    assert found == ["2011-12-29T20:00Z", "2011-12-30T20:00Z", "2011-12-31T20:00Z"]


@settings(max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    first=st.dates(date(2026, 1, 1), date(2027, 6, 30)),
    at=st.times().map(lambda t: t.replace(second=0, microsecond=0, minute=t.minute - t.minute % 15)),
    days=st.sets(st.integers(0, 6), min_size=1),
    interval=st.integers(1, 3),
)
def test_over_two_years_and_six_zones_no_occurrence_is_missed_or_doubled(
    zone: str, first: date, at: time, days: set[int], interval: int
) -> None:
    days = days | {first.weekday()}
    rule = f"FREQ=WEEKLY;INTERVAL={interval};BYDAY={','.join(WEEKDAYS[d] for d in sorted(days))};COUNT=104"
    start, clock = datetime.combine(first, at), ZoneInfo(zone)
    found = occurrences_of(parse_rule(rule), start, clock)
    monday = first - first.weekday() * DAY
    expected: list[datetime] = []
    day = first
    while len(expected) < 104:
        if day.weekday() in days and (day - monday).days // 7 % interval == 0:
            expected.append(datetime.combine(day, at))
        day += DAY
    assert [o.wall for o in found] == expected
    for occurrence in found:
        shown = first_shown(clock, occurrence.wall)
        assert occurrence.shifted == (shown is None)
        if shown is not None:
            assert occurrence.starts_at == shown
        else:
            offset = (occurrence.starts_at - DAY).astimezone(clock).utcoffset()
            assert offset is not None
            assert occurrence.wall.replace(tzinfo=UTC) - offset == occurrence.starts_at
    assert len({o.starts_at for o in found}) == 104


@settings(max_examples=12)
@given(zone=st.sampled_from(ZONES), year=st.sampled_from((2026, 2027)), at=st.sampled_from((0, 30, 90, 120, 150, 165)))
def test_daily_through_both_changes_of_clocks_is_once_a_day(zone: str, year: int, at: int) -> None:
    for first in (date(year, 2, 20), date(year, 9, 1)):
        start = datetime.combine(first, time(at // 60, at % 60))
        found = occurrences_of(parse_rule("FREQ=DAILY;COUNT=90"), start, ZoneInfo(zone))
        assert [o.wall.date() for o in found] == [first + n * DAY for n in range(90)]
        assert all(o.shifted == (first_shown(ZoneInfo(zone), o.wall) is None) for o in found)


def test_rule_is_written_as_it_was_read() -> None:
    for text in (
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;COUNT=4",
        "FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20270301T150000Z",
        "FREQ=MONTHLY;BYMONTHDAY=1,-1;UNTIL=20270301",
    ):
        assert str(parse_rule(text)) == text


def test_days_of_a_rule_move_with_its_sessions() -> None:
    assert str(shift_rule(parse_rule("FREQ=WEEKLY;BYDAY=FR,SU;COUNT=4"), 1)) == "FREQ=WEEKLY;BYDAY=SA,MO;COUNT=4"
    assert str(shift_rule(parse_rule("FREQ=DAILY;COUNT=4"), -3)) == "FREQ=DAILY;COUNT=4"
    for rule in ("FREQ=MONTHLY;COUNT=3", "FREQ=DAILY;BYDAY=MO;COUNT=3", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;COUNT=3"):
        assert shift_rule(parse_rule(rule), 0) == parse_rule(rule)
        with pytest.raises(Invalid):
            shift_rule(parse_rule(rule), 1)
