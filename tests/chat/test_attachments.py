"""Attachments: files that go with a message, once, and go when it goes."""

import asyncio
from uuid import uuid4

import pytest
from pydantic import ValidationError

from tests.chat.conftest import Chat
from tests.chat.test_batches import make_upload
from wellio.chat.conversations import ConversationQuery, list_conversations
from wellio.chat.history import MessageQuery, get_message, list_messages, sync
from wellio.chat.message_changes import MessageEdit, delete_message, edit_message
from wellio.chat.messages import NewMessage
from wellio.chat.values import MAX_ATTACHMENTS, Attachment
from wellio.encoding import to_json
from wellio.errors import Invalid


async def test_files_are_shown_wherever_their_message_is_and_a_repeat_gets_them_again(chat: Chat) -> None:
    coach, client = chat.house.coach, chat.house.client
    direct = await chat.open(coach, client)
    uploads = [await make_upload(chat, coach, name) for name in ("b.pdf", "a.pdf")]
    sent = await chat.say(coach, direct.id, "", upload_ids=uploads)
    message = sent.message
    assert message.attachments == [
        Attachment(uploads[0], "b.pdf", "application/pdf", 3, "abcd"),
        Attachment(uploads[1], "a.pdf", "application/pdf", 3, "abcd"),
    ]
    name = message.client_message_id
    again = await asyncio.gather(
        *(chat.say(coach, direct.id, "", upload_ids=uploads, client_message_id=name) for _ in range(3))
    )
    assert all(a.duplicate and to_json(a.message) == to_json(message) for a in again)
    (listed,) = (await list_messages(chat.db, client, direct.id, MessageQuery())).items
    last = (await list_conversations(chat.db, client, ConversationQuery())).items[0].last_message
    assert listed == last == message == await get_message(chat.db, client, message.id)
    (synced,) = await sync(chat.db, client, {direct.id: 0}, limit=10)
    assert synced.events[0]["attachments"] == message.attachments
    (push,) = [p for p in chat.pushes if p.event == "message:new"]
    assert push.data == message
    assert (await edit_message(chat.outbox, chat.live, coach, message.id, MessageEdit(body="See"))).message.attachments
    assert (await edit_message(chat.outbox, chat.live, coach, message.id, MessageEdit(body=""))).message.body == ""
    gone = (await delete_message(chat.outbox, chat.live, coach, message.id)).message
    assert not gone.attachments
    assert await get_message(chat.db, client, message.id) == gone
    rows = await chat.db.fetch("select state, name, message_id from uploads")
    assert [tuple(r) for r in rows] == [("erased", "", None)] * 2


async def test_only_ones_own_free_uploads_are_attached_and_to_one_message(chat: Chat) -> None:
    house = chat.house
    direct, group = await chat.open(house.coach, house.client), await chat.open(house.coach, house.owner, title="Team")
    theirs, mine = await make_upload(chat, house.client), await make_upload(chat, house.coach)
    arriving = await make_upload(chat, house.coach)
    await chat.db.execute("update uploads set state = 'arriving' where id = $1", arriving)
    for upload_ids in ([theirs], [arriving], [uuid4()], [mine, theirs]):
        with pytest.raises(Invalid) as refusal:
            await chat.say(house.coach, direct.id, upload_ids=upload_ids)
        assert refusal.value.details["fields"][0]["path"] == "upload_ids"
    race = [chat.say(house.coach, place, upload_ids=[mine]) for place in (direct.id, group.id, direct.id, group.id)]
    outcomes = await asyncio.gather(*race, return_exceptions=True)
    assert sorted(type(o).__name__ for o in outcomes) == ["Invalid"] * 3 + ["Sent"]
    assert await chat.db.fetchval("select count(*) from messages") == 1


def test_message_says_something_and_names_each_upload_once() -> None:
    known = {"conversation_id": uuid4(), "client_message_id": uuid4()}
    one = uuid4()
    for body, upload_ids in (("", []), ("x", [one, one]), ("x", [uuid4() for _ in range(MAX_ATTACHMENTS + 1)])):
        with pytest.raises(ValidationError):
            NewMessage(body=body, upload_ids=upload_ids, **known)
    assert NewMessage(body=" ", upload_ids=[one], **known).body == " "
