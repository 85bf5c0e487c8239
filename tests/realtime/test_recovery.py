"""Connection state recovery: the stock client that comes back gets what it missed, from the database."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api import Api
from tests.factories import House
from tests.realtime.conftest import Phones, Process, message, open_conversation, serving
from tests.realtime.faults import Balancer, balancer
from tests.realtime.javascript import JavaScript, javascript, needs_node
from tests.realtime.raw import Raw, open_raw
from tests.realtime.writers import shown_by
from tests.waiting import eventually
from wellio.chat import recovery
from wellio.chat.conversations import ConversationChanges, change_conversation
from wellio.chat.history import MessageQuery, list_messages
from wellio.chat.message_changes import MessageEdit, delete_message, edit_message
from wellio.chat.reactions import set_reaction
from wellio.chat.values import NewMessage
from wellio.config import Config
from wellio.db import Database
from wellio.live import Place
from wellio.realtime.offsets import MAX_RANGES, Offset, Placed, parse_offset

LOG = ("message:new", "conversation:updated")


@dataclass
class Away:
    """An official client behind a balancer, which is cut off while things happen elsewhere."""

    js: JavaScript
    balancer: Balancer
    client: str = "client"

    def got(self) -> list[tuple[str, str, int]]:
        """What came of the logs, in order."""
        lines = [line for line in self.js.lines if line.get("client") == self.client and line.get("event") in LOG]
        return [(line["event"], line["data"].get("conversation_id"), line["data"]["seq"]) for line in lines]

    def names(self) -> list[str]:
        return [line["event"] for line in self.js.lines if line.get("client") == self.client and "event" in line]

    async def come_back(self, url: str) -> bool:
        """Whether the client saw that it was recovered."""
        times = len(self.js.events(self.client, "session:ready"))
        self.balancer.lead_to(url)
        await eventually(lambda: len(self.js.events(self.client, "session:ready")) > times)
        recovered: bool = self.js.told(self.client, "connect")[-1]["recovered"]
        return recovered


@pytest.fixture
async def away() -> AsyncIterator[Away]:
    async with balancer() as made, javascript(made.url) as js:
        yield Away(js, made)


async def send(process: Any, actor: Any, conversation_id: UUID, times: int = 1) -> None:
    for _ in range(times):
        new = NewMessage(conversation_id=conversation_id, client_message_id=uuid4(), body="Hello")
        await process.services.messages.send(actor, new)


@pytest.mark.node
@needs_node[1]
async def test_client_whose_link_was_cut_gets_what_it_missed_once_on_any_process(
    config: Config, db: Database, house: House, direct: UUID, away: Away
) -> None:
    group = await open_conversation(db, house.owner, house.coach, house.client)
    chats = (direct, group)
    want: list[tuple[str, str, int]] = []

    def wanted(event: str, *places: tuple[UUID, int]) -> None:
        want.extend((event, str(conversation_id), seq) for conversation_id, seq in places)

    async with serving(config) as one:
        away.balancer.lead_to(one.url)
        ready = await away.js.connected("client", one.token(house.client))
        assert ready["heads"] == {str(direct): 0, str(group): 0}
        for chat in (*chats, *chats):
            await send(one, house.coach, chat)
        wanted("message:new", (direct, 1), (group, 1), (direct, 2), (group, 2))
        await eventually(lambda: away.got() == want)
        await away.balancer.cut()
        # On the process it was on: more than fits into a queue, an edit of the group, and a lost ephemeral.
        await send(one, house.coach, direct, 500)
        changes = ConversationChanges(title="Runners")
        await change_conversation(one.services.outbox, one.services.live, house.owner, group, changes)
        await send(one, house.coach, group)
        assert await away.come_back(one.url)
        missed = away.got()[len(want) :]
        wanted("message:new", *[(direct, seq) for seq in range(3, 503)])
        wanted("conversation:updated", (group, 3))
        wanted("message:new", (group, 4))
        assert sorted(missed) == sorted(want[4:])
        assert [p for p in missed if p[1] == str(group)] == want[-2:]
        assert [name for name in away.names() if name in (*LOG, "session:ready")][-2:] == [
            "message:new",
            "session:ready",
        ]
        await send(one, house.coach, direct)
        wanted("message:new", (direct, 503))
        await eventually(lambda: len(away.got()) == len(want))
        await away.balancer.cut()
    # After a restart, on another process; and again at once, when there was nothing to miss.
    async with serving(config) as other:
        await send(other, house.coach, group)
        await send(other, house.owner, group)
        wanted("message:new", (group, 5), (group, 6))
        for _ in range(2):
            assert await away.come_back(other.url)
            assert away.js.events("client", "session:ready")[-1]["heads"] == {str(direct): 503, str(group): 6}
            await away.balancer.cut()
        assert sorted(away.got()) == sorted(want)
        # Whoever is no longer in a conversation gets nothing more of it.
        await db.execute("update conversation_members set left_at = now() where user_id = $1 and conversation_id = $2",
                         house.client.user_id, group)  # fmt: skip
        await send(other, house.owner, group)
        await send(other, house.coach, direct)
        wanted("message:new", (direct, 504))
        assert await away.come_back(other.url)
        await send(other, house.coach, direct)
        wanted("message:new", (direct, 505))
        await eventually(lambda: len(away.got()) == len(want))
        assert sorted(away.got()) == sorted(want)


@pytest.mark.node
@needs_node[1]
async def test_edits_reactions_and_deletions_come_to_who_returns_and_to_who_is_new(
    process: Process, house: House, direct: UUID, away: Away
) -> None:
    services, coach = process.services, house.coach
    away.balancer.lead_to(process.url)
    await away.js.connected("client", process.token(house.client), chat=True)

    async def say(body: str) -> UUID:
        new = NewMessage(conversation_id=direct, client_message_id=uuid4(), body=body)
        return (await services.messages.send(coach, new)).message.id

    known = [await say(f"known {n}") for n in range(4)]
    await eventually(lambda: len(away.js.applied("client", direct)) == 4)
    await away.balancer.cut()
    told = services.outbox, services.live, coach
    for n, message_id in enumerate([*known, *[await say(f"new {n}") for n in range(4)]]):
        await set_reaction(*told, message_id, "👍", on=True)
        await edit_message(*told, message_id, MessageEdit(body=f"edited {n}"))
        if n % 4 == 1:
            await set_reaction(*told, message_id, "👍", on=False)
        if n % 4 == 2:
            await delete_message(*told, message_id)
    assert await away.come_back(process.url)
    await away.js.connected("tablet", process.token(house.client), chat=True)
    page = await list_messages(services.db, coach, direct, MessageQuery(after_seq=0))
    stored = {
        str(m.id): (m.body, m.deleted_at is not None, {e: list(map(str, u)) for e, u in m.reactions.items()})
        for m in page.items
    }
    assert sorted(body for body, _, _ in stored.values()) == ["", ""] + [f"edited {n}" for n in (0, 1, 3, 4, 5, 7)]
    head = await services.db.fetchval("select last_seq from conversations where id = $1", direct)
    for name in ("client", "tablet"):
        await eventually(lambda name=name: len(away.js.applied(name, direct)) == head)  # type: ignore[misc]
        log = away.js.applied(name, direct)
        assert ([event["seq"] for event in log], shown_by(log)) == (list(range(1, head + 1)), stored), name
    assert (away.js.told("client", "sync"), len(away.js.told("tablet", "sync"))) == ([], 1)


@dataclass
class Comer:
    """Connects by hand: `frames` as they came, and the pid and last offset to bring along."""

    raw: Raw
    pid: str | None = None
    offset: str | None = None
    events: list[tuple[str, Any]] = field(default_factory=list)

    async def come_in(self, **auth: Any) -> None:
        await self.raw.websocket.send_str("40" + json.dumps(auth))
        while not any(name == "session:ready" for name, _ in self.events):
            await self.take()

    async def take(self) -> None:
        frame = await self.raw.next()
        assert frame is not None
        if frame.startswith("40"):
            self.pid = json.loads(frame[2:]).get("pid")
        elif frame.startswith("42"):
            name, data, *offset = json.loads(frame[2:])
            self.events.append((name, data))
            self.offset = offset[0] if offset else self.offset


async def test_what_does_not_belong_to_the_session_or_is_too_much_is_not_recovered(
    api: Api, house: House, direct: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aiohttp.ClientSession() as session:

        async def come(actor: Any, **auth: Any) -> Comer:
            comer = Comer(await open_raw(session, api.url))
            await comer.come_in(token=api.token(actor), **{"recovery": True, **auth})
            return comer

        first = await come(house.client)
        assert first.pid
        known = {"pid": first.pid, "offset": first.offset}
        for _ in range(3):
            await api.post("/api/v1/messages", house.coach, message(direct))
        back = await come(house.client, **known)
        assert (back.pid, [name for name, _ in back.events]) == (first.pid, ["message:new"] * 3 + ["session:ready"])
        foreign = await come(house.coach)
        for odd in (
            {"pid": foreign.pid},
            {"pid": f"{first.pid}x"},
            {"pid": f"é.{first.pid}"},
            {"pid": {"a": 1}},
            {"offset": None},
            {"offset": 7},
            {"offset": "1"},
            {"offset": f"{first.offset};"},
            {"offset": f"{first.offset}" * 100},
        ):
            comer = await come(house.client, **{**known, **odd})
            assert comer.pid not in (None, first.pid), odd
            assert [name for name, _ in comer.events] == ["session:ready"], odd
            assert comer.events[0][1]["heads"] == {str(direct): 3}
            await comer.raw.websocket.close()
        monkeypatch.setattr(recovery, "MAX_MISSED", 2)
        too_late = await come(house.client, **known)
        assert too_late.pid != first.pid
        # Who takes no offsets is not told any, whatever it brings.
        plain = await come(house.client, recovery=False, **known)
        assert (plain.pid, plain.offset) == (None, None)


async def test_each_client_gets_as_many_arguments_as_it_can_take(
    api: Api, house: House, direct: UUID, phones: Phones
) -> None:
    """python-socketio hands all of them to the handler: without being asked, it gets one."""
    phone = await Phones(api.url).connect(api.token(house.client))
    arguments: list[tuple[Any, ...]] = []
    phone.client.on("message:new", lambda *data: arguments.append(data))
    asking = Phones(api.url).make()
    asking.client.on("message:new", lambda *data: arguments.append(data))
    asking.client.on("session:ready", lambda *data: arguments.append(data))
    auth = {"token": api.token(house.client), "recovery": True}
    await asking.client.connect(api.url, auth=auth, transports=["websocket"])
    await eventually(lambda: arguments)
    assert (await api.post("/api/v1/messages", house.coach, message(direct))).status == 201
    await eventually(lambda: len(arguments) == 3)
    assert sorted(map(len, arguments)) == [1, 2, 2]
    assert {type(each[1]) for each in arguments if len(each) == 2} == {str}
    for client in (phone.client, asking.client):
        await client.disconnect()


def test_devices_that_have_the_same_get_the_same_bytes() -> None:
    place = Place(uuid4(), 8, datetime.now(UTC))
    packet = Placed(b'42["message:new",{}]', place)
    offsets = [Offset(at_us, ()) for at_us in (5, 6)]
    (one, first), (other, second) = [packet.after(offset) for offset in offsets]
    assert first is second
    read = parse_offset(one.text)
    assert one is other
    assert read
    assert (read.at_us, read.ranges) == (one.at_us, one.ranges)
    assert json.loads(first.payload[2:]) == ["message:new", {}, one.text]


CHATS = [UUID(int=n + 1) for n in range(4)]
# How long each entry is on its way, in seconds, and which conversation it is of.
ENTRIES = st.lists(st.tuples(st.sampled_from(CHATS), st.integers(0, 14)), max_size=40)


@given(entries=ENTRIES, cut=st.integers(0, 40))
def test_offset_tells_what_arrived_and_what_did_not_however_entries_pass_each_other(
    entries: list[tuple[UUID, int]], cut: int
) -> None:
    begun = datetime(2026, 11, 23, tzinfo=UTC)
    seqs = {chat: count(1) for chat in CHATS}
    places = [Place(chat, next(seqs[chat]), begun + timedelta(seconds=n)) for n, (chat, _) in enumerate(entries)]
    late = sorted(range(len(places)), key=lambda n: (n + entries[n][1], n))
    arrived = [places[n] for n in late[:cut]]
    offset: Offset | None = Offset(int(begun.timestamp() * 1_000_000) - 1, ())
    for place in arrived:
        assert offset
        offset = parse_offset(offset.after(place).text)
    assert offset
    assert len(offset.ranges) <= MAX_RANGES
    again = [p for p in places if p.at > offset.since and not offset.has(p.conversation_id, p.seq)]
    assert [p for p in places if p not in arrived and p not in again] == []
    if len(offset.ranges) < MAX_RANGES:
        assert [p for p in again if p in arrived] == []
