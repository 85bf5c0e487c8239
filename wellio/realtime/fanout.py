"""From one push to many devices: encoded once, queued or written without a task per recipient."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from wellio.encoding import to_json
from wellio.live import Place, Push
from wellio.metrics import Metrics
from wellio.realtime.devices import Devices
from wellio.realtime.offsets import Placed
from wellio.realtime.outgoing import Encoded

# A device that is this far behind does without typing, presence and receipts.
MAX_QUEUED_EPHEMERAL = 64


def encode_event(event: str, data: Any) -> Encoded:
    """An EVENT packet of Socket.IO (2) in a MESSAGE of Engine.IO (4)."""
    return Encoded(b"42" + to_json([event, data]))


def placed(packet: Encoded, place: Place | None) -> Encoded:
    return packet if place is None else Placed(packet.payload, place)


class Fanout:
    """Gives packets to the devices that are connected to this process."""

    def __init__(self, devices: Devices, metrics: Metrics) -> None:
        self._devices, self._metrics = devices, metrics

    def push(self, push: Push) -> Encoded:
        """Encodes a push, gives it to the local devices, and returns it for those elsewhere."""
        packet = placed(encode_event(push.event, push.data), push.place)
        self.deliver(push.user_ids, packet, event=push.event, ephemeral=push.ephemeral, skip=push.skip_sid)
        return packet

    def deliver(
        self, user_ids: Iterable[UUID], packet: Encoded, *, event: str, ephemeral: bool = False, skip: str | None = None
    ) -> None:
        sent = dropped = 0
        for device in self._devices.of(user_ids):
            if device.connection == skip:
                continue
            if ephemeral and device.outgoing.qsize() >= MAX_QUEUED_EPHEMERAL:
                dropped += 1
                continue
            device.send(packet)
            sent += 1
        if sent:
            self._metrics.pushes.labels(event).inc(sent)
        if dropped:
            self._metrics.dropped.labels("ephemeral").inc(dropped)
