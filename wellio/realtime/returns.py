"""Devices that come back: they get what they missed before anything else (connection state recovery of Socket.IO).

It is read from the database, so any process can do it, after any restart: what a device brings is all that is known
of it. Only what is in a conversation's log is given again. Whoever can't be served so is no longer known by the `pid`
it brought: the client sees `socket.recovered` false, and syncs from the heads of session:ready.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wellio.accounts.tokens import Tokens
from wellio.chat.recovery import Recent, list_missed, list_recent
from wellio.db import Connection
from wellio.realtime.devices import Device
from wellio.realtime.fanout import encode_event
from wellio.realtime.offsets import OVERLAP, Offset, offset_from_heads, parse_offset, with_offset
from wellio.realtime.outgoing import Encoded

Events = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Return:
    """How a device comes in. `pid` is None for one that takes no offsets; `missed` is None for one that begins anew.

    `offset`: what it has when session:ready tells it `heads`.
    """

    pid: str | None
    heads: Mapping[UUID, int]
    offset: Offset
    missed: Sequence[Encoded] | None = None

    def begin(self, device: Device, ready: Encoded) -> None:
        """Gives the device what comes first."""
        if self.pid is None:
            device.first = [ready]
            return
        device.offset, device.recovered = self.offset, self.missed is not None
        device.first = [*(self.missed or ()), with_offset(ready, self.offset)]


class Returns:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def take(self, db: Connection, device: Device, auth: Mapping[str, Any]) -> Return:
        """Of a device that is pushed to already: what is not found here comes to it by itself."""
        tokens, session_id = self._tokens, device.actor.session_id
        pid, offset = auth.get("pid"), parse_offset(auth.get("offset"))
        wanted = auth.get("recovery")
        if not (wanted if isinstance(wanted, bool) else device.outgoing.takes_offsets):
            return await self._anew(db, device, None)
        if offset is not None and isinstance(pid, str) and tokens.is_connection_id(session_id, pid):
            back = await self._back(db, device, pid, offset)
            if back is not None:
                return back
        return await self._anew(db, device, tokens.new_connection_id(session_id))

    async def _anew(self, db: Connection, device: Device, pid: str | None) -> Return:
        now = datetime.now(UTC)
        recent = await list_recent(db, device.actor, now - OVERLAP)
        return Return(pid, recent.heads, _reached(now, recent, recent.heads))

    async def _back(self, db: Connection, device: Device, pid: str, offset: Offset) -> Return | None:
        """None when it missed too much."""
        now = datetime.now(UTC)
        recent = await list_recent(db, device.actor, min(offset.since, now - OVERLAP))
        events = await list_missed(db, device.actor, recent)
        if events is None:
            return None
        heads = _with(recent.heads, events)
        return Return(pid, heads, _reached(now, recent, heads), _encoded(events, offset))


def _reached(now: datetime, recent: Recent, heads: Mapping[UUID, int]) -> Offset:
    written = recent.written_since(now - OVERLAP)
    return offset_from_heads(now, {conversation_id: heads[conversation_id] for conversation_id in written})


def _encoded(events: Events, offset: Offset) -> list[Encoded]:
    """What the device has not got, as it would have been pushed."""
    packets = []
    for event in events:
        name, data = event["type"], {key: value for key, value in event.items() if key != "type"}
        if not offset.has(data["conversation_id"], data["seq"]):
            offset = offset.going_on(data["conversation_id"], data["seq"])
            packets.append(with_offset(encode_event(name, data), offset))
    return packets


def _with(heads: Mapping[UUID, int], events: Events) -> dict[UUID, int]:
    """The heads, where the events do not go further."""
    further = dict(heads)
    for event in events:
        further[event["conversation_id"]] = max(event["seq"], further.get(event["conversation_id"], 0))
    return further
