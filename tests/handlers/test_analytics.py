"""The summary over the API: what is counted of whom, on days of 23 and 25 hours too."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.api import Api
from tests.factories import House, make_client
from tests.handlers.booking import open_all_day
from wellio.accounts.actors import Actor
from wellio.db import Database
from wellio.ids import uuid7
from wellio.practice.analytics import analytics_summary
from wellio.practice.home import MonthFigures, home_summary
from wellio.practice.outlook import Forecasts
from wellio.practice.report_scope import PeriodQuery

BASE = "/api/v1/analytics/summary"
BERLIN = ZoneInfo("Europe/Berlin")


async def attend(
    db: Database, house: House, at: datetime, status: str = "completed", *, client_id: UUID | None = None,
    coach: Actor | None = None, minutes: int = 60,
) -> UUID:  # fmt: skip
    session_id = uuid7()
    await db.execute(
        "insert into sessions (id, practice_id, coach_id, client_id, status, starts_at, ends_at, timezone, currency)"
        " values ($1, $2, $3, $4, $5, $6, $7, 'Europe/Berlin', 'EUR')",
        session_id, house.practice.id, (coach or house.coach).user_id, client_id or house.client_id, status, at,
        at + timedelta(minutes=minutes),
    )  # fmt: skip
    return session_id


async def summary(api: Api, actor: Actor, first: str, end: str, **query: Any) -> Any:
    return (await api.get(BASE, actor, params={"from": first, "to": end, **query})).data


async def test_figures_of_a_period_and_of_the_one_before(api: Api, house: House) -> None:
    day = datetime(2026, 3, 10, 9, tzinfo=BERLIN)
    other = await make_client(api.db, house.practice, coach=house.coach)
    await attend(api.db, house, day - timedelta(days=7))
    await attend(api.db, house, day - timedelta(days=6), client_id=other)
    for n, status in enumerate(["completed", "completed", "no_show", "late_cancelled", "cancelled"]):
        await attend(api.db, house, day + timedelta(hours=2 * n), status)
    await attend(api.db, house, day, client_id=house.other_client_id, coach=house.other_coach)
    await api.db.execute(
        "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)"
        " values (gen_random_uuid(), $1, $2, 'payment', 9000, 'EUR', $3),"
        " (gen_random_uuid(), $1, $2, 'refund', 2000, 'EUR', $3)",
        house.practice.id, house.client_id, day,
    )  # fmt: skip
    found = await summary(api, house.owner, "2026-03-09", "2026-03-16")
    now = found["total"]["now"]
    assert now["sessions"] == {
        "total": 6, "open": 0, "completed": 3, "no_show": 1, "cancelled": 1, "late_cancelled": 1,
        "cancelled_by_coach": 0,
    }  # fmt: skip
    assert (now["attendance_rate"], now["no_show_rate"]) == (0.6, 0.2)
    assert (now["active_clients"], now["retention_rate"]) == (2, 0.5)
    assert now["revenue"] == [{"currency": "EUR", "net_minor": 7000}]
    assert (now["booked_minutes"], now["utilisation"]) == (240, None)
    assert (found["before_from_date"], found["before_to_date"]) == ("2026-03-02", "2026-03-09")
    assert found["total"]["before"]["active_clients"] == 2
    assert found["total"]["change"]["active_clients"] == 0
    assert found["total"]["change"]["revenue"] == [{"currency": "EUR", "net_minor": 7000}]
    of = {each["coach_id"]: each["figures"]["now"] for each in found["by_coach"]}
    assert of[str(house.coach.user_id)]["sessions"]["completed"] == 2
    assert of[str(house.other_coach.user_id)]["active_clients"] == 1
    assert of[str(house.owner.user_id)]["sessions"]["total"] == 0


async def test_coach_sees_their_own_figures_and_no_others(api: Api, house: House) -> None:
    day = datetime(2026, 3, 10, 9, tzinfo=BERLIN)
    await attend(api.db, house, day)
    await attend(api.db, house, day, client_id=house.other_client_id, coach=house.other_coach)
    found = await summary(api, house.coach, "2026-03-09", "2026-03-16")
    assert found["total"]["now"]["sessions"]["total"] == 1
    assert [each["coach_id"] for each in found["by_coach"]] == [str(house.coach.user_id)]
    one = await summary(api, house.owner, "2026-03-09", "2026-03-16", coach_id=str(house.coach.user_id))
    assert one == found
    refused = await api.get(BASE, house.coach, params={"coach_id": str(house.other_coach.user_id)})
    assert (refused.status, refused.field_paths) == (422, ["query.coach_id"])


@pytest.mark.parametrize(
    ("day", "next_day", "hours"), [("2026-03-29", "2026-03-30", 23), ("2025-10-26", "2025-10-27", 25)]
)
async def test_day_of_changed_clocks_counts_what_is_in_it(
    api: Api, house: House, day: str, next_day: str, hours: int
) -> None:
    week = {"monday": [], "sunday": [{"starts": "00:00", "ends": "24:00"}]}
    await api.patch(
        f"/api/v1/availability/{house.coach.user_id}", house.coach, json={"timezone": "Europe/Berlin", "weekly": week}
    )
    begin = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=BERLIN).astimezone(UTC)
    await attend(api.db, house, begin - timedelta(minutes=30), minutes=30)  # the evening before
    await attend(api.db, house, begin)
    await attend(api.db, house, begin + timedelta(hours=hours - 1))
    await attend(api.db, house, begin + timedelta(hours=hours))  # the next midnight
    now = (await summary(api, house.coach, day, next_day))["total"]["now"]
    assert (now["sessions"]["total"], now["booked_minutes"]) == (2, 120)
    assert (now["open_minutes"], now["utilisation"]) == (hours * 60, round(2 / hours, 4))


async def test_each_participant_of_a_group_counts(api: Api, house: House) -> None:
    session_id, day = uuid7(), datetime(2026, 3, 10, 9, tzinfo=BERLIN)
    await api.db.execute(
        "insert into sessions (id, practice_id, coach_id, kind, capacity, status, starts_at, ends_at, timezone,"
        " currency) values ($1, $2, $3, 'group', 9, 'scheduled', $4, $5, 'UTC', 'EUR')",
        session_id, house.practice.id, house.coach.user_id, day, day + timedelta(hours=1),
    )  # fmt: skip
    for status in ("attended", "attended", "attended", "no_show", "cancelled"):
        client_id = await make_client(api.db, house.practice, coach=house.coach)
        await api.db.execute(
            "insert into session_participants (practice_id, session_id, client_id, status, starts_at, ends_at,"
            " session_open) values ($1, $2, $3, $4, $5, $6, true)",
            house.practice.id, session_id, client_id, status, day, day + timedelta(hours=1),
        )  # fmt: skip
    await api.db.execute("update sessions set status = 'completed' where id = $1", session_id)
    now = (await summary(api, house.owner, "2026-03-10", "2026-03-11"))["total"]["now"]
    assert (now["sessions"]["completed"], now["active_clients"], now["attendance_rate"]) == (1, 3, 0.75)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"period": "this_month", "from": "2026-01-01", "to": "2026-02-01"}, "query.period"),
        ({"from": "2026-01-01"}, "query.to"),
        ({"to": "2026-01-01"}, "query.from"),
        ({"from": "2026-02-01", "to": "2026-02-01"}, "query.to"),
        ({"from": "2024-02-01", "to": "2026-02-01"}, "query.to"),
        ({"from": "0001-01-01", "to": "0001-02-01"}, "query.to"),
        ({"period": "for_ever"}, "query.period"),
    ],
)
async def test_bad_period_names_its_field(api: Api, house: House, query: dict[str, str], path: str) -> None:
    answer = await api.get(BASE, house.owner, params=query)
    assert (answer.status, answer.field_paths) == (422, [path])


async def test_home_tells_of_the_month(api: Api, house: House) -> None:
    now = datetime(2026, 3, 20, 12, tzinfo=UTC)
    for n, status in enumerate(["completed", "completed", "no_show", "late_cancelled", "cancelled", "scheduled"]):
        await attend(api.db, house, now - timedelta(days=n, hours=2), status)
    await attend(api.db, house, datetime(2026, 2, 28, 22, tzinfo=UTC))  # February in Berlin
    await attend(api.db, house, now, client_id=house.other_client_id, coach=house.other_coach)
    await open_all_day(api, house)
    month_to_date = PeriodQuery(period="this_month")
    for actor in (house.owner, house.coach):
        told = (await analytics_summary(api.db, actor, month_to_date, Forecasts(), now=now)).total.now
        month = (await home_summary(api.db, actor, now=now)).month
        assert month
        assert month.utilisation == told.utilisation
    assert told.utilisation
    assert month == MonthFigures(attended=2, attendance_rate=0.5, no_show_rate=0.25, utilisation=told.utilisation)
    assert (await api.get("/api/v1/home/summary", house.client)).data["month"] is None
