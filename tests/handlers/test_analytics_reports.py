"""Cohorts, attendance by hour, revenue, lifetime values, response times and the funnel of onboarding, over the API."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.api import Api
from tests.factories import House, make_client
from tests.handlers.test_analytics import attend
from wellio.accounts.actors import Actor
from wellio.db import Database
from wellio.ids import uuid7
from wellio.practice.retention import month_after

BASE = "/api/v1/analytics"
BERLIN = ZoneInfo("Europe/Berlin")
MARCH = {"from": "2026-03-01", "to": "2026-04-01"}
DAY = datetime(2026, 3, 10, 9, tzinfo=BERLIN)


async def ask(api: Api, actor: Actor, path: str, **query: Any) -> Any:
    return (await api.get(f"{BASE}/{path}", actor, params=query)).data


async def pay(
    db: Database, client_id: UUID, minor: int, at: datetime, *, kind: str = "payment", currency: str = "EUR"
) -> None:
    await db.execute(
        "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)"
        " select gen_random_uuid(), practice_id, id, $2, $3, $4, $5 from clients where id = $1",
        client_id, kind, minor, currency, at,
    )  # fmt: skip


async def test_attendance_is_told_by_weekday_and_hour_of_the_practices_clock(api: Api, house: House) -> None:
    await attend(api.db, house, DAY)
    await attend(api.db, house, DAY + timedelta(days=7), "no_show")
    # By the same clock in UTC an hour earlier, as clocks have changed on the 29th.
    await attend(api.db, house, datetime(2026, 3, 31, 9, tzinfo=BERLIN), "late_cancelled")
    await attend(api.db, house, DAY + timedelta(days=1, minutes=45), "cancelled")
    await attend(api.db, house, DAY, client_id=house.other_client_id, coach=house.other_coach)
    own = await ask(api, house.coach, "attendance", **MARCH)
    rates = {"attendance_rate": 0.3333, "no_show_rate": 0.3333}
    hour = {"weekday": 2, "hour": 9, "sessions": 3, "attended": 1, "missed": 1, "late": 1, **rates}
    assert own == {"timezone": "Europe/Berlin", "from_date": "2026-03-01", "to_date": "2026-04-01", "hours": [hour]}
    whole = await ask(api, house.owner, "attendance", **MARCH)
    assert [(h["sessions"], h["attended"]) for h in whole["hours"]] == [(4, 2)]
    assert await ask(api, house.owner, "attendance", coach_id=str(house.coach.user_id), **MARCH) == own


async def test_cohorts_keep_or_lose_their_clients(api: Api, house: House) -> None:
    this = datetime.now(BERLIN).date().replace(day=1)
    months = [month_after(this, -k) for k in (3, 2, 1, 0)]
    begins = [datetime(m.year, m.month, m.day, tzinfo=BERLIN) for m in months]
    stays, goes, later, never = [await make_client(api.db, house.practice, coach=house.coach) for _ in range(4)]
    await api.db.execute(
        "update clients set created_at = case when id = any($1) then $2::timestamptz else '2001-01-01' end",
        [stays, goes, never], begins[0],
    )  # fmt: skip
    for n, (client_id, at) in enumerate(
        [(stays, 0), (stays, 0), (stays, 1), (stays, 2), (goes, 0), (goes, 2), (later, 1)]
    ):
        await attend(api.db, house, begins[at] + timedelta(hours=n), client_id=client_id)
    # The evening before in Berlin, though the month after in no zone east of it.
    await attend(api.db, house, begins[1] - timedelta(minutes=30), client_id=later, minutes=30)
    other = await make_client(api.db, house.practice, coach=house.other_coach)
    await attend(api.db, house, begins[0], client_id=other, coach=house.other_coach)
    own = await ask(api, house.coach, "retention", months=4)
    assert own["cohorts"] == [
        {"month": months[0].isoformat(), "clients": 3, "active": [3, 2, 2, 0], "retention": [1, 0.6667, 0.6667, 0]}
    ]
    whole = await ask(api, house.owner, "retention", months=4)
    assert [(c["clients"], c["active"]) for c in whole["cohorts"]] == [(4, [4, 2, 2, 0])]
    entered = await ask(api, house.coach, "retention", months=4, by="sign_up")
    assert [(c["clients"], c["active"]) for c in entered["cohorts"]] == [(3, [2, 1, 2, 0])]
    assert (await ask(api, house.owner, "retention", months=3))["cohorts"] == []


async def test_revenue_by_client_and_coach_is_what_was_paid(api: Api, house: House) -> None:
    second = await make_client(api.db, house.practice, coach=house.coach, first_name="Zoe", last_name="Zweite")
    unassigned = await make_client(api.db, house.practice)
    for client_id, minor, kind in (
        (house.client_id, 9000, "payment"), (house.client_id, 2000, "refund"), (second, 8000, "payment"),
        (house.other_client_id, 500, "payment"), (unassigned, 300, "payment"),
    ):  # fmt: skip
        await pay(api.db, client_id, minor, DAY, kind=kind)
    await pay(api.db, second, 700, DAY, currency="USD")
    await pay(api.db, second, 9999, datetime(2026, 4, 1, tzinfo=BERLIN))
    page = await api.get(f"{BASE}/revenue/clients", house.coach, params={**MARCH, "page_size": 2})
    assert [(c["client_name"], c["currency"], c["net_minor"], c["payments"]) for c in page.data] == [
        ("Zoe Zweite", "EUR", 8000, 1), ("Klara Client", "EUR", 7000, 1),
    ]  # fmt: skip
    assert page.body["pagination"]["total"] == 3
    whole = (await ask(api, house.owner, "revenue/coaches", **MARCH))["coaches"]
    assert {(c["coach_name"], c["currency"]): (c["paid_minor"], c["refunded_minor"]) for c in whole} == {
        ("Carl Coach", "EUR"): (17000, 2000), ("Carl Coach", "USD"): (700, 0), ("Cora Coach", "EUR"): (500, 0),
        (None, "EUR"): (300, 0),
    }  # fmt: skip
    own = (await ask(api, house.other_coach, "revenue/coaches", **MARCH))["coaches"]
    assert [c["net_minor"] for c in own] == [500]


async def test_revenue_by_plan_is_what_was_charged_less_what_was_voided(api: Api, house: House) -> None:
    plan_id, subscription_id, charge_id, practice_id = uuid7(), uuid7(), uuid7(), house.practice.id
    await api.db.execute(
        "insert into plans (id, practice_id, name, price_minor, currency, interval)"
        " values ($1, $2, 'Gold', 5000, 'EUR', 'month')", plan_id, practice_id,
    )  # fmt: skip
    await api.db.execute(
        "insert into subscriptions (id, practice_id, client_id, plan_id, starts_on, price_minor, currency, interval,"
        " next_period_on) values ($1, $2, $3, $4, '2026-01-31', 5000, 'EUR', 'month', '2026-01-31')",
        subscription_id, practice_id, house.client_id, plan_id,
    )  # fmt: skip
    charge = (
        "insert into charges (id, practice_id, client_id, kind, amount_minor, currency, charged_at, subscription_id,"
        " period_start, period_end, charge_id) values ($1, $2, $3, $4, $5, 'EUR', $6, $7, $8, $8::date + 30, $9)"
    )
    for n, key in enumerate((charge_id, uuid7())):
        day = (DAY - timedelta(days=n)).date()
        await api.db.execute(
            charge, key, practice_id, house.client_id, "subscription", 5000, DAY, subscription_id, day, None
        )
    await api.db.execute(
        charge, uuid7(), practice_id, house.client_id, "subscription", -5000, DAY, None, None, charge_id
    )
    await api.db.execute(charge, uuid7(), practice_id, house.client_id, "other", 100, DAY, None, None, None)
    plans = (await ask(api, house.coach, "revenue/plans", **MARCH))["plans"]
    assert [(p["name"], p["kind"], p["charged_minor"], p["voided_minor"], p["net_minor"]) for p in plans] == [
        ("Gold", "subscription", 10000, 5000, 5000), (None, "other", 100, 0, 100),
    ]  # fmt: skip
    assert (plans[0]["plan_id"], plans[0]["charges"], plans[0]["clients"]) == (str(plan_id), 2, 1)
    assert (await ask(api, house.other_coach, "revenue/plans", **MARCH))["plans"] == []


async def test_lifetime_values_grow_with_their_cohort(api: Api, house: House) -> None:
    this = datetime.now(BERLIN).date().replace(day=1)
    first, second = (month_after(this, -k) for k in (2, 1))
    begin = datetime(first.year, first.month, 1, 12, tzinfo=BERLIN)
    await api.db.execute("update clients set created_at = $1 where id = $2", begin, house.client_id)
    await api.db.execute("update clients set created_at = '2001-01-01' where id = $1", house.other_client_id)
    silent = await make_client(api.db, house.practice, coach=house.coach)
    await api.db.execute("update clients set created_at = $1 where id = $2", begin, silent)
    await pay(api.db, house.client_id, 1000, begin - timedelta(days=400))  # of a history before the entry
    await pay(api.db, house.client_id, 3001, datetime(second.year, second.month, 1, tzinfo=BERLIN))
    await pay(api.db, house.other_client_id, 7000, begin)
    values = await ask(api, house.owner, "lifetime-values")
    assert [(v["client_name"], v["net_minor"], v["payments"]) for v in values] == [
        ("Karim Client", 7000, 1), ("Klara Client", 4001, 2),
    ]  # fmt: skip
    assert [v["net_minor"] for v in await ask(api, house.coach, "lifetime-values")] == [4001]
    cohorts = (await ask(api, house.owner, "lifetime-values/cohorts", months=3))["cohorts"]
    assert [c for c in cohorts if c["month"] == first.isoformat()] == [
        {
            "month": first.isoformat(), "clients": 2, "currency": "EUR", "net_minor": 4001, "per_client_minor": 2000,
            "cumulative_minor": [1000, 4001, 4001],
        }
    ]  # fmt: skip


async def test_response_times_are_of_the_first_question_in_a_row(api: Api, house: House) -> None:
    week = {"tuesday": [{"starts": "09:00", "ends": "17:00"}]}
    await api.patch(
        f"/api/v1/availability/{house.coach.user_id}", house.coach, json={"timezone": "Europe/Berlin", "weekly": week}
    )

    async def talk(coach: Actor, partner: Actor, lines: list[tuple[Actor, datetime]], kind: str = "direct") -> None:
        conversation_id = uuid7()
        await api.db.execute(
            "insert into conversations (id, practice_id, kind, created_by, last_message_at)"
            " values ($1, $2, $3, $4, $5)",
            conversation_id, house.practice.id, kind, coach.user_id, max(at for _, at in lines),
        )  # fmt: skip
        for member in (coach, partner):
            await api.db.execute(
                "insert into conversation_members (practice_id, conversation_id, user_id) values ($1, $2, $3)",
                house.practice.id, conversation_id, member.user_id,
            )  # fmt: skip
        for seq, (sender, at) in enumerate(lines, 1):
            await api.db.execute(
                "insert into messages (id, practice_id, conversation_id, seq, sender_id, client_message_id, body,"
                " created_at) values ($1, $2, $3, $4, $5, $1, 'canary', $6)",
                uuid7(), house.practice.id, conversation_id, seq, sender.user_id, at,
            )  # fmt: skip

    minute, coach, client = timedelta(minutes=1), house.coach, house.client
    night = DAY.replace(hour=22)
    await talk(coach, client, [
        (coach, DAY - minute), (client, DAY), (client, DAY + 5 * minute), (coach, DAY + 10 * minute),
        (coach, DAY + 11 * minute), (client, DAY + 20 * minute), (coach, DAY + 50 * minute),
        (client, night), (coach, night + 600 * minute), (client, night + 700 * minute),
    ])  # fmt: skip
    await talk(coach, house.owner, [(house.owner, DAY), (coach, DAY + minute)])
    await talk(coach, client, [(client, DAY), (coach, DAY + minute)], kind="group")
    await talk(house.other_coach, house.other_client, [(house.other_client, DAY)])
    own = await ask(api, coach, "response-times", **MARCH)
    assert own["total"] == {
        "all": {"questions": 4, "answered": 3, "median_s": 1800, "p90_s": 29160},
        "in_hours": {"questions": 2, "answered": 2, "median_s": 1200, "p90_s": 1680},
        "out_of_hours": {"questions": 2, "answered": 1, "median_s": 36000, "p90_s": 36000},
    }
    assert [c["coach_name"] for c in own["by_coach"]] == ["Carl Coach"]
    whole = await ask(api, house.owner, "response-times", **MARCH)
    assert whole["total"]["all"]["questions"] == 5
    assert {c["coach_name"]: c["figures"]["all"]["answered"] for c in whole["by_coach"]} == {
        "Carl Coach": 3, "Cora Coach": 0,
    }  # fmt: skip


async def test_funnel_tells_how_far_new_clients_came_and_when(api: Api, house: House) -> None:
    quiet = await make_client(api.db, house.practice, coach=house.coach)
    await api.db.execute("update clients set created_at = $1", DAY)
    await api.db.execute(
        "insert into invitations (id, practice_id, email, role, client_id, invited_by, expires_at, created_at,"
        " accepted_at) values (gen_random_uuid(), $1, 'a@example.org', 'client', $2, $3, $4, $4, $5)",
        house.practice.id, house.client_id, house.coach.user_id, DAY + timedelta(days=1), DAY + timedelta(days=2),
    )  # fmt: skip
    await attend(api.db, house, DAY + timedelta(days=4))
    await attend(api.db, house, DAY + timedelta(days=6))
    await api.db.execute("update session_participants set booked_at = $1", DAY + timedelta(days=3))
    await attend(api.db, house, DAY, "no_show", client_id=quiet)
    await pay(api.db, house.client_id, 100, DAY - timedelta(days=9))
    steps = (await ask(api, house.coach, "onboarding", **MARCH))["steps"]
    assert [(s["step"], s["clients"], s["rate"]) for s in steps] == [
        ("added", 2, 1.0), ("invited", 1, 0.5), ("joined", 1, 0.5), ("booked", 2, 1.0), ("attended", 1, 0.5),
        ("paid", 1, 0.5),
    ]  # fmt: skip
    days = {s["step"]: s["median_days"] for s in steps}
    assert (days["invited"], days["joined"], days["attended"], days["paid"]) == (1.0, 2.0, 4.0, 0.0)
    empty = (await ask(api, house.owner, "onboarding", **{"from": "2020-01-01", "to": "2020-02-01"}))["steps"]
    assert [(s["clients"], s["rate"]) for s in empty] == [(0, None)] * 6
