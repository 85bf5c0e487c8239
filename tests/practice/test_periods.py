"""Periods of subscriptions: which days they begin on."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wellio.practice.periods import Interval, first_from, period_start, periods_due

DAYS = st.dates(date(2020, 1, 1), date(2035, 12, 31))
INTERVALS: st.SearchStrategy[Interval] = st.sampled_from(["week", "month", "year"])


def starts(first_day: date, interval: Interval, count: int) -> list[str]:
    return [period_start(first_day, interval, n).isoformat() for n in range(count)]


def test_month_that_is_too_short_takes_its_last_day_and_the_next_takes_the_day_again() -> None:
    assert starts(date(2027, 1, 31), "month", 5) == [
        "2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31",
    ]  # fmt: skip
    assert starts(date(2028, 1, 31), "month", 2)[1] == "2028-02-29"
    assert starts(date(2028, 2, 29), "year", 5)[1::3] == ["2029-02-28", "2032-02-29"]


@given(first_day=DAYS, interval=INTERVALS, away=st.integers(-40, 900), first=st.integers(0, 20))
def test_every_period_that_has_begun_is_due_once_and_they_join(
    first_day: date, interval: Interval, away: int, first: int
) -> None:
    today = first_day + timedelta(days=away)
    due = list(periods_due(first_day, interval, first=first, today=today))
    assert [p.number for p in due] == list(range(first, first + len(due)))
    assert all(a.end == b.start for a, b in pairwise(due))
    assert all(p.start <= today and p.start < p.end for p in due)
    assert period_start(first_day, interval, first + len(due)) > today


@given(first_day=DAYS, interval=INTERVALS, away=st.integers(-40, 3000))
def test_first_period_from_a_day_is_the_first(first_day: date, interval: Interval, away: int) -> None:
    day = first_day + timedelta(days=away)
    number = first_from(first_day, interval, day)
    assert period_start(first_day, interval, number) >= day
    assert number == 0 or period_start(first_day, interval, number - 1) < day
