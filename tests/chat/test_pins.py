"""Pinned messages, which all of a conversation share, and starred ones, which are one's own."""

import asyncio
from uuid import UUID, uuid4

import pytest

from tests.chat.conftest import Chat
from wellio.accounts.actors import Actor
from wellio.chat import pins
from wellio.chat.conversations import Conversation, get_conversation
from wellio.chat.message_changes import delete_message
from wellio.chat.pins import list_pins, set_pin
from wellio.chat.stars import list_starred, set_star
from wellio.errors import Conflict, Forbidden, NotFound
from wellio.pages import PageQuery


async def pin(chat: Chat, actor: Actor, conversation: Conversation, message_id: UUID, *, on: bool = True) -> list[UUID]:
    pinned = await set_pin(chat.outbox, chat.live, actor, conversation.id, message_id, on=on)
    return list(pinned.pinned_message_ids)


async def starred(chat: Chat, actor: Actor) -> list[UUID]:
    return [m.id for m in (await list_starred(chat.db, actor, PageQuery())).items]


async def test_pins_are_told_in_the_log_and_go_with_their_message(chat: Chat) -> None:
    coach, client = chat.house.coach, chat.house.client
    direct, elsewhere = await chat.open(coach, client), await chat.open(coach, chat.house.owner)
    ids = [(await chat.say(coach, direct.id)).message.id for _ in range(2)]
    assert await pin(chat, client, direct, ids[0]) == ids[:1]
    assert await pin(chat, coach, direct, ids[1]) == ids[::-1]
    push = chat.pushes[-1]
    assert (push.event, set(push.user_ids), push.data["seq"]) == (
        "conversation:updated", {coach.user_id, client.user_id}, 4,
    )  # fmt: skip
    assert push.data["conversation"]["pinned_message_ids"] == ids[::-1]
    count = len(chat.pushes)
    assert await pin(chat, coach, direct, ids[1]) == ids[::-1]
    assert len(chat.pushes) == count
    assert [m.id for m in (await list_pins(chat.db, client, direct.id, PageQuery())).items] == ids[::-1]
    for conversation, message_id in ((elsewhere, ids[0]), (direct, uuid4())):
        with pytest.raises(NotFound):
            await pin(chat, coach, conversation, message_id)
    await delete_message(chat.outbox, chat.live, coach, ids[1])
    assert [(p.event, p.data["seq"]) for p in chat.pushes[-2:]] == [("message:deleted", 5), ("conversation:updated", 6)]
    assert (await get_conversation(chat.db, client, direct.id)).pinned_message_ids == ids[:1]
    with pytest.raises(Conflict):
        await pin(chat, coach, direct, ids[1])
    assert await pin(chat, client, direct, ids[0], on=False) == []
    await chat.db.execute("update conversations set blocked_by = $2 where id = $1", direct.id, [client.user_id])
    with pytest.raises(Forbidden):
        await pin(chat, coach, direct, ids[0])


async def test_in_a_group_admins_and_staff_pin_and_only_so_many(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "MAX_PINS", 3)
    house = chat.house
    group = await chat.open(house.owner, house.coach, house.client, title="Team")
    ids = [(await chat.say(house.client, group.id)).message.id for _ in range(5)]
    with pytest.raises(Forbidden):
        await pin(chat, house.client, group, ids[0])
    with pytest.raises(NotFound):
        await pin(chat, house.other_coach, group, ids[0])
    with pytest.raises(NotFound):
        await list_pins(chat.db, house.other_coach, group.id, PageQuery())
    done = await asyncio.gather(*(pin(chat, house.coach, group, i) for i in ids), return_exceptions=True)
    assert [type(d) for d in done].count(Conflict) == 2
    assert len((await get_conversation(chat.db, house.client, group.id)).pinned_message_ids) == 3


async def test_stars_are_ones_own(chat: Chat) -> None:
    coach, client = chat.house.coach, chat.house.client
    direct = await chat.open(coach, client)
    ids = [(await chat.say(coach, direct.id)).message.id for _ in range(2)]
    told = len(chat.pushes)
    for message_id in (ids[0], ids[1], ids[1]):
        await set_star(chat.outbox, chat.live, client, message_id, on=True)
    assert (await starred(chat, client), await starred(chat, coach)) == (ids[::-1], [])
    pushes = chat.pushes[told:]
    assert [(p.event, p.user_ids, p.ephemeral, p.data["on"]) for p in pushes] == [
        ("message:starred", (client.user_id,), True, True)
    ] * 2
    with pytest.raises(NotFound):
        await set_star(chat.outbox, chat.live, chat.house.owner, ids[0], on=True)
    await set_star(chat.outbox, chat.live, client, ids[0], on=False)
    assert await starred(chat, client) == ids[1:]
    await chat.db.execute("update conversation_members set left_at = now() where user_id = $1", client.user_id)
    assert await starred(chat, client) == []
    await chat.db.execute("update conversation_members set left_at = null")
    await delete_message(chat.outbox, chat.live, coach, ids[1])
    assert await starred(chat, client) == []
    with pytest.raises(Conflict):
        await set_star(chat.outbox, chat.live, client, ids[1], on=True)
    assert (await get_conversation(chat.db, client, direct.id)).last_seq == 3
