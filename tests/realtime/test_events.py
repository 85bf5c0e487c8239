"""Events of clients: each is checked, does one thing, and is acked whatever happens."""

import asyncio
import json
import logging
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from tests.factories import House, make_house
from tests.realtime.conftest import Phones, Process, message, open_conversation
from tests.realtime.raw import open_raw
from tests.waiting import eventually
from wellio.chat.messages import MessageWriter
from wellio.realtime.dispatch import MAX_UNDER_WAY
from wellio.realtime.events import INCOMING


async def test_ack_means_committed_and_a_repeat_says_so(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    phone = await phones.connect(process.token(house.coach))
    sent = message(direct)
    first = await phone.call("message:send", sent)
    stored = await process.services.db.fetchval("select body from messages where id = $1", UUID(first["data"]["id"]))
    assert stored == "Hello"
    again = await phone.call("message:send", sent | {"body": "other"})
    assert again == {**first, "duplicate": True}
    assert await process.services.db.fetchval("select count(*) from messages") == 1


async def test_one_clients_events_are_dealt_with_one_after_the_other(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    """A read that is sent right behind a message, without waiting for its ack, counts that message."""
    phone = await phones.connect(process.token(house.coach))
    for n in range(1, 11):
        sent, read = await asyncio.gather(
            phone.call("message:send", message(direct)),
            phone.call("message:read", {"conversation_id": str(direct), "seq": n}),
        )
        assert (sent["data"]["seq"], read["last_read_seq"]) == (n, n)


async def test_messages_behind_each_other_wait_for_a_commit_together(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    """Whoever sends many at once has some of them stored together, in their order; the rest is read when these are."""
    phone = await phones.connect(process.token(house.coach))
    (device,) = process.realtime._devices
    async with process.services.db.transaction() as connection:
        await connection.execute("select from conversations where id = $1 for update", direct)
        bodies = [str(n) for n in range(30)]
        sends = [asyncio.create_task(phone.call("message:send", message(direct, body))) for body in bodies]
        await eventually(lambda: len(device.under_way) == MAX_UNDER_WAY)
    acks = await asyncio.gather(*sends)
    assert [(ack["data"]["seq"], ack["data"]["body"]) for ack in acks] == list(enumerate(bodies, start=1))
    assert not device.under_way
    commits = await process.services.db.fetchval("select count(distinct xmin::text) from messages")
    assert commits < len(bodies)


async def test_every_device_of_every_member_gets_a_message_once(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    coach = process.token(house.coach)
    devices = [await phones.connect(token) for token in (coach, coach, process.token(house.client))]
    polling = await phones.connect(process.token(house.client), transports=["polling"])
    stranger = await phones.connect(process.token(house.other_coach))
    sent = [(await devices[0].call("message:send", message(direct, str(n))))["data"] for n in range(20)]
    for device in (*devices, polling):
        assert await device.until("message:new", 20) == sent
    assert stranger.of("message:new") == []


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "conversation_id"),
        ({"client_message_id": "x"}, "client_message_id"),
        ({"body": ""}, "body"),
        ({"body": "x" * 8001}, "body"),
        ({"body": "NUL \0"}, "body"),
        ({"body": 7}, "body"),
        ({"upload_ids": [str(uuid4())]}, "upload_ids"),
        ({"seq": 5}, "seq"),
        ({"reply_to": str(uuid4())}, "reply_to"),
    ],
)
async def test_refused_message_names_the_field(
    process: Process, phones: Phones, house: House, direct: UUID, payload: dict[str, Any], path: str
) -> None:
    phone = await phones.connect(process.token(house.coach))
    answer = await phone.call("message:send", {**message(direct), **payload} if payload else payload)
    assert (answer["ok"], answer["error"]["code"]) == (False, "VALIDATION_FAILED")
    assert path in [f["path"] for f in answer["error"]["details"]["fields"]]


@pytest.mark.parametrize("name", ["no:such", "connect", "disconnect", "connect_error", "*", "__disconnect_final"])
async def test_unknown_and_reserved_names_are_told_and_do_nothing(
    process: Process, phones: Phones, house: House, direct: UUID, name: str
) -> None:
    phone = await phones.connect(process.token(house.coach))
    assert (await phone.call(name, {"token": "x"}))["error"]["code"] == "UNKNOWN_EVENT"
    assert (await phone.call("message:send", message(direct)))["ok"]
    assert await phone.first("message:new")


@pytest.mark.parametrize("payload", [None, [], "text", 7, ("two", "arguments")])
async def test_payload_that_is_no_object_is_refused(
    process: Process, phones: Phones, house: House, payload: Any
) -> None:
    phone = await phones.connect(process.token(house.coach))
    answer = await phone.call("message:send", payload)
    assert (answer["ok"], answer["error"]["code"]) == (False, "VALIDATION_FAILED")


# Events without an id of anything; auth:refresh has a token, which is a secret itself.
WITHOUT_IDS = {"presence:set", "auth:refresh"}


async def test_nobody_learns_or_does_anything_by_anothers_ids(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    """Every event, by everybody it is none of the business of: as good as with ids of what does not exist."""
    db = process.services.db
    said = (await (await phones.connect(process.token(house.coach))).call("message:send", message(direct)))["data"]
    member = await phones.connect(process.token(house.client))
    note = uuid4()
    await db.execute(
        "insert into notifications (id, practice_id, user_id, kind, title, event_id) values ($1, $2, $3, 'x', 'x', $1)",
        note, house.practice.id, house.coach.user_id,
    )  # fmt: skip
    await db.execute(
        "insert into conversation_members (practice_id, conversation_id, user_id, left_at) values ($1, $2, $3, now())",
        house.practice.id, direct, house.owner.user_id,
    )  # fmt: skip
    of_message = {"message_id": said["id"]}
    payloads = {
        "message:send": message(direct),
        "message:edit": {**of_message, "body": "Mine"},
        "message:delete": of_message,
        "reaction:set": {**of_message, "emoji": "👍", "on": True},
        "message:read": {"conversation_id": str(direct), "seq": 1},
        "message:delivered": {"items": [{"conversation_id": str(direct), "seq": 1}]},
        "typing": {"conversation_id": str(direct), "on": True},
        "chat:sync": {"cursors": {str(direct): 0}},
        "notification:read": {"ids": [str(note)]},
        "presence:get": {"user_ids": [str(house.client.user_id)]},
    }
    assert payloads.keys() | WITHOUT_IDS == INCOMING.keys(), "say here what the new event names"
    ids = (str(direct), said["id"], str(note), str(house.client.user_id))
    state = "select row_to_json(m) from conversation_members m where conversation_id = $1 order by user_id"
    before = await db.fetch(state, direct)
    foreign = await make_house(db, "Other")
    # the owner was removed from the conversation
    for actor in (house.owner, house.other_coach, house.other_client, foreign.owner, foreign.client):
        phone = await phones.connect(process.token(actor))
        for event, payload in payloads.items():
            answer = await phone.call(event, payload)
            unknown = await phone.call(event, _renamed(payload, ids))
            assert _renamed(answer, ids) == _renamed(unknown, ids), (actor.name, event)
    async with aiohttp.ClientSession() as session:
        raw = await open_raw(session, process.url)
        for number, (event, payload) in enumerate(payloads.items()):
            await raw.websocket.send_str(f"42{number}{json.dumps([event, payload])}")
            (answer,) = json.loads((await raw.next() or "").removeprefix(f"43{number}"))
            assert answer["error"]["code"] == "NOT_CONNECTED", event
    # that the member is online themself is no secret from them
    told = {name for name, _ in member.events} - {"presence"}
    assert told == {"session:ready"}, "something leaked"
    assert await db.fetch(state, direct) == before
    assert await db.fetchval("select last_seq from conversations where id = $1", direct) == said["seq"]
    assert await db.fetchval("select read_at from notifications where id = $1", note) is None


def _renamed(value: Any, ids: tuple[str, ...]) -> Any:
    """The same with an id of what does not exist in the place of each of `ids`."""
    if isinstance(value, dict):
        return {_renamed(k, ids): _renamed(v, ids) for k, v in value.items()}
    if isinstance(value, list):
        return [_renamed(item, ids) for item in value]
    return "018f0000-0000-7000-8000-000000000000" if value in ids else value


async def test_bug_is_acked_and_logged_once(
    process: Process, phones: Phones, house: House, direct: UUID, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def broken(*_args: object, **_options: object) -> None:
        raise KeyError("a bug")

    def broken_later(*_args: object, **_options: object) -> asyncio.Future[None]:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        failed.set_exception(KeyError("a bug"))
        return failed

    phone = await phones.connect(process.token(house.coach))
    for bug in (broken, broken_later):
        monkeypatch.setattr(MessageWriter, "post", bug)
        with caplog.at_level(logging.ERROR):
            answer = await phone.call("message:send", message(direct))
        assert (answer["ok"], answer["error"]["code"]) == (False, "INTERNAL")
        assert [r.getMessage() for r in caplog.records] == ["event failed"]
        caplog.clear()
    assert (await phone.call("chat:sync", {"cursors": {}}))["ok"]


async def test_edits_deletions_and_reactions_are_acked_with_their_place_and_reach_every_device(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    coach, tablet = [await phones.connect(process.token(house.coach)) for _ in range(2)]
    client = await phones.connect(process.token(house.client))
    said = (await coach.call("message:send", message(direct)))["data"]
    changes = [
        await coach.call("message:edit", {"message_id": said["id"], "body": "Better"}),
        await client.call("reaction:set", {"message_id": said["id"], "emoji": "👍", "on": True}),
        await client.call("reaction:set", {"message_id": said["id"], "emoji": "👍", "on": True}),
        await coach.call("message:delete", {"message_id": said["id"]}),
    ]
    assert changes == [{"ok": True, "seq": seq} for seq in (2, 3, 3, 4)]
    for device in (coach, tablet, client):
        gone = await device.first("message:deleted")
        assert (gone["seq"], gone["message_id"]) == (4, said["id"])
        (edited,) = device.of("message:updated")
        assert (edited["seq"], edited["message"]["seq"], edited["message"]["body"]) == (2, 1, "Better")
        (reacted,) = device.of("reaction:changed")
        assert reacted == {
            "conversation_id": str(direct), "seq": 3, "message_id": said["id"], "user_id": str(house.client.user_id),
            "emoji": "👍", "on": True,
        }  # fmt: skip
    for event, payload, code in (
        ("message:edit", {"body": "Mine"}, "FORBIDDEN"),
        ("reaction:set", {"emoji": "👍", "on": True}, "MESSAGE_DELETED"),
        ("reaction:set", {"emoji": "👍👍", "on": True}, "VALIDATION_FAILED"),
    ):
        refused = await client.call(event, {"message_id": said["id"], **payload})
        assert refused["error"]["code"] == code, event


async def test_changes_and_denials_stand_in_the_audit_log_as_those_of_rest_do(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    rows: list[Any] = []

    async def told(count: int) -> bool:
        rows[:] = await process.services.db.fetch("select * from audit_log order by at, position")
        return len(rows) >= count

    for transport in ("websocket", "polling"):
        coach, stranger = [
            await phones.connect(process.token(actor), transports=[transport]) for actor in (house.coach, house.owner)
        ]
        said = UUID((await coach.call("message:send", message(direct)))["data"]["id"])
        of_message, before = {"message_id": str(said)}, len(rows)
        for event, payload in (
            ("reaction:set", {**of_message, "emoji": "👍", "on": True}),
            ("message:edit", {**of_message, "body": "Hello again"}),
            ("message:delete", of_message),
            ("message:read", {"conversation_id": str(direct), "seq": 1}),  # chat keeps it itself
        ):
            assert (await coach.call(event, payload))["ok"], event
        assert not (await stranger.call("message:edit", {**of_message, "body": "Mine"}))["ok"]
        assert not (await stranger.call("message:send", message(direct)))["ok"]
        await eventually(lambda before=before: told(before + 5))  # type: ignore[misc]
        assert [(r["action"], r["outcome"], r["actor_id"], r["subject_id"]) for r in rows[before:]] == [
            ("reaction:set", "done", house.coach.user_id, said),
            ("message:edit", "done", house.coach.user_id, said),
            ("message:delete", "done", house.coach.user_id, said),
            ("message:edit", "denied", house.owner.user_id, said),
            ("message:send", "denied", house.owner.user_id, direct),
        ], transport
    assert {(r["practice_id"], r["address"]) for r in rows} == {(house.practice.id, "127.0.0.1")}
    assert {r["session_id"] for r in rows} == {house.coach.session_id, house.owner.session_id}


async def test_typing_goes_to_the_other_members_only(process: Process, phones: Phones, house: House) -> None:
    group = await open_conversation(process.services.db, house.owner, house.coach, house.client)
    typer, typers_tablet = [await phones.connect(process.token(house.coach)) for _ in range(2)]
    others = [await phones.connect(process.token(a)) for a in (house.owner, house.client)]
    stranger = await phones.connect(process.token(house.other_coach))
    assert (await typer.call("typing", {"conversation_id": str(group), "on": True})) == {"ok": True}
    for other in others:
        told = await other.first("typing")
        assert told == {"conversation_id": str(group), "user_id": str(house.coach.user_id), "expires_in_ms": 5000}
    assert typer.of("typing") == typers_tablet.of("typing") == stranger.of("typing") == []


async def test_read_is_told_to_the_others_and_to_ones_own_devices(
    process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    coach, tablet = [await phones.connect(process.token(house.coach)) for _ in range(2)]
    client = await phones.connect(process.token(house.client))
    sent = await client.call("message:send", message(direct))
    state = await coach.call("message:read", {"conversation_id": str(direct), "seq": sent["data"]["seq"]})
    assert state == {"ok": True, "last_read_seq": 1, "unread": 0}
    expected = {
        "conversation_id": str(direct), "user_id": str(house.coach.user_id), "delivered_seq": 1, "read_seq": 1,
    }  # fmt: skip
    for device in (tablet, client):
        assert await device.first("receipt") == expected


async def test_delivered_is_told_to_the_sender(process: Process, phones: Phones, house: House, direct: UUID) -> None:
    coach, client = await phones.connect(process.token(house.coach)), await phones.connect(process.token(house.client))
    await coach.call("message:send", message(direct))
    assert (await client.call("message:delivered", {"items": [{"conversation_id": str(direct), "seq": 1}]}))["ok"]
    receipt = await coach.first("receipt")
    assert (receipt["delivered_seq"], receipt["read_seq"]) == (1, 0)
    await coach.call("message:send", message(direct))
    headers = {"Authorization": f"Bearer {process.token(house.client)}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for seq, reached in ((9, 2), (1, 2)):  # not past the end, and not back
            url = f"{process.url}/api/v1/conversations/{direct}/delivered"
            async with session.post(url, json={"seq": seq}) as answer:
                assert (await answer.json())["data"] == {"last_delivered_seq": reached}
    receipts = await coach.until("receipt", 2)
    assert [(r["delivered_seq"], r["read_seq"]) for r in receipts] == [(1, 0), (2, 0)]


async def test_what_is_published_for_a_user_reaches_all_their_devices_and_nobody_else(
    process: Process, phones: Phones, house: House
) -> None:
    devices = [await phones.connect(process.token(house.coach)) for _ in range(2)]
    other = await phones.connect(process.token(house.owner))
    for event in ("session:updated", "churn:updated", "notification:new"):
        process.services.live.publish([house.coach.user_id], event, {"about": event})
    for device in devices:
        for event in ("session:updated", "churn:updated", "notification:new"):
            assert await device.first(event) == {"about": event}
    assert [name for name, _ in other.events if name in ("session:updated", "churn:updated", "notification:new")] == []
