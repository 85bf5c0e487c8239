"""Subscriptions: charged period by period, by the practice's calendar, once."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.api import Answer, Api
from tests.factories import House
from wellio.db import Database
from wellio.ids import uuid7
from wellio.jobs.charge_periods import charge_periods_at
from wellio.jobs.work import Work
from wellio.outbox import Outbox

BASE = "/api/v1/subscriptions"
BERLIN = ZoneInfo("Europe/Berlin")


def today() -> date:
    """Of the house's practice."""
    return datetime.now(BERLIN).date()


async def offer(api: Api, house: House, **more: Any) -> Any:
    new = {"name": "Weekly", "price_minor": 4000, "interval": "week", **more}
    return (await api.post("/api/v1/plans", house.owner, json=new)).data


async def subscribe(api: Api, house: House, plan: Any, **more: Any) -> Answer:
    new = {"client_id": str(house.client_id), "plan_id": plan["id"], **more}
    return await api.post(BASE, house.coach, json=new)


async def step(api: Api, house: House, subscription: Any, status: str) -> Answer:
    return await api.patch(f"{BASE}/{subscription['id']}", house.coach, json={"status": status})


async def balance(api: Api, house: House) -> int:
    (one,) = (await api.get(f"/api/v1/clients/{house.client_id}/balance", house.client)).data["balances"]
    return int(one["balance_minor"])


async def test_subscribing_charges_what_has_begun_and_grants_its_credits(api: Api, house: House) -> None:
    plan = await offer(api, house, session_credits=2)
    started = today() - timedelta(days=10)
    subscription = (await subscribe(api, house, plan, starts_on=started.isoformat())).data
    assert subscription["next_period_on"] == (started + timedelta(days=14)).isoformat()
    charges = (await api.get("/api/v1/charges", house.client)).data
    assert [(c["kind"], c["amount_minor"], c["period_start"]) for c in charges] == [
        ("subscription", 4000, (started + timedelta(days=7)).isoformat()),
        ("subscription", 4000, started.isoformat()),
    ]
    assert await balance(api, house) == 8000
    credits = (await api.get(f"/api/v1/clients/{house.client_id}/credits", house.client)).data
    assert credits["left"] == 2  # those of the first week ended with it
    types = await api.db.fetch("select type from events where client_id = $1 order by position", house.client_id)
    assert {r["type"] for r in types} == {"SubscriptionStarted", "ClientCharged", "CreditsGranted"}


async def test_client_has_one_running_subscription_to_a_plan(api: Api, house: House) -> None:
    plan = await offer(api, house)
    answers = await asyncio.gather(*(subscribe(api, house, plan) for _ in range(8)))
    assert sorted(a.status for a in answers) == [201] + [409] * 7
    assert {a.code for a in answers if a.status == 409} == {"ALREADY_SUBSCRIBED"}
    assert await balance(api, house) == 4000
    (first,) = (a.data for a in answers if a.status == 201)
    assert (await step(api, house, first, "cancelled")).data["next_period_on"] is None
    assert (await step(api, house, first, "active")).code == "SUBSCRIPTION_ENDED"
    assert (await subscribe(api, house, plan)).status == 201


async def test_price_stays_as_it_was_agreed(api: Api, house: House) -> None:
    plan = await offer(api, house)
    subscription = (await subscribe(api, house, plan)).data
    await api.patch(f"/api/v1/plans/{plan['id']}", house.owner, json={"price_minor": 9900, "archived": True})
    assert (await api.get(f"{BASE}/{subscription['id']}", house.client)).data["price_minor"] == 4000
    refused = await subscribe(api, house, plan)
    assert (refused.status, refused.field_paths) == (422, ["plan_id"])


async def test_outdated_version_is_refused(api: Api, house: House) -> None:
    subscription = (await subscribe(api, house, await offer(api, house))).data
    path, old = f"{BASE}/{subscription['id']}", {"If-Match": '"1"'}
    assert (await api.patch(path, house.coach, json={"status": "paused"}, headers=old)).status == 200
    assert (await api.patch(path, house.coach, json={"status": "cancelled"}, headers=old)).status == 412


