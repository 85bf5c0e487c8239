"""What summary and home tell of the days ahead: of whose sessions, payments and clients; nothing where too little is
known."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from tests.api import Api
from tests.factories import House, make_client, make_house
from wellio.accounts.actors import Actor
from wellio.console.formats import attendance_note
from wellio.db import Database
from wellio.ids import uuid7
from wellio.learning.attendance import Asked
from wellio.learning.attendance_facts import booking_at
from wellio.learning.attendance_rows import numbers_of
from wellio.learning.expected_attendance import ExpectedAttendance
from wellio.practice.analytics import analytics_summary
from wellio.practice.home import home_summary
from wellio.practice.outlook import KEEP, ExpectedChurn, Forecasts, Outlook
from wellio.practice.report_scope import PeriodQuery
from wellio.practice.revenue_forecasts import RevenueForecastQuery, forecast_revenue

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 10, 12, tzinfo=BERLIN)  # a Tuesday
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def book(db: Database, house: House, at: datetime, *places: tuple[UUID, float | None], **fields: Any) -> UUID:
    """A session of an hour with who is booked and how likely they were said to come; None: never asked."""
    session_id, coach = uuid7(), fields.get("coach", house.coach)
    one = places[0][0] if len(places) == 1 else None
    await db.execute(
        "insert into sessions (id, practice_id, coach_id, kind, client_id, capacity, status, starts_at, ends_at,"
        " timezone, currency) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'UTC', 'EUR')",
        session_id, house.practice.id, coach.user_id, "one_to_one" if one else "group", one, None if one else 9,
        fields.get("status", "scheduled"), at, at + HOUR,
    )  # fmt: skip
    for client_id, probability in places:
        if not one:
            await db.execute(
                "insert into session_participants (practice_id, session_id, client_id, starts_at, ends_at,"
                " session_open) values ($1, $2, $3, $4, $5, true)",
                house.practice.id, session_id, client_id, at, at + HOUR,
            )  # fmt: skip
        if probability is not None:
            booking = booking_at(
                house.practice.id, client_id, BERLIN, at - 9 * DAY, at, minutes=60.0, group=not one, priced=True
            )
            asked = Asked(booking, np.zeros(1), probability, fields.get("known", True), fields.get("attended"))
            await db.execute(
                "insert into attendance_bookings (practice_id, session_id, client_id, attended, numbers, features)"
                " values ($1, $2, $3, $4, $5, '{}')",
                house.practice.id, session_id, client_id, asked.attended, numbers_of(asked),
            )  # fmt: skip
    return session_id


async def ahead(db: Database, actor: Actor, forecasts: Forecasts | None = None, **query: Any) -> Outlook:
    now = query.pop("now", NOW)
    period = PeriodQuery.model_validate(query)
    found = (await analytics_summary(db, actor, period, forecasts or Forecasts(), now=now)).outlook
    assert found
    return found


async def test_attendance_is_of_booked_places_to_come_as_far_as_it_was_foretold(db: Database, house: House) -> None:
    mine, other = house.client_id, house.other_client_id
    await book(db, house, NOW - 3 * HOUR, (mine, 0.1))  # over, and nobody has said how it went
    await book(db, house, NOW - HOUR / 2, (mine, 0.9), status="in_progress")
    await book(db, house, NOW + DAY, (mine, 0.8), (other, 0.7))
    await book(db, house, NOW + 2 * DAY, (mine, None))
    await book(db, house, NOW + 3 * DAY, (mine, 0.2), status="cancelled")
    await book(db, house, NOW + 30 * DAY, (mine, 0.3))  # of the next month
    await book(db, house, NOW + 2 * DAY, (other, 0.6), coach=house.other_coach)
    elsewhere = await make_house(db, "Elsewhere")
    await book(db, elsewhere, NOW + DAY, (elsewhere.client_id, 0.01))
    found = await ahead(db, house.owner)
    assert (found.from_date.isoformat(), found.to_date.isoformat()) == ("2026-03-10", "2026-04-01")
    assert found.attendance == ExpectedAttendance("ok", 5, 4, 0.75)
    own = ExpectedAttendance("ok", 4, 3, 0.8)
    assert (await ahead(db, house.coach)).attendance == own
    assert (await ahead(db, house.owner, coach_id=house.coach.user_id)).attendance == own
    assert (await ahead(db, house.owner, None, **{"from": "2026-04-09", "to": "2026-04-10"})).attendance.booked == 1


async def test_nothing_is_said_where_the_models_say_nothing(db: Database, house: House) -> None:
    nobody = await ahead(db, house.owner)
    assert nobody.attendance == ExpectedAttendance("ok", 0, 0, None)
    assert nobody.churn == ExpectedChurn("not_enough_history", 0, None)
    assert (nobody.revenue.status, nobody.revenue.point_minor) == ("not_enough_history", None)
    assert "eight weeks" in nobody.revenue.message
    await book(db, house, NOW + DAY, (house.client_id, 0.6), known=False)
    assert (await ahead(db, house.owner)).attendance == ExpectedAttendance("not_enough_history", 1, 0, None)
    summary = await home_summary(db, house.coach, now=NOW)
    assert summary.may_be_missed == []
    assert [s.attendance for s in summary.next_sessions] == [None]
    years_on = PeriodQuery.model_validate({"from": "2030-01-01", "to": "2030-02-01"})
    assert (await analytics_summary(db, house.owner, years_on, Forecasts(), now=NOW)).outlook is None


async def pay(db: Database, house: House, client_id: UUID, minor: int) -> None:
    await db.execute(
        "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)"
        " select gen_random_uuid(), $1, $2, 'payment', $3, 'EUR', $4::timestamptz - make_interval(days => n)"
        " from generate_series(1, 180, 7) n",
        house.practice.id, client_id, minor, NOW,
    )  # fmt: skip


async def test_revenue_is_the_forecasts_and_kept_for_a_while(db: Database, house: House) -> None:
    await pay(db, house, house.client_id, 50_00)
    kept = Forecasts()
    first = (await ahead(db, house.owner, kept)).revenue
    told = (await forecast_revenue(db, house.owner, RevenueForecastQuery(months=1), now=NOW)).periods[0]
    assert (first.status, first.currency) == ("ok", "EUR")
    assert (first.point_minor, first.low_80_minor, first.high_80_minor) == (
        told.point_minor, told.low_80_minor, told.high_80_minor,
    )  # fmt: skip
    await pay(db, house, house.other_client_id, 90_00)
    assert (await ahead(db, house.owner, kept, now=NOW + KEEP / 2)).revenue == first
    later = (await ahead(db, house.owner, kept, now=NOW + KEEP)).revenue
    assert first.point_minor
    assert later.point_minor
    assert later.point_minor > 2 * first.point_minor
    own = (await ahead(db, house.coach, kept, now=NOW + KEEP)).revenue  # who has another sum, however much is kept
    assert own.point_minor == first.point_minor
    april = (await ahead(db, house.owner, kept, **{"from": "2026-04-01", "to": "2026-05-01"})).revenue
    months = (await forecast_revenue(db, house.owner, RevenueForecastQuery(months=2), now=NOW)).periods
    assert april.point_minor == months[1].point_minor


async def test_clients_at_risk_are_those_who_are_listed_as_such(db: Database, house: House) -> None:
    left, unsure = [await make_client(db, house.practice, coach=house.coach) for _ in range(2)]
    await db.execute("update clients set status = 'churned' where id = $1", left)
    for client_id, band, status in (
        (house.client_id, "high", "ok"),
        (house.other_client_id, "medium", "ok"),
        (left, "high", "ok"),
        (unsure, "high", "not_enough_history"),
    ):
        await db.execute(
            "insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)"
            " values ($1, $2, 0.9, $3, $4, 30, now())",
            house.practice.id, client_id, band, status,
        )  # fmt: skip
    assert (await ahead(db, house.owner)).churn == ExpectedChurn("ok", 2, 1)
    assert (await ahead(db, house.coach)).churn == ExpectedChurn("ok", 1, 1)
    assert (await ahead(db, house.other_coach)).churn == ExpectedChurn("ok", 1, 0)


async def test_home_tells_staff_who_may_not_come_and_clients_nothing(api: Api, house: House) -> None:
    db, mine, other = api.db, house.client_id, house.other_client_id
    over = await book(db, house, NOW - 3 * HOUR, (mine, 0.2), status="completed", attended=True)
    likely = await book(db, house, NOW + HOUR, (mine, 0.86))
    group = await book(db, house, NOW + 3 * HOUR, (mine, 0.6), (other, 0.4))
    await book(db, house, NOW + DAY, (other, 0.5), coach=house.other_coach)
    await book(db, house, NOW + 3 * DAY, (mine, 0.1))
    coach = await home_summary(db, house.coach, now=NOW.astimezone(UTC))
    assert {s.id: s.attendance for s in coach.today_sessions} == {over: None, likely: 0.86, group: 0.5}
    assert [attendance_note(s) for s in coach.today_sessions] == ["", "", "50 % likely to come"]
    assert coach.expected_today == ExpectedAttendance("ok", 3, 3, 0.62)
    missed = coach.may_be_missed or ()
    assert [(m.session_id, m.client_id, m.probability) for m in missed] == [(group, other, 0.4), (group, mine, 0.6)]
    owner = (await home_summary(db, house.owner, now=NOW)).may_be_missed or ()
    assert [m.probability for m in owner] == [0.4, 0.5, 0.6]
    client = await home_summary(db, house.client, now=NOW)
    assert {s.attendance for s in (*client.today_sessions, *client.next_sessions)} == {None}
    assert (client.expected_today, client.may_be_missed) == (None, None)
    assert (await api.get("/api/v1/home/summary", house.coach)).status == 200
    assert (await api.get("/api/v1/analytics/summary", house.coach)).data["outlook"]["attendance"]["status"] == "ok"
