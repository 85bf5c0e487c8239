"""Predictions over REST: who is listed, and in which order."""

from tests.api import Api
from tests.factories import House, make_client

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
    assert set(listed[0]) == {*promised.split(), "last_event_id"}
    assert listed[0]["reasons"] == [REASON]
    assert [p["band"] for p in (await api.get(f"{BASE}?band=high", house.owner)).data] == ["high"]
    assert [p["client_id"] for p in (await api.get(BASE, house.coach)).data] == [str(house.client_id)]
    assert (await api.get(f"/api/v1/clients/{house.client_id}", house.coach)).data["churn_risk"] == 0.2


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
