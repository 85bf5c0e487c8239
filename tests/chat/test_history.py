"""History page by page, catching up by the log, and what is read."""

import asyncio
import copy
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import orjson
import pytest

from tests.chat.conftest import Chat
from tests.chat.test_batches import make_upload
from tests.factories import make_house
from wellio.chat.conversations import ConversationChanges, change_conversation
from wellio.chat.history import MAX_SYNC_BYTES, MessageQuery, get_message, list_heads, list_messages, sync
from wellio.chat.message_changes import MessageEdit, delete_message, edit_message
from wellio.chat.pins import set_pin
from wellio.chat.reactions import set_reaction
from wellio.chat.receipts import Delivered, ReadUpTo, count_unread, mark_delivered, mark_read
from wellio.encoding import to_json
from wellio.errors import Invalid, NotFound


async def test_pages_are_newest_first(chat: Chat) -> None:
    coach, direct = chat.house.coach, await chat.open(chat.house.coach, chat.house.client)
    for n in range(1, 6):
        await chat.say(coach, direct.id, str(n))
    first = await list_messages(chat.db, coach, direct.id, MessageQuery(page_size=2))
    last = await list_messages(chat.db, coach, direct.id, MessageQuery(page=3, page_size=2))
    assert [m.seq for m in first.items] == [5, 4]
    assert (first.pagination.total, first.pagination.has_next) == (5, True)
    assert ([m.seq for m in last.items], last.pagination.has_next) == ([1], False)


async def test_cursors_go_back_and_forth(chat: Chat) -> None:
    coach, direct = chat.house.coach, await chat.open(chat.house.coach, chat.house.client)
    for n in range(1, 6):
        await chat.say(coach, direct.id, str(n))
    before = await list_messages(chat.db, coach, direct.id, MessageQuery(before_seq=4, limit=2))
    after = await list_messages(chat.db, coach, direct.id, MessageQuery(after_seq=3, limit=200))
    assert ([m.seq for m in before.items], before.pagination.has_next) == ([3, 2], True)
    assert ([m.seq for m in after.items], after.pagination.has_next) == ([4, 5], False)
    with pytest.raises(Invalid):
        await list_messages(chat.db, coach, direct.id, MessageQuery(after_seq=3, before_seq=4))


