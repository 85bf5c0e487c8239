"""Groups across processes: who was removed on one is out on the other."""

from uuid import UUID

from tests.factories import House
from tests.realtime.conftest import Phones, Process, message, open_conversation, serving
from wellio.chat.conversation_members import remove_member
from wellio.config import Config


async def test_who_was_removed_gets_nothing_more_and_may_do_nothing_on_another_process(
    config: Config, process: Process, phones: Phones, house: House, direct: UUID
) -> None:
    services = process.services
    group = await open_conversation(services.db, house.coach, house.client, house.owner)
    async with serving(config) as elsewhere:
        coach = await phones.connect(process.token(house.coach))
        client = await phones.connect(elsewhere.token(house.client), url=elsewhere.url)
        await remove_member(services.outbox, services.live, house.coach, group, house.client.user_id)
        (told,) = await client.until("member:changed")
        assert (told["change"], told["user_id"]) == ("removed", str(house.client.user_id))
        for event, payload in (
            ("message:send", message(group)),
            ("typing", {"conversation_id": str(group), "on": True}),
            ("message:read", {"conversation_id": str(group), "seq": 1}),
        ):
            assert (await client.call(event, payload))["error"]["code"] == "NOT_FOUND", event
        assert (await client.call("chat:sync", {"cursors": {str(group): 0}}))["conversations"] == []
        await coach.call("message:send", message(group, "unseen"))
        await coach.call("typing", {"conversation_id": str(group), "on": True})
        await coach.call("message:send", message(direct, "the last"))
        assert [m["body"] for m in await client.until("message:new")] == ["the last"]
        assert client.of("typing") == []
        await client.client.disconnect()
