"""A house with its chat: the writer of messages, and what was pushed to whom."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import House, make_house
from wellio.accounts.actors import Actor
from wellio.chat.conversations import Conversation
from wellio.chat.messages import MessageWriter, NewMessage, Sent
from wellio.chat.openings import NewConversation, create_conversation
from wellio.db import Database
from wellio.live import Live, Push
from wellio.metrics import Metrics
from wellio.outbox import Outbox


@dataclass
class Chat:
    """One process' chat, without sockets."""

    db: Database
    outbox: Outbox
    live: Live
    writer: MessageWriter
    house: House
    pushes: list[Push] = field(default_factory=list)

    async def open(self, actor: Actor, *others: Actor, title: str = "") -> Conversation:
        kind = "group" if title or len(others) > 1 else "direct"
        new = NewConversation(kind=kind, member_ids=tuple(o.user_id for o in others), title=title)
        return await create_conversation(self.outbox, self.live, actor, new)

    async def say(self, actor: Actor, conversation_id: UUID, body: str = "Hello", **fields: Any) -> Sent:
        fields = {"client_message_id": uuid4(), **fields}
        return await self.writer.send(actor, NewMessage(conversation_id=conversation_id, body=body, **fields))

    async def bodies(self, conversation_id: UUID) -> list[str]:
        rows = await self.db.fetch(
            "select seq, body from messages where conversation_id = $1 order by seq", conversation_id
        )
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), "seq has holes"
        return [row["body"] for row in rows]


@pytest.fixture
async def chat(db: Database, outbox: Outbox) -> AsyncIterator[Chat]:
    live = Live()
    writer = MessageWriter(outbox, live, Metrics())
    made = Chat(db, outbox, live, writer, await make_house(db))
    live.attach(made.pushes.append)
    await writer.start()
    yield made
    await writer.stop()
