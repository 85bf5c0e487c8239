"""Send later: by whose clock, once, in order, and why not."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.chat.conftest import Chat
from wellio.accounts.actors import Actor
from wellio.chat import scheduled_messages
from wellio.chat.blocks import block_person
from wellio.chat.scheduled_messages import (
    MAX_WAITING,
    NewScheduledMessage,
    ScheduledMessage,
    ScheduledMessageChanges,
    ScheduledMessageQuery,
    cancel_scheduled_message,
    change_scheduled_message,
    get_scheduled_message,
    list_scheduled_messages,
    schedule_message,
)
from wellio.chat.scheduled_sender import ScheduledSender
from wellio.errors import Conflict, Invalid, NotFound
from wellio.sealing import Sealer

SEALER = Sealer({"k1": bytes(range(32))})


async def schedule(
    chat: Chat, actor: Actor, conversation_id: UUID, body: str = "Later", **when: Any
) -> ScheduledMessage:
    when = when or {"send_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    new = NewScheduledMessage.model_validate({"client_message_id": uuid4(), "body": body, **when})
    return (await schedule_message(chat.outbox, chat.live, SEALER, actor, conversation_id, new)).message


def sender(chat: Chat) -> ScheduledSender:
    return ScheduledSender(chat.db, chat.live, chat.writer, SEALER)


async def all_due(chat: Chat) -> None:
    """Time passes: each is due by now, in the order that was asked for."""
    await chat.db.execute("update scheduled_messages set due_at = due_at - interval '2 days'")


async def test_it_is_sealed_while_it_waits_and_sent_once_in_order_by_the_one_writer(chat: Chat) -> None:
    house = chat.house
    direct = (await chat.open(house.coach, house.client)).id
    soon = datetime.now(UTC) + timedelta(minutes=5)
    late = [
        await schedule(chat, house.coach, direct, f"Later {n}", send_at=(soon - timedelta(seconds=n)).isoformat())
        for n in range(4)
    ]
    assert b"Later" not in await chat.db.fetchval("select string_agg(body, '') from scheduled_messages")
    await sender(chat).send_due()
    assert await chat.bodies(direct) == []
    await all_due(chat)
    chat.pushes.clear()
    # Two leaders for a moment, and one that died after it had stored the first.
    first = late[-1]
    await chat.say(house.coach, direct, "Later 3", client_message_id=first.client_message_id)
    await asyncio.gather(sender(chat).send_due(), sender(chat).send_due())
    assert await chat.bodies(direct) == ["Later 3", "Later 2", "Later 1", "Later 0"]
    page = await list_scheduled_messages(chat.db, SEALER, house.coach, ScheduledMessageQuery(status="sent"))
    assert [(m.body, m.failure) for m in page.items] == [(None, None)] * 4
    told = [p for p in chat.pushes if p.event == "scheduled:changed"]
    assert {p.user_ids for p in told} == {(house.coach.user_id,)}
    assert sorted(p.data.id for p in told) == sorted(m.id for m in late)
    await sender(chat).send_due()
    assert len(await chat.bodies(direct)) == 4


async def test_wall_time_is_the_recipients_and_clocks_that_change_follow_the_calendars_rule(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled_messages, "LONGEST_WAIT", timedelta(days=40_000))
    house = chat.house
    await chat.db.execute("update users set timezone = 'Europe/Berlin' where id = $1", house.client.user_id)
    direct = (await chat.open(house.coach, house.client)).id
    group = (await chat.open(house.coach, house.client, title="Team")).id

    async def at(day: str, clock: str, conversation_id: UUID = direct, **more: str) -> tuple[str, str | None]:
        scheduled = await schedule(chat, house.coach, conversation_id, local_date=day, local_time=clock, **more)
        return scheduled.send_at.astimezone(UTC).isoformat(), scheduled.timezone

    assert await at("2099-01-10", "09:00") == ("2099-01-10T08:00:00+00:00", "Europe/Berlin")
    assert await at("2037-03-29", "02:30") == ("2037-03-29T01:30:00+00:00", "Europe/Berlin")  # skipped: 03:30
    assert await at("2037-10-25", "02:30") == ("2037-10-25T00:30:00+00:00", "Europe/Berlin")  # twice: the first
    assert await at("2099-01-10", "09:00", group, timezone="Asia/Tokyo") == ("2099-01-10T00:00:00+00:00", "Asia/Tokyo")
    for conversation_id, when in (
        (group, {"local_date": "2099-01-10", "local_time": "09:00"}),
        (direct, {"local_date": "2001-01-10", "local_time": "09:00"}),
        (direct, {"send_at": "2001-01-10T00:00:00Z"}),
        (direct, {"send_at": "2099-01-10T00:00:00Z", "timezone": "UTC"}),
        (direct, {"local_date": "2099-01-10"}),
        (direct, {"send_at": "2099-01-10T00:00:00Z", "reply_to": str(uuid4())}),
    ):
        with pytest.raises(Invalid):
            await schedule(chat, house.coach, conversation_id, **when)


async def test_why_it_was_not_sent_is_told_to_its_sender(chat: Chat) -> None:
    house = chat.house
    direct = (await chat.open(house.coach, house.client)).id
    group = (await chat.open(house.coach, house.client, house.other_coach, house.owner, title="Team")).id
    blocked = await schedule(chat, house.coach, direct)
    removed = await schedule(chat, house.client, group)
    suspended = await schedule(chat, house.other_coach, group)
    unread = await schedule(chat, house.owner, group)
    sent = await schedule(chat, house.coach, group, "fine")
    await block_person(chat.outbox, chat.live, house.client, house.coach.user_id)
    await chat.db.execute(
        "update conversation_members set left_at = now() where conversation_id = $1 and user_id = $2",
        group, house.client.user_id,
    )  # fmt: skip
    await chat.db.execute("update users set status = 'suspended' where id = $1", house.other_coach.user_id)
    await chat.db.execute("update scheduled_messages set body = 'x' where id = $1", unread.id)
    await all_due(chat)
    chat.pushes.clear()
    await sender(chat).send_due()
    told = {p.data.id: (p.data.status, p.data.failure) for p in chat.pushes if p.event == "scheduled:changed"}
    assert told == {
        blocked.id: ("failed", "BLOCKED"),
        removed.id: ("failed", "NOT_A_MEMBER"),
        suspended.id: ("failed", "SENDER_SUSPENDED"),
        unread.id: ("failed", "UNREADABLE"),
        sent.id: ("sent", None),
    }
    assert (await get_scheduled_message(chat.db, SEALER, house.client, removed.id)).body == "Later"


async def test_slow_mode_holds_it_and_it_goes_when_its_turn_comes(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, title="Team")).id
    await chat.db.execute("update conversations set slow_mode_s = 600")
    await chat.say(house.client, group, "first")
    held = await schedule(chat, house.client, group, "second")
    await all_due(chat)
    await sender(chat).send_due()
    assert (await get_scheduled_message(chat.db, SEALER, house.client, held.id)).status == "waiting"
    await sender(chat).send_due()
    assert await chat.bodies(group) == ["first"]
    await chat.db.execute("update conversation_members set last_sent_at = last_sent_at - interval '600 seconds'")
    await all_due(chat)
    await sender(chat).send_due()
    assert await chat.bodies(group) == ["first", "second"]


async def test_it_is_changed_and_cancelled_until_it_is_sent_and_by_its_sender_alone(chat: Chat) -> None:
    house = chat.house
    direct = (await chat.open(house.coach, house.client)).id
    one, two = [await schedule(chat, house.coach, direct, str(n)) for n in range(2)]
    again = NewScheduledMessage.model_validate(
        {"client_message_id": one.client_message_id, "body": "0", "send_at": one.send_at.isoformat()}
    )
    repeat = await schedule_message(chat.outbox, chat.live, SEALER, house.coach, direct, again)
    assert (repeat.created, repeat.message) == (False, one)

    async def change(actor: Actor, **changes: Any) -> ScheduledMessage:
        wanted = ScheduledMessageChanges.model_validate(changes)
        return await change_scheduled_message(chat.outbox, chat.live, SEALER, actor, one.id, wanted)

    for attempt in (
        change(house.client, body="mine"),
        cancel_scheduled_message(chat.outbox, chat.live, SEALER, house.client, one.id),
        get_scheduled_message(chat.db, SEALER, house.owner, one.id),
        schedule(chat, house.owner, direct),
    ):
        with pytest.raises(NotFound):
            await attempt
    changed = await change(house.coach, body="other words")
    assert (changed.body, changed.send_at, changed.version) == ("other words", one.send_at, 2)
    await cancel_scheduled_message(chat.outbox, chat.live, SEALER, house.coach, two.id)
    assert chat.pushes[-1].data["status"] == "cancelled"
    await all_due(chat)
    await sender(chat).send_due()
    assert await chat.bodies(direct) == ["other words"]
    with pytest.raises(Conflict) as error:
        await change(house.coach, body="too late")
    assert error.value.code == "ALREADY_SENT"
    await chat.db.execute(
        "insert into scheduled_messages"
        " (id, practice_id, conversation_id, sender_id, client_message_id, send_at, due_at)"
        " select gen_random_uuid(), $1, $2, $3, gen_random_uuid(), now(), now() + interval '1 day'"
        " from generate_series(1, $4)",
        house.practice.id, direct, house.coach.user_id, MAX_WAITING,
    )  # fmt: skip
    with pytest.raises(Conflict):
        await schedule(chat, house.coach, direct)
