"""Groups: who manages them, what each change is in the log, and that who is gone is gone at once."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
import pytest

from tests.chat.conftest import Chat
from tests.chat.test_batches import waits_for_a_lock
from tests.factories import make_house, make_user
from wellio.accounts.actors import Actor, Role
from wellio.chat.conversation_members import (
    MemberChanges,
    NewMembers,
    add_members,
    change_member,
    remove_member,
)
from wellio.chat.conversations import Conversation, ConversationQuery, get_conversation, list_conversations
from wellio.chat.history import MessageQuery, list_heads, list_messages, sync
from wellio.chat.receipts import count_unread
from wellio.encoding import to_json
from wellio.errors import Conflict, Forbidden, Invalid, NotFound


async def add(chat: Chat, actor: Actor, group: UUID, *people: Actor) -> Conversation:
    new = NewMembers(user_ids=tuple(p.user_id for p in people))
    return await add_members(chat.outbox, chat.live, actor, group, new)


async def remove(chat: Chat, actor: Actor, group: UUID, person: Actor) -> None:
    await remove_member(chat.outbox, chat.live, actor, group, person.user_id)


async def set_role(chat: Chat, actor: Actor, group: UUID, person: Actor, role: Any) -> Conversation:
    return await change_member(chat.outbox, chat.live, actor, group, person.user_id, MemberChanges(role=role))


def roles(conversation: Conversation) -> dict[UUID, str]:
    return {m.user_id: m.conversation_role for m in conversation.members}


def changes(chat: Chat) -> list[tuple[int, UUID, str, str | None]]:
    told = [p.data for p in chat.pushes if p.event == "member:changed"]
    return [(d["seq"], d["user_id"], d["change"], d["role"]) for d in told]


async def test_each_change_is_an_entry_of_the_log_pushed_to_who_is_in_it_then(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, title="Team")).id
    await chat.say(house.coach, group, "before")
    chat.pushes.clear()
    added = await add(chat, house.coach, group, house.owner, house.client, house.other_coach)
    coach, client, owner, other = (p.user_id for p in (house.coach, house.client, house.owner, house.other_coach))
    assert roles(added) == {coach: "admin", client: "member", owner: "member", other: "member"}
    assert chat.pushes[0].event == "conversation:updated"
    assert set(chat.pushes[0].user_ids) == {owner, other}
    assert chat.pushes[0].data["conversation"] == await get_conversation(chat.db, house.owner, group)
    await set_role(chat, house.owner, group, house.other_coach, "admin")
    await remove(chat, house.other_coach, group, house.client)
    await remove(chat, house.owner, group, house.owner)
    assert changes(chat) == [
        (2, owner, "added", "member"),
        (3, other, "added", "member"),
        (4, other, "role", "admin"),
        (5, client, "removed", None),
        (6, owner, "left", None),
    ]
    told = {p.data["seq"]: set(p.user_ids) for p in chat.pushes if p.event == "member:changed"}
    everybody = {coach, client, owner, other}
    assert told == {2: everybody, 3: everybody, 4: everybody, 5: everybody, 6: everybody - {client}}
    (synced,) = await sync(chat.db, house.coach, {group: 1}, limit=10)
    pushed = [{"type": p.event, **p.data} for p in chat.pushes if p.event == "member:changed"]
    assert orjson.loads(to_json(synced.events)) == orjson.loads(to_json(pushed))


async def test_adding_twice_or_nobody_new_changes_nothing(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, title="Team")).id
    results = await asyncio.gather(*(add(chat, house.coach, group, house.owner) for _ in range(5)))
    assert {c.last_seq for c in results} == {1}
    assert len(results[0].members) == 3


async def test_who_was_removed_sees_nothing_and_who_comes_back_all_of_it(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, title="Team")).id
    await chat.say(house.coach, group, "one")
    await remove(chat, house.coach, group, house.client)
    await chat.say(house.coach, group, "unseen")
    assert house.client.user_id not in chat.pushes[-1].user_ids
    for refused in (
        get_conversation(chat.db, house.client, group),
        list_messages(chat.db, house.client, group, MessageQuery()),
        chat.say(house.client, group),
        remove(chat, house.client, group, house.client),
        add(chat, house.client, group, house.client),
    ):
        with pytest.raises(NotFound):
            await refused
    assert await sync(chat.db, house.client, {group: 0}, limit=10) == []
    assert await list_heads(chat.db, [(house.practice.id, house.client.user_id)]) == {house.client.user_id: {}}
    assert (await list_conversations(chat.db, house.client, ConversationQuery())).items == []
    assert (await count_unread(chat.db, house.client)).unread == 0

    await add(chat, house.coach, group, house.client)
    seen = await get_conversation(chat.db, house.client, group)
    assert (seen.unread, seen.last_seq) == (0, 4)
    page = await list_messages(chat.db, house.client, group, MessageQuery())
    assert [m.body for m in page.items] == ["unseen", "one"]
    await chat.say(house.coach, group, "new")
    assert (await count_unread(chat.db, house.client)).unread == 1


async def test_who_manages_a_group(chat: Chat) -> None:
    """Admins, and owners who are in it; a client who was made an admin, but never over staff."""
    house, foreign = chat.house, await make_house(chat.db)
    group = (await chat.open(house.coach, house.client, house.other_coach, house.owner, title="Team")).id
    for person in (house.client, house.other_coach):
        for attempt in (
            add(chat, person, group, house.owner),
            remove(chat, person, group, house.coach),
            set_role(chat, person, group, person, "admin"),
        ):
            with pytest.raises(Forbidden):
                await attempt
    for stranger in (house.other_client, foreign.owner):
        with pytest.raises(NotFound):
            await add(chat, stranger, group, stranger)
        with pytest.raises(NotFound):
            await remove(chat, house.coach, group, stranger)
        with pytest.raises(Invalid) as error:  # no client of that coach
            await add(chat, house.coach, group, house.owner, stranger)
        assert [f["path"] for f in error.value.details["fields"]] == ["user_ids.1"]
    await add(chat, house.owner, group, house.other_client)
    await set_role(chat, house.owner, group, house.client, "admin")
    await remove(chat, house.client, group, house.other_client)
    with pytest.raises(Forbidden):
        await remove(chat, house.client, group, house.other_coach)
    with pytest.raises(Invalid):
        await add(chat, house.client, group, house.other_client)


async def test_last_admin_hands_over_to_staff_first_in_the_order_of_joining(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, title="Team")).id
    suspended = await make_user(chat.db, house.practice, Role.COACH, "Away")
    for person in (suspended, house.owner, house.other_coach):
        await add(chat, house.coach, group, person)
    await chat.db.execute("update users set status = 'suspended' where id = $1", suspended.user_id)
    with pytest.raises(Conflict) as error:
        await set_role(chat, house.coach, group, house.coach, "member")
    assert error.value.code == "LAST_ADMIN"
    for leaver, successor in ((house.coach, house.owner), (house.owner, house.other_coach), (house.other_coach, None)):
        chat.pushes.clear()
        await remove(chat, leaver, group, leaver)
        follows = [(user_id, change, role) for _, user_id, change, role in changes(chat)][1:]
        assert follows == [((successor or house.client).user_id, "role", "admin")]
    await remove(chat, house.client, group, house.client)
    assert await chat.db.fetchval("select count(*) from conversation_members where left_at is null") == 1


async def test_direct_conversation_keeps_its_two_people(chat: Chat) -> None:
    house = chat.house
    direct = (await chat.open(house.coach, house.client)).id
    for attempt in (
        remove(chat, house.coach, direct, house.coach),
        add(chat, house.coach, direct, house.owner),
        set_role(chat, house.coach, direct, house.client, "admin"),
    ):
        with pytest.raises(Conflict) as error:
            await attempt
        assert error.value.code == "DIRECT_CONVERSATION"


async def test_who_was_removed_while_they_waited_does_nothing_more(chat: Chat) -> None:
    """By the snapshot that their statement began with they are still an admin."""
    house = chat.house
    group = (await chat.open(house.coach, house.client, house.other_coach, title="Team")).id
    async with chat.db.transaction() as holding:
        await holding.execute("select from conversations where id = $1 for update", group)
        removing = asyncio.ensure_future(remove(chat, house.coach, group, house.client))
        await waits_for_a_lock(chat)
        await holding.execute("update conversation_members set left_at = now() where user_id = $1", house.coach.user_id)
        await holding.execute("update conversations set last_seq = last_seq + 1 where id = $1", group)
    with pytest.raises(NotFound):
        await removing


async def test_reassigned_client_and_suspended_people_keep_their_conversations(chat: Chat) -> None:
    """Membership decides, not assignment: they may go on and say goodbye, but begin nothing new."""
    house = chat.house
    direct = (await chat.open(house.coach, house.client)).id
    await chat.db.execute("update clients set coach_id = $2 where id = $1", house.client_id, house.other_coach.user_id)
    assert (await chat.say(house.coach, direct)).message.seq == 1
    assert (await chat.say(house.client, direct)).message.seq == 2
    with pytest.raises(Invalid):
        await chat.open(house.coach, house.client, house.owner, title="New")
    await chat.open(house.client, house.other_coach)

    await chat.db.execute("update users set status = 'suspended' where id = $1", house.coach.user_id)
    with pytest.raises(NotFound):
        await chat.say(house.coach, direct)
    await chat.say(house.client, direct, "while you are away")
    await chat.db.execute("update users set status = 'active' where id = $1", house.coach.user_id)
    assert (await get_conversation(chat.db, house.coach, direct)).unread == 2
