"""Sending messages: the one way in which they are stored, whoever sends them.

Group commit: messages that arrive while a transaction is in flight go into the next one together, so that
they share a commit's wait for the disk. In a conversation, the order of `send` is the order of `seq`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from uuid import UUID

import asyncpg

from wellio.accounts.actors import Actor
from wellio.chat.batches import Stored, Waiting, store_at_once, store_locked
from wellio.chat.values import Message, NewMessage, Sent
from wellio.db import KeptConnection
from wellio.errors import Unavailable
from wellio.idempotency import Once
from wellio.live import Live, Place
from wellio.metrics import Metrics
from wellio.outbox import Outbox

__all__ = ["Message", "MessageWriter", "NewMessage", "Sent"]

log = logging.getLogger(__name__)

MAX_BATCH = 64
MAX_WAITING = 2048
LANES = 2

Store = Callable[[Sequence[Waiting]], Awaitable[Stored]]
STUCK = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


class MessageWriter:
    """Stores messages in batches, in a few lanes. `start` before; `stop` stores what waits, then ends."""

    def __init__(self, outbox: Outbox, live: Live, metrics: Metrics, *, lanes: int = LANES) -> None:
        self._lanes = [_Lane(outbox, live, metrics) for _ in range(lanes)]

    async def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    async def stop(self) -> None:
        await asyncio.gather(*(lane.stop() for lane in self._lanes))

    async def send(self, actor: Actor, new: NewMessage, *, once: Once | None = None) -> Sent:
        """Returns after the commit. Raises as `post`."""
        return await self.post(actor, new, once=once)

    def post(self, actor: Actor, new: NewMessage, *, once: Once | None = None) -> asyncio.Future[Sent]:
        """Done after the commit; the order of these calls is that of what is stored.

        Raises Unavailable when too many wait. The future raises NotFound (not a member), Invalid (reply_to),
        Unavailable (the database is away, or busy: send the same again), and what `once` raises.
        """
        # A conversation is always in the same lane: that keeps its order.
        lane = self._lanes[new.conversation_id.int % len(self._lanes)]
        return lane.post(actor, new, once)


class _Lane:
    """One transaction at a time, with all that has come in since the last."""

    def __init__(self, outbox: Outbox, live: Live, metrics: Metrics) -> None:
        self._outbox, self._live, self._metrics = outbox, live, metrics
        self._kept = KeptConnection(outbox.db)
        self._waiting: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="message writer")

    async def stop(self) -> None:
        self._stopping = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    def post(self, actor: Actor, new: NewMessage, once: Once | None) -> asyncio.Future[Sent]:
        if self._stopping or len(self._waiting) >= MAX_WAITING:
            raise Unavailable("Too many messages wait to be stored; send it again shortly.", code="BUSY")
        sent: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(actor, new, once, sent))
        self._arrived.set()
        return sent

    async def _run(self) -> None:
        while not self._stopping or self._waiting:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = self._next_batch()
                try:
                    await self._store(batch)
                except Exception:
                    log.exception("message batch failed")
                    _fail(batch, RuntimeError("message batch failed"))
            await self._kept.give_back()

    def _next_batch(self) -> list[Waiting]:
        return [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]

    async def _store(self, batch: Sequence[Waiting]) -> None:
        """At once where that is possible; with the locks taken first what was stale."""
        if not is_plain(batch):
            await self._try(self._store_locked, batch)
            return
        stored = await self._try(self._store_at_once, batch)
        rest = [waiting for waiting in batch if stored is not None and waiting not in stored.outcomes]
        if rest:
            await self._try(self._store_locked, rest)

    async def _store_at_once(self, batch: Sequence[Waiting]) -> Stored:
        async with self._kept.connection() as connection:
            return await store_at_once(connection, batch)

    async def _store_locked(self, batch: Sequence[Waiting]) -> Stored:
        async with self._outbox.transaction() as tx:
            return await store_locked(tx, batch)

    async def _try(self, store: Store, batch: Sequence[Waiting]) -> Stored | None:
        """None after a failure, which those of the batch were told of."""
        try:
            stored = await store(batch)
        except Unavailable as error:
            stuck = isinstance(error.__cause__, STUCK)
            await self._store_parts(_by_conversation(batch) if stuck else [batch], error)
        except Exception as error:  # noqa: BLE001 - the senders get it, and their edge logs it
            await self._store_parts([[waiting] for waiting in batch], error)
        else:
            self._tell(stored)
            return stored
        return None

    async def _store_parts(self, parts: Sequence[Sequence[Waiting]], error: Exception) -> None:
        """After a failure: a conversation that is locked, or a message that can't be stored, fails alone."""
        if len(parts) > 1:
            for part in parts:
                await self._store(part)
        else:
            _fail(parts[0], error)

    def _tell(self, stored: Stored) -> None:
        """After the commit. The senders go on only when everybody's devices have been told.

        Who follows the log is not woken: it looks several times a second, which under a stream of messages is enough.
        """
        for waiting, outcome in stored.outcomes.items():
            if waiting.sent.done():  # whoever sent it has gone; it is stored all the same
                continue
            if isinstance(outcome, Sent):
                waiting.sent.set_result(outcome)
            else:
                waiting.sent.set_exception(outcome)
        for message in stored.messages:
            place = Place(message.conversation_id, message.seq, message.created_at)
            self._live.publish(stored.audiences[message.conversation_id], "message:new", message, place=place)
        self._metrics.messages.inc(len(stored.messages))
        self._metrics.message_batch.observe(len(stored.messages))


def is_plain(batch: Sequence[Waiting]) -> bool:
    """Whether one statement can take the batch. One with an Idempotency-Key, files or mentions, or with a message
    twice, goes the other way whole: taken apart, a sender's later messages would pass the earlier ones."""
    return len({w.key for w in batch}) == len(batch) and all(waiting.plain for waiting in batch)


def _fail(batch: Sequence[Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.sent.done():
            waiting.sent.set_exception(error)


def _by_conversation(batch: Sequence[Waiting]) -> list[list[Waiting]]:
    def conversation(waiting: Waiting) -> UUID:
        return waiting.new.conversation_id

    return [list(part) for _, part in groupby(sorted(batch, key=conversation), key=conversation)]
