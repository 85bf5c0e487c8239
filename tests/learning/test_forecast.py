"""The revenue forecast, whatever the history: parts add up, bounds hold the point, money scales, nothing is counted
twice."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wellio.learning.features import Floats
from wellio.learning.forecast import Forecast, Known, forecast, nothing_known
from wellio.learning.forecast_clients import Book
from wellio.learning.forecast_level import LEVEL_DAYS, by_level, level, student

MONTHS = np.array([[0.0, 12.0], [12.0, 43.0], [43.0, 71.0], [71.0, 102.0]])
NONE = nothing_known(0, len(MONTHS))


@st.composite
def histories(draw: st.DrawFn) -> tuple[Floats, Book, Known]:
    """Of any length, with days of nothing, refunds and lumps; with clients, of whom some have something booked."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    days, clients = draw(st.sampled_from([0, 1, 6, 56, 90, 456, 800])), draw(st.sampled_from([0, 1, 5, 60]))
    lump = draw(st.sampled_from([0.0, 1.0, 5000.0, 1e9]))
    paying, refunded = draw(st.floats(0.0, 1.0)), draw(st.floats(0.0, 1.0))
    daily = lump * chance.pareto(1.1, days) * (chance.random(days) < paying)
    daily *= np.where(chance.random(days) < refunded, -1.0, 1.0)
    first: Floats = chance.uniform(0.5, max(days, 1), clients).astype(float)
    visits = (1.0 + chance.poisson(first / 20.0)).astype(float)
    paid = lump * visits * chance.uniform(-1.0, 3.0, clients)
    recent = (visits - 1.0) * chance.random(clients)
    last = (first * chance.random(clients)).astype(float)
    book = Book(visits, first, last, recent, paid, chance.random(clients) < 0.2)
    by_client = lump * chance.pareto(2.0, (clients, len(MONTHS))) * (chance.random((clients, len(MONTHS))) < 0.3)
    return daily, book, Known(by_client.sum(axis=0) * 0.5, by_client.sum(axis=0) * 0.5, by_client)


@settings(max_examples=80, deadline=None)
@given(histories())
def test_whatever_the_history_parts_add_up_and_bounds_hold_the_point(history: tuple[Floats, Book, Known]) -> None:
    with np.errstate(all="raise", under="ignore"):
        found = forecast(*history, MONTHS)
    assert found == forecast(*history, MONTHS)
    for one in found:
        assert one.booked + one.recurring + one.expected + one.new == one.point
        assert min(one.booked, one.recurring, one.expected, one.new) >= 0
        assert 0 <= one.low_95 <= one.low_80 <= one.point <= one.high_80 <= one.high_95


@settings(max_examples=40, deadline=None)
@given(histories(), st.sampled_from([3.0, 100.0, 1000.0]))
def test_money_in_another_unit_is_the_same_forecast(history: tuple[Floats, Book, Known], times: float) -> None:
    daily, book, known = history
    more = Known(known.booked * times, known.recurring * times, known.by_client * times)
    scaled = forecast(daily * times, replace(book, paid=book.paid * times), more, MONTHS)
    for one, other in zip(forecast(daily, book, known, MONTHS), scaled, strict=True):
        for name in Forecast.__slots__:
            assert getattr(other, name) == pytest.approx(times * getattr(one, name), rel=1e-6, abs=3 * times)


def test_more_of_the_same_history_narrows_the_interval() -> None:
    week = np.array([0.0, 90_00, 0.0, 120_00, 60_00, 0.0, 0.0])
    widths = []
    for weeks in (8, 16, 52, 150):
        one = forecast(np.tile(week, weeks), None, NONE, MONTHS)[1]
        assert one.point == pytest.approx(week.mean() * 31, rel=0.05)
        widths.append((one.high_80 - one.low_80, one.high_95 - one.low_95))
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 4
    later = [one.high_80 / one.point for one in forecast(np.tile(week, 20), None, NONE, MONTHS)[1:]]
    assert later[0] < later[-1]


def test_a_year_ago_tells_half_of_a_season_from_fifteen_months_on() -> None:
    days = np.arange(730)
    summer = np.where((days % 365 >= 180) & (days % 365 < 240), 300_00.0, 100_00.0)
    july = np.array([[35.0, 66.0]])
    daily = summer[: 365 + 150]
    assert by_level(daily, july) == pytest.approx(31 * 200_00.0, rel=0.03)
    assert by_level(daily[-455:], july) == pytest.approx(31 * 100_00.0, rel=0.03)
    grown = daily * np.where(np.arange(len(daily)) >= len(daily) - LEVEL_DAYS, 10.0, 1.0)
    assert by_level(grown, july) == pytest.approx(31 * (0.5 * level(grown) + 0.5 * 2.0 * 300_00.0), rel=0.01)


ONE_CLIENT = {"visits": 12.0, "first": 360.0, "last": 30.0, "recent": 7.0, "paid": 1200_00.0}


def test_what_is_known_of_a_client_is_not_expected_once_more() -> None:
    daily = np.zeros(360)
    daily[::30] = 100_00.0
    one = {name: np.array([value]) for name, value in ONE_CLIENT.items()}
    book = Book(**one, ended=np.array([False]))
    due = np.array([0.0, 100_00.0, 100_00.0, 100_00.0])
    plain = forecast(daily, book, nothing_known(1, 4), MONTHS)
    known = forecast(daily, book, Known(np.zeros(4), due, due[None]), MONTHS)
    for before, after in zip(plain[1:], known[1:], strict=True):
        assert after.recurring == 100_00
        assert 0.75 * before.point < after.point < 1.5 * before.point
        assert after.high_80 - after.low_80 < 0.6 * (before.high_80 - before.low_80)
    gone = forecast(daily, replace(book, ended=np.array([True])), nothing_known(1, 4), MONTHS)
    assert gone[3].point < 0.7 * plain[3].point


def test_quantiles_are_students() -> None:
    for freedom, at_80, at_95 in ((6, 1.4398, 2.4469), (10, 1.3722, 2.2281), (30, 1.3104, 2.0423)):
        assert student(freedom, 0.8) == pytest.approx(at_80, abs=0.002)
        assert student(freedom, 0.95) == pytest.approx(at_95, abs=0.004)
