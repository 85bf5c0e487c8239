"""Drafts: kept sealed, shown to their author alone, and removed once their words are sent."""

import asyncio
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from tests.chat.conftest import Chat
from tests.chat.test_conversation_members import add, remove
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.chat.conversations import ConversationQuery, get_conversation
from wellio.chat.drafts import Draft, NewDraft, delete_draft, get_own_conversation, list_own_conversations, save_draft
from wellio.errors import Invalid, NotFound
from wellio.live import Push
from wellio.metrics import Metrics
from wellio.sealing import Sealer
from wellio.subscriptions import consumers

SEALER, LATER = Sealer({"k1": bytes(range(32))}), Sealer({"k2": bytes(range(1, 33))})
HAS_FOLLOWED = """
select exists (
    select from consumers c
    where c.name = 'pushes' and not exists (
        select from events e where (e.xid, e.position) > (c.xid, c.position)))
"""


async def save(chat: Chat, actor: Actor, conversation_id: UUID, body: str, reply_to: UUID | None = None) -> Draft:
    new = NewDraft(body=body, reply_to=reply_to)
    return await save_draft(chat.db, chat.live, SEALER, actor, conversation_id, new)


async def seen(chat: Chat, actor: Actor, conversation_id: UUID, sealer: Sealer = SEALER) -> Draft | None:
    """As one conversation and the list show it."""
    page = await list_own_conversations(chat.db, sealer, actor, ConversationQuery())
    listed = {each.id: each.draft for each in page.items}
    assert listed[conversation_id] == (await get_own_conversation(chat.db, sealer, actor, conversation_id)).draft
    return listed[conversation_id]


def told(chat: Chat) -> list[Push]:
    return [push for push in chat.pushes if push.event == "draft:changed"]


async def follow(chat: Chat) -> None:
    """What the leader does after the commits, up to the last of them."""
    (pushes,) = [c for c in consumers(chat.outbox, chat.live, Metrics(), SEALER) if c.name == "pushes"]
    task = asyncio.create_task(pushes.run())
    await eventually(lambda: chat.db.fetchval(HAS_FOLLOWED))
    task.cancel()
    await asyncio.wait({task})


async def test_draft_is_its_author_s_alone(chat: Chat) -> None:
    house = chat.house
    direct, group = (await chat.open(house.coach, house.client)).id, (await chat.open(house.coach, house.owner)).id
    said = (await chat.say(house.coach, direct)).message.id
    await save(chat, house.client, direct, "Not qui")
    draft = await save(chat, house.client, direct, "Not quite what I meant", said)
    assert (draft.body, draft.reply_to) == ("Not quite what I meant", said)
    assert await seen(chat, house.client, direct) == draft
    assert await seen(chat, house.coach, direct) is await seen(chat, house.coach, group) is None
    assert not hasattr(await get_conversation(chat.db, house.client, direct), "draft")  # what is pushed to everybody
    assert await seen(chat, house.client, direct, LATER) is None
    last = told(chat)[-1]
    assert (last.data, last.user_ids, last.ephemeral) == (
        {"conversation_id": direct, "draft": draft}, (house.client.user_id,), True,
    )  # fmt: skip
    (kept,) = await chat.db.fetch("select body from drafts")
    assert b"quite" not in kept["body"]
    for refused, error in (
        (save(chat, house.owner, direct, "Let me in"), NotFound),
        (save(chat, house.client, uuid4(), "Nowhere"), NotFound),
        (save(chat, house.client, direct, "To what?", uuid4()), Invalid),
        (delete_draft(chat.db, chat.live, house.owner, direct), NotFound),
    ):
        with pytest.raises(error):
            await refused
    for body in ("", " \n ", "x" * 8001):
        with pytest.raises(ValidationError):
            NewDraft(body=body)
    assert await seen(chat, house.client, direct) == draft
    count = len(told(chat))
    for _ in range(2):
        await delete_draft(chat.db, chat.live, house.client, direct)
    assert await seen(chat, house.client, direct) is None
    assert [push.data["draft"] for push in told(chat)[count:]] == [None]


async def test_sent_draft_goes_and_any_other_stays(chat: Chat) -> None:
    house = chat.house
    direct, other = [(await chat.open(house.coach, each)).id for each in (house.client, house.owner)]
    for actor, place, body in (
        (house.coach, direct, "See you at ten"),
        (house.client, direct, "See you at eleven"),
        (house.coach, other, "See you at ten"),
        (house.owner, other, "See you"),
    ):
        await save(chat, actor, place, body)
    await chat.say(house.coach, direct, "See you at ten")
    await chat.say(house.client, direct, "See you at ten")  # another's draft, in so many words
    await chat.say(house.owner, other, "See you, then")
    erased = await chat.say(house.coach, other, "See you at ten")
    await chat.db.execute("update messages set body = '', deleted_at = now() where id = $1", erased.message.id)
    chat.pushes.clear()
    await follow(chat)
    assert await seen(chat, house.coach, direct) is None
    stayed = [await seen(chat, a, c) for a, c in ((house.client, direct), (house.coach, other), (house.owner, other))]
    assert [draft and draft.body for draft in stayed] == ["See you at eleven", "See you at ten", "See you"]
    assert [(p.data, p.user_ids) for p in told(chat)] == [
        ({"conversation_id": direct, "draft": None}, (house.coach.user_id,))
    ]


async def test_who_leaves_loses_the_draft(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, house.owner, title="Team")).id
    for actor in (house.client, house.owner, house.coach):
        await save(chat, actor, group, "I think")
    await remove(chat, house.coach, group, house.client)
    await remove(chat, house.owner, group, house.owner)
    with pytest.raises(NotFound):
        await save(chat, house.client, group, "but")
    await add(chat, house.coach, group, house.client)
    assert await seen(chat, house.client, group) is None
    assert await chat.db.fetchval("select count(*) from drafts") == 1
