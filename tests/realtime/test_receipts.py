"""Receipts of a conversation go out together; notifications are read on one device for all."""

from collections.abc import Iterable
from uuid import UUID, uuid4

from tests.factories import House, make_house
from tests.realtime.conftest import Phones, Process
from tests.waiting import eventually
from wellio.chat.receipts import Receipt
from wellio.live import Push
from wellio.realtime.receipts import Receipts


def receipt(conversation_id: UUID, user_id: UUID, seq: int, audience: Iterable[UUID]) -> Push:
    data = Receipt(conversation_id, user_id, seq, seq)
    return Push(user_ids=tuple(audience), event="receipt", data=data, ephemeral=True)


async def test_five_hundred_readers_are_told_in_two_pushes_with_the_newest_of_each() -> None:
    told: list[Push] = []
    receipts = Receipts(told.append)
    conversation_id, members = uuid4(), [uuid4() for _ in range(500)]
    for seq in (1, 3, 2):
        for user_id in members:
            receipts.take(receipt(conversation_id, user_id, seq, members))
    # Who may not see the others' (somebody is blocked) is told apart from them.
    receipts.take(receipt(conversation_id, members[0], 4, members[:1]))
    assert [push.data.read_seq for push in told] == [1, 4]
    await eventually(lambda: len(told) == 3)
    last = told[-1].data
    assert {last["user_id"], *(each["user_id"] for each in last["others"])} == set(members)
    assert {last["read_seq"], *(each["read_seq"] for each in last["others"])} == {3}
    assert last["conversation_id"] == conversation_id
    receipts.take(receipt(conversation_id, members[0], 5, members))
    receipts.stop()
    assert told[-1].data.read_seq == 5
    assert not receipts._timers


async def test_reading_notifications_is_told_to_ones_other_devices(
    process: Process, phones: Phones, house: House
) -> None:
    db, coach = process.services.db, house.coach
    foreign = await make_house(db, "Other")
    ids = [uuid4() for _ in range(4)]
    await db.execute(
        "insert into notifications (id, practice_id, user_id, kind, title, event_id, created_at)"
        " select t.id, $2, t.user_id, 'x', 'News', t.id, now() - make_interval(mins => 5 - t.n::int)"
        " from unnest($1::uuid[], $3::uuid[]) with ordinality t (id, user_id, n)",
        ids, coach.practice_id, [coach.user_id] * 3 + [house.client.user_id],
    )  # fmt: skip
    reader, tablet = [await phones.connect(process.token(coach)) for _ in range(2)]
    stranger = await phones.connect(process.token(foreign.owner))
    read = {"ids": [str(ids[0])]}
    assert await reader.call("notification:read", read) == {"ok": True, "unread": 2}
    assert await tablet.until("notification:count") == [{"unread": 2}]
    assert await reader.call("notification:read", read) == {"ok": True, "unread": 2}
    others = await stranger.call("notification:read", read)
    assert others == await stranger.call("notification:read", {"ids": [str(uuid4())]})
    assert others["error"]["details"]["fields"] == [{"path": "ids.0", "message": "No such notification."}]
    assert not (await reader.call("notification:read", {"ids": [str(ids[2]), str(ids[3])]}))["ok"]
    second = await db.fetchval("select created_at from notifications where id = $1", ids[1])
    assert await reader.call("notification:read", {"up_to": second.isoformat()}) == {"ok": True, "unread": 1}
    assert await tablet.until("notification:count", 2) == [{"unread": 2}, {"unread": 1}]
    assert reader.of("notification:count") == stranger.of("notification:count") == []
    for odd in ({}, {**read, "up_to": second.isoformat()}, {"up_to": "yesterday"}, {"ids": ["x"]}):
        assert (await reader.call("notification:read", odd))["error"]["code"] == "VALIDATION_FAILED"
    assert await db.fetchval("select read_at from notifications where id = $1", ids[3]) is None
