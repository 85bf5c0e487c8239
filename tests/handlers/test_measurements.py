"""Measurements of a client: units, series, and who records them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api import Answer, Api
from tests.factories import House
from wellio.accounts.actors import Actor
from wellio.practice.measurements import KG_PER_LB, in_stored_unit


def measurements_of(house: House) -> str:
    return f"/api/v1/clients/{house.client_id}/measurements"


async def record(api: Api, actor: Actor, house: House, **new: Any) -> Answer:
    return await api.post(measurements_of(house), actor, json=new)


async def test_pounds_are_stored_as_kilograms_beside_what_was_entered(api: Api, house: House) -> None:
    made = (await record(api, house.coach, house, kind="weight", value=165.5, unit="lb")).data
    assert (made["value"], made["unit"]) == (75.069537, "kg")
    assert (made["entered_value"], made["entered_unit"]) == (165.5, "lb")
    assert (await api.get(measurements_of(house), house.client)).data == [made]


@settings(max_examples=100)
@given(st.decimals(min_value=Decimal("0.001"), max_value=Decimal(2000), places=4))
def test_pounds_come_back_from_kilograms(pounds: Decimal) -> None:
    kilograms, unit = in_stored_unit("weight", pounds, "lb")
    assert unit == "kg"
    assert abs(kilograms / KG_PER_LB - pounds) < Decimal("0.00001")


@pytest.mark.parametrize(
    ("new", "path"),
    [
        ({"kind": "weight", "value": 70, "unit": "stone"}, "unit"),
        ({"kind": "weight", "value": 0, "unit": "kg"}, "value"),
        ({"kind": "weight", "value": 1001, "unit": "kg"}, "value"),
        ({"kind": "weight", "value": "70", "unit": "kg"}, "value"),
        ({"kind": "weight", "value": True, "unit": "kg"}, "value"),
        ({"kind": "weight", "value": 70.00001, "unit": "kg"}, "value"),
        ({"kind": "weight", "value": 70, "unit": "kg", "name": "Mine"}, "name"),
        ({"kind": "body_fat", "value": 101, "unit": "%"}, "value"),
        ({"kind": "custom", "value": 1, "unit": "cm"}, "name"),
        ({"kind": "height", "value": 1, "unit": "cm"}, "kind"),
        ({"kind": "weight", "value": 70, "unit": "kg", "measured_at": "2190-01-01T00:00:00Z"}, "measured_at"),
    ],
)
async def test_what_can_not_be_is_refused(api: Api, house: House, new: dict[str, Any], path: str) -> None:
    answer = await record(api, house.coach, house, **new)
    assert (answer.status, answer.field_paths) == (422, [path])


async def test_series_are_listed_by_kind_name_and_range(api: Api, house: House) -> None:
    start = datetime.now(UTC) - timedelta(days=9)
    for n in range(4):
        at = (start + timedelta(days=n)).isoformat()
        await record(api, house.coach, house, kind="weight", value=80 - n, unit="kg", measured_at=at)
        name = ("Waist", "Hips")[n % 2]
        await record(api, house.coach, house, kind="custom", name=name, value=90 - n, unit="cm", measured_at=at)

    async def values(**query: str) -> list[float]:
        return [m["value"] for m in (await api.get(measurements_of(house), house.coach, params=query)).data]

    assert await values(kind="weight") == [77, 78, 79, 80]
    assert await values(kind="custom", name="Waist") == [88, 90]
    day = [(start + timedelta(days=n)).isoformat() for n in range(4)]
    assert await values(kind="weight", **{"from": day[1], "to": day[3]}) == [78, 79]


async def test_client_records_and_deletes_their_own(api: Api, house: House) -> None:
    own = (await record(api, house.client, house, kind="body_fat", value=21.5, unit="%")).data
    coached = (await record(api, house.coach, house, kind="weight", value=70, unit="kg")).data
    assert (await api.call("DELETE", f"{measurements_of(house)}/{coached['id']}", house.client)).status == 403
    assert (await api.call("DELETE", f"{measurements_of(house)}/{own['id']}", house.client)).status == 200
    assert (await api.call("DELETE", f"{measurements_of(house)}/{own['id']}", house.client)).status == 404
    assert (await api.get(measurements_of(house), house.coach)).data == [coached]
    client = (await api.get(f"/api/v1/clients/{house.client_id}", house.coach)).data
    assert client["last_activity_at"] is not None