async def test_stranger_reads_nothing(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    sent = await chat.say(chat.house.coach, direct.id)
    for actor in (chat.house.owner, chat.house.other_client, (await make_house(chat.db)).owner):
        with pytest.raises(NotFound):
            await list_messages(chat.db, actor, direct.id, MessageQuery())
        with pytest.raises(NotFound):
            await get_message(chat.db, actor, sent.message.id)
        with pytest.raises(NotFound):
            await mark_read(chat.db, chat.live, actor, direct.id, ReadUpTo(seq=1))
        assert await sync(chat.db, actor, {direct.id: 0}, limit=10) == []
        await mark_delivered(chat.db, chat.live, actor, [Delivered(conversation_id=direct.id, seq=1)])
    assert [p.event for p in chat.pushes] == ["conversation:updated", "message:new"]


async def test_sync_gives_what_the_pushes_gave(chat: Chat) -> None:
    """Whatever it was; but a message is given as it is by now, so that what was erased is nowhere."""
    house = chat.house
    coach, group = house.coach, await chat.open(house.owner, house.coach, house.client, title="Team")
    said = [(await chat.say(coach, group.id, str(n))).message for n in range(3)]
    file, named = await make_upload(chat, coach), f"<@{house.client.user_id}>"
    said.append((await chat.say(coach, group.id, named, upload_ids=[file], reply_to=said[0].id)).message)
    away = (chat.outbox, chat.live)
    await set_pin(*away, coach, group.id, said[3].id, on=True)
    await edit_message(*away, coach, said[1].id, MessageEdit(body="better"))
    for actor, emoji, on in ((coach, "👍", True), (house.client, "❤️", True), (house.client, "👍", True),
                             (coach, "👍", False), (coach, "🎉", True), (coach, "👍", True)):  # fmt: skip
        await set_reaction(*away, actor, said[2].id, emoji, on=on)
    await change_conversation(*away, house.owner, group.id, ConversationChanges(title="Crew"))
    await edit_message(*away, coach, said[2].id, MessageEdit(body="best"))
    await set_reaction(*away, house.client, said[3].id, "👍", on=True)
    await chat.say(coach, group.id, upload_ids=[await make_upload(chat, coach)])
    await delete_message(*away, house.owner, said[3].id)
    pushed = [orjson.loads(to_json({"type": p.event, **as_dict(p.data)})) for p in chat.pushes[1:]]
    (synced,) = orjson.loads(to_json(await sync(chat.db, house.client, {group.id: 0}, limit=200)))
    events = synced["events"]
    assert [(e["type"], e["seq"]) for e in events] == [(e["type"], e["seq"]) for e in pushed]
    for event, push in zip(events, pushed, strict=True):
        assert event == push or event["type"] in ("message:new", "message:updated")
    history = (await list_messages(chat.db, house.client, group.id, MessageQuery(after_seq=0))).items
    stored = {m["id"]: m for m in orjson.loads(to_json(history))}
    assert applied(pushed) == applied(events) == applied(events[5:], stored) == stored
    assert list(stored[str(said[2].id)]["reactions"]) == ["❤️", "👍", "🎉"]
    assert (stored[str(said[3].id)]["body"], stored[str(said[3].id)]["reactions"]) == ("", {})
    assert [await get_message(chat.db, coach, m.id) for m in history] == history


def as_dict(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else asdict(data)


def applied(events: list[dict[str, Any]], known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """What a client that applies them in order shows."""
    messages = copy.deepcopy(dict(known))
    for event in copy.deepcopy(events):
        match event.pop("type"):
            case "message:new":
                messages[event["id"]] = event
            case "message:updated":
                messages[event["message"]["id"]] = event["message"]
            case "message:deleted":
                erased = {"body": "", "attachments": [], "reactions": {}, "deleted_at": event["deleted_at"]}
                messages[event["message_id"]] |= erased
            case "reaction:changed":
                reactions = messages[event["message_id"]]["reactions"]
                users = reactions.setdefault(event["emoji"], [])
                if event["on"] != (event["user_id"] in users):
                    (users.append if event["on"] else users.remove)(event["user_id"])
                messages[event["message_id"]]["reactions"] = {e: users for e, users in reactions.items() if users}
    return messages


async def test_sync_in_small_steps_gives_every_event_once_and_in_order(chat: Chat) -> None:
    house = chat.house
    ids = [(await chat.open(house.owner, house.coach, title=str(n))).id for n in range(3)]
    for n in range(21):
        await chat.say(house.owner, ids[n % 3], str(n))
    cursors, got = dict.fromkeys(ids, 0), {i: [] for i in ids}  # type: ignore[var-annotated]
    for _ in range(20):
        answers = await sync(chat.db, house.coach, cursors, limit=4)
        assert sum(len(a.events) for a in answers) <= 4
        for answer in answers:
            got[answer.id] += [e["seq"] for e in answer.events]
            cursors[answer.id] = got[answer.id][-1] if got[answer.id] else 0
        if not any(a.has_more for a in answers):
            break
    assert all(seqs == list(range(1, 8)) for seqs in got.values())


async def test_sync_of_large_messages_stays_within_its_budget_and_goes_on(chat: Chat) -> None:
    coach, direct = chat.house.coach, await chat.open(chat.house.coach, chat.house.client)
    await asyncio.gather(*(chat.say(coach, direct.id, "€" * 8000) for _ in range(20)))
    cursor, rounds = 0, 0
    while True:
        (synced,) = await sync(chat.db, coach, {direct.id: cursor}, limit=200)
        assert sum(len(e["body"].encode()) for e in synced.events) <= MAX_SYNC_BYTES
        assert [e["seq"] for e in synced.events] == list(range(cursor + 1, cursor + 1 + len(synced.events)))
        cursor, rounds = synced.events[-1]["seq"], rounds + 1
        if not synced.has_more:
            break
    assert cursor == 20
    assert rounds > 1


async def test_heads_are_each_persons_own(chat: Chat) -> None:
    house = chat.house
    direct = await chat.open(house.coach, house.client)
    await chat.say(house.coach, direct.id)
    people = [(house.practice.id, a.user_id) for a in (house.coach, house.client, house.owner)]
    heads = await list_heads(chat.db, people)
    assert heads == {house.coach.user_id: {direct.id: 1}, house.client.user_id: {direct.id: 1}, house.owner.user_id: {}}


async def test_read_moves_forward_only_and_counts_what_is_left(chat: Chat) -> None:
    house = chat.house
    direct = await chat.open(house.coach, house.client)
    for n in range(5):
        await chat.say(house.client, direct.id, str(n))
    await chat.say(house.coach, direct.id)

    async def read(seq: int) -> tuple[int, int]:
        state = await mark_read(chat.db, chat.live, house.coach, direct.id, ReadUpTo(seq=seq))
        return state.last_read_seq, state.unread

    assert await read(2) == (2, 3)
    assert await read(1) == (2, 3)
    assert (await count_unread(chat.db, house.coach)).unread == 3
    assert await read(10**15) == (6, 0)
    assert (await count_unread(chat.db, house.coach)).unread == 0
    assert (await count_unread(chat.db, house.client)).unread == 1
    (synced,) = await sync(chat.db, house.client, {direct.id: 6}, limit=10)
    assert synced.members_read == {str(house.coach.user_id): 6}
    receipts = [p.data for p in chat.pushes if p.event == "receipt"]
    assert [(r.read_seq, r.delivered_seq) for r in receipts] == [(2, 2), (6, 6)]


async def test_deleted_message_is_not_unread_and_has_no_body(chat: Chat) -> None:
    house = chat.house
    direct = await chat.open(house.coach, house.client)
    sent = await chat.say(house.client, direct.id, "secret")
    await chat.db.execute("update messages set deleted_at = now() where id = $1", sent.message.id)
    assert (await count_unread(chat.db, house.coach)).unread == 0
    assert (await get_message(chat.db, house.coach, sent.message.id)).body == ""
    (synced,) = await sync(chat.db, house.coach, {direct.id: 0}, limit=10)
    assert synced.events[0]["body"] == ""


async def test_delivered_is_told_once(chat: Chat) -> None:
    house = chat.house
    direct = await chat.open(house.coach, house.client)
    await chat.say(house.coach, direct.id)
    items = [Delivered(conversation_id=direct.id, seq=9), Delivered(conversation_id=uuid4(), seq=1)]
    for _ in range(2):
        await mark_delivered(chat.db, chat.live, house.client, items)
    receipts = [p.data for p in chat.pushes if p.event == "receipt"]
    assert [(r.user_id, r.delivered_seq, r.read_seq) for r in receipts] == [(house.client.user_id, 1, 0)]
