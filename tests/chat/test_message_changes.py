"""Edits and deletions: by whom, what they leave, and what a repeat comes to."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.api import Answer, Api
from tests.chat.conftest import Chat
from tests.factories import House
from wellio.accounts.actors import Actor
from wellio.chat.held_messages import Changed
from wellio.chat.history import get_message
from wellio.chat.message_changes import MessageEdit, delete_message, edit_message
from wellio.chat.reactions import set_reaction
from wellio.errors import Conflict, Forbidden, NotFound


async def edit(chat: Chat, actor: Actor, changed: Changed, body: str) -> Changed:
    return await edit_message(chat.outbox, chat.live, actor, changed.message.id, MessageEdit(body=body))


async def delete(chat: Chat, actor: Actor, changed: Changed) -> Changed:
    return await delete_message(chat.outbox, chat.live, actor, changed.message.id)


async def said(chat: Chat, actor: Actor, *others: Actor, title: str = "") -> Changed:
    conversation = await chat.open(actor, *others, title=title)
    message = (await chat.say(actor, conversation.id, "first words")).message
    return Changed(message, message.seq)


async def test_edit_takes_a_place_in_the_log_and_repeated_changes_nothing(chat: Chat) -> None:
    coach, client = chat.house.coach, chat.house.client
    sent = await said(chat, coach, client)
    edited = await edit(chat, coach, sent, "better words")
    assert (edited.seq, edited.message.seq, edited.message.body) == (2, 1, "better words")
    assert edited.message.edited_at is not None
    push = chat.pushes[-1]
    assert (push.event, set(push.user_ids)) == ("message:updated", {coach.user_id, client.user_id})
    assert push.data == {"conversation_id": sent.message.conversation_id, "seq": 2, "message": edited.message}
    assert await get_message(chat.db, client, sent.message.id) == edited.message
    told = len(chat.pushes)
    assert await edit(chat, coach, sent, "better words") == edited
    assert len(chat.pushes) == told
    assert (await chat.say(client, sent.message.conversation_id)).message.seq == 3
    assert await edit(chat, coach, sent, "better words") == edited


async def test_only_its_sender_edits_a_message_while_it_is_there_and_so_are_they(chat: Chat) -> None:
    house = chat.house
    sent = await said(chat, house.coach, house.client, house.owner, title="Team")
    for actor, error in ((house.client, Forbidden), (house.owner, Forbidden), (house.other_coach, NotFound)):
        with pytest.raises(error):
            await edit(chat, actor, sent, "mine")
    leaves = "update conversation_members set left_at = $2 where user_id = $1"
    await chat.db.execute(leaves, house.coach.user_id, sent.message.created_at)
    for change in (edit(chat, house.coach, sent, "late"), delete(chat, house.coach, sent)):
        with pytest.raises(NotFound):
            await change
    await chat.db.execute(leaves, house.coach.user_id, None)
    await delete(chat, house.coach, sent)
    with pytest.raises(Conflict) as refusal:
        await edit(chat, house.coach, sent, "late")
    assert refusal.value.code == "MESSAGE_DELETED"


async def test_deleted_message_keeps_its_place_and_nothing_of_what_it_held(chat: Chat) -> None:
    house = chat.house
    sent = await said(chat, house.coach, house.client)
    await set_reaction(chat.outbox, chat.live, house.client, sent.message.id, "👍", on=True)
    deleted = await delete(chat, house.coach, sent)
    assert (deleted.seq, deleted.message.seq, deleted.message.body, deleted.message.reactions) == (3, 1, "", {})
    assert chat.pushes[-1].event == "message:deleted"
    assert await get_message(chat.db, house.client, sent.message.id) == deleted.message
    row = await chat.db.fetchrow("select * from messages where id = $1", sent.message.id)
    assert row is not None
    assert "first words" not in str(dict(row))
    assert await chat.db.fetchval("select count(*) from message_reactions") == 0
    told = len(chat.pushes)
    assert await delete(chat, house.coach, sent) == deleted
    assert len(chat.pushes) == told
    again = await chat.say(house.coach, sent.message.conversation_id, client_message_id=sent.message.client_message_id)
    assert (again.duplicate, again.message) == (True, deleted.message)
    reply = await chat.say(house.client, sent.message.conversation_id, "Why?", reply_to=sent.message.id)
    assert (reply.message.seq, reply.message.reply_to) == (4, sent.message.id)


async def test_admin_of_a_group_deletes_what_others_say_and_nobody_else_does(chat: Chat) -> None:
    house = chat.house
    group = await chat.open(house.owner, house.coach, house.client, title="Team")
    message = (await chat.say(house.client, group.id)).message
    with pytest.raises(Forbidden):
        await delete(chat, house.coach, Changed(message, 1))
    assert (await delete(chat, house.owner, Changed(message, 1))).seq == 2
    with pytest.raises(Forbidden):
        await delete(chat, house.coach, Changed(message, 1))
    direct = await chat.open(house.coach, house.client)
    theirs = (await chat.say(house.client, direct.id)).message
    with pytest.raises(Forbidden):  # who opened a direct conversation has no more to say in it than the other
        await delete(chat, house.coach, Changed(theirs, 1))
    with pytest.raises(NotFound):
        await delete_message(chat.outbox, chat.live, house.owner, uuid4())


async def test_changes_at_the_same_moment_leave_no_hole_and_end_as_one_of_them(chat: Chat) -> None:
    house = chat.house
    sent = await said(chat, house.coach, house.client)
    bodies = [f"words {n}" for n in range(6)]
    done = await asyncio.gather(
        *(edit(chat, house.coach, sent, body) for body in bodies),
        *(chat.say(house.client, sent.message.conversation_id) for _ in range(6)),
        delete(chat, house.coach, sent),
        return_exceptions=True,
    )
    log = "select array_agg(seq order by seq) from conversation_events where conversation_id = $1"
    seqs = await chat.db.fetchval(log, sent.message.conversation_id)
    refused = [d for d in done if isinstance(d, BaseException)]
    assert seqs == list(range(1, 1 + 1 + len(done) - len(refused)))
    assert all(isinstance(error, Conflict) for error in refused)
    assert (await get_message(chat.db, house.client, sent.message.id)).body == ""


async def test_idempotency_key_keeps_no_words_and_a_repeat_gets_what_is_there_by_now(api: Api, house: House) -> None:
    opens = {"kind": "direct", "member_ids": [str(house.client.user_id)]}
    direct = (await api.post("/api/v1/conversations", house.coach, opens)).data["id"]
    canary, later = "words that will be regretted", (datetime.now(UTC) + timedelta(days=1)).isoformat()
    said = {"conversation_id": direct, "body": canary}
    waits = {"client_message_id": str(uuid4()), "body": canary, "send_at": later}
    posts = {
        "/api/v1/messages": said,
        f"/api/v1/conversations/{direct}/scheduled-messages": waits,
        "/api/v1/conversations": opens,  # with its last message
    }

    async def post(path: str) -> Answer:
        return await api.post(path, house.coach, posts[path], headers={"Idempotency-Key": "once"})

    first = {path: await post(path) for path in posts}
    for path, answer in first.items():
        assert answer.status in (200, 201), path
        again = await post(path)
        assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true"), path
        assert again.data == answer.data, path
    kept = await api.db.fetchval("select string_agg(convert_from(answer, 'UTF8'), ' ') from idempotency_keys")
    assert first["/api/v1/messages"].data["id"] in kept
    assert canary not in kept
    await api.call("DELETE", f"/api/v1/messages/{first['/api/v1/messages'].data['id']}", house.coach)
    again = await post("/api/v1/messages")
    assert (again.status, again.data["body"]) == (201, "")
    assert again.data["deleted_at"]
