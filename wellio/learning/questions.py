"""Questions that wait for their labels: asked at t, answered at t + horizon, features as asked.

"Came back" is known early, "did not" only at the end: learning each as soon as it is known would feed the model the
returns first (measured: 0.1 AUC lost, calibration gone). So both wait in this queue until t + horizon.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wellio.learning.features import COUNT, Floats

EVENT, WEEKLY = 0, 1
KINDS = ("event", "weekly")

QUESTION = np.dtype(
    [
        ("asked", "<f8"),
        ("probability", "<f8"),
        ("rule", "<f8"),  # what the simple rule said
        ("client", "<i4"),  # row in its practice
        ("kind", "u1"),
        ("shown", "u1"),  # whether the probability was shown, not the simple rule
    ]
)
Questions = NDArray[np.void]
Features32 = NDArray[np.float32]  # half the memory of what is by far the most there is to keep

_SMALLEST, _LARGEST = 32, 4096  # rows of a block: small practices stay small, large ones never copy a whole queue


class Batch(NamedTuple):
    """Questions [n] and their features [n, COUNT]."""

    questions: Questions
    x: Features32

    def part(self, start: int, end: int) -> "Batch":
        return Batch(self.questions[start:end], self.x[start:end])


def empty_batch(size: int) -> Batch:
    return Batch(np.zeros(size, QUESTION), np.zeros((size, COUNT), np.float32))


def join(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    batches = batches or [empty_batch(0)]
    return Batch(np.concatenate([b.questions for b in batches]), np.concatenate([b.x for b in batches]))


class Queue:
    """First in, first out by `asked`, for one horizon: a list of blocks, so that growth never copies old questions."""

    def __init__(self, horizon: float) -> None:
        self.horizon = horizon  # seconds
        self.next_due = math.inf
        self._blocks: deque[Batch] = deque()
        self._head = self._tail = 0  # first used row of the first block, first free row of the last
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, batch: Batch) -> None:
        size = len(batch.questions)
        if not self._count and size:
            self.next_due = float(batch.questions["asked"][0]) + self.horizon
        done = 0
        while done < size:
            some = min(self._room(size - done), size - done)
            questions, x = self._blocks[-1]
            questions[self._tail : self._tail + some] = batch.questions[done : done + some]
            x[self._tail : self._tail + some] = batch.x[done : done + some]
            self._tail += some
            self._count += some
            done += some

    def append_one(self, question: tuple[float, float, float, int, int, bool], x: Floats) -> None:
        """One question as a tuple of QUESTION's fields."""
        if not self._count:
            self.next_due = question[0] + self.horizon
        self._room(1)
        block = self._blocks[-1]
        block.questions[self._tail] = question
        block.x[self._tail] = x
        self._tail += 1
        self._count += 1

    def _room(self, wanted: int) -> int:
        if not self._blocks or self._tail == len(self._blocks[-1].questions):
            self._blocks.append(empty_batch(min(max(_SMALLEST, wanted, self._count), _LARGEST)))
            self._tail = 0
        return len(self._blocks[-1].questions) - self._tail

    def take(self, now: float, most: int) -> Batch:
        """Remove and return, in order of asking, up to `most` questions due at `now`."""
        parts: list[Batch] = []
        while most and self.next_due <= now:
            part = self._take_from_first(now, most)
            most -= len(part.questions)
            parts.append(part)
        return join(parts)

    def _take_from_first(self, now: float, most: int) -> Batch:
        block = self._blocks[0]
        end = self._tail if len(self._blocks) == 1 else len(block.questions)
        asked = block.questions["asked"]
        stop = self._head + 1
        limit = min(end, self._head + most)
        if stop < limit and asked[stop] + self.horizon <= now:
            stop = self._head + int(np.count_nonzero(asked[self._head : limit] + self.horizon <= now))
        part = block.part(self._head, stop)
        self._count -= stop - self._head
        self._head = stop
        if stop == end:
            self._blocks.popleft()
            self._head = 0
        self.next_due = (
            float(self._blocks[0].questions["asked"][self._head]) + self.horizon if self._count else math.inf
        )
        return part

    def parts(self) -> list[Batch]:
        """The questions waiting, in order, as views of the blocks."""
        last = len(self._blocks) - 1
        return [
            block.part(self._head if i == 0 else 0, self._tail if i == last else len(block.questions))
            for i, block in enumerate(self._blocks)
        ]
