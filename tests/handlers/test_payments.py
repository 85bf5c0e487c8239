"""The ledger: integer money, lines added and never changed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.api import Answer, Api
from tests.factories import House
from tests.owner import as_owner
from wellio.db import Database
from wellio.errors import Conflict

BASE = "/api/v1/payments"


def new(house: House, amount: int = 6500, **more: Any) -> dict[str, Any]:
    return {"client_id": str(house.client_id), "amount_minor": amount, **more}


async def test_recorded_payment_is_read_back_and_moves_the_client(api: Api, house: House) -> None:
    answer = await api.post(BASE, house.coach, json=new(house, paid_at="2026-03-01T10:00:00+01:00", note="March"))
    assert answer.status == 201
    payment = answer.data
    assert (payment["kind"], payment["amount_minor"], payment["currency"]) == ("payment", 6500, "EUR")
    assert (await api.get(f"{BASE}/{payment['id']}", house.client)).data == payment
    client = (await api.get(f"/api/v1/clients/{house.client_id}", house.coach)).data
    assert client["last_activity_at"] == "2026-03-01T09:00:00+00:00"
    (event,) = await api.db.fetch("select type, payload, occurred_at from events where type <> 'ClockTicked'")
    assert (event["type"], event["payload"]) == ("PaymentRecorded", {"amount_minor": 6500, "currency": "EUR"})
    assert event["occurred_at"] == datetime(2026, 3, 1, 9, tzinfo=UTC)


async def pay(api: Api, house: House, amount: int = 6500, **more: Any) -> Any:
    return (await api.post(BASE, house.coach, json=new(house, amount, **more))).data


async def refund(api: Api, house: House, payment: Any, **body: Any) -> Answer:
    return await api.post(f"{BASE}/{payment['id']}/refunds", house.coach, json=body)


async def void(api: Api, house: House, payment: Any) -> Answer:
    return await api.post(f"{BASE}/{payment['id']}/void", house.coach, json={"note": "Never came"})


async def test_refund_is_a_line_of_its_own_that_names_its_payment(api: Api, house: House) -> None:
    payment = await pay(api, house)
    part = (await refund(api, house, payment, amount_minor=1500)).data
    assert (part["kind"], part["amount_minor"], part["payment_id"]) == ("refund", 1500, payment["id"])
    rest = (await refund(api, house, payment)).data
    assert rest["amount_minor"] == 5000
    assert len((await api.get(f"{BASE}?kind=refund", house.coach)).data) == 2
    assert (await api.get(f"{BASE}/{payment['id']}", house.coach)).data == payment
    nothing_left = await refund(api, house, payment)
    assert (nothing_left.status, nothing_left.code) == (409, "REFUND_EXCEEDS_PAYMENT")


async def test_refund_without_a_payment_means_the_newest_that_it_fits_in(api: Api, house: House) -> None:
    large = await pay(api, house, 6500, paid_at="2026-03-01T10:00:00Z")
    await pay(api, house, 1000, paid_at="2026-04-01T10:00:00Z")
    await pay(api, house, 9000, currency="USD")
    back = (await api.post(BASE, house.coach, json=new(house, 1500, kind="refund"))).data
    assert back["payment_id"] == large["id"]
    too_much = await api.post(BASE, house.coach, json=new(house, 5001, kind="refund"))
    assert (too_much.status, too_much.code) == (409, "REFUND_EXCEEDS_PAYMENT")


async def test_refund_of_somebody_elses_payment_names_its_field(api: Api, house: House) -> None:
    theirs = await api.post(BASE, house.owner, json=new(house) | {"client_id": str(house.other_client_id)})
    answer = await api.post(BASE, house.coach, json=new(house, 100, kind="refund", payment_id=theirs.data["id"]))
    assert (answer.status, answer.field_paths) == (422, ["payment_id"])
    own = await pay(api, house)
    other_currency = new(house, 100, kind="refund", payment_id=own["id"], currency="USD")
    assert (await api.post(BASE, house.coach, json=other_currency)).field_paths == ["currency"]
    dollars = await pay(api, house, currency="USD")
    back = await api.post(BASE, house.coach, json=new(house, 100, kind="refund", payment_id=dollars["id"]))
    assert back.data["currency"] == "USD"


async def test_twenty_refunds_at_once_never_exceed_the_payment(api: Api, house: House) -> None:
    payment = await pay(api, house, 1000)
    answers = await asyncio.gather(*(refund(api, house, payment, amount_minor=300) for _ in range(20)))
    assert sorted(a.status for a in answers) == [201] * 3 + [409] * 17
    assert {a.code for a in answers if a.status == 409} == {"REFUND_EXCEEDS_PAYMENT"}
    assert await api.db.fetchval("select sum(amount_minor) from payments where kind = 'refund'") == 900


async def test_refunds_at_once_past_the_app_are_held_by_the_database(db: Database, house: House) -> None:
    payment_id = uuid4()
    insert = (
        "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at, payment_id)"
        " values ($1, $2, $3, $4, $5, 'EUR', now(), $6)"
    )
    await db.execute(insert, payment_id, house.practice.id, house.client_id, "payment", 1000, None)

    async def take() -> bool:
        try:
            await db.execute(insert, uuid4(), house.practice.id, house.client_id, "refund", 300, payment_id)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(take() for _ in range(20)))) == 3


async def test_what_was_recorded_in_error_is_voided_once_and_whole(api: Api, house: House) -> None:
    payment = await pay(api, house)
    part = (await refund(api, house, payment, amount_minor=1500)).data
    assert (await void(api, house, payment)).code == "VOIDED"  # part of it was refunded
    taken_back = (await void(api, house, part)).data
    assert (taken_back["kind"], taken_back["payment_id"]) == ("refund_void", part["id"])
    assert (await void(api, house, part)).code == "VOIDED"
    assert (await void(api, house, taken_back)).code == "VOIDED"
    assert (await void(api, house, payment)).data["kind"] == "payment_void"
    assert (await refund(api, house, payment, amount_minor=1)).code == "REFUND_EXCEEDS_PAYMENT"
    assert (await api.get(f"/api/v1/clients/{house.client_id}/balance", house.client)).data["balances"] == [
        {"currency": "EUR", "charged_minor": 0, "paid_minor": 0, "refunded_minor": 0, "balance_minor": 0}
    ]


@pytest.mark.parametrize("table", ["payments", "charges", "package_purchases", "credit_lots", "credit_entries"])
async def test_ledgers_only_grow_whoever_writes(db: Database, house: House, table: str) -> None:
    for sql in (f"delete from {table}", f"update {table} set client_id = client_id"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with db.pool.acquire() as connection:
                await connection.execute(sql)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
            await as_owner(db, sql)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"amount_minor": 0}, "amount_minor"),
        ({"amount_minor": -5}, "amount_minor"),
        ({"amount_minor": 10.5}, "amount_minor"),
        ({"amount_minor": "100"}, "amount_minor"),
        ({"amount_minor": 2**63}, "amount_minor"),
        ({"currency": "EURO"}, "currency"),
        ({"kind": "gift"}, "kind"),
        ({"paid_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "paid_at"),
        ({"client_id": "00000000-0000-4000-8000-000000000000"}, "client_id"),
    ],
)
async def test_bad_payment_names_its_field(api: Api, house: House, changes: dict[str, Any], path: str) -> None:
    answer = await api.post(BASE, house.coach, json=new(house) | changes)
    assert (answer.status, answer.field_paths) == (422, [path])
    assert await api.db.fetchval("select count(*) from payments") == 0


async def test_same_key_and_body_is_one_payment_and_one_answer(api: Api, house: House) -> None:
    headers = {"Idempotency-Key": "march-1"}
    first = await api.post(BASE, house.coach, json=new(house), headers=headers)
    again = await api.post(BASE, house.coach, json=new(house), headers=headers)
    assert (again.status, again.raw) == (201, first.raw)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert await api.db.fetchval("select count(*) from payments") == 1
    assert await api.db.fetchval("select count(*) from events where type <> 'ClockTicked'") == 1


async def test_same_key_with_another_body_is_refused(api: Api, house: House) -> None:
    headers = {"Idempotency-Key": "march-1"}
    await api.post(BASE, house.coach, json=new(house), headers=headers)
    answer = await api.post(BASE, house.coach, json=new(house, 7000), headers=headers)
    assert (answer.status, answer.code) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_fifty_at_once_with_one_key_are_one_payment(api: Api, house: House) -> None:
    headers = {"Idempotency-Key": "march-1"}
    answers = await asyncio.gather(*(api.post(BASE, house.coach, json=new(house), headers=headers) for _ in range(50)))
    assert {a.status for a in answers} <= {201, 409}
    assert len({a.raw for a in answers if a.status == 201}) == 1
    assert {a.code for a in answers if a.status == 409} <= {"IDEMPOTENCY_IN_PROGRESS"}
    assert await api.db.fetchval("select count(*) from payments") == 1


async def test_key_of_another_user_is_another_key(api: Api, house: House) -> None:
    headers = {"Idempotency-Key": "march-1"}
    await api.post(BASE, house.coach, json=new(house), headers=headers)
    assert (await api.post(BASE, house.owner, json=new(house, 7000), headers=headers)).status == 201


async def test_refused_request_leaves_its_key_free(api: Api, house: House) -> None:
    headers = {"Idempotency-Key": "march-1"}
    assert (await api.post(BASE, house.coach, json=new(house, -1), headers=headers)).status == 422
    assert (await api.post(BASE, house.coach, json=new(house), headers=headers)).status == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "ü"])
async def test_unusable_key_is_refused(api: Api, house: House, key: str) -> None:
    answer = await api.post(BASE, house.coach, json=new(house), headers={"Idempotency-Key": key})
    assert answer.status == 400
