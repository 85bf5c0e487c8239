"""Clients that keep the rules of docs/socket-protocol.md: writers that repeat until acked, readers that catch up."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp

from tests.realtime.raw import open_raw

GONE = (aiohttp.ClientError, OSError, TimeoutError, AssertionError, TypeError)


@dataclass
class Writer:
    """Sends one message after the other, each until it is acked, over as many connections as it takes.

    `acked`: the bodies in the order of their acks, with their seqs. `refused`: error codes that came meanwhile.
    """

    url: str
    token: str
    conversation_id: UUID
    name: str
    acked: list[tuple[str, int]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def write(self, count: int) -> None:
        async with aiohttp.ClientSession() as session:
            while len(self.acked) < count:
                try:
                    await self._write_on(session, count)
                except GONE:
                    await asyncio.sleep(0.05)

    async def _write_on(self, session: aiohttp.ClientSession, count: int) -> None:
        raw = await open_raw(session, self.url)
        await raw.come_in(self.token)
        while len(self.acked) < count:
            number = len(self.acked)
            message = {
                "conversation_id": str(self.conversation_id),
                "client_message_id": str(self._names.setdefault(number, uuid4())),
                "body": f"{self.name} {number}",
            }
            await raw.websocket.send_str(f"42{number}" + json.dumps(["message:send", message]))
            answer = await self._ack(raw, number)
            if answer["ok"]:
                self.acked.append((answer["data"]["body"], answer["data"]["seq"]))
            else:
                self.refused.append(answer["error"]["code"])
                await asyncio.sleep(0.02)
        await raw.websocket.close()

    async def _ack(self, raw: Any, number: int) -> dict[str, Any]:
        while True:
            frame = await raw.next()
            if frame is None:
                raise OSError("closed")
            if frame == "2":
                await raw.websocket.send_str("3")
            if frame.startswith(f"43{number}["):
                answer: dict[str, Any] = json.loads(frame[frame.index("[") :])[0]
                return answer

    def __post_init__(self) -> None:
        self._names: dict[int, UUID] = {}


@dataclass
class Reader:
    """Follows a conversation: applies what is next, ignores what it has, and syncs over a gap or a higher head."""

    phone: Any
    conversation_id: UUID
    log: list[int] = field(default_factory=list)
    _taken: int = 0

    async def follow(self) -> list[int]:
        """Takes what was pushed since the last call; the seqs it has."""
        behind = False
        new, self._taken = self.phone.events[self._taken :], len(self.phone.events)
        for name, data in new:
            if name == "message:new" and data["conversation_id"] == str(self.conversation_id):
                behind = self._apply(data["seq"]) or behind
            elif name in ("chat:heads", "session:ready"):
                behind = behind or data["heads"].get(str(self.conversation_id), 0) > self._last
        if behind:
            await self._sync()
        return self.log

    @property
    def _last(self) -> int:
        return self.log[-1] if self.log else 0

    def _apply(self, seq: int) -> bool:
        """True when there is a gap before it."""
        if seq == self._last + 1:
            self.log.append(seq)
        return seq > self._last

    async def _sync(self) -> None:
        while True:
            answer = await self.phone.call("chat:sync", {"cursors": {str(self.conversation_id): self._last}})
            (synced,) = answer["conversations"]
            for event in synced["events"]:
                assert not self._apply(event["seq"]), "sync has holes"
            if not synced["has_more"]:
                return


def shown_by(log: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, bool, dict[str, list[str]]]]:
    """A conversation as a client shows it that applies its log, entry by entry: what each message says, whether it is
    deleted, and who has reacted."""
    shown: dict[str, tuple[str, bool, dict[str, list[str]]]] = {}
    for event in log:
        if event["type"] == "message:new":
            shown[event["id"]] = (event["body"], bool(event["deleted_at"]), dict(event["reactions"]))
        elif event["type"] == "message:updated":
            m = event["message"]
            shown[m["id"]] = (m["body"], bool(m["deleted_at"]), dict(m["reactions"]))
        elif event["type"] == "message:deleted":
            shown[event["message_id"]] = ("", True, {})
        elif event["type"] == "reaction:changed":
            body, deleted, reactions = shown[event["message_id"]]
            users = {*reactions.get(event["emoji"], ())} - {event["user_id"]}
            users |= {event["user_id"]} if event["on"] and not deleted else set()
            changed = {**reactions, event["emoji"]: sorted(users)}
            shown[event["message_id"]] = (body, deleted, {e: u for e, u in changed.items() if u})
    return shown
