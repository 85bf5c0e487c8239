"""GET /analytics/optimal-scheduling: only what can be booked, with reasons, the lot recorded, nobody else's clients."""

from datetime import timedelta
from typing import Any

from tests.api import Api
from tests.factories import House
from tests.handlers.booking import days_ahead, open_all_day
from wellio.ids import uuid7

PATH = "/api/v1/analytics/optimal-scheduling"
SLOTS = "/api/v1/availability/slots"
MORNING = {"monday": [{"starts": "09:00", "ends": "12:15"}]}
EVERY_DAY = dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), MORNING["monday"])


async def test_ranks_what_can_be_booked_and_records_its_choice(api: Api, house: House) -> None:
    session_type = await open_all_day(api, house, weekly=EVERY_DAY, increment_minutes=15)
    start = days_ahead(3)
    asked = {"from": start.isoformat(), "to": (start + timedelta(days=14)).isoformat(), "client_id": house.client_id}
    asked |= {"session_type_id": session_type["id"]}
    offered = (await api.get(SLOTS, house.coach, params=_params(asked))).data["slots"]
    found = (await api.get(PATH, house.coach, params=_params(asked, limit=50))).data
    again = (await api.get(PATH, house.coach, params=_params(asked, limit=50))).data
    assert found["slots"] == again["slots"]
    assert found["offered"] == len(offered)
    starts = [slot["starts_at"] for slot in found["slots"]]
    assert len(starts) == len(set(starts)) == 50
    assert set(starts) <= {slot["starts_at"] for slot in offered}
    assert (found["status"], found["learnt"], found["spread"]) == ("not_enough_history", 0, 0.0)
    for slot in found["slots"]:
        assert slot["probability"] == found["mean_probability"] == 0.85
        assert slot["reasons"]
    # Nothing sets times apart but the gaps they leave: 09:00 and 11:15 leave none on one side and a long one beyond.
    plain = [slot for slot in found["slots"] if slot["reasons"][0]["code"] != "drawn"]
    assert plain == sorted(plain, key=lambda slot: -slot["expected_minor"])
    gaps = {slot["local"][11:16] for slot in plain if "gap" in {why["code"] for why in slot["reasons"]}}
    assert not gaps & {"09:00", "11:15", "10:00"}
    choices = await api.db.fetch("select * from slot_choices")
    assert len(choices) == 1
    assert choices[0]["starts_at"].isoformat() == starts[0].replace("Z", "+00:00")
    assert choices[0]["offered"] == len(offered)
    assert 0.0 < choices[0]["propensity"] <= 1.0
    assert choices[0]["drawn"] == (found["slots"][0]["reasons"][0]["code"] == "drawn")


async def test_refuses_what_slots_refuse_and_other_peoples_clients(api: Api, house: House) -> None:
    start = days_ahead(3)
    asked = {"from": start.isoformat(), "to": (start + timedelta(days=2)).isoformat()}
    assert (await api.get(PATH, house.coach, params=_params(asked))).data["slots"] == []
    for more in (
        {"client_id": house.other_client_id},
        {"client_id": uuid7()},
        {"coach_id": house.other_coach.user_id},
        {"to": (start + timedelta(days=63)).isoformat()},
        {"limit": 51},
        {"page": 1},
    ):
        answer = await api.get(PATH, house.coach, params=_params(asked | more))
        assert answer.status == 422, more
    assert (await api.get(PATH, house.client, params=_params(asked))).status == 403
    owner = await api.get(PATH, house.owner, params=_params(asked, coach_id=house.coach.user_id))
    assert owner.status == 200


def _params(asked: dict[str, Any], **more: Any) -> dict[str, str]:
    return {name: str(value) for name, value in {**asked, **more}.items()}
