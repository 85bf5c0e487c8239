"""Predictions over REST: who is listed, and in which order."""

from datetime import UTC, datetime, timedelta

from tests.api import Api
from tests.factories import House, make_client
from wellio.ids import uuid7

BASE = "/api/v1/predictions/churn"


REASON = {"code": "rhythm", "text": "silent for 19 days", "weight": 1.5}


async def predict(api: Api, house: House, client_id: object, probability: float, band: str) -> None:
    await api.db.execute(
        "insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of, reasons)"
        " values ($1, $2, $3, $4, 'ok', 30, now(), $5)",
        house.practice.id, client_id, probability, band, [REASON],
    )  # fmt: skip


async def test_highest_risk_comes_first_with_its_reasons(api: Api, house: House) -> None:
    await predict(api, house, house.client_id, 0.2, "low")
    await predict(api, house, house.other_client_id, 0.9, "high")
    listed = (await api.get(BASE, house.owner)).data
    assert [p["client_id"] for p in listed] == [str(house.other_client_id), str(house.client_id)]
    promised = "client_id client_name probability band reasons counterfactual engagement horizon_days as_of status"
    assert set(listed[0]) == {*promised.split(), "last_event_id", "next_session_at", "context"}
    assert listed[0]["reasons"] == [REASON]
    assert [p["band"] for p in (await api.get(f"{BASE}?band=high", house.owner)).data] == ["high"]
    assert [p["client_id"] for p in (await api.get(BASE, house.coach)).data] == [str(house.client_id)]
    assert (await api.get(f"/api/v1/clients/{house.client_id}", house.coach)).data["churn_risk"] == 0.2


async def test_session_to_come_is_told_beside_the_reasons_whoever_it_is_with(api: Api, house: House) -> None:
    await predict(api, house, house.client_id, 0.9, "high")
    await predict(api, house, house.other_client_id, 0.5, "medium")
    begin = datetime(2099, 6, 1, 22, 30, tzinfo=UTC)
    for days, status, coach in (
        (-50_000, "scheduled", house.coach),
        (-2, "cancelled", house.coach),
        (-1, "held", house.coach),
        (0, "scheduled", house.other_coach),
        (1, "scheduled", house.coach),
    ):
        at = begin + timedelta(days=days)
        await api.db.execute(
            "insert into sessions (id, practice_id, coach_id, client_id, status, starts_at, ends_at, timezone,"
            " currency, hold_expires_at) values ($1, $2, $3, $4, $5, $6, $7, 'UTC', 'EUR', $6)",
            uuid7(), house.practice.id, coach.user_id, house.client_id, status, at, at + timedelta(hours=1),
        )  # fmt: skip
    booked = ("2099-06-01T22:30:00+00:00", "has a session booked on Tuesday, 2 June 2099")
    listed = (await api.get(BASE, house.owner)).data
    assert [(p["next_session_at"], p["context"]) for p in listed] == [booked, (None, None)]
    assert [p["reasons"] for p in listed] == [[REASON]] * 2
    one = (await api.get(f"{BASE}/{house.client_id}", house.coach)).data
    assert (one["next_session_at"], one["context"]) == booked


async def test_who_has_left_is_at_no_risk_of_leaving(api: Api, house: House) -> None:
    for status in ("churned", "archived", "paused"):
        client_id = await make_client(api.db, house.practice, coach=house.coach)
        await api.db.execute("update clients set status = $2 where id = $1", client_id, status)
        await predict(api, house, client_id, 0.9, "high")
    page = await api.get(BASE, house.owner)
    assert page.body["pagination"]["total"] == len(page.data) == 1
    assert (await api.get("/api/v1/home/summary", house.owner)).data["clients"]["at_risk"] == 1


async def test_client_without_history_is_told_as_such(api: Api, house: House) -> None:
    prediction = (await api.get(f"{BASE}/{house.client_id}", house.coach)).data
    assert (prediction["status"], prediction["probability"]) == ("not_enough_history", None)
    assert prediction["history"] == []
