"""Today at a glance: where days and months begin, and what the figures count."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.api import Api
from tests.factories import House
from wellio.accounts.actors import Actor
from wellio.console.formats import by_day, change, initials, money, sessions_note
from wellio.db import Database
from wellio.practice.home import HomeSummary, Revenue, calendar_at, home_summary

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "noon", "hours"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 12, tzinfo=UTC), 23),
        ("Europe/Berlin", datetime(2026, 10, 25, 12, tzinfo=UTC), 25),
        ("Europe/Berlin", datetime(2026, 10, 26, 12, tzinfo=UTC), 24),
        ("Africa/Cairo", datetime(2026, 4, 24, 12, tzinfo=UTC), 23),  # the hour after midnight is left out
        ("Australia/Lord_Howe", datetime(2026, 4, 5, 3, tzinfo=UTC), 24.5),
    ],
)
def test_a_day_is_from_midnight_to_midnight(zone: str, noon: datetime, hours: float) -> None:
    calendar = calendar_at(noon, day_zone=ZoneInfo(zone), month_zone=BERLIN)
    assert calendar.day_end - calendar.day_start == timedelta(hours=hours)
    assert calendar.day_start <= noon < calendar.day_end


def test_day_is_the_viewers_and_month_the_practices() -> None:
    new_year = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    calendar = calendar_at(new_year, day_zone=ZoneInfo("America/New_York"), month_zone=BERLIN)
    assert calendar.today.isoformat() == "2026-12-31"
    assert calendar.this_month == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert calendar.last_month == datetime(2026, 11, 30, 23, tzinfo=UTC)
    assert calendar.next_month == datetime(2027, 1, 31, 23, tzinfo=UTC)
    assert calendar.same_moment_last_month == datetime(2026, 11, 30, 23, 30, tzinfo=UTC)


def test_long_month_is_compared_with_all_of_a_short_one() -> None:
    calendar = calendar_at(datetime(2026, 3, 31, 12, tzinfo=UTC), day_zone=BERLIN, month_zone=BERLIN)
    assert calendar.same_moment_last_month == calendar.this_month


async def pay(db: Database, house: House, amount_minor: int, paid_at: datetime, **fields: Any) -> None:
    values = {"client_id": house.client_id, "kind": "payment", "currency": "EUR"} | fields
    sql = """
        insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)
        values (gen_random_uuid(), $1, $2, $3, $4, $5, $6)
    """
    row = (values["client_id"], values["kind"], amount_minor, values["currency"], paid_at)
    await db.execute(sql, house.practice.id, *row)


async def test_revenue_is_payments_less_refunds_currency_by_currency(db: Database, house: House) -> None:
    await pay(db, house, 10_000, datetime(2026, 11, 2, tzinfo=UTC))
    await pay(db, house, 2_500, datetime(2026, 11, 3, tzinfo=UTC), kind="refund")
    await pay(db, house, 700, datetime(2026, 11, 3, tzinfo=UTC), currency="CHF")
    await pay(db, house, 4_000, datetime(2026, 10, 5, tzinfo=UTC))
    await pay(db, house, 9_000, datetime(2026, 10, 30, tzinfo=UTC), client_id=house.other_client_id)
    await pay(db, house, 1, datetime(2026, 9, 30, 21, 59, tzinfo=UTC))  # September in Berlin
    await pay(db, house, 2, datetime(2026, 9, 30, 22, 0, tzinfo=UTC))  # October in Berlin
    owner = await home_summary(db, house.owner, now=NOW)
    assert owner.revenue == [Revenue("EUR", 7_500, 13_002, 4_002), Revenue("CHF", 700, 0, 0)]
    coach = await home_summary(db, house.coach, now=NOW)
    assert coach.revenue == [Revenue("EUR", 7_500, 4_002, 4_002), Revenue("CHF", 700, 0, 0)]
    assert (await home_summary(db, house.other_coach, now=NOW)).revenue == [Revenue("EUR", 0, 9_000, 0)]


async def session(db: Database, house: House, starts_at: datetime, status: str = "scheduled") -> None:
    sql = """
        insert into sessions (id, practice_id, coach_id, client_id, status, starts_at, ends_at, timezone, currency)
        values (gen_random_uuid(), $1, $2, $3, $4, $5, $6, 'UTC', 'EUR')
    """
    ends_at = starts_at + timedelta(minutes=30)
    await db.execute(sql, house.practice.id, house.coach.user_id, house.client_id, status, starts_at, ends_at)


async def test_sessions_of_today_and_the_next_five(db: Database, house: House) -> None:
    await db.execute("update users set timezone = 'America/New_York' where id = $1", house.coach.user_id)
    today = datetime(2026, 11, 18, 5, tzinfo=UTC)  # midnight in New York
    await session(db, house, today - timedelta(minutes=30))
    await session(db, house, today, "completed")
    await session(db, house, today + timedelta(hours=1), "cancelled_by_coach")
    await session(db, house, today + timedelta(hours=2), "no_show")
    for hours in (20, 24, 30, 40, 50, 60):
        await session(db, house, today + timedelta(hours=hours))
    summary = await home_summary(db, house.coach, now=NOW)
    assert summary.sessions_today == 3
    assert [s.status for s in summary.today_sessions] == ["completed", "no_show", "scheduled"]
    assert [(s.starts_at - today) / timedelta(hours=1) for s in summary.next_sessions] == [20, 24, 30, 40, 50]
    assert (await home_summary(db, house.other_coach, now=NOW)).next_sessions == []
    assert len((await home_summary(db, house.client, now=NOW)).next_sessions) == 5


async def test_home_lists_each_session_once_under_its_day(db: Database, house: House) -> None:
    for hours in (1, 13, 30, 49):
        await session(db, house, NOW + timedelta(hours=hours))
    summary = await home_summary(db, house.client, now=NOW)
    days = by_day(summary, ZoneInfo(summary.timezone))
    assert [(day, len(sessions)) for day, sessions in days] == [
        ("Today", 1),
        ("Tomorrow", 2),
        ("Friday, 20 November", 1),
    ]
    assert sessions_note(summary, ZoneInfo(summary.timezone)) == "next 13:00"


async def test_clients_are_counted_as_far_as_the_viewer_sees(db: Database, house: House) -> None:
    await db.execute("update clients set created_at = '2026-10-01' where id = $1", house.client_id)
    await db.execute("update clients set created_at = '2026-11-02' where id = $1", house.other_client_id)
    for client_id, status in ((house.client_id, "ok"), (house.other_client_id, "not_enough_history")):
        sql = """
            insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)
            values ($1, $2, 0.9, 'high', $3, 30, now())
        """
        await db.execute(sql, house.practice.id, client_id, status)

    async def figures(actor: Actor) -> tuple[int, int, int]:
        clients = (await home_summary(db, actor, now=NOW)).clients
        assert clients
        return clients.active, clients.new, clients.at_risk

    assert await figures(house.owner) == (2, 1, 1)
    assert await figures(house.coach) == (1, 0, 1)
    assert await figures(house.other_coach) == (1, 1, 0)


async def test_client_gets_neither_figures_nor_revenue(api: Api, house: House) -> None:
    data = (await api.get("/api/v1/home/summary", house.client)).data
    assert set(data) == set(HomeSummary.__slots__)
    assert data["clients"] is None
    assert data["revenue"] is None
    assert data["unread_messages"] == 0


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (123_450, "EUR", "€1,234.50"),
        (-5, "USD", "\u2212$0.05"),
        (1_500, "JPY", "¥1,500"),
        (1_234_567, "KWD", "KWD\xa01,234.567"),
        (0, "CHF", "CHF\xa00.00"),
    ],
)
def test_money_has_the_digits_of_its_currency(minor: int, currency: str, text: str) -> None:
    assert money(minor, currency) == text


@pytest.mark.parametrize(
    ("now", "before", "text"), [(112, 100, "+12\xa0%"), (50, 100, "\u221250\xa0%"), (5, 0, ""), (5, -10, "")]
)
def test_change_is_told_where_there_is_something_to_compare_with(now: int, before: int, text: str) -> None:
    assert change(Revenue("EUR", now, 999, before)) == text


def test_initials() -> None:
    assert [initials(name) for name in ("Klara Client", "Cher", "Ana de la Cruz", "")] == ["KC", "C", "AC", "?"]
