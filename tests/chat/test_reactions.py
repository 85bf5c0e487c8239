"""Reactions: one of each emoji by each person, shown wherever the message is."""

import asyncio

import pytest

from tests.chat.conftest import Chat
from wellio.chat.conversations import ConversationQuery, list_conversations
from wellio.chat.history import MessageQuery, get_message, list_messages
from wellio.chat.reactions import EMOJIS, MAX_EMOJIS, one_emoji, set_reaction
from wellio.errors import Conflict, NotFound

# As UTS #51 (Unicode Emoji) calls them.
SEQUENCES = ["👍", "👍🏽", "❤️", "👩‍👩‍👧", "👨🏽‍🤝‍👨🏿", "🇩🇪", "1️⃣", "#️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🏳️‍🌈", "🧑🏿‍⚕️"]
NO_EMOJIS = ["", "a", "1", "👍👍", "👍 ", "🇩", "🇩🇪🇫🇷", "\u200d", "\ufe0f", "👍\u200d", "🏽", "<", "👩‍👩‍", "👍" * 500]


@pytest.mark.parametrize("text", SEQUENCES)
def test_one_emoji_is_the_same_however_a_keyboard_writes_it(text: str) -> None:
    assert one_emoji(text) == one_emoji(text.replace("\ufe0f", "")) == text


@pytest.mark.parametrize("text", NO_EMOJIS)
def test_what_is_not_one_emoji_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one emoji"):
        one_emoji(text)


async def test_reaction_is_set_once_taken_back_once_and_shown_everywhere(chat: Chat) -> None:
    coach, client = chat.house.coach, chat.house.client
    direct = await chat.open(coach, client)
    _, message = [(await chat.say(coach, direct.id, str(n))).message for n in range(2)]

    async def react(emoji: str, *, on: bool, actor: object = client) -> int:
        changed = await set_reaction(chat.outbox, chat.live, actor, message.id, emoji, on=on)  # type: ignore[arg-type]
        assert await get_message(chat.db, coach, message.id) == changed.message
        return changed.seq

    assert await react("👍", on=False) == 2
    assert [await react("👍", on=True), await react("👍", on=True), await react("❤️", on=True)] == [3, 3, 4]
    assert await react("👍", on=True, actor=coach) == 5
    expected = {"👍": [client.user_id, coach.user_id], "❤️": [client.user_id]}
    listed = (await list_messages(chat.db, client, direct.id, MessageQuery())).items
    assert [dict(m.reactions) for m in listed] == [expected, {}]
    last = (await list_conversations(chat.db, coach, ConversationQuery())).items[0].last_message
    assert last is not None
    assert last.reactions == expected
    repeated = await chat.say(coach, direct.id, client_message_id=message.client_message_id)
    assert (repeated.duplicate, repeated.message.reactions) == (True, expected)
    assert [await react("👍", on=False), await react("👍", on=False)] == [6, 6]
    assert chat.pushes[-1].data["on"] is False
    assert chat.pushes[-1].data["seq"] == 6


async def test_message_takes_so_many_emojis_and_all_members_share_them(chat: Chat) -> None:
    house = chat.house
    group = await chat.open(house.owner, house.coach, house.client, title="Team")
    message = (await chat.say(house.owner, group.id)).message

    async def react(actor: object, emoji: str, *, on: bool = True) -> None:
        await set_reaction(chat.outbox, chat.live, actor, message.id, emoji, on=on)  # type: ignore[arg-type]

    many = list(EMOJIS.values())[: MAX_EMOJIS + 1]
    done = await asyncio.gather(*(react(house.coach, emoji) for emoji in many), return_exceptions=True)
    (refusal,) = [d for d in done if d is not None]
    assert isinstance(refusal, Conflict)
    assert refusal.code == "TOO_MANY_EMOJIS"
    reactions = (await get_message(chat.db, house.client, message.id)).reactions
    assert len(reactions) == MAX_EMOJIS
    taken = next(iter(reactions))
    await react(house.client, taken)
    assert (await get_message(chat.db, house.client, message.id)).reactions[taken][1:] == [house.client.user_id]
    with pytest.raises(NotFound):
        await react(house.other_client, taken)
