"""The link between processes: what one publishes reaches the devices of the others, by Redis pub/sub.

Redis carries hints only. Nobody waits for it: publishing puts a message into a bounded queue, and what can't be
sent is dropped. Each loss is noticed on both sides (a failed publish, a lost subscription, a silent link, a number that
was left out), and ends in a sweep of the database by whoever may have missed something.

A message is a line of JSON, `{"from": process, "n": its number, "kind": …}`, and for pushes the encoded packet after
it. Kinds of the bus itself: `beat` (still here), `hello` (new here, or back: tell me what you know), `resync`
(something of mine was lost: look into the database).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from wellio.encoding import to_json
from wellio.ids import uuid7
from wellio.live import Place, Push
from wellio.metrics import Metrics
from wellio.realtime.outgoing import Encoded
from wellio.tasks import end_tasks

log = logging.getLogger(__name__)

# A lost message is noticed by the next one's number, so soon at the latest.
BEAT_S = 1.0
# A process that was not heard of for so long is dead.
DEAD_S = 15.0
# Our own beats come back to us: a link on which nothing comes is lost, even if it looks open.
SILENT_S = 5.0
# After this long without one the link may hang; it is not given up yet, and not relied on either.
LATE_S = 1.5
RETRY_S, LONGEST_RETRY_S = 0.1, 1.0
MAX_WAITING = 2048
MAX_WAITING_BYTES = 4 * 1024 * 1024
AT_ONCE = 64
# redis-py, cancelled while it connects, may go on: cancelled again, soon, it ends.
END_S = 0.05
AWAY = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Listeners:
    """message: (process, kind, header, packet) of another process. restored: we may have missed something.

    announce: another process may have missed what we told of ourselves. died: one is not heard of any more.
    """

    message: Callable[[str, str, dict[str, Any], bytes], None]
    restored: Callable[[], None]
    announce: Callable[[], None]
    died: Callable[[str], None]


NOBODY = Listeners(message=lambda *_: None, restored=lambda: None, announce=lambda: None, died=lambda _: None)


@dataclass(slots=True)
class _Queue:
    """Messages to publish, dropped as a whole when they become too many."""

    messages: deque[bytes] = field(default_factory=deque)
    size: int = 0

    def add(self, message: bytes) -> bool:
        if len(self.messages) >= MAX_WAITING or self.size + len(message) > MAX_WAITING_BYTES:
            return False
        self.messages.append(message)
        self.size += len(message)
        return True

    def take(self, count: int) -> list[bytes]:
        taken = [self.messages.popleft() for _ in range(min(count, len(self.messages)))]
        self.size -= sum(map(len, taken))
        return taken

    def clear(self) -> None:
        self.messages.clear()
        self.size = 0


class Bus:
    """`up`: messages come in. `peers`: the other processes, and when each was last heard of (monotonic)."""

    def __init__(self, redis: Redis, namespace: str, metrics: Metrics) -> None:
        self.process = uuid7().hex
        self.up = False
        self.peers: dict[str, float] = {}
        self._redis = redis
        self._channel = f"wellio:{namespace}:live"
        self._listeners = NOBODY
        self._metrics = metrics
        self._queue = _Queue()
        self._count = 0  # of the messages that were to be published
        self._last: dict[str, int] = {}  # the number of the last message of each other process
        self._lost = False  # something was not published since the last that was
        self._heard = 0.0
        self._queued = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def reliable(self) -> bool:
        """Messages come in, and have done so just now."""
        return self.up and time.monotonic() - self._heard < LATE_S

    def listen(self, listeners: Listeners) -> None:
        """Before `start`."""
        self._listeners = listeners

    async def start(self) -> None:
        """Returns at once; the link comes up by itself when Redis is there."""
        duties = {"bus in": self._receive, "bus out": self._send, "bus beat": self._beat}
        self._tasks = [asyncio.create_task(duty(), name=name) for name, duty in duties.items()]

    async def stop(self) -> None:
        await end_tasks(self._tasks, patience_s=END_S)

    def publish_push(self, push: Push, packet: Encoded) -> None:
        if self.peers:
            header = {
                "users": push.user_ids, "event": push.event, "ephemeral": push.ephemeral, "place": push.place,
            }  # fmt: skip
            self._put("push", header, packet.payload)

    def publish(self, kind: str, **header: Any) -> None:
        """To every other process, if there is one."""
        if self.peers:
            self._put(kind, header)

    def _put(self, kind: str, header: dict[str, Any] | None = None, packet: bytes = b"") -> None:
        self._count += 1
        message = to_json({"from": self.process, "n": self._count, "kind": kind, **(header or {})}) + b"\n" + packet
        if not self._queue.add(message):
            self._lose("bus full")
        self._queued.set()

    def _lose(self, reason: str) -> None:
        """What waits is as good as lost; whoever should have had it looks into the database instead."""
        self._metrics.dropped.labels(reason).inc(len(self._queue.messages))
        self._queue.clear()
        self._lost = True

    # ------------------------------------------------ out

    async def _send(self) -> None:
        retry_s = RETRY_S
        while True:
            await self._queued.wait()
            self._queued.clear()
            try:
                await self._send_waiting()
                retry_s = RETRY_S
            except AWAY:
                self._lose("bus away")
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    async def _send_waiting(self) -> None:
        while messages := self._queue.take(AT_ONCE):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.publish(self._channel, message)
                await pipeline.execute()
            if self._lost:
                self._lost = False
                self._put("resync")
                self._listeners.announce()

    async def _beat(self) -> None:
        while True:
            self._put("beat")
            self._bury()
            await asyncio.sleep(BEAT_S)

    def _bury(self) -> None:
        """Forgets the processes that are silent. While we are cut off ourselves, nobody is."""
        if not self.up:
            return
        deadline = time.monotonic() - DEAD_S
        for process in [p for p, heard in self.peers.items() if heard < deadline]:
            del self.peers[process]
            self._last.pop(process, None)
            self._listeners.died(process)

    # ------------------------------------------------ in

    async def _receive(self) -> None:
        retry_s = RETRY_S
        while True:
            try:
                await self._listen()
            except AWAY as error:
                if self.up:
                    log.warning("link between processes lost", extra={"reason": type(error).__name__})
            except Exception:
                log.exception("link between processes failed")
            retry_s = RETRY_S if self.up else min(2 * retry_s, LONGEST_RETRY_S)
            self.up = False
            await asyncio.sleep(retry_s)

    async def _listen(self) -> None:
        """Until the link is lost. Raises one of AWAY."""
        subscription = self._redis.pubsub()
        try:
            await subscription.subscribe(self._channel)
            self._heard = time.monotonic()
            while True:
                message = await subscription.get_message(timeout=1.0)
                if message is None:
                    if time.monotonic() - self._heard > SILENT_S:
                        raise TimeoutError("nothing comes, not even our own beats")
                    continue
                self._heard = time.monotonic()
                # redis-py reconnects by itself: each subscription, not only the first, may follow a loss.
                if message["type"] == "subscribe":
                    self._subscribed()
                elif message["type"] == "message":
                    self._take(message["data"])
        finally:
            with suppress(Exception):
                await subscription.aclose()  # type: ignore[no-untyped-call]

    def _subscribed(self) -> None:
        self.up = True
        self.peers = dict.fromkeys(self.peers, time.monotonic())
        self._put("hello")
        self._listeners.announce()
        self._listeners.restored()

    def _take(self, message: bytes) -> None:
        line, _, packet = message.partition(b"\n")
        header = orjson.loads(line)
        process, kind = header["from"], header["kind"]
        if process == self.process or self._repeated(process, header["n"]):
            return
        known = process in self.peers
        self.peers[process] = time.monotonic()
        if not known:
            # What we did while we did not know of it, it has not got; nor have we what it did.
            self._put("resync")
            self._put("hello")
        if not known or kind == "hello":
            self._listeners.announce()
        if kind == "resync" or self._left_out(process, header["n"]):
            self._listeners.restored()
        if kind not in ("beat", "hello", "resync"):
            self._listeners.message(process, kind, header, packet)

    def _repeated(self, process: str, number: int) -> bool:
        """redis-py may publish twice what it got no answer to."""
        return number <= self._last.get(process, 0)

    def _left_out(self, process: str, number: int) -> bool:
        """Whether messages before this one did not come."""
        before = self._last.get(process, number - 1)
        self._last[process] = number
        return number != before + 1


def users_of(header: dict[str, Any]) -> Sequence[UUID]:
    return [UUID(user_id) for user_id in header["users"]]


def place_of(header: dict[str, Any]) -> Place | None:
    place = header.get("place")
    if place is None:
        return None
    return Place(UUID(place["conversation_id"]), place["seq"], datetime.fromisoformat(place["at"]))
