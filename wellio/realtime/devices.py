"""The devices that are connected to this process: whose they are, and how to reach them."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.realtime.floods import Flood
from wellio.realtime.offsets import Offset, Placed
from wellio.realtime.outgoing import Encoded, Outgoing


@dataclass(slots=True, eq=False)
class Device:
    """One connection of a signed-in user. `expires_at`: of its token, Unix seconds.

    `under_way`: messages that it sent and that are being stored.
    `first` is what it gets first, when the client knows that it is connected: what it missed, if it came back, and
    session:ready. `held` is what came in before. `offset`: what it has; None for a client that takes none.
    """

    connection: str
    actor: Actor
    expires_at: int
    outgoing: Outgoing
    flood: Flood
    first: list[Encoded] = field(default_factory=list)
    recovered: bool = False
    offset: Offset | None = None
    held: list[Encoded] | None = field(default_factory=list)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    under_way: set[asyncio.Future[Any]] = field(default_factory=set)

    def send(self, packet: Encoded) -> None:
        if self.held is not None:
            self.held.append(packet)
            return
        if self.offset is not None and isinstance(packet, Placed):
            self.offset, packet = packet.after(self.offset)
        self.outgoing.put_nowait(packet)

    def release(self) -> None:
        """Sends what comes first, and then what came in meanwhile."""
        held, self.held = self.held or [], None
        self.outgoing.put_first(self.first)
        self.first = []
        for packet in held:
            if not (self.recovered and self._has(packet)):
                self.send(packet)

    def _has(self, packet: Encoded) -> bool:
        """What was missed may have been pushed to it as well."""
        if self.offset is None or not isinstance(packet, Placed):
            return False
        return self.offset.has(packet.place.conversation_id, packet.place.seq)

    @property
    def token_expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.expires_at, UTC)

    def cancel_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


class Devices:
    """By connection and by user; both are looked up, never scanned."""

    def __init__(self) -> None:
        self._by_connection: dict[str, Device] = {}
        self._by_user: dict[UUID, dict[str, Device]] = {}

    def __len__(self) -> int:
        return len(self._by_connection)

    def __iter__(self) -> Iterator[Device]:
        return iter(list(self._by_connection.values()))

    def add(self, device: Device) -> None:
        self._by_connection[device.connection] = device
        self._by_user.setdefault(device.actor.user_id, {})[device.connection] = device

    def remove(self, connection: str) -> Device | None:
        device = self._by_connection.pop(connection, None)
        if device is not None:
            device.cancel_timers()
            others = self._by_user[device.actor.user_id]
            del others[connection]
            if not others:
                del self._by_user[device.actor.user_id]
        return device

    def get(self, connection: str) -> Device | None:
        return self._by_connection.get(connection)

    def of(self, user_ids: Iterable[UUID]) -> list[Device]:
        known = self._by_user
        devices = [known[user_id] for user_id in user_ids if user_id in known]
        return [device for each in devices for device in each.values()]

    def count_of(self, user_id: UUID) -> int:
        return len(self._by_user.get(user_id, ()))

    def people(self) -> list[tuple[UUID, UUID]]:
        """(practice_id, user_id) of everybody who is connected here."""
        return [(next(iter(devices.values())).actor.practice_id, user_id) for user_id, devices in self._by_user.items()]
