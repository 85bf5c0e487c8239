"""Muting, archiving and finding conversations: each member's own, told to their own devices."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.chat.conftest import Chat
from wellio.chat.conversation_settings import Mute, archive_conversation, mute_conversation, unmute_conversation
from wellio.chat.conversations import ConversationQuery, get_conversation, list_conversations
from wellio.errors import Invalid, NotFound


async def test_mute_lasts_until_its_end_and_counts_what_is_unread(chat: Chat) -> None:
    house = chat.house
    direct = (await chat.open(house.coach, house.client)).id
    chat.pushes.clear()
    until = datetime.now(UTC) + timedelta(hours=8)
    muted = await mute_conversation(
        chat.outbox, chat.live, house.client, direct, Mute.model_validate({"until": until.isoformat()})
    )
    assert (muted.muted, muted.muted_until) == (True, until)
    (push,) = chat.pushes
    assert (push.event, push.data, set(push.user_ids)) == ("conversation:settings", muted, {house.client.user_id})
    await chat.say(house.coach, direct)
    seen = await get_conversation(chat.db, house.client, direct)
    assert (seen.muted, seen.muted_until, seen.unread) == (True, until, 1)
    assert not (await get_conversation(chat.db, house.coach, direct)).muted
    await chat.db.execute("update conversation_members set muted_until = now() - interval '1 second' where muted")
    assert not (await get_conversation(chat.db, house.client, direct)).muted
    await mute_conversation(chat.outbox, chat.live, house.client, direct, Mute())
    assert (await get_conversation(chat.db, house.client, direct)).muted
    await unmute_conversation(chat.outbox, chat.live, house.client, direct)
    assert not (await get_conversation(chat.db, house.client, direct)).muted
    with pytest.raises(Invalid):
        await mute_conversation(
            chat.outbox,
            chat.live,
            house.client,
            direct,
            Mute.model_validate({"until": (until - timedelta(days=1)).isoformat()}),
        )
    with pytest.raises(NotFound):
        await mute_conversation(chat.outbox, chat.live, house.owner, direct, Mute())


async def test_archived_conversation_comes_back_with_the_next_message(chat: Chat) -> None:
    house = chat.house
    quiet, busy = [(await chat.open(house.coach, other)).id for other in (house.owner, house.client)]
    await chat.say(house.client, busy)
    group = (await chat.open(house.coach, house.client, title="Team")).id

    async def listed(**query: object) -> set[object]:
        page = await list_conversations(chat.db, house.coach, ConversationQuery.model_validate(query))
        assert page.pagination.total == len(page.items)
        return {c.id for c in page.items}

    assert await listed(unread="true") == {busy}
    assert await listed(unread="false") == {quiet, group}
    assert await listed(kind="group") == {group}
    archived = await archive_conversation(chat.outbox, chat.live, house.coach, busy, archived=True)
    assert archived.archived
    assert await listed() == {quiet, group}
    assert await listed(archived="true") == {busy}
    assert (await list_conversations(chat.db, house.client, ConversationQuery())).pagination.total == 2
    await chat.say(house.client, busy)
    assert await listed() == {quiet, busy, group}
    await archive_conversation(chat.outbox, chat.live, house.coach, busy, archived=True)
    await archive_conversation(chat.outbox, chat.live, house.coach, busy, archived=False)
    assert await listed(archived="true") == set()
