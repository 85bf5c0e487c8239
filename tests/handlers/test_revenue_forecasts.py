"""The revenue forecast over the API: what it counts, of whom, and that its parts add up."""

from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.api import Api
from tests.factories import House, make_client
from wellio.db import Database
from wellio.ids import uuid7
from wellio.practice.revenue_forecasts import RevenueForecast, RevenueForecastQuery, edges_of, forecast_revenue

BASE = "/api/v1/analytics/revenue-forecast"
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 10, 12, tzinfo=BERLIN)


async def pay(
    db: Database, house: House, client_id: UUID, every: int, minor: int, days: int, currency: str = "EUR"
) -> None:
    """Every so many days, up to the day before NOW."""
    await db.execute(
        "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)"
        " select gen_random_uuid(), $1, $2, 'payment', $3, $4, $5::timestamptz - make_interval(days => n)"
        " from generate_series(1, $6::int, $7) n",
        house.practice.id, client_id, minor, currency, NOW, days, every,
    )  # fmt: skip


async def book(db: Database, house: House, client_id: UUID, at: datetime, minor: int, *, credit: bool = False) -> UUID:
    session_id = uuid7()
    await db.execute(
        "insert into sessions (id, practice_id, coach_id, client_id, status, starts_at, ends_at, timezone, currency,"
        " price_minor) values ($1, $2, $3, $4, 'scheduled', $5, $6, 'Europe/Berlin', 'EUR', $7)",
        session_id, house.practice.id, house.coach.user_id, client_id, at, at + timedelta(minutes=1), minor,
    )  # fmt: skip
    if credit:
        lot_id = uuid7()
        await db.execute(
            "insert into credit_lots (id, practice_id, client_id) values ($1, $2, $3)",
            lot_id, house.practice.id, client_id,
        )  # fmt: skip
        await db.execute(
            "insert into credit_entries (id, practice_id, client_id, lot_id, amount, reason, session_id)"
            " values (gen_random_uuid(), $1, $2, $3, 1, 'grant', null),"
            " (gen_random_uuid(), $1, $2, $3, -1, 'used', $4)",
            house.practice.id, client_id, lot_id, session_id,
        )  # fmt: skip
    return session_id


async def told(db: Database, house: House, **query: object) -> RevenueForecast:
    found = await forecast_revenue(db, house.owner, RevenueForecastQuery.model_validate(query), now=NOW)
    for one in found.periods:
        parts = one.booked_minor + one.recurring_minor + one.expected_minor + one.new_minor
        assert one.point_minor == parts
        assert 0 <= one.low_95_minor <= one.low_80_minor <= one.point_minor <= one.high_80_minor <= one.high_95_minor
    return found


async def test_what_is_booked_due_and_expected_makes_the_point(db: Database, house: House) -> None:
    """A weekly client of 50.00 for half a year; one session and one plan more are known, and money of no other
    currency, day, credit or practice is."""
    await pay(db, house, house.client_id, 7, 50_00, 180)
    plain = await told(db, house)
    assert (plain.status, plain.as_of, plain.currency) == ("ok", date(2026, 3, 10), "EUR")
    assert [p.from_date for p in plain.periods] == [date(2026, 3, 10), date(2026, 4, 1), date(2026, 5, 1)]
    assert [p.to_date for p in plain.periods] == [date(2026, 4, 1), date(2026, 5, 1), date(2026, 6, 1)]
    assert plain.received_minor == 2 * 50_00
    assert (plain.basis.clients, plain.basis.weeks) == (1, 25)
    assert plain.periods[1].point_minor == pytest.approx(50_00 * 30 / 7, rel=0.2)

    midnight = datetime(2026, 4, 1, tzinfo=BERLIN)
    await book(db, house, house.client_id, midnight - timedelta(minutes=1), 30_00)
    await book(db, house, house.client_id, midnight, 70_00)
    await book(db, house, house.client_id, midnight + timedelta(hours=3), 90_00, credit=True)
    await book(db, house, house.client_id, NOW - timedelta(days=1), 80_00)
    await db.execute(
        "insert into plans (id, practice_id, name, price_minor, currency, interval)"
        " values ($1, $2, 'Monthly', 1, 'EUR', 'month')",
        plan_id := uuid7(), house.practice.id,
    )  # fmt: skip
    await db.execute(
        "insert into subscriptions (id, practice_id, client_id, plan_id, starts_on, price_minor, currency, interval,"
        " next_period, next_period_on) values ($1, $2, $3, $4, '2026-01-31', 40000, 'EUR', 'month', 2, '2026-03-31')",
        uuid7(), house.practice.id, house.other_client_id, plan_id,
    )  # fmt: skip
    found = await told(db, house)
    chance = 0.95 * 0.9
    assert [p.booked_minor for p in found.periods] == [round(30_00 * chance), round(70_00 * chance), 0]
    assert [0.85 * 40000 < p.recurring_minor < 0.95 * 40000 for p in found.periods] == [True] * 3
    for before, after in zip(plain.periods, found.periods, strict=True):
        assert after.point_minor > before.point_minor
        assert after.expected_minor <= before.expected_minor


