"""The slot engine, against the wall clock read minute by minute (scheduling: storage and time, booking 12-17)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellio.practice.slots import (
    NOTHING_TAKEN,
    Interval,
    Limits,
    Opening,
    Taken,
    WallInterval,
    Wanted,
    instants_of,
    is_slot,
    list_slots,
    merge,
    subtract,
)
from wellio.practice.wall_clock import day_bounds, exists, instant_of, local_date

NEW_YORK = ZoneInfo("America/New_York")
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",  # half an hour
        "Asia/Kathmandu",  # +05:45
        "Africa/Casablanca",  # back and forth for Ramadan
        "America/Havana",  # clocks change at midnight
    )
]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ALWAYS = dict.fromkeys(range(1, 8), ((0, 1440),))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def opening(
    zone: ZoneInfo = NEW_YORK, weekly: Mapping[int, Sequence[WallInterval]] | None = None, **kw: object
) -> Opening:
    given = {"max_days_ahead": 10_000, **kw}
    return Opening(zone=zone, weekly=ALWAYS if weekly is None else weekly, **given)  # type: ignore[arg-type]


def slots_of(
    day: date, open_at: Opening, *, minutes: int = 30, taken: Taken = NOTHING_TAKEN, **wanted: timedelta
) -> list[str]:
    """The offered wall times of a local date, with their offsets."""
    first, last = day_bounds(open_at.zone, day)
    session = Wanted(duration=minutes * MINUTE, **wanted)
    slots = list_slots(open_at, session, taken, now=LONG_AGO, first=first, last=last)
    return [f"{slot.astimezone(open_at.zone):%H:%M%z}" for slot in slots]


def test_skipped_hour_is_never_offered() -> None:
    offered = slots_of(date(2027, 3, 14), opening())
    assert len(offered) == 46
    assert not [slot for slot in offered if slot.startswith("02")]


def test_repeated_hour_is_offered_twice_each_with_its_offset() -> None:
    offered = slots_of(date(2026, 11, 1), opening())
    assert len(offered) == 50
    assert [slot for slot in offered if slot.startswith("01:30")] == ["01:30-0400", "01:30-0500"]


def test_both_half_past_ones_are_apart() -> None:
    taken = Taken(busy=[(at("2026-11-01T05:30Z"), at("2026-11-01T06:00Z"))])
    offered = slots_of(date(2026, 11, 1), opening(), taken=taken)
    assert "01:30-0500" in offered
    assert "01:30-0400" not in offered


def test_rule_within_the_gap_opens_nothing() -> None:
    assert slots_of(date(2027, 3, 14), opening(weekly={7: ((130, 175),)}), minutes=15) == []


def test_rule_that_begins_in_the_gap_begins_after_it() -> None:
    assert slots_of(date(2027, 3, 14), opening(weekly={7: ((150, 240),)}), minutes=60) == ["03:00-0400"]


def test_rule_until_midnight_goes_on_into_the_next_day() -> None:
    weekly = {1: ((22 * 60, 1440),), 2: ((0, 60),)}
    assert slots_of(date(2026, 6, 1), opening(weekly=weekly), minutes=120)[-1] == "23:00-0400"
    assert slots_of(date(2026, 6, 1), opening(weekly={1: weekly[1]}), minutes=120) == ["22:00-0400"]


def test_session_of_55_minutes_fits_a_gap_of_60() -> None:
    taken = Taken(
        busy=[
            (at("2026-06-01T09:00-04:00"), at("2026-06-01T10:00-04:00")),
            (at("2026-06-01T11:00-04:00"), at("2026-06-01T12:00-04:00")),
        ]
    )
    offered = slots_of(date(2026, 6, 1), opening(weekly={1: ((540, 720),)}), minutes=55, taken=taken)
    assert offered == ["10:00-0400"]


def test_neighbours_touch_without_overlap() -> None:
    taken = Taken(busy=[(at("2026-06-01T10:00-04:00"), at("2026-06-01T11:00-04:00"))])
    offered = slots_of(
        date(2026, 6, 1), opening(weekly={1: ((540, 720),)}, increment_minutes=60), minutes=60, taken=taken
    )
    assert offered == ["09:00-0400", "11:00-0400"]


def test_buffers_of_neighbours_stack() -> None:
    """15 before and 30 after, a session 02:00-02:30: the next one starts at 03:15."""
    taken = Taken(busy=[(at("2026-06-01T01:45-04:00"), at("2026-06-01T03:00-04:00"))])
    offered = slots_of(
        date(2026, 6, 1), opening(weekly={1: ((120, 300),)}, increment_minutes=15), taken=taken,
        buffer_before=15 * MINUTE, buffer_after=30 * MINUTE,
    )  # fmt: skip
    assert offered[0] == "03:15-0400"


def test_buffer_may_lie_outside_the_opening_but_the_session_may_not() -> None:
    offered = slots_of(date(2026, 6, 1), opening(weekly={1: ((540, 600),)}), buffer_before=HOUR, buffer_after=HOUR)
    assert offered == ["09:00-0400", "09:30-0400"]
    assert slots_of(date(2026, 6, 1), opening(weekly={1: ((540, 600),)}), minutes=61) == []


def test_override_replaces_the_rule_and_time_off_wins() -> None:
    day = date(2026, 6, 1)
    weekly = {1: ((540, 600),)}
    assert slots_of(day, opening(weekly=weekly, overrides={day: ((720, 780),)})) == ["12:00-0400", "12:30-0400"]
    assert slots_of(day, opening(weekly=weekly, overrides={day: ()})) == []
    off = [(at("2026-06-01T12:15-04:00"), at("2026-06-01T12:20-04:00"))]
    assert slots_of(day, opening(overrides={day: ((720, 780),)}, time_off=off)) == ["12:30-0400"]


def test_notice_in_minutes_compares_instants_across_a_change_of_clocks() -> None:
    now = at("2027-03-14T01:00-05:00")
    rules = opening(min_notice=2 * HOUR)
    offered = list_slots(rules, Wanted(duration=HOUR), NOTHING_TAKEN, now=now, first=now, last=now + 6 * HOUR)
    assert offered[0] == now + 2 * HOUR
    assert f"{offered[0].astimezone(NEW_YORK):%H:%M}" == "04:00"


def test_notice_in_days_compares_local_dates() -> None:
    now = at("2026-06-01T23:59-04:00")
    rules = opening(min_notice_days=1)
    offered = list_slots(rules, Wanted(duration=HOUR), NOTHING_TAKEN, now=now, first=now, last=now + DAY)
    assert f"{offered[0].astimezone(NEW_YORK):%m-%d %H:%M}" == "06-02 00:00"


def test_window_ends_with_its_last_local_date() -> None:
    now = at("2026-06-01T10:00-04:00")
    rules = opening(max_days_ahead=1)
    offered = list_slots(rules, Wanted(duration=HOUR), NOTHING_TAKEN, now=now, first=now, last=now + 5 * DAY)
    assert f"{offered[-1].astimezone(NEW_YORK):%m-%d %H:%M}" == "06-02 23:30"


@pytest.mark.parametrize(
    ("limits", "counted", "day", "is_open"),
    [
        (Limits(per_day=1), ["2026-06-01T23:30-04:00"], date(2026, 6, 1), False),
        (Limits(per_day=1), ["2026-06-01T23:30-04:00"], date(2026, 6, 2), True),
        (Limits(per_week=1), ["2026-06-01T10:00-04:00"], date(2026, 6, 7), False),
        (Limits(per_week=1), ["2026-06-01T10:00-04:00"], date(2026, 6, 8), True),
        (Limits(per_month=1), ["2026-06-30T23:30-04:00"], date(2026, 6, 1), False),
        (Limits(per_month=1), ["2026-06-30T23:30-04:00"], date(2026, 7, 1), True),
        (Limits(per_year=1), ["2026-01-01T00:30-05:00"], date(2026, 12, 31), False),
        (Limits(per_day=5, per_year=1), ["2026-01-01T00:30-05:00"], date(2026, 6, 1), False),
        (Limits(per_day=0), [], date(2026, 6, 1), False),
    ],
)  # fmt: skip
def test_limits_count_in_the_coachs_zone_and_the_strictest_wins(
    limits: Limits, counted: list[str], day: date, is_open: bool
) -> None:
    taken = Taken(counted=[at(text) for text in counted])
    assert bool(slots_of(day, opening(limits=limits), taken=taken)) is is_open


# ---------------------------------------------------------------- against an oracle


wall_intervals = st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda w: w[0] < w[1])
days = st.dates(date(2025, 1, 1), date(2026, 12, 31))


@given(st.sampled_from(ZONES), days, st.lists(wall_intervals, max_size=3))
@settings(max_examples=300)
def test_open_instants_are_those_whose_wall_time_lies_within_the_rules(
    zone: ZoneInfo, day: date, wall: list[WallInterval]
) -> None:
    intervals = instants_of(zone, day, wall)
    assert intervals == merge(intervals)
    instant = datetime.combine(day, time(), tzinfo=UTC) - DAY
    for _ in range(3 * 24 * 4):
        shown = instant.astimezone(zone)
        minute = shown.hour * 60 + shown.minute
        expected = shown.date() == day and any(low <= minute < high for low, high in wall)
        assert any(start <= instant < end for start, end in intervals) == expected, shown
        instant += 15 * MINUTE


@given(st.sampled_from(ZONES), days)
def test_dates_follow_one_another_without_gap_or_overlap(zone: ZoneInfo, day: date) -> None:
    begin, end = day_bounds(zone, day)
    assert local_date(zone, begin) == day
    assert local_date(zone, begin - MINUTE) == day - DAY
    assert day_bounds(zone, day + DAY)[0] == end
    assert 22 * HOUR <= end - begin <= 26 * HOUR


@given(st.sampled_from(ZONES), days, st.times())
def test_wall_time_that_exists_comes_back(zone: ZoneInfo, day: date, at_time: time) -> None:
    shown = instant_of(zone, day, at_time).astimezone(zone)
    assert exists(zone, day, at_time) == (shown.replace(tzinfo=None, fold=0) == datetime.combine(day, at_time))


def test_gap_is_read_with_the_offset_before_it_and_the_first_of_two_is_meant() -> None:
    """RFC 5545, 3.3.5."""
    assert instant_of(NEW_YORK, date(2027, 3, 14), time(2, 30)) == at("2027-03-14T07:30Z")
    assert instant_of(NEW_YORK, date(2026, 11, 1), time(1, 30)) == at("2026-11-01T05:30Z")
    assert not exists(NEW_YORK, date(2027, 3, 14), time(2, 30))


spans = st.tuples(st.integers(0, 3000), st.integers(0, 300)).map(
    lambda s: (LONG_AGO + s[0] * MINUTE, LONG_AGO + (s[0] + s[1]) * MINUTE)
)


def minutes_in(intervals: list[Interval]) -> set[int]:
    return {
        minute for start, end in intervals for minute in range((start - LONG_AGO) // MINUTE, (end - LONG_AGO) // MINUTE)
    }


@given(st.lists(spans, max_size=6), st.lists(spans, max_size=6))
def test_what_is_merged_or_subtracted_holds_the_same_minutes(a: list[Interval], b: list[Interval]) -> None:
    assert minutes_in(merge(a)) == minutes_in(a)
    assert minutes_in(list(subtract(merge(a), merge(b)))) == minutes_in(a) - minutes_in(b)


openings = st.builds(
    Opening,
    zone=st.sampled_from(ZONES),
    weekly=st.dictionaries(st.integers(1, 7), st.lists(wall_intervals, max_size=2)),
    overrides=st.dictionaries(st.dates(date(2026, 10, 20), date(2026, 11, 5)), st.lists(wall_intervals, max_size=2)),
    increment_minutes=st.sampled_from([5, 15, 30, 45, 60]),
    min_notice=st.integers(0, 3000).map(lambda m: m * MINUTE),
    min_notice_days=st.integers(0, 3),
    max_days_ahead=st.integers(0, 12),
    limits=st.builds(Limits, per_day=st.none() | st.integers(0, 3), per_week=st.none() | st.integers(0, 5)),
)
NOW = datetime(2026, 10, 22, 12, 7, tzinfo=UTC)
sessions = st.lists(
    st.tuples(st.integers(0, 14 * 96), st.integers(1, 8)).map(
        lambda s: (NOW + s[0] * 15 * MINUTE, NOW + (s[0] + s[1]) * 15 * MINUTE)
    ),
    max_size=8,
)


@given(openings, sessions, st.integers(5, 180), st.integers(0, 30), st.integers(0, 30), st.data())
@settings(max_examples=200)
def test_every_offered_slot_books_and_no_other_start_does(
    rules: Opening, busy: list[Interval], minutes: int, before: int, after: int, data: st.DataObject
) -> None:
    wanted = Wanted(duration=minutes * MINUTE, buffer_before=before * MINUTE, buffer_after=after * MINUTE)
    taken = Taken(busy=busy, counted=[start for start, _ in busy])
    first, last = NOW - DAY, NOW + 14 * DAY
    offered = list_slots(rules, wanted, taken, now=NOW, first=first, last=last)
    assert offered == sorted(set(offered))
    for start in offered[:5]:
        assert is_slot(rules, wanted, taken, now=NOW, start=start)
        assert start >= NOW + rules.min_notice
        assert not any(s < wanted.busy_from(start)[1] and wanted.busy_from(start)[0] < e for s, e in busy)
    start = data.draw(st.integers(0, 14 * 288).map(lambda n: NOW.replace(minute=0) + n * 5 * MINUTE))
    assert is_slot(rules, wanted, taken, now=NOW, start=start) == (start in offered)


@given(openings, st.integers(5, 120), st.integers(0, 13 * 24), st.integers(1, 48))
def test_what_is_offered_does_not_depend_on_where_one_looks_from(
    rules: Opening, minutes: int, from_hour: int, hours: int
) -> None:
    wanted = Wanted(duration=minutes * MINUTE)
    first = NOW + from_hour * HOUR
    last = first + hours * HOUR
    whole = list_slots(rules, wanted, NOTHING_TAKEN, now=NOW, first=NOW, last=NOW + 16 * DAY)
    part = list_slots(rules, wanted, NOTHING_TAKEN, now=NOW, first=first, last=last)
    assert part == [slot for slot in whole if first <= slot < last]
