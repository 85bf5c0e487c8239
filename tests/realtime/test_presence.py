"""Presence: who is told, of whom, and when."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.factories import House, make_house
from tests.realtime.conftest import Phone, Phones, Process
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.accounts.profiles import ProfileChanges, change_profile
from wellio.realtime import presence


@pytest.fixture
def no_grace(process: Process) -> None:
    process.realtime._presence._grace_s = 0.0


def told(phone: Phone, actor: Actor) -> list[str]:
    """The statuses of `actor` that a device was told of."""
    entries = [user for push in phone.of("presence") for user in push["users"]]
    return [entry["status"] for entry in entries if entry["user_id"] == str(actor.user_id)]


async def asked(phone: Phone, actor: Actor) -> dict[str, Any]:
    answer = await phone.call("presence:get", {"user_ids": [str(actor.user_id)]})
    (entry,) = answer["users"]
    return dict(entry)


async def stored(process: Process, actor: Actor) -> datetime | None:
    seen: datetime | None = await process.services.db.fetchval(
        "select last_seen_at from users where id = $1", actor.user_id
    )
    return seen


@pytest.mark.usefixtures("no_grace")
async def test_acquaintances_are_told_and_strangers_are_not(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    foreign = await make_house(process.services.db, "Other")
    coach = await phones.connect(process.token(house.coach))
    strangers = [
        await phones.connect(process.token(actor)) for actor in (house.other_client, house.owner, foreign.coach)
    ]
    client = await phones.connect(process.token(house.client))
    await eventually(lambda: told(coach, house.client) == ["online"])
    ready = await client.first("session:ready")
    assert ready["presence"] == [{"user_id": str(house.coach.user_id), "status": "online"}]
    await client.client.disconnect()
    await eventually(lambda: told(coach, house.client) == ["online", "offline"])
    asked = {"user_ids": [str(house.coach.user_id), str(house.client.user_id)]}
    for stranger in strangers:
        assert told(stranger, house.client) == told(stranger, house.coach) == []
        answer = await stranger.call("presence:get", asked)
        assert [user["status"] for user in answer["users"]] == ["offline", "offline"]


async def test_coaching_relation_is_acquaintance_enough(process: Process, phones: Phones, house: House) -> None:
    client = await phones.connect(process.token(house.client))
    await phones.connect(process.token(house.coach))
    await eventually(lambda: told(client, house.coach) == ["online"])


@pytest.mark.usefixtures("no_grace")
async def test_person_is_online_while_any_device_is(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    coach = await phones.connect(process.token(house.coach))
    phone, tablet = [await phones.connect(process.token(house.client)) for _ in range(2)]
    await eventually(lambda: told(coach, house.client) == ["online"])
    await phone.client.disconnect()
    await eventually(lambda: len(process.realtime._devices) == 2)
    await tablet.call("presence:set", {"status": "away"})
    await eventually(lambda: told(coach, house.client) == ["online", "away"])
    await tablet.client.disconnect()
    await eventually(lambda: told(coach, house.client) == ["online", "away", "offline"])


async def test_reconnect_within_the_grace_is_not_told(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    coach = await phones.connect(process.token(house.coach))
    for _ in range(3):
        phone = await phones.connect(process.token(house.client))
        await eventually(lambda: told(coach, house.client) == ["online"])
        await phone.client.disconnect()
        await eventually(lambda: len(process.realtime._devices) == 1)
        answer = await coach.call("presence:get", {"user_ids": [str(house.client.user_id)]})
        assert answer["users"][0]["status"] == "online"
    process.realtime._presence._grace_s = 0.0
    phone = await phones.connect(process.token(house.client))
    await phone.client.disconnect()
    await eventually(lambda: told(coach, house.client) == ["online", "offline"])
    await eventually(lambda: house.client.user_id not in process.realtime._presence._told)


@pytest.mark.usefixtures("no_grace")
async def test_invisible_is_offline_to_others(process: Process, phones: Phones, house: House, direct: UUID) -> None:
    coach, client = [await phones.connect(process.token(a)) for a in (house.coach, house.client)]
    await eventually(lambda: told(coach, house.client) == ["online"])
    await client.call("presence:set", {"status": "invisible"})
    await eventually(lambda: told(coach, house.client) == ["online", "offline"])
    answer = await client.call("presence:set", {"status": "gone fishing"})
    assert answer["error"]["details"]["fields"][0]["path"] == "status"


@pytest.mark.usefixtures("no_grace")
async def test_many_changes_are_told_in_few_packets(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    coach, client = [await phones.connect(process.token(a)) for a in (house.coach, house.client)]
    await asyncio.gather(*(client.call("presence:set", {"status": s}) for s in ("away", "dnd", "online", "away") * 10))
    await eventually(lambda: told(coach, house.client)[-1:] == ["away"])
    assert len(coach.of("presence")) < 20


@pytest.mark.usefixtures("no_grace")
async def test_who_is_offline_was_last_seen_when_the_last_device_left(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    coach, stranger, client = [
        await phones.connect(process.token(a)) for a in (house.coach, house.other_client, house.client)
    ]
    await eventually(lambda: stored(process, house.client))  # killed now, the process would leave this
    await eventually(lambda: told(coach, house.client) == ["online"])
    assert "last_seen" not in await asked(coach, house.client)
    left_after = await process.services.db.fetchval("select now()")
    await client.client.disconnect()
    await eventually(lambda: told(coach, house.client) == ["online", "offline"])
    seen = await stored(process, house.client)
    assert seen is not None
    assert left_after <= seen
    shown = {"user_id": str(house.client.user_id), "status": "offline", "last_seen": seen.isoformat()}
    assert _same(coach.of("presence")[-1]["users"][-1], shown)
    assert _same(await asked(coach, house.client), shown)
    assert "last_seen" not in await asked(stranger, house.client)
    await change_profile(process.services.outbox, house.client, ProfileChanges(share_last_seen=False))
    assert "last_seen" not in await asked(coach, house.client)


def _same(entry: dict[str, Any], other: dict[str, Any]) -> bool:
    def parsed(each: dict[str, Any]) -> dict[str, Any]:
        return {**each, "last_seen": datetime.fromisoformat(each["last_seen"])}

    return parsed(entry) == parsed(other)


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "STORE_EVERY_S", 0.0)


@pytest.mark.usefixtures("_often", "no_grace")
async def test_last_seen_follows_who_is_there_and_not_who_is_invisible(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    coach, client = [await phones.connect(process.token(a)) for a in (house.coach, house.client)]

    async def moves_on(actor: Actor) -> None:
        before = await stored(process, actor) or datetime(2020, 1, 1, tzinfo=UTC)
        await eventually(lambda: _is_later(process, actor, before))

    await moves_on(house.client)
    await moves_on(house.client)
    await client.call("presence:set", {"status": "invisible"})
    await eventually(lambda: told(coach, house.client)[-1:] == ["offline"])
    hidden_at = await stored(process, house.client)
    await moves_on(house.coach)
    await moves_on(house.coach)
    await client.client.disconnect()
    await eventually(lambda: len(process.realtime._devices) == 1)
    await moves_on(house.coach)
    assert await stored(process, house.client) == hidden_at
    assert datetime.fromisoformat((await asked(coach, house.client))["last_seen"]) == hidden_at


async def _is_later(process: Process, actor: Actor, before: datetime) -> bool:
    seen = await stored(process, actor)
    return seen is not None and seen > before
