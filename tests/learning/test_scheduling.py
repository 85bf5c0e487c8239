"""Recommended times: a preference that is there is found, one that is not is not claimed."""

import random
from uuid import UUID

import pytest

from wellio.learning.attendance import Attendance
from wellio.learning.attendance_features import DAY, Booking
from wellio.learning.scheduling import EXPLORED, Candidate, Ranking, choose, rank

PRACTICE = UUID(int=1)
MONDAY = 1_800_230_400.0  # 2027-01-18
HOURS = (9, 12, 15, 18)
CLIENTS, WEEKS, BASE, PLANTED = 20, 12, 0.75, 0.15


def booking(client: int, at: float, day: int, hour: int) -> Booking:
    """`day`: after the Monday."""
    starts = MONDAY + day * DAY + hour * 3600.0
    return Booking(PRACTICE, UUID(int=client), at, starts, float(starts // DAY - at // DAY), 9.0, float(hour), day % 7)


def lived(seed: int, *, planted: bool) -> tuple[Attendance, list[int]]:
    """A dozen bookings of each client, at any time of the week; each has a good weekday and four worse, or none."""
    rng, model = random.Random(seed), Attendance()
    good = [rng.randrange(5) for _ in range(CLIENTS)]
    for i in range(WEEKS * CLIENTS):
        week, client = divmod(i, CLIENTS)
        day, hour = rng.randrange(5), rng.choice(HOURS)
        booked = booking(client, MONDAY + (7 * week - rng.choice((1, 3, 6))) * DAY, 7 * week + day, hour)
        model.book(i, booked)
        extra = (PLANTED if day == good[client] else -PLANTED) if planted else 0.0
        model.settle(i, attended=rng.random() < BASE + extra, t=booked.starts_at + 3600.0)
    return model, good


def week_of(model: Attendance, client: int, hours: tuple[int, ...] = (12,)) -> Ranking:
    now = MONDAY + 7 * WEEKS * DAY
    days = [7 * (WEEKS + 1) + day for day in range(5)]
    return rank(model, [Candidate(booking(client, now, day, hour), 0) for day in days for hour in hours])


def test_a_planted_preference_is_found_and_none_is_not_claimed() -> None:
    """After twelve bookings the best weekday is in the first three for four clients in five."""
    found = asked = 0
    for seed in range(6):
        model, good = lived(seed, planted=True)
        for client in range(CLIENTS):
            ranked = week_of(model, client).ranked
            found += good[client] in [one.candidate.booking.weekday for one in ranked[:3]]
            asked += 1
        plain, _ = lived(seed, planted=False)
        assert all(week_of(plain, client, HOURS).spread < 0.03 for client in range(CLIENTS))
    assert found >= 0.8 * asked


def test_what_many_show_is_claimed_with_figures() -> None:
    model = Attendance()
    rng = random.Random(1)
    for i in range(600):
        day = i % 5
        booked = booking(i % 40, MONDAY + (7 * (i // 40) + day - 3) * DAY, 7 * (i // 40) + day, 12)
        model.book(i, booked)
        model.settle(i, attended=rng.random() < (0.95 if day == 2 else 0.6), t=booked.starts_at + 3600.0)
    ranking = rank(model, [Candidate(booking(99, MONDAY + 137 * DAY, 140 + day, 12), 0) for day in range(5)])
    best = ranking.ranked[0]
    assert best.candidate.booking.weekday == 2
    assert best.weekday_claimed > 0.05
    assert (best.weekday.outcomes, best.weekday.all_outcomes) == (0, 120)
    assert ranking.spread > 0.05
    for one in ranking.ranked:
        sum_ = ranking.mean + one.lead_claimed + one.weekday_claimed + one.band_claimed
        assert one.probability == pytest.approx(min(max(sum_, 0.01), 0.99))


def test_gaps_cost_and_no_candidates_are_no_fault() -> None:
    model, _ = lived(1, planted=False)
    now = MONDAY + 7 * WEEKS * DAY
    some = [Candidate(booking(3, now, 98 + i, 12), gaps) for i, gaps in enumerate((1, 0, 2))]
    assert [one.candidate.gaps for one in rank(model, some).ranked] == [0, 1, 2]
    assert rank(model, []).ranked == ()


def test_the_lot_is_as_likely_as_it_says() -> None:
    model, _ = lived(1, planted=False)
    ranking = week_of(model, 3)
    choices = [choose(ranking, lot) for lot in range(EXPLORED * 5)]
    for first in range(5):
        shown = [choice for choice in choices if choice.first == first]
        assert all(choice.propensity == pytest.approx(len(shown) / len(choices)) for choice in shown)
    assert sum(choice.drawn for choice in choices) == 5
