"""Reports, and owners who read conversations that they are not in."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from tests.chat.conftest import Chat
from tests.factories import make_house
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.attribution import ATTRIBUTION, Attribution
from wellio.chat.conversations import get_conversation
from wellio.chat.history import get_message, sync
from wellio.chat.message_changes import MessageEdit, edit_message
from wellio.chat.oversight import (
    OverseenQuery,
    OversightChanges,
    change_oversight,
    get_oversight,
    list_overseen,
    oversee_conversation,
)
from wellio.chat.receipts import count_unread
from wellio.chat.reports import (
    NewReport,
    Report,
    ReportChanges,
    ReportQuery,
    list_reports,
    report_message,
    settle_report,
)
from wellio.db import Database
from wellio.errors import Conflict, Forbidden, Invalid, NotFound
from wellio.events import Cursor, Event, EventType
from wellio.outbox import list_events_after
from wellio.pages import PageQuery
from wellio.sealing import Sealer
from wellio.subscriptions import notify

SEALER = Sealer({"k1": bytes(range(32))})


async def report(chat: Chat, actor: Actor, message_id: UUID, note: str = "") -> UUID:
    new = NewReport(reason="harassment", note=note)
    return (await report_message(chat.outbox, SEALER, actor, message_id, new)).id


async def settle(chat: Chat, actor: Actor, report_id: UUID, **changes: str) -> Report:
    wanted = ReportChanges.model_validate(changes)
    return await settle_report(chat.outbox, chat.live, SEALER, actor, report_id, wanted)


async def test_report_keeps_what_was_said_and_owners_alone_hear_of_it(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, title="Team")).id
    sent = (await chat.say(house.coach, group, "cruel words")).message
    report_id = await report(chat, house.client, sent.id, "please look")
    await edit_message(chat.outbox, chat.live, house.coach, sent.id, MessageEdit(body="kind words"))
    for attempt, error in (
        (report(chat, house.client, sent.id), Conflict),
        (report(chat, house.coach, sent.id), Conflict),
        (report(chat, house.owner, sent.id), NotFound),
        (list_reports(chat.db, SEALER, house.coach, ReportQuery()), Forbidden),
        (settle(chat, (await make_house(chat.db)).owner, report_id, status="dismissed"), NotFound),
        (settle(chat, house.owner, report_id, status="dismissed", action="delete_message"), Invalid),
    ):
        with pytest.raises(error):
            await attempt
    (seen,) = (await list_reports(chat.db, SEALER, house.owner, ReportQuery(status="open"))).items
    assert (seen.body, seen.note, seen.sender_id, seen.reporter_id) == (
        "cruel words", "please look", house.coach.user_id, house.client.user_id,
    )  # fmt: skip
    stored = await chat.db.fetchrow("select note, body from message_reports")
    assert stored
    assert b"words" not in stored["body"]
    assert b"look" not in stored["note"]
    events = await eventually(lambda: events_until(chat.db, EventType.MESSAGE_REPORTED))
    assert "words" not in str(events)
    async with chat.db.transaction() as connection:
        pushes = await notify(connection, events)
    assert [p.user_ids for p in pushes] == [(house.owner.user_id,)]


async def events_until(db: Database, last: EventType) -> Sequence[Event]:
    """All, when one of that type is among them: other databases' transactions may hold a part back."""
    events = await list_events_after(db, Cursor(), 100)
    return events if last in [event.type for event in events] else ()


async def test_settling_deletes_the_message_or_removes_its_sender_as_the_log_tells(chat: Chat) -> None:
    house = chat.house
    group = (await chat.open(house.coach, house.client, title="Team")).id
    direct = (await chat.open(house.coach, house.client)).id
    one, two = [(await chat.say(house.coach, group, str(n))).message for n in range(2)]
    private = (await chat.say(house.coach, direct)).message
    ids = [await report(chat, house.client, m.id) for m in (one, two, private)]
    chat.pushes.clear()
    settled = await settle(chat, house.owner, ids[0], status="resolved", action="delete_message")
    assert (settled.status, settled.action, settled.resolved_by) == ("resolved", "delete_message", house.owner.user_id)
    assert (await get_message(chat.db, house.client, one.id)).deleted_at is not None
    with pytest.raises(Conflict):
        await settle(chat, house.owner, ids[0], status="dismissed")
    with pytest.raises(Invalid):
        await settle(chat, house.owner, ids[2], status="resolved", action="remove_member")
    await settle(chat, house.owner, ids[1], status="resolved", action="remove_member")
    with pytest.raises(NotFound):
        await chat.say(house.coach, group)
    told = [(p.event, p.data["seq"], set(p.user_ids)) for p in chat.pushes]
    both, client = {house.coach.user_id, house.client.user_id}, {house.client.user_id}
    assert told == [("message:deleted", 3, both), ("member:changed", 4, both), ("member:changed", 5, client)]
    (synced,) = await sync(chat.db, house.client, {group: 2}, limit=10)
    assert [(e["type"], e["seq"]) for e in synced.events] == [(name, seq) for name, seq, _ in told]


async def test_owners_read_what_the_policy_allows_and_each_reading_is_recorded(chat: Chat) -> None:
    house, foreign = chat.house, await make_house(chat.db)
    direct = (await chat.open(house.coach, house.client)).id
    sent = (await chat.say(house.coach, direct, "between us")).message
    query = OverseenQuery(reason="A complaint of 3 May")

    async def read(actor: Actor) -> list[str]:
        return [m.body for m in (await oversee_conversation(chat.outbox, actor, direct, query)).items]

    async def policy_is(policy: str) -> None:
        await change_oversight(chat.outbox, house.owner, OversightChanges.model_validate({"message_oversight": policy}))

    assert (await get_oversight(chat.db, house.client)).message_oversight == "reported"
    assert (await get_conversation(chat.db, house.client, direct)).oversight == "reported"
    assert (await list_overseen(chat.db, house.owner, PageQuery())).items == []
    with pytest.raises(NotFound):
        await read(house.owner)
    await report(chat, house.client, sent.id)
    (listed,) = (await list_overseen(chat.db, house.owner, PageQuery())).items
    assert (listed.id, listed.open_reports) == (direct, 1)
    chat.pushes.clear()
    token = ATTRIBUTION.set(
        Attribution(operation="test", practice_id=house.practice.id, user_id=house.owner.user_id, role="owner")
    )
    try:
        assert await read(house.owner) == ["between us"]
    finally:
        ATTRIBUTION.reset(token)
    row = await chat.db.fetchrow("select actor_id, subject_id, details from audit_log where action = 'test'")
    assert row
    assert (row["actor_id"], row["subject_id"]) == (house.owner.user_id, direct)
    assert row["details"] == {"events": ["ConversationOverseen"], "reason": "A complaint of 3 May"}
    await chat.say(house.coach, direct)
    assert all(house.owner.user_id not in p.user_ids for p in chat.pushes)
    assert (await count_unread(chat.db, house.owner)).unread == 0
    for actor, error in ((house.coach, Forbidden), (foreign.owner, NotFound)):
        with pytest.raises(error):
            await read(actor)
    await policy_is("none")
    with pytest.raises(Forbidden):
        await read(house.owner)
    with pytest.raises(Forbidden):
        await list_overseen(chat.db, house.owner, PageQuery())
    await policy_is("all")
    other = (await chat.open(house.other_coach, house.other_client)).id
    assert {c.id for c in (await list_overseen(chat.db, house.owner, PageQuery())).items} == {direct, other}
    with pytest.raises(NotFound):
        await oversee_conversation(chat.outbox, house.owner, uuid4(), query)
