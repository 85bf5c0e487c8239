"""Telling people's devices what was committed.

Actions publish here after their commit; whoever serves sockets attaches. A publication is a hint: the
database is the truth, so nothing here may fail or wait, and nobody needs to listen.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which conversation's log an entry stands, and when it was made."""

    conversation_id: UUID
    seq: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """`event` with `data` (JSON-able) for every device of `user_ids`.

    `ephemeral`: dropped first when a device reads slowly (typing, presence).
    `skip_sid`: the one connection that knows already. `place`: of what is in a conversation's log, so that a device
    that comes back can say how far it got.
    """

    user_ids: tuple[UUID, ...]
    event: str
    data: Any
    ephemeral: bool = False
    skip_sid: str | None = None
    place: Place | None = None


class Live:
    def __init__(self) -> None:
        self._listeners: list[Callable[[Push], None]] = []

    def attach(self, listener: Callable[[Push], None]) -> None:
        """`listener` is called for every push, at once, on the event loop; it must not block or raise."""
        self._listeners.append(listener)

    def publish(
        self,
        user_ids: Iterable[UUID],
        event: str,
        data: Any,
        *,
        ephemeral: bool = False,
        skip_sid: str | None = None,
        place: Place | None = None,
    ) -> None:
        push = Push(
            user_ids=tuple(user_ids), event=event, data=data, ephemeral=ephemeral, skip_sid=skip_sid, place=place
        )
        for listener in self._listeners:
            listener(push)