async def test_what_begins_during_a_pause_is_not_charged(api: Api, house: House) -> None:
    plan = await offer(api, house)
    subscription = (await subscribe(api, house, plan, starts_on=(today() - timedelta(days=10)).isoformat())).data
    assert (await step(api, house, subscription, "paused")).data["paused_on"] == today().isoformat()
    # As if three weeks passed.
    await api.db.execute("update subscriptions set starts_on = starts_on - 21, next_period_on = next_period_on - 21")
    work = Work(Outbox(api.db))
    assert await charge_periods_at(work, datetime.now(UTC)) == 0
    resumed = (await step(api, house, subscription, "active")).data
    assert today() < date.fromisoformat(resumed["next_period_on"]) <= today() + timedelta(days=7)
    assert await charge_periods_at(work, datetime.now(UTC)) == 0
    assert await balance(api, house) == 8000


async def agreed(
    db: Database, house: House, starts_on: date, interval: str = "month", credits: int | None = None
) -> UUID:
    plan_id, subscription_id = uuid7(), uuid7()
    await db.execute(
        "insert into plans (id, practice_id, name, price_minor, currency, interval)"
        " values ($1, $2, 'P', 100, 'EUR', $3)",
        plan_id, house.practice.id, interval,
    )  # fmt: skip
    await db.execute(
        "insert into subscriptions (id, practice_id, client_id, plan_id, starts_on, price_minor, currency, interval,"
        " session_credits, next_period_on) values ($1, $2, $3, $4, $5, 100, 'EUR', $6, $7, $5)",
        subscription_id, house.practice.id, house.client_id, plan_id, starts_on, interval, credits,
    )  # fmt: skip
    return subscription_id


async def charged(db: Database) -> list[str]:
    rows = await db.fetch("select period_start from charges order by period_start")
    return [r["period_start"].isoformat() for r in rows]


async def test_job_charges_month_ends_catches_up_and_is_harmless_twice(db: Database, house: House) -> None:
    await agreed(db, house, date(2027, 1, 31), credits=3)
    work = Work(Outbox(db))
    assert await charge_periods_at(work, datetime(2027, 1, 30, 12, tzinfo=UTC)) == 0
    assert await charge_periods_at(work, datetime(2027, 1, 31, 12, tzinfo=UTC)) == 1
    assert await charge_periods_at(work, datetime(2027, 1, 31, 12, tzinfo=UTC)) == 0
    assert await charge_periods_at(work, datetime(2027, 5, 1, 12, tzinfo=UTC)) == 1  # after three months away
    assert await charged(db) == ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30"]
    assert await charge_periods_at(work, datetime(2027, 5, 1, 12, tzinfo=UTC)) == 0
    ends = await db.fetch("select expires_at from credit_lots order by expires_at")
    assert ends[0]["expires_at"] == datetime(2027, 2, 28, tzinfo=BERLIN)
    assert ends[1]["expires_at"] == datetime(2027, 3, 31, tzinfo=BERLIN)  # after the change of clocks


async def test_period_begins_with_the_practices_day(db: Database, house: House) -> None:
    await agreed(db, house, date(2027, 6, 15))
    work = Work(Outbox(db))
    assert await charge_periods_at(work, datetime(2027, 6, 14, 21, 59, tzinfo=UTC)) == 0
    assert await charge_periods_at(work, datetime(2027, 6, 14, 22, 1, tzinfo=UTC)) == 1  # midnight in Berlin


async def test_two_that_run_at_once_charge_each_period_once(db: Database, house: House) -> None:
    for _ in range(3):
        await agreed(db, house, date(2027, 1, 1), "week")
    work, now = Work(Outbox(db)), datetime(2027, 1, 20, 12, tzinfo=UTC)
    await asyncio.gather(*(charge_periods_at(work, now) for _ in range(5)))
    assert len(await charged(db)) == 9
    assert await db.fetchval("select count(*) from events where type = 'ClientCharged'") == 9
