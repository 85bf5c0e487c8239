"""One event of a client: parsed, limited, handled, and acked, whatever happens.

A connection's events are dealt with in the order in which they were sent, one after the other. Messages need not wait
for each other: they are handed on in their order, and each is acked when it is committed. So whoever sends many at once
(what was written while there was no network) waits for a few commits, not for one each.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import ValidationError

from wellio.attribution import attribute
from wellio.audit import Outcome
from wellio.encoding import to_json
from wellio.errors import Forbidden, Malformed, NotFound, TooMany, Unauthorized, WellioError
from wellio.metrics import Metrics
from wellio.realtime.devices import Device, Devices
from wellio.realtime.engine import Acknowledge
from wellio.realtime.errors import INTERNAL, invalid, refusal
from wellio.realtime.events import INCOMING, Ack, Events, Incoming, Pending
from wellio.realtime.payloads import parse_event
from wellio.values import Input

log = logging.getLogger(__name__)

MAX_UNDER_WAY = 16  # messages of one device that are being stored


class Dispatch:
    """`busy`: how many events are not acked yet. `flooding` is told of a connection that goes on after refusals."""

    def __init__(self, devices: Devices, events: Events, metrics: Metrics, flooding: Callable[[str], None]) -> None:
        self.busy = 0
        self._devices, self._events, self._metrics, self._flooding = devices, events, metrics, flooding

    async def take(self, connection: str, text: str, acknowledge: Acknowledge) -> None:
        """Returns when the connection's next event may come; what it acks may come later."""
        self.busy += 1
        name = "unknown"
        try:
            device = self._device(connection)
            name, payload = parse_event(text)
            handled = await self._handled(device, name, payload)
        except Exception as error:  # noqa: BLE001 - what is no refusal is logged
            self._ack(name, acknowledge, self._answer_to(connection, name, error))
            return
        except asyncio.CancelledError:  # the connection was given up meanwhile: nobody waits for an ack
            self.busy -= 1
            raise
        if isinstance(handled, Pending):
            device.under_way.add(handled.done)
            handled.done.add_done_callback(partial(self._done, device, name, acknowledge, handled.ack))
        else:
            self._ack(name, acknowledge, {"ok": True, **handled})

    def _device(self, connection: str) -> Device:
        """Whose event it is, before anything of it is looked at. Raises Unauthorized, TooMany."""
        device = self._devices.get(connection)
        if device is None:
            raise Unauthorized("Connect first.", code="NOT_CONNECTED")
        device.flood.take_event()
        return device

    async def _handled(self, device: Device, name: str, payload: Any) -> Ack | Pending:
        incoming = INCOMING.get(name)
        if incoming is None:
            raise Malformed("There is no such event.", code="UNKNOWN_EVENT")
        try:
            body = incoming.payload.model_validate(payload)
        except ValidationError as error:
            raise invalid(error) from None
        await _until_its_turn(device, incoming)
        _attribute(device, name, body)
        return await incoming.handle(self._events, device, body)

    def _done(
        self, device: Device, name: str, acknowledge: Acknowledge, ack: Callable[[Any], Ack], done: asyncio.Future[Any]
    ) -> None:
        device.under_way.discard(done)
        error = RuntimeError("given up") if done.cancelled() else done.exception()
        if error is None:
            self._ack(name, acknowledge, {"ok": True, **ack(done.result())})
        else:
            self._ack(name, acknowledge, self._answer_to(device.connection, name, error))

    def _answer_to(self, connection: str, name: str, error: BaseException) -> Mapping[str, Any]:
        if isinstance(error, TooMany):
            self._cut_off_flood(connection)
        if isinstance(error, Forbidden | NotFound):
            self._events.services.audit.note(Outcome.DENIED, code=error.code)
        if isinstance(error, WellioError):
            return refusal(error)
        log.error("event failed", extra={"event": name}, exc_info=error)
        return INTERNAL

    def _cut_off_flood(self, connection: str) -> None:
        """Who goes on sending what is refused is closed, and is no device any more at once."""
        device = self._devices.get(connection)
        if device is not None and device.flood.goes_on():
            self._metrics.dropped.labels("flood").inc()
            self._flooding(connection)

    def _ack(self, name: str, acknowledge: Acknowledge, answer: Mapping[str, Any]) -> None:
        self.busy -= 1
        outcome = "ok" if answer["ok"] else answer["error"]["code"]
        self._metrics.socket_events.labels(name if name in INCOMING else "unknown", outcome).inc()
        acknowledge(to_json(answer))


def _attribute(device: Device, name: str, body: Input) -> None:
    """For the audit log: what this event changes, or is denied, is done by the device's user, from where it came in."""
    actor = device.actor
    attribute(
        operation=name,
        practice_id=actor.practice_id,
        user_id=actor.user_id,
        role=actor.role.value,
        session_id=actor.session_id,
        subject_id=getattr(body, "message_id", None) or getattr(body, "conversation_id", None),
    )


async def _until_its_turn(device: Device, incoming: Incoming) -> None:
    """Messages follow each other, a few at a time; anything else comes when all that was sent before it is done."""
    while len(device.under_way) >= (MAX_UNDER_WAY if incoming.pipelined else 1):
        await asyncio.wait(device.under_way, return_when=asyncio.FIRST_COMPLETED)
