"""Conversations: who may talk to whom, what a member sees, and what renaming does to the log."""

import asyncio
from typing import Any

import pytest

from tests.chat.conftest import Chat
from tests.factories import House, make_house
from wellio.accounts.actors import Actor
from wellio.chat.conversations import (
    Conversation,
    ConversationChanges,
    ConversationQuery,
    change_conversation,
    get_conversation,
    list_conversations,
)
from wellio.chat.history import sync
from wellio.chat.openings import NewConversation, create_conversation, open_conversation
from wellio.db import Database
from wellio.encoding import to_json
from wellio.errors import Forbidden, Invalid, NotFound, PreconditionFailed

ALLOWED = {
    ("owner", "coach"), ("owner", "client"), ("owner", "other_client"), ("coach", "owner"), ("coach", "other_coach"),
    ("coach", "client"), ("client", "coach"), ("client", "owner"),
}  # fmt: skip
REFUSED = {
    ("coach", "other_client"), ("client", "other_coach"), ("client", "other_client"), ("owner", "foreign"),
    ("coach", "foreign"), ("client", "foreign"),
}  # fmt: skip


async def other(chat: Chat, name: str) -> Actor:
    actor: Actor = (await make_house(chat.db)).owner if name == "foreign" else getattr(chat.house, name)
    return actor


@pytest.mark.parametrize(("one", "two"), sorted(ALLOWED))
async def test_people_who_may_talk(chat: Chat, one: str, two: str) -> None:
    opened = await chat.open(getattr(chat.house, one), getattr(chat.house, two))
    assert {m.user_id for m in opened.members} == {getattr(chat.house, n).user_id for n in (one, two)}


@pytest.mark.parametrize(("one", "two"), sorted(REFUSED))
async def test_people_who_may_not_talk(chat: Chat, one: str, two: str) -> None:
    with pytest.raises(Invalid) as error:
        await chat.open(getattr(chat.house, one), await other(chat, two))
    assert error.value.details["fields"][0]["path"] == "member_ids.0"
    assert await chat.db.fetchval("select count(*) from conversations") == 0


async def test_stranger_in_a_group_is_named_by_place(chat: Chat) -> None:
    house, foreign = chat.house, await make_house(chat.db)
    with pytest.raises(Invalid) as error:
        await chat.open(house.owner, house.coach, foreign.client, house.client, title="Team")
    assert [f["path"] for f in error.value.details["fields"]] == ["member_ids.1"]


async def test_client_opens_no_group(chat: Chat) -> None:
    with pytest.raises(Forbidden):
        await chat.open(chat.house.client, chat.house.coach, title="Mine")


@pytest.mark.parametrize(
    "new",
    [
        lambda h: NewConversation(kind="direct", member_ids=(h.coach.user_id, h.client.user_id)),
        lambda h: NewConversation(kind="direct", member_ids=(h.owner.user_id,)),
        lambda h: NewConversation(kind="direct", member_ids=(h.coach.user_id,), title="No"),
        lambda h: NewConversation(kind="group", member_ids=(h.owner.user_id,)),
    ],
    ids=["three people", "with oneself", "titled", "alone"],
)
async def test_forms_that_are_refused(chat: Chat, new: object) -> None:
    with pytest.raises(Invalid):
        await create_conversation(chat.outbox, chat.live, chat.house.owner, new(chat.house))  # type: ignore[operator]


async def test_two_people_have_one_direct_conversation_whoever_begins(chat: Chat) -> None:
    house = chat.house
    first = await chat.open(house.coach, house.client)
    assert (await chat.open(house.client, house.coach)).id == first.id
    new = NewConversation(kind="direct", member_ids=(house.owner.user_id,))
    opened = await asyncio.gather(*(open_conversation(chat.outbox, chat.live, house.coach, new) for _ in range(8)))
    assert len({o.conversation.id for o in opened}) == 1
    assert [o.created for o in opened].count(True) == 1


async def test_opening_is_pushed_to_the_members_once(chat: Chat) -> None:
    opened = await chat.open(chat.house.coach, chat.house.client)
    await chat.open(chat.house.coach, chat.house.client)
    (push,) = chat.pushes
    assert push.event == "conversation:updated"
    assert push.data == {"conversation_id": opened.id, "seq": 0, "conversation": opened}
    assert set(push.user_ids) == {chat.house.coach.user_id, chat.house.client.user_id}


