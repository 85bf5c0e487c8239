"""Credits: bought in packages, used by sessions, returned, corrected; what sessions cost without them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.api import Answer, Api
from tests.factories import House
from wellio.db import Database
from wellio.jobs.expire_credits import expire_credits
from wellio.jobs.work import Work
from wellio.outbox import Outbox
from wellio.practice.credits import return_credit, use_credit
from wellio.practice.package_purchases import expiry
from wellio.practice.settlements import settle_sessions

BASE = "/api/v1/credits"
DAY = timedelta(days=1)


async def sell(api: Api, house: House, **more: Any) -> Any:
    new = {"name": "Ten", "credits": 10, "price_minor": 50_000, **more}
    package = (await api.post("/api/v1/packages", house.owner, json=new)).data
    bought = {"client_id": str(house.client_id), "package_id": package["id"]}
    return (await api.post("/api/v1/package-purchases", house.coach, json=bought)).data


async def give(api: Api, house: House, amount: int, **more: Any) -> Answer:
    return await api.post(BASE, house.coach, json={"client_id": str(house.client_id), "amount": amount, **more})


async def left(api: Api, house: House) -> int:
    return int((await api.get(f"/api/v1/clients/{house.client_id}/credits", house.client)).data["left"])


async def book(api: Api, house: House, hours: int = 48, **more: Any) -> Any:
    """A session so many hours from now; below zero it was."""
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
    new = {"client_id": str(house.client_id), "starts_at": start.isoformat(), "duration_minutes": 30, **more}
    return (await api.post("/api/v1/sessions", house.coach, json=new)).data


async def become(db: Database, house: House, session: Any, status: str) -> None:
    """What sessions become, and what follows from it, twice over."""
    async with Outbox(db).transaction() as tx:
        await tx.connection.execute("update sessions set status = $2 where id = $1", UUID(session["id"]), status)
        for _ in range(2):
            await settle_sessions(tx.connection, house.practice.id, [UUID(session["id"])])


async def owed(api: Api, house: House) -> int:
    balances = (await api.get(f"/api/v1/clients/{house.client_id}/balance", house.client)).data["balances"]
    return sum(b["balance_minor"] for b in balances)


async def test_purchase_is_charged_and_its_credits_are_there(api: Api, house: House) -> None:
    purchase = await sell(api, house, valid_days=90)
    assert (purchase["credits"], purchase["credits_left"], purchase["voided"]) == (10, 10, False)
    assert (await left(api, house), await owed(api, house)) == (10, 50_000)
    (listed,) = (await api.get("/api/v1/package-purchases", house.client)).data
    assert listed == purchase
    (entry,) = (await api.get(BASE, house.client)).data
    assert (entry["amount"], entry["reason"], entry["expires_at"]) == (10, "purchase", purchase["expires_at"])


def test_package_is_good_until_the_end_of_its_last_day() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    bought = datetime(2027, 3, 26, 23, 30, tzinfo=UTC)  # the 27th in Berlin
    assert expiry(berlin, bought, 1) == datetime(2027, 3, 29, tzinfo=berlin)  # the 28th has 23 hours
    assert expiry(berlin, bought, None) is None


async def test_voiding_the_charge_takes_back_what_is_left(api: Api, house: House) -> None:
    purchase = await sell(api, house)
    session = await book(api, house)
    voided = await api.post(f"/api/v1/charges/{purchase['charge_id']}/void", house.coach, json={"note": "A mistake"})
    assert (voided.data["amount_minor"], voided.data["charge_id"]) == (-50_000, purchase["charge_id"])
    assert (await left(api, house), await owed(api, house)) == (0, 0)
    again = await api.post(f"/api/v1/charges/{purchase['charge_id']}/void", house.coach, json={})
    assert (again.status, again.code) == (409, "VOIDED")
    await become(api.db, house, session, "completed")
    assert await owed(api, house) == 0  # that one was used


async def test_what_expires_first_is_used_first(api: Api, house: House) -> None:
    now = datetime.now(UTC)
    await give(api, house, 1)
    await give(api, house, 1, expires_at=(now + 20 * DAY).isoformat())
    await give(api, house, 1, expires_at=(now + 10 * DAY).isoformat())
    ends = []
    for n in range(3):
        session = await book(api, house, 48 + n)
        (entry,) = (await api.get(f"{BASE}?session_id={session['id']}", house.coach)).data
        ends.append(entry["expires_at"] and datetime.fromisoformat(entry["expires_at"]))
    assert ends[0] < ends[1]
    assert ends[2] is None
    assert await left(api, house) == 0


async def test_credits_of_a_type_are_for_that_type(api: Api, house: House) -> None:
    new = {"name": "Yoga", "duration_minutes": 30, "price_minor": 4000}
    yoga = (await api.post("/api/v1/session-types", house.coach, json=new)).data
    await give(api, house, 1, session_type_id=yoga["id"])
    await book(api, house, 48)
    assert await left(api, house) == 1
    await book(api, house, 50, session_type_id=yoga["id"])
    assert await left(api, house) == 0


async def test_credit_comes_back_when_cancelled_in_time_and_not_when_late(api: Api, house: House) -> None:
    await give(api, house, 2)
    in_time, late = await book(api, house, 48, price_minor=7000), await book(api, house, 50, price_minor=7000)
    assert await left(api, house) == 0
    await become(api.db, house, in_time, "cancelled")
    await become(api.db, house, late, "late_cancelled")
    assert (await left(api, house), await owed(api, house)) == (1, 0)


async def test_coach_who_cancels_gives_the_credit_back(api: Api, house: House) -> None:
    await give(api, house, 1)
    session = await book(api, house)
    cancelled = await api.patch(f"/api/v1/sessions/{session['id']}", house.coach, json={"status": "cancelled"})
    assert cancelled.data["status"] == "cancelled_by_coach"
    assert await left(api, house) == 1
    entries = (await api.get(BASE, house.client)).data
    assert [e["reason"] for e in entries] == ["returned", "used", "grant"]


async def test_session_without_a_credit_is_charged_by_what_becomes_of_it(api: Api, house: House) -> None:
    expected = {"completed": 7000, "no_show": 7000, "late_cancelled": 7000, "cancelled": 0, "cancelled_by_coach": 0}
    for n, (status, minor) in enumerate(expected.items()):
        before = await owed(api, house)
        await become(api.db, house, await book(api, house, 48 + n, price_minor=7000), status)
        assert await owed(api, house) - before == minor, status
    kinds = [c["kind"] for c in (await api.get("/api/v1/charges", house.client)).data]
    assert sorted(kinds) == ["late_cancellation", "session", "session"]


async def test_completing_over_the_api_charges_the_price(api: Api, house: House) -> None:
    session = await book(api, house, -48, price_minor=7000)
    await api.patch(f"/api/v1/sessions/{session['id']}", house.coach, json={"status": "completed"})
    (charge,) = (await api.get("/api/v1/charges", house.client)).data
    assert (charge["kind"], charge["amount_minor"], charge["session_id"]) == ("session", 7000, session["id"])


async def test_no_show_undone_voids_its_charge(api: Api, house: House) -> None:
    session = await book(api, house, -48, price_minor=7000)
    await become(api.db, house, session, "no_show")
    assert await owed(api, house) == 7000
    await become(api.db, house, session, "scheduled")
    assert await owed(api, house) == 0
    await become(api.db, house, session, "completed")
    assert await owed(api, house) == 7000
    assert await api.db.fetchval("select count(*) from charges") == 3


async def test_series_uses_as_many_credits_as_there_are(api: Api, house: House) -> None:
    await give(api, house, 2)
    start = datetime.now(UTC).replace(microsecond=0) + 10 * DAY
    new = {
        "client_id": str(house.client_id), "starts_at": start.isoformat(), "duration_minutes": 30,
        "rrule": "FREQ=DAILY;COUNT=3", "timezone": "UTC",
    }  # fmt: skip
    assert (await api.post("/api/v1/sessions", house.coach, json=new)).status == 201
    assert await left(api, house) == 0
    used = await api.db.fetchval("select count(*) from credit_entries where reason = 'used'")
    assert used == 2


async def test_last_credit_is_used_once_by_many_at_once(api: Api, house: House) -> None:
    await give(api, house, 3)
    sessions = [await book(api, house, 48 + n) for n in range(3)]
    assert await left(api, house) == 0
    for session in sessions:
        await become(api.db, house, session, "cancelled")
    ids = [UUID(session["id"]) for session in sessions]
    await give(api, house, -1)

    async def use(session_id: UUID) -> bool:
        async with api.db.transaction() as connection:
            return await use_credit(connection, house.practice.id, house.client_id, session_id, None)

    assert sum(await asyncio.gather(*(use(i) for i in ids for _ in range(1)))) == 2
    assert await left(api, house) == 0
    async with api.db.transaction() as connection:
        for session_id in ids * 2:
            await return_credit(connection, house.practice.id, session_id)
    assert await left(api, house) == 2


async def test_more_than_there_is_can_not_be_taken_away(api: Api, house: House) -> None:
    await give(api, house, 2)
    refused = await give(api, house, -3)
    assert (refused.status, refused.code) == (409, "NOT_ENOUGH_CREDITS")
    assert (await give(api, house, -2, note="Given twice")).data["left"] == 0
    assert (await give(api, house, 0)).field_paths == ["amount"]
    past = (datetime.now(UTC) - DAY).isoformat()
    assert (await give(api, house, 1, expires_at=past)).field_paths == ["expires_at"]


async def test_what_has_ended_is_written_off_once(api: Api, house: House) -> None:
    await give(api, house, 2)
    await give(api, house, 3, expires_at=(datetime.now(UTC) + DAY).isoformat())
    work = Work(Outbox(api.db))
    assert await expire_credits(work) == {"lots": 0}
    await api.db.execute(
        "insert into credit_lots (id, practice_id, client_id, expires_at)"
        " select gen_random_uuid(), $1, $2, now() - interval '1 hour'",
        house.practice.id, house.client_id,
    )  # fmt: skip
    await api.db.execute(
        "insert into credit_entries (id, practice_id, client_id, lot_id, amount, reason)"
        " select gen_random_uuid(), practice_id, client_id, id, 4, 'grant' from credit_lots where expires_at < now()"
    )
    assert await left(api, house) == 5
    assert await expire_credits(work) == {"lots": 1}
    assert await expire_credits(work) == {"lots": 0}
    (entry,) = (await api.get(f"{BASE}?reason=expired", house.client)).data
    assert entry["amount"] == -4
    assert await left(api, house) == 5
