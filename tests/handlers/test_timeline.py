"""What happened with a client, newest first."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import Api
from tests.factories import House
from wellio.accounts.actors import Actor
from wellio.events import Event, EventType
from wellio.outbox import Outbox
from wellio.practice.timeline import SHOWN_TO_CLIENTS, text_of


def client_of(house: House) -> str:
    return f"/api/v1/clients/{house.client_id}"


async def timeline(api: Api, actor: Actor, house: House, **query: str) -> Any:
    return (await api.get(f"{client_of(house)}/timeline", actor, params=query)).data


async def live(api: Api, house: House) -> None:
    """A bit of everything."""
    url = client_of(house)
    start = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    booking = {"client_id": str(house.client_id), "starts_at": start, "duration_minutes": 30}
    await api.post("/api/v1/sessions", house.coach, json=booking)
    await api.post("/api/v1/payments", house.coach, json={"client_id": str(house.client_id), "amount_minor": 900})
    await api.post(f"{url}/notes", house.coach, json={"body": "Private"})
    await api.patch(url, house.coach, json={"tags": ["difficult"]})
    await api.post(f"{url}/measurements", house.client, json={"kind": "weight", "value": 70, "unit": "kg"})
    await api.post(f"{url}/goals", house.coach, json={"title": "Run"})
    await api.post(f"{url}/archive", house.coach)


async def test_everything_is_told_newest_first_and_readably(api: Api, house: House) -> None:
    await live(api, house)
    entries = (await timeline(api, house.owner, house))["entries"]
    assert [e["text"] for e in sorted(entries, key=lambda e: e["text"])] == [
        "Archived", "Goal set", "Measurement recorded", "Note written", "Payment recorded", "Profile changed",
        "Session booked",
    ]  # fmt: skip
    assert [e["at"] for e in entries] == sorted((e["at"] for e in entries), reverse=True)
    paid = next(e for e in entries if e["type"] == "PaymentRecorded")
    assert (paid["actor_name"], paid["details"]) == ("Carl Coach", {"amount_minor": 900, "currency": "EUR"})
    changed = next(e for e in entries if e["text"] == "Profile changed")
    assert changed["details"] == {"changed": ["tags"]}


async def test_client_sees_what_they_took_part_in_and_nothing_of_staff(api: Api, house: House) -> None:
    await live(api, house)
    entries = (await timeline(api, house.client, house))["entries"]
    assert {e["type"] for e in entries} == {"SessionBooked", "PaymentRecorded", "MeasurementRecorded", "GoalChanged"}
    assert all("changed" not in e["details"] for e in entries)
    for kind in ("notes", "profile"):
        assert (await timeline(api, house.client, house, kind=kind))["entries"] == []


async def test_every_type_is_told_to_staff_and_only_named_ones_to_the_client(
    api: Api, house: House, outbox: Outbox
) -> None:
    async with outbox.transaction() as tx:
        practice_id, client_id = house.practice.id, house.client_id
        tx.record(*(Event(type=kind, practice_id=practice_id, client_id=client_id) for kind in EventType))
    told = {e["type"] for e in (await timeline(api, house.coach, house, limit="100"))["entries"]}
    assert told == {event_type.value for event_type in EventType}
    told = {e["type"] for e in (await timeline(api, house.client, house, limit="100"))["entries"]}
    assert told == {event_type.value for event_type in SHOWN_TO_CLIENTS}
    assert not told & {"NoteChanged", "ClientUpdated"}


async def test_pages_by_cursor_hold_everything_once(api: Api, house: House, outbox: Outbox) -> None:
    """Also events of the same microsecond."""
    at = datetime.now(UTC) - timedelta(days=1)
    async with outbox.transaction() as tx:
        tx.record(*(
            Event(
                type=EventType.ACTIVITY_RECORDED, practice_id=house.practice.id, client_id=house.client_id,
                occurred_at=at + timedelta(minutes=n // 3),
            )
            for n in range(10)
        ))  # fmt: skip
    whole = (await timeline(api, house.coach, house, limit="100"))["entries"]
    paged: list[Any] = []
    page = await timeline(api, house.coach, house, limit="3")
    while True:
        paged += page["entries"]
        if page["next_before"] is None:
            break
        page = await timeline(api, house.coach, house, limit="3", before=page["next_before"])
    assert paged == whole
    assert len({e["id"] for e in paged}) == 10


async def test_kinds_are_told_apart(api: Api, house: House) -> None:
    await live(api, house)
    for kind, types in {
        "sessions": ["SessionBooked"],
        "payments": ["PaymentRecorded"],
        "notes": ["NoteChanged"],
        "measurements": ["MeasurementRecorded"],
        "goals": ["GoalChanged"],
        "profile": ["ClientUpdated", "ClientUpdated"],
        "messages": [],
    }.items():
        assert [e["type"] for e in (await timeline(api, house.coach, house, kind=kind))["entries"]] == types


@pytest.mark.parametrize("cursor", ["", "1", "x.y", "1.99999999999999999999", "-99999999999999999.1", "1.2 or 1"])
async def test_made_up_cursor_is_refused(api: Api, house: House, cursor: str) -> None:
    answer = await api.get(f"{client_of(house)}/timeline", house.coach, params={"before": cursor})
    assert (answer.status, answer.field_paths) == (422, ["query.before"])


def test_every_event_has_words() -> None:
    for event_type in EventType:
        assert text_of(event_type, {})[0].isupper()
    assert text_of("SomethingNewHappened", {}) == "Something new happened"