async def test_list_shows_the_most_recently_active_first_with_what_is_unread(chat: Chat) -> None:
    house = chat.house
    quiet = await chat.open(house.coach, house.owner)
    busy = await chat.open(house.coach, house.client)
    for body in ("one", "two"):
        await chat.say(house.client, busy.id, body)
    mine = await chat.say(house.coach, busy.id, "three")
    page = await list_conversations(chat.db, house.coach, ConversationQuery())
    assert [(c.id, c.unread, c.last_seq) for c in page.items] == [(busy.id, 2, 3), (quiet.id, 0, 0)]
    assert (page.items[0].last_message, page.items[1].last_message) == (mine.message, None)
    assert page.pagination.total == 2
    seen_by_client = await get_conversation(chat.db, house.client, busy.id)
    assert seen_by_client.unread == 1
    assert {(m.name, m.role) for m in seen_by_client.members} == {("Carl Coach", "coach"), ("Klara Client", "client")}


async def test_list_runs_the_same_number_of_queries_however_long(chat: Chat, queries: list[str]) -> None:
    house = chat.house
    counts = []
    for title in ("A", "B", "C"):
        await chat.open(house.owner, house.coach, house.client, title=title)
        queries.clear()
        await list_conversations(chat.db, house.owner, ConversationQuery())
        counts.append(len(queries))
    assert len(set(counts)) == 1, counts


async def test_pages_hold_every_conversation_once(chat: Chat) -> None:
    house = chat.house
    opened = [(await chat.open(house.owner, house.coach, title=str(n))).id for n in range(5)]
    pages = [await list_conversations(chat.db, house.owner, ConversationQuery(page=n, page_size=2)) for n in (1, 2, 3)]
    assert [c.id for page in pages for c in page.items] == opened[::-1]
    assert [page.pagination.has_next for page in pages] == [True, True, False]


@pytest.mark.parametrize("stranger", ["owner", "other_coach", "other_client", "foreign"])
async def test_stranger_sees_no_conversation(chat: Chat, stranger: str) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    actor = await other(chat, stranger)
    with pytest.raises(NotFound):
        await get_conversation(chat.db, actor, direct.id)
    with pytest.raises(NotFound):
        await rename(chat, actor, direct, "Mine")
    assert (await list_conversations(chat.db, actor, ConversationQuery())).items == []


async def rename(chat: Chat, actor: Actor, conversation: Conversation, title: str, **options: int) -> Conversation:
    changes = ConversationChanges(title=title)
    return await change_conversation(chat.outbox, chat.live, actor, conversation.id, changes, **options)


async def test_new_title_takes_a_seq_in_the_log_and_is_pushed_as_sync_tells_it(chat: Chat) -> None:
    house = chat.house
    group = await chat.open(house.coach, house.client, title="Old")
    await chat.say(house.coach, group.id)
    renamed = await rename(chat, house.coach, group, "New")
    assert (renamed.title, renamed.last_seq, renamed.version) == ("New", 2, 2)
    assert (await rename(chat, house.coach, group, "New")).last_seq == 2
    assert (await chat.say(house.client, group.id)).message.seq == 3
    pushed = [p.data for p in chat.pushes if p.event == "conversation:updated"][1:]
    expected = {
        "conversation_id": group.id,
        "seq": 2,
        "conversation": {"id": group.id, "kind": "group", "title": "New", "slow_mode_s": 0},
    }
    assert pushed == [expected]
    (synced,) = await sync(chat.db, house.client, {group.id: 0}, limit=10)
    (told,) = [event for event in synced.events if event["type"] == "conversation:updated"]
    assert to_json(told) == to_json({"type": "conversation:updated", **expected})


async def test_rename_refuses_a_stale_version_clients_and_direct_conversations(chat: Chat) -> None:
    house = chat.house
    group, direct = await chat.open(house.coach, house.client, title="Old"), await chat.open(house.coach, house.client)
    with pytest.raises(PreconditionFailed):
        await rename(chat, house.coach, group, "New", if_version=7)
    with pytest.raises(Forbidden):
        await rename(chat, house.client, group, "New")
    with pytest.raises(Invalid):
        await rename(chat, house.coach, direct, "New")


@pytest.fixture
def queries(db: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that a connection of the pool runs."""
    from asyncpg import Connection

    seen: list[str] = []
    original: Any = vars(Connection)["_execute"]

    async def execute(self: Any, query: str, *args: object, **kwargs: object) -> object:
        seen.append(query)
        return await original(self, query, *args, **kwargs)

    monkeypatch.setattr(Connection, "_execute", execute)
    return seen


def test_every_pair_is_decided() -> None:
    assert not ALLOWED & REFUSED
    assert House.__slots__
