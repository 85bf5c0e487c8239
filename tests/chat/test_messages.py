"""Messages: stored once, in one order, by members only; told of after the commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import ValidationError

from tests.chat.conftest import Chat
from tests.factories import make_house
from tests.waiting import eventually
from wellio.chat.messages import MAX_BATCH, NewMessage, Sent
from wellio.db import Database
from wellio.errors import Invalid, NotFound, Unavailable
from wellio.events import Cursor, Event
from wellio.idempotency import AlreadyAnswered, Once
from wellio.outbox import list_events_after


async def test_message_reaches_every_member_and_takes_the_next_seq(chat: Chat) -> None:
    house = chat.house
    group = await chat.open(house.coach, house.client, house.owner, title="Team")
    first = await chat.say(house.coach, group.id, "one")
    second = await chat.say(house.client, group.id, "two")
    assert (first.message.seq, second.message.seq) == (1, 2)
    pushed = [p for p in chat.pushes if p.event == "message:new"]
    assert [p.data for p in pushed] == [first.message, second.message]
    members = {house.coach.user_id, house.client.user_id, house.owner.user_id}
    assert all(set(p.user_ids) == members for p in pushed)


async def test_repeat_gets_the_first_answer_and_burns_no_seq(chat: Chat) -> None:
    coach, direct = chat.house.coach, await chat.open(chat.house.coach, chat.house.client)
    name = uuid4()
    first = await chat.say(coach, direct.id, "one", client_message_id=name)
    again = await chat.say(coach, direct.id, "other words", client_message_id=name)
    assert again == Sent(first.message, duplicate=True)
    assert (await chat.say(coach, direct.id, "two")).message.seq == 2
    assert await chat.bodies(direct.id) == ["one", "two"]
    assert len([p for p in chat.pushes if p.event == "message:new"]) == 2


async def test_same_message_sent_at_once_ten_times_is_stored_once(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    name = uuid4()
    sent = await asyncio.gather(*(chat.say(chat.house.coach, direct.id, client_message_id=name) for _ in range(10)))
    assert sorted(s.duplicate for s in sent) == [False] + [True] * 9
    assert len({s.message.id for s in sent}) == 1
    assert len(await chat.bodies(direct.id)) == 1


async def test_two_senders_may_use_the_same_client_message_id(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    name = uuid4()
    one = await chat.say(chat.house.coach, direct.id, client_message_id=name)
    two = await chat.say(chat.house.client, direct.id, client_message_id=name)
    assert not two.duplicate
    assert one.message.id != two.message.id


async def test_pipelined_messages_keep_their_order(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    bodies = [str(n) for n in range(3 * MAX_BATCH)]
    await asyncio.gather(*(chat.say(chat.house.coach, direct.id, body) for body in bodies))
    assert await chat.bodies(direct.id) == bodies


@pytest.mark.parametrize("stranger", ["owner", "other_coach", "other_client", "foreign"])
async def test_stranger_cannot_send(chat: Chat, stranger: str) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    actor = (await make_house(chat.db)).owner if stranger == "foreign" else getattr(chat.house, stranger)
    with pytest.raises(NotFound) as refusal:
        await chat.say(actor, direct.id)
    with pytest.raises(NotFound) as unknown:
        await chat.say(actor, uuid4())
    assert (refusal.value.code, refusal.value.message) == (unknown.value.code, unknown.value.message)
    assert await chat.bodies(direct.id) == []


async def test_who_left_or_was_suspended_cannot_send(chat: Chat) -> None:
    group = await chat.open(chat.house.owner, chat.house.coach, chat.house.client, title="Team")
    await chat.db.execute(
        "update conversation_members set left_at = now() where user_id = $1", chat.house.coach.user_id
    )
    await chat.db.execute("update users set status = 'suspended' where id = $1", chat.house.client.user_id)
    for actor in (chat.house.coach, chat.house.client):
        with pytest.raises(NotFound):
            await chat.say(actor, group.id)
    sent = await chat.say(chat.house.owner, group.id)
    assert sent.message.seq == 1
    assert chat.house.coach.user_id not in chat.pushes[-1].user_ids


async def test_bad_message_of_a_batch_fails_alone(chat: Chat) -> None:
    coach, direct = chat.house.coach, await chat.open(chat.house.coach, chat.house.client)
    async with stuck(chat, direct.id):
        sends = [
            asyncio.ensure_future(sending)
            for sending in (
                chat.say(coach, direct.id, "good"),
                chat.say(coach, uuid4(), "nowhere"),
                chat.say(chat.house.other_coach, direct.id, "stranger"),
                chat.say(coach, direct.id, "reply to nothing", reply_to=uuid4()),
                chat.say(coach, direct.id, "good too"),
            )
        ]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert [type(o) for o in outcomes] == [Sent, NotFound, NotFound, Invalid, Sent]
    assert await chat.bodies(direct.id) == ["good", "good too"]


async def test_message_the_database_refuses_fails_alone(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    new = NewMessage.model_construct(
        conversation_id=direct.id, client_message_id=uuid4(), body="NUL \0 slipped through", reply_to=None
    )
    async with stuck(chat, direct.id):
        sends = [
            asyncio.ensure_future(chat.say(chat.house.coach, direct.id, "before")),
            asyncio.ensure_future(chat.writer.send(chat.house.coach, new)),
            asyncio.ensure_future(chat.say(chat.house.coach, direct.id, "after")),
        ]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert isinstance(outcomes[1], asyncpg.PostgresError)
    assert await chat.bodies(direct.id) == ["before", "after"]


async def test_locked_conversation_does_not_fail_the_others(chat: Chat) -> None:
    house = chat.house
    locked = await chat.open(house.coach, house.client)
    others = [await chat.open(house.owner, house.coach, house.client, title=str(n)) for n in range(4)]
    async with stuck(chat, locked.id):
        waiting = asyncio.ensure_future(chat.say(house.coach, locked.id, "late"))
        sent = await asyncio.gather(*(chat.say(house.coach, c.id) for c in others))
        with pytest.raises(Unavailable):
            await waiting
    assert all(s.message.seq == 1 for s in sent)
    assert (await chat.say(house.coach, locked.id, "now")).message.seq == 1


async def test_reply_names_a_message_of_the_same_conversation(chat: Chat) -> None:
    house = chat.house
    here, there = await chat.open(house.coach, house.client), await chat.open(house.coach, house.owner)
    question = await chat.say(house.client, here.id, "?")
    answer = await chat.say(house.coach, here.id, "!", reply_to=question.message.id)
    assert answer.message.reply_to == question.message.id
    with pytest.raises(Invalid) as error:
        await chat.say(house.coach, there.id, "!", reply_to=question.message.id)
    assert error.value.details["fields"][0]["path"] == "reply_to"


@pytest.mark.parametrize("body", ["", "   \n", "x" * 8001, "NUL \0", "\ud800"])
def test_bodies_that_are_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        NewMessage(conversation_id=uuid4(), client_message_id=uuid4(), body=body)


async def test_body_is_kept_as_it_was_written(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    body = "  „Größe“ \u202e👩‍👩‍👧 \r\n" + "x" * 7900
    sent = await chat.say(chat.house.client, direct.id, body)
    assert sent.message.body == body
    assert await chat.bodies(direct.id) == [body]


async def test_message_is_an_event_about_the_client_without_its_words(chat: Chat) -> None:
    house = chat.house
    direct = await chat.open(house.coach, house.client)
    group = await chat.open(house.coach, house.client, house.owner, title="Team")
    await chat.say(house.coach, direct.id, "secret words")
    await chat.say(house.client, group.id, "secret words")
    await chat.say(house.coach, group.id, "secret words")
    events = await eventually(lambda: events_of(chat.db, 5))
    told = [e for e in events if e.type == "MessageSent"]
    assert [(e.client_id, e.payload) for e in told] == [
        (house.client_id, {"by": "coach", "seq": 1}),
        (house.client_id, {"by": "client", "seq": 1}),
        (None, {"by": "coach", "seq": 2}),
    ]
    assert [e.subject_id for e in told] == [direct.id, group.id, group.id]
    assert "secret" not in str(events)


async def events_of(db: Database, count: int) -> list[Event]:
    events = await list_events_after(db, Cursor(), 100)
    return list(events) if len(events) == count else []


async def test_client_who_writes_was_active_and_a_coach_who_writes_was_not(chat: Chat) -> None:
    house = chat.house
    direct = await chat.open(house.coach, house.client)
    last = "select last_activity_at from clients where id = $1"
    await chat.say(house.coach, direct.id)
    assert await chat.db.fetchval(last, house.client_id) is None
    sent = await chat.say(house.client, direct.id)
    assert await chat.db.fetchval(last, house.client_id) == sent.message.created_at


async def test_client_row_that_somebody_edits_does_not_hold_a_message_up(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    async with chat.db.transaction() as editing:
        await editing.execute("update clients set goals = 'x' where id = $1", chat.house.client_id)
        assert (await chat.say(chat.house.client, direct.id)).message.seq == 1


async def test_sender_who_goes_away_does_not_lose_the_message(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    async with stuck(chat, direct.id):
        sending = asyncio.ensure_future(chat.say(chat.house.coach, direct.id, "kept"))
        await asyncio.sleep(0)
        sending.cancel()
    await eventually(lambda: chat.bodies(direct.id))
    assert await chat.bodies(direct.id) == ["kept"]


async def test_stop_stores_what_waits(chat: Chat) -> None:
    direct = await chat.open(chat.house.coach, chat.house.client)
    sends = [asyncio.ensure_future(chat.say(chat.house.coach, direct.id, str(n))) for n in range(100)]
    await asyncio.sleep(0)
    await chat.writer.stop()
    assert [(await s).message.seq for s in sends] == list(range(1, 101))
    with pytest.raises(Unavailable):
        await chat.say(chat.house.coach, direct.id)


async def test_idempotency_key_gives_the_first_answer_and_refuses_another_body(chat: Chat) -> None:
    coach, direct = chat.house.coach, await chat.open(chat.house.coach, chat.house.client)

    def once(body: bytes) -> Once:
        return Once(
            user_id=coach.user_id,
            operation="post_message",
            key="k",
            body_hash=body,
            status=201,
            render=lambda m: m.body.encode(),
        )

    def send(words: str) -> object:
        new = NewMessage(conversation_id=direct.id, client_message_id=uuid4(), body=words)
        return chat.writer.send(coach, new, once=once(words.encode()))

    await send("one")  # type: ignore[misc]
    with pytest.raises(AlreadyAnswered) as repeat:
        await send("one")  # type: ignore[misc]
    assert (repeat.value.status, repeat.value.answer) == (201, b"one")
    with pytest.raises(Invalid) as other:
        await send("two")  # type: ignore[misc]
    assert other.value.code == "IDEMPOTENCY_KEY_REUSED"
    assert await chat.bodies(direct.id) == ["one"]


@asynccontextmanager
async def stuck(chat: Chat, conversation_id: UUID) -> AsyncIterator[None]:
    """Holds a conversation's lock, so that what is sent meanwhile waits and goes on together."""
    async with chat.db.transaction() as connection:
        await connection.execute("select from conversations where id = $1 for update", conversation_id)
        yield
