"""Goals of a client, and how far they have come."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api import Api
from tests.factories import House
from wellio.practice.goals import share_done

LOSE = {"title": "Lose ten kilograms", "unit": "kg", "start_value": 80, "target_value": 70, "due_on": "2031-06-01"}


def goals_of(house: House) -> str:
    return f"/api/v1/clients/{house.client_id}/goals"


async def set_goal(api: Api, house: House, **new: Any) -> Any:
    return (await api.post(goals_of(house), house.coach, json={**LOSE, **new})).data


async def test_goal_shows_how_far_the_client_has_come(api: Api, house: House) -> None:
    goal = await set_goal(api, house)
    assert (goal["current_value"], goal["progress"], goal["status"]) == (80, 0, "active")
    url = f"{goals_of(house)}/{goal['id']}"
    step = (await api.post(f"{url}/progress", house.client, json={"value": 77.5, "note": "Slowly"})).data
    after = (await api.get(url, house.client)).data
    assert (after["current_value"], after["progress"], after["version"]) == (77.5, 0.25, 2)
    assert (await api.get(f"{url}/progress", house.coach)).data == [step]


async def test_entry_made_up_for_does_not_move_the_goal_back(api: Api, house: House) -> None:
    url = f"{goals_of(house)}/{(await set_goal(api, house))['id']}"
    await api.post(f"{url}/progress", house.coach, json={"value": 72})
    earlier = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    await api.post(f"{url}/progress", house.coach, json={"value": 79, "reached_at": earlier})
    assert (await api.get(url, house.coach)).data["current_value"] == 72
    assert [p["value"] for p in (await api.get(f"{url}/progress", house.coach)).data] == [72, 79]
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    answer = await api.post(f"{url}/progress", house.coach, json={"value": 79, "reached_at": later})
    assert answer.field_paths == ["reached_at"]


async def test_goal_is_changed_by_staff_with_its_version(api: Api, house: House) -> None:
    goal = await set_goal(api, house)
    url = f"{goals_of(house)}/{goal['id']}"
    changed = await api.patch(
        url, house.coach, json={"status": "achieved", "due_on": None}, headers={"If-Match": '"1"'}
    )
    assert (changed.data["status"], changed.data["due_on"], changed.data["title"]) == ("achieved", None, goal["title"])
    assert (await api.patch(url, house.owner, json={"title": "x"}, headers={"If-Match": '"1"'})).status == 412
    assert (await api.patch(url, house.client, json={"status": "achieved"})).status == 403
    assert (await api.get(f"{goals_of(house)}?status=active", house.coach)).data == []
    assert len((await api.get(f"{goals_of(house)}?status=achieved", house.coach)).data) == 1


@pytest.mark.parametrize(
    ("new", "path"),
    [
        ({"start_value": 70}, "target_value"),
        ({"due_on": "soon"}, "due_on"),
        ({"due_on": 20310601}, "due_on"),
        ({"target_value": 1e10}, "target_value"),
        ({"title": ""}, "title"),
    ],
)
async def test_goal_that_leads_nowhere_is_refused(api: Api, house: House, new: dict[str, Any], path: str) -> None:
    answer = await api.post(goals_of(house), house.coach, json={**LOSE, **new})
    assert (answer.status, answer.field_paths) == (422, [path])
    if path == "target_value":
        goal = await set_goal(api, house)
        answer = await api.patch(f"{goals_of(house)}/{goal['id']}", house.coach, json={"target_value": 80})
        assert answer.field_paths == ["target_value"]


VALUES = st.floats(-1e6, 1e6).map(lambda value: round(value, 4))


@given(start=VALUES, target=VALUES, share=st.floats(-1, 2))
def test_share_is_of_the_way_whichever_way_it_goes(start: float, target: float, share: float) -> None:
    if abs(target - start) < 1:
        return
    assert share_done(start, target, start) == 0
    assert share_done(start, target, target) == 1
    done = share_done(start, target, start + share * (target - start))
    assert abs(done - min(1, max(0, share))) < 0.001
