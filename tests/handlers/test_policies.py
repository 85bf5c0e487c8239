"""The booking policy: how a practice's clients may change what they booked."""

from typing import Any

import pytest

from tests.api import Api
from tests.factories import House

PATH = "/api/v1/booking-policy"
DEFAULTS = {
    "cancel_notice_minutes": 1440, "reschedule_notice_minutes": 1440, "late_cancel": "late", "max_reschedules": None,
    "hold_minutes": 15, "waitlist": "offer", "waitlist_offer_minutes": 120, "auto_no_show_minutes": None, "contact": "",
    "version": 0,
}  # fmt: skip


async def test_practice_that_set_nothing_has_the_defaults(api: Api, house: House) -> None:
    for actor in (house.owner, house.coach, house.client):
        assert (await api.get(PATH, actor)).data == DEFAULTS


async def test_named_fields_change_and_the_others_stay(api: Api, house: House) -> None:
    first = (await api.patch(PATH, house.owner, json={"late_cancel": "block", "max_reschedules": 2})).data
    assert first == DEFAULTS | {"late_cancel": "block", "max_reschedules": 2, "version": 1}
    second = (await api.patch(PATH, house.owner, json={"max_reschedules": None, "contact": "Call us."})).data
    assert second == first | {"max_reschedules": None, "contact": "Call us.", "version": 2}
    assert (await api.patch(PATH, house.owner, json={"contact": "Call us."})).data == second
    rows = await api.db.fetch("select payload from events where type = 'BookingPolicyChanged' order by position")
    assert [row["payload"]["changed"] for row in rows] == [
        ["late_cancel", "max_reschedules"],
        ["contact", "max_reschedules"],
    ]


async def test_lost_update_of_the_policy_is_refused(api: Api, house: House) -> None:
    read = await api.get(PATH, house.owner)
    match = {"If-Match": read.headers["ETag"]}
    assert (await api.patch(PATH, house.owner, json={"hold_minutes": 5}, headers=match)).status == 200
    stale = await api.patch(PATH, house.owner, json={"hold_minutes": 6}, headers=match)
    assert (stale.status, stale.code) == (412, "VERSION_MISMATCH")


async def test_clients_are_not_told_when_they_count_as_missed_by_themselves(api: Api, house: House) -> None:
    await api.patch(PATH, house.owner, json={"auto_no_show_minutes": 30})
    assert (await api.get(PATH, house.coach)).data["auto_no_show_minutes"] == 30
    assert (await api.get(PATH, house.client)).data["auto_no_show_minutes"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"cancel_notice_minutes": -1}, {"cancel_notice_minutes": None}, {"cancel_notice_minutes": "60"},
        {"reschedule_notice_minutes": 525_601}, {"late_cancel": "maybe"}, {"max_reschedules": -1},
        {"hold_minutes": 0}, {"hold_minutes": True}, {"auto_no_show_minutes": 10_081}, {"contact": None},
        {"waitlist": "queue"}, {"waitlist_offer_minutes": 0},
    ],
)  # fmt: skip
async def test_policy_that_makes_no_sense_names_its_field(api: Api, house: House, change: dict[str, Any]) -> None:
    answer = await api.patch(PATH, house.owner, json=change)
    assert (answer.status, answer.field_paths) == (422, list(change))
