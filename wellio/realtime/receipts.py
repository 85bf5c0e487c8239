"""Receipts, told together: of one conversation there is one push in a while, with the newest of each member.

Five hundred people who read a message within a moment would else be a quarter of a million pushes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from wellio.chat.receipts import Receipt
from wellio.live import Push

EVERY_S = 0.25

# The conversation and who is told: of a conversation in which somebody is blocked, people are told different things.
Key = tuple[UUID, frozenset[UUID]]


class Receipts:
    """`tell` gets the pushes. The first receipt is told at once, those that follow soon together."""

    def __init__(self, tell: Callable[[Push], None]) -> None:
        self._tell = tell
        self._waiting: dict[Key, dict[UUID, Receipt]] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def take(self, push: Push) -> None:
        receipt: Receipt = push.data
        key = receipt.conversation_id, frozenset(push.user_ids)
        waiting = self._waiting.get(key)
        if waiting is None:
            self._tell(push)
            self._wait(key)
        else:
            waiting[receipt.user_id] = _newest(waiting.pop(receipt.user_id, receipt), receipt)

    def stop(self) -> None:
        """Tells what waits."""
        for key, timer in list(self._timers.items()):
            timer.cancel()
            self._tell_waiting(key)

    def _wait(self, key: Key) -> None:
        self._waiting[key] = {}
        self._timers[key] = asyncio.get_running_loop().call_later(EVERY_S, self._due, key)

    def _due(self, key: Key) -> None:
        if self._tell_waiting(key):
            self._wait(key)

    def _tell_waiting(self, key: Key) -> bool:
        del self._timers[key]
        receipts = list(self._waiting.pop(key).values())
        if receipts:
            self._tell(Push(user_ids=tuple(key[1]), event="receipt", data=_together(receipts), ephemeral=True))
        return bool(receipts)


def _newest(one: Receipt, other: Receipt) -> Receipt:
    """They may pass each other on the way from the database."""
    return replace(
        one,
        delivered_seq=max(one.delivered_seq, other.delivered_seq),
        read_seq=max(one.read_seq, other.read_seq),
    )


def _together(receipts: list[Receipt]) -> Receipt | dict[str, Any]:
    """One as it is; of several the newest, with the others' beside it."""
    *others, newest = receipts
    if not others:
        return newest
    told = [{"user_id": r.user_id, "delivered_seq": r.delivered_seq, "read_seq": r.read_seq} for r in others]
    return {**{name: getattr(newest, name) for name in Receipt.__slots__}, "others": told}
