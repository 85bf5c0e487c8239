"""Mentions: who is named, what they are told, and what an edit makes of it."""

from uuid import UUID

from tests.chat.conftest import Chat
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.chat.blocks import block_person
from wellio.chat.conversations import get_conversation
from wellio.chat.mentions import list_mentions
from wellio.chat.message_changes import MessageEdit, delete_message, edit_message
from wellio.chat.receipts import ReadUpTo, mark_read
from wellio.events import Cursor, Event, EventType
from wellio.outbox import list_events_after
from wellio.outreach.mention_news import list_mention_news
from wellio.pages import PageQuery


async def mentions(chat: Chat, actor: Actor) -> list[UUID]:
    return [m.id for m in (await list_mentions(chat.db, actor, PageQuery())).items]


async def told(chat: Chat, count: int) -> list[tuple[UUID, str]]:
    """Whom the first `count` events of mentions would notify by now, and with which title."""

    async def found() -> list[Event]:
        events = await list_events_after(chat.db, Cursor(), 100)
        named = [e for e in events if e.type is EventType.MEMBERS_MENTIONED]
        return named if len(named) == count else []

    events = await eventually(found)
    async with chat.db.connection() as connection:
        news = await list_mention_news(connection, events)
    assert "words" not in f"{events}{news}"
    return [(n.user_id, n.title) for n in news]


def at(*people: Actor) -> str:
    return "words " + " ".join(f"<@{p.user_id}>" for p in people)


async def test_members_who_are_named_are_told_and_find_the_message(chat: Chat) -> None:
    house = chat.house
    group = await chat.open(house.coach, house.client, house.owner, title="Team")
    first = (await chat.say(house.coach, group.id, at(house.coach, house.client, house.other_client))).message
    second = (await chat.say(house.owner, group.id, at(house.client) * 2)).message
    await chat.say(house.owner, group.id, "words <@nobody> <@> <@{}>")
    assert await mentions(chat, house.client) == [second.id, first.id]
    seen = [await get_conversation(chat.db, a, group.id) for a in (house.client, house.coach)]
    assert [c.unread_mentions for c in seen] == [2, 0]
    await mark_read(chat.db, chat.live, house.client, group.id, ReadUpTo(seq=1))
    assert (await get_conversation(chat.db, house.client, group.id)).unread_mentions == 1
    assert [await mentions(chat, a) for a in (house.coach, house.owner, house.other_client)] == [[], [], []]
    assert await told(chat, 2) == [
        (house.client.user_id, "Carl Coach mentioned you in Team"),
        (house.client.user_id, "Olga Owner mentioned you in Team"),
    ]
    await block_person(chat.outbox, chat.live, house.client, house.coach.user_id)
    assert await told(chat, 2) == [(house.client.user_id, "Olga Owner mentioned you in Team")]


async def test_edit_names_others_and_tells_only_those_who_are_new(chat: Chat) -> None:
    house = chat.house
    group = await chat.open(house.coach, house.client, house.owner, title="Team")
    message = (await chat.say(house.coach, group.id, at(house.client))).message

    async def edit(body: str) -> None:
        await edit_message(chat.outbox, chat.live, house.coach, message.id, MessageEdit(body=body))

    await edit(at(house.client, house.owner))
    assert [await mentions(chat, a) for a in (house.client, house.owner)] == [[message.id]] * 2
    assert [user_id for user_id, _ in await told(chat, 2)] == [house.client.user_id, house.owner.user_id]
    await edit(at(house.owner))
    assert [await mentions(chat, a) for a in (house.client, house.owner)] == [[], [message.id]]
    await chat.db.execute("update conversation_members set left_at = now() where user_id = $1", house.owner.user_id)
    assert await mentions(chat, house.owner) == []
    await chat.db.execute("update conversation_members set left_at = null")
    await delete_message(chat.outbox, chat.live, house.coach, message.id)
    assert await mentions(chat, house.owner) == []
    assert await told(chat, 2) == []
