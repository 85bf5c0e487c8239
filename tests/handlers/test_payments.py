"""The ledger: integer money, lines added and never changed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import Api
from tests.factories import House

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


async def test_refund_is_a_line_of_its_own(api: Api, house: House) -> None:
    await api.post(BASE, house.coach, json=new(house))
    await api.post(BASE, house.coach, json=new(house, 1500, kind="refund"))
    lines = (await api.get(BASE, house.coach)).data
    assert sorted((p["kind"], p["amount_minor"]) for p in lines) == [("payment", 6500), ("refund", 1500)]
    assert len((await api.get(f"{BASE}?kind=refund", house.coach)).data) == 1


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
