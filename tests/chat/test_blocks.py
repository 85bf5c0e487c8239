"""Two people of whom one has blocked the other: nothing between them but what groups need."""

import asyncio
from uuid import UUID

import pytest

from tests.chat.conftest import Chat
from tests.chat.test_batches import waits_for_a_lock
from tests.factories import make_house
from wellio.accounts.actors import Actor
from wellio.chat.acquaintances import list_acquaintances
from wellio.chat.blocks import block_person, list_blocks, unblock_person
from wellio.chat.conversations import get_conversation, list_hearing
from wellio.chat.history import sync
from wellio.chat.message_changes import MessageEdit, edit_message
from wellio.chat.reactions import set_reaction
from wellio.chat.receipts import ReadUpTo, mark_read
from wellio.errors import Forbidden, NotFound
from wellio.pages import PageQuery


async def block(chat: Chat, actor: Actor, other: Actor) -> None:
    await block_person(chat.outbox, chat.live, actor, other.user_id)


async def refusal(chat: Chat, actor: Actor, conversation_id: UUID) -> str:
    with pytest.raises(Forbidden) as error:
        await chat.say(actor, conversation_id)
    assert error.value.code == "BLOCKED"
    return error.value.message


async def acquainted(chat: Chat, viewer: Actor, person: Actor) -> bool:
    people = [(chat.house.practice.id, person.user_id)]
    return viewer.user_id in await list_acquaintances(chat.db, people, [viewer.user_id])


async def test_between_two_people_nothing_passes_until_it_is_unblocked(chat: Chat) -> None:
    house = chat.house
    coach, client = house.coach, house.client
    direct = (await chat.open(coach, client)).id
    group = (await chat.open(house.owner, coach, client, title="Team")).id
    sent = await chat.say(coach, direct, "before")
    chat.pushes.clear()
    for _ in range(2):
        await block(chat, client, coach)
    told = [(p.event, set(p.user_ids)) for p in chat.pushes][:3]
    assert told == [("block:changed", {client.user_id}), ("presence", {client.user_id}), ("presence", {coach.user_id})]
    assert "unblock" in await refusal(chat, client, direct)
    assert "block" not in await refusal(chat, coach, direct)
    repeat = await chat.say(coach, direct, "before", client_message_id=sent.message.client_message_id)
    assert repeat.duplicate

    with pytest.raises(Forbidden):
        await edit_message(chat.outbox, chat.live, coach, sent.message.id, MessageEdit(body="still here"))
    with pytest.raises(Forbidden):
        await set_reaction(chat.outbox, chat.live, client, sent.message.id, "👍", on=True)

    chat.pushes.clear()
    await mark_read(chat.db, chat.live, client, direct, ReadUpTo(seq=1))
    assert [set(p.user_ids) for p in chat.pushes] == [{client.user_id}]
    (synced,) = await sync(chat.db, coach, {direct: 0}, limit=5)
    assert synced.members_read == {}
    assert [m.last_read_seq for m in (await get_conversation(chat.db, coach, direct)).members] == [0, 0]
    assert await list_hearing(chat.db, coach, direct) == [coach.user_id]
    assert not await acquainted(chat, coach, client)
    assert not await acquainted(chat, client, coach)
    assert await acquainted(chat, house.owner, client)
    await chat.say(coach, group)
    assert client.user_id in chat.pushes[-1].user_ids
    assert set(await list_hearing(chat.db, coach, group)) == {p.user_id for p in (house.owner, coach, client)}

    assert [b.user_id for b in (await list_blocks(chat.db, client, PageQuery())).items] == [coach.user_id]
    assert (await list_blocks(chat.db, coach, PageQuery())).items == []
    with pytest.raises(NotFound):
        await unblock_person(chat.outbox, chat.live, coach, client.user_id)
    await block(chat, coach, client)
    await unblock_person(chat.outbox, chat.live, client, coach.user_id)
    await refusal(chat, client, direct)
    await unblock_person(chat.outbox, chat.live, coach, client.user_id)
    assert (await chat.say(client, direct)).message.seq == 2
    assert await acquainted(chat, coach, client)


async def test_who_can_be_blocked(chat: Chat) -> None:
    house, foreign = chat.house, await make_house(chat.db)
    for actor, other in (
        (house.client, house.owner),
        (house.coach, house.other_coach),
        (house.owner, house.coach),
        (house.coach, house.owner),
    ):
        with pytest.raises(Forbidden):
            await block(chat, actor, other)
    for actor, other in (
        (house.client, house.other_client),
        (house.client, house.other_coach),
        (house.client, house.client),
        (house.coach, house.other_client),
        (house.client, foreign.coach),
        (house.owner, foreign.client),
    ):
        with pytest.raises(NotFound):
            await block(chat, actor, other)
    await chat.open(house.owner, house.client, house.other_client, title="Team")
    await block(chat, house.client, house.other_client)
    await block(chat, house.client, house.coach)
    await block(chat, house.owner, house.client)


async def test_who_is_blocked_opens_no_conversation_and_finds_the_one_there_is(chat: Chat) -> None:
    house = chat.house
    await block(chat, house.client, house.coach)
    for actor, other in ((house.coach, house.client), (house.client, house.coach)):
        with pytest.raises(Forbidden):
            await chat.open(actor, other)
    assert await chat.db.fetchval("select count(*) from conversations") == 0
    await unblock_person(chat.outbox, chat.live, house.client, house.coach.user_id)
    opened = await chat.open(house.coach, house.client)
    await block(chat, house.client, house.coach)
    assert (await chat.open(house.coach, house.client)).id == opened.id


async def test_message_that_waited_while_its_sender_was_blocked_is_refused(chat: Chat) -> None:
    house = chat.house
    direct = (await chat.open(house.coach, house.client)).id
    async with chat.db.transaction() as holding:
        await holding.execute("select from conversations where id = $1 for update", direct)
        sending = asyncio.ensure_future(chat.say(house.coach, direct))
        await waits_for_a_lock(chat)
        await holding.execute(
            "update conversations set blocked_by = array[$2::uuid] where id = $1", direct, house.client.user_id
        )
    with pytest.raises(Forbidden):
        await sending
