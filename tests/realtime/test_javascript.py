"""The official JavaScript client with its default options: polling first, then an upgrade to WebSocket."""

import asyncio
import itertools
from uuid import UUID

from tests.api import Api
from tests.factories import House
from tests.realtime.conftest import Process, message
from tests.realtime.javascript import JavaScript, javascript, needs_node
from tests.waiting import eventually
from wellio.chat.history import get_message

pytestmark = needs_node


async def test_two_people_chat(api: Api, house: House, direct: UUID, js: JavaScript) -> None:
    ready = await js.connected("coach", api.token(house.coach))
    assert ready["user_id"] == str(house.coach.user_id)
    assert ready["heads"] == {str(direct): 0}
    await js.connected("client", api.token(house.client))
    sent = await js.call("coach", "message:send", message(direct, "Hi „Klara“"))
    assert (sent["ok"], sent["duplicate"], sent["data"]["seq"]) == (True, False, 1)
    for person in ("coach", "client"):
        assert await js.until(person, "message:new") == [sent["data"]]
    answered = await js.call("client", "message:send", message(direct, reply_to=sent["data"]["id"]))
    assert answered["data"]["reply_to"] == sent["data"]["id"]
    assert (await get_message(api.db, house.coach, UUID(answered["data"]["id"]))).seq == 2


async def test_pipelined_messages_are_acked_and_stored_in_order(
    api: Api, house: House, direct: UUID, js: JavaScript
) -> None:
    await js.connected("client", api.token(house.client))
    await js.connected("coach", api.token(house.coach))
    bodies = [str(n) for n in range(50)]
    js.command("burst", client="coach", event="message:send", items=[message(direct, b) for b in bodies], ack="m")
    await eventually(lambda: js.acks("coach", "m49"))
    assert [js.acks("coach", f"m{n}")[0]["data"]["seq"] for n in range(50)] == list(range(1, 51))
    assert [m["body"] for m in await js.until("client", "message:new", 50)] == bodies


async def test_clients_that_upgrade_under_traffic_miss_nothing_and_get_nothing_twice(
    process: Process, house: House
) -> None:
    """The stock client connects by polling, and goes over to WebSocket while pushes come in all the time."""
    numbers = itertools.count()
    names = [f"client{n}" for n in range(10)]

    async def push_on() -> None:
        while True:
            process.services.live.publish([house.client.user_id], "insight:new", next(numbers))
            await asyncio.sleep(0.0005)

    async with javascript(process.url) as js:
        pushing = asyncio.create_task(push_on())
        for name in names:
            js.connect(name, process.token(house.client))
            await eventually(lambda: js.told(name, "upgrade"))  # noqa: B023 - awaited at once
        pushing.cancel()
        process.services.live.publish([house.client.user_id], "insight:new", last := next(numbers))
        await eventually(lambda: all(js.events(name, "insight:new")[-1:] == [last] for name in names))
        for name in names:
            received = js.events(name, "insight:new")
            assert received == list(range(received[0], last + 1)), name
            events = [line["event"] for line in js.lines if line.get("client") == name and "event" in line]
            assert events[0] == "session:ready"


async def test_client_that_was_away_catches_up_by_sync(api: Api, house: House, direct: UUID, js: JavaScript) -> None:
    await js.connected("coach", api.token(house.coach))
    await js.connected("client", api.token(house.client))
    await js.call("coach", "message:send", message(direct, "1"))
    await eventually(lambda: js.seqs("client", direct) == [1])
    js.command("disconnect", client="client")
    for n in range(2, 6):
        await js.call("coach", "message:send", message(direct, str(n)))
    js.command("connect_again", client="client")
    ready = (await eventually(lambda: js.events("client", "session:ready")[1:]))[0]
    assert (ready["heads"], ready["unread"]) == ({str(direct): 5}, 5)
    answer = await js.call("client", "chat:sync", {"cursors": {str(direct): 1}})
    (synced,) = answer["conversations"]
    assert [(e["type"], e["seq"], e["body"]) for e in synced["events"]] == [
        ("message:new", n, str(n)) for n in range(2, 6)
    ]
    read = await js.call("client", "message:read", {"conversation_id": str(direct), "seq": 5})
    assert (read["last_read_seq"], read["unread"]) == (5, 0)


async def test_refusal_of_a_bad_token_has_a_code(api: Api, js: JavaScript) -> None:
    js.connect("nobody", "not a token")
    (refusal,) = await eventually(lambda: js.told("nobody", "connect_error"))
    assert refusal["data"]["code"] == "UNAUTHORIZED"
    assert not js.told("nobody", "connect")


async def test_client_whose_session_ends_is_told_and_refused_when_it_comes_back(
    api: Api, house: House, js: JavaScript
) -> None:
    await js.connected("client", api.token(house.client))
    assert (await api.post("/api/v1/auth/logout", house.client)).status == 200
    (told,) = await eventually(lambda: js.events("client", "auth:revoked"))
    assert told == {"code": "SESSION_ENDED"}
    (refusal,) = await eventually(lambda: js.told("client", "connect_error"))
    assert refusal["data"]["code"] == "UNAUTHORIZED"


async def test_client_whose_link_breaks_reconnects_by_itself(
    api: Api, house: House, direct: UUID, js: JavaScript
) -> None:
    await js.connected("client", api.token(house.client))
    await eventually(lambda: js.told("client", "upgrade"))
    js.command("cut", client="client")
    await eventually(lambda: len(js.events("client", "session:ready")) == 2)
    assert (await js.call("client", "message:send", message(direct)))["ok"]