async def test_a_coach_sees_their_clients_and_no_others(api: Api, house: House) -> None:
    await pay(api.db, house, house.client_id, 7, 50_00, 180)
    await pay(api.db, house, house.other_client_id, 7, 900_00, 180)
    everyone, mine = await told(api.db, house), await told(api.db, house, coach_id=house.coach.user_id)
    assert everyone.basis.clients == 2
    assert mine.basis.clients == 1
    assert mine.periods[1].high_95_minor < everyone.periods[1].point_minor
    own = await forecast_revenue(api.db, house.coach, RevenueForecastQuery(), now=NOW)
    assert own == mine
    for actor, coach_id in ((house.coach, house.other_coach.user_id), (house.owner, uuid7())):
        refused = await api.get(BASE, actor, params={"coach_id": str(coach_id)})
        assert (refused.status, refused.field_paths) == (422, ["query.coach_id"])
    for query in ({"months": 2, "weeks": 2}, {"months": 13}, {"weeks": 0}, {"currency": "eur"}, {"days": 3}):
        assert (await api.get(BASE, house.owner, params=query)).status == 422
    data = (await api.get(BASE, house.owner, params={"weeks": 5})).data
    assert len(data["periods"]) == 5
    assert {datetime.fromisoformat(p["to_date"]).weekday() for p in data["periods"]} == {0}


async def test_too_little_history_is_said_and_currencies_stay_apart(db: Database, house: House) -> None:
    await pay(db, house, house.client_id, 7, 50_00, 55)
    await pay(db, house, house.client_id, 7, 9_00, 57, "CHF")
    short = await told(db, house)
    assert (short.status, short.periods) == ("not_enough_history", [])
    assert short.message == "A forecast needs eight weeks of payments; 1 more week is to come."
    assert "No payment" in (await told(db, house, currency="USD")).message
    francs = await told(db, house, currency="CHF", weeks=3)
    assert francs.status == "ok"
    assert 0 < francs.periods[1].point_minor < 20_00


async def test_refunds_lower_it_and_who_has_ended_is_expected_no_more(db: Database, house: House) -> None:
    another = await make_client(db, house.practice, coach=house.coach)
    await pay(db, house, another, 7, 50_00, 180)
    plain = await told(db, house)
    await db.execute(
        "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)"
        " values ($1, $2, $3, 'refund', 400_00, 'EUR', $4)",
        uuid7(), house.practice.id, another, NOW - timedelta(days=8),
    )  # fmt: skip
    refunded = await told(db, house)
    assert refunded.periods[1].point_minor < plain.periods[1].point_minor
    await db.execute("update clients set status = 'archived' where id = $1", another)
    assert (await told(db, house)).periods[1].expected_minor < refunded.periods[1].expected_minor


def test_periods_are_calendar_ones_from_today_on() -> None:
    assert edges_of(date(2026, 12, 31), months=2, weeks=None) == [
        date(2026, 12, 31),
        date(2027, 1, 1),
        date(2027, 2, 1),
    ]
    assert edges_of(date(2026, 3, 8), months=None, weeks=2) == [date(2026, 3, 8), date(2026, 3, 9), date(2026, 3, 16)]
    assert edges_of(date(2026, 3, 9), months=None, weeks=1) == [date(2026, 3, 9), date(2026, 3, 16)]
