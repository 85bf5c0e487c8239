"""Questions that wait for their labels: asked at t, answered at t + horizon, features as asked.

"Came back" is known early, "did not" only at the end: learning each as soon as it is known would feed the model the
returns first (measured: 0.1 AUC lost, calibration gone). So both wait in this queue until t + horizon.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from wellio.learning.answers import Outcome
from wellio.learning.clients import DAY, WEEK
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
Features16 = NDArray[np.float16]  # a quarter of the memory of what is by far the most there is to keep
Floats32 = NDArray[np.float32]

ASKED_OF_A_VISIT = 16
CENSORED = -1.0

_new = tuple.__new__

_SMALLEST, _LARGEST = 32, 4096  # rows of a block: small practices stay small, large ones never copy a whole queue


def is_asked_at(count: int) -> bool:
    """Whether the `count`th active event of a visit asks: the first 16, then the 32nd, the 64th and so on.

    A chat of hundreds of messages says the same hundreds of times: it must neither fill the memory for a horizon, nor
    be learnt as if it were hundreds of visits.
    """
    return count <= ASKED_OF_A_VISIT or count & (count - 1) == 0


class Batch(NamedTuple):
    """Questions [n], their features [n, COUNT], and the days from asking to the first return [n].

    `back` is 0 while there was none, and CENSORED once nothing more is to be learnt of the weeks.
    """

    questions: Questions
    x: Features16
    back: Floats32

    def part(self, start: int, end: int) -> "Batch":
        return Batch(self.questions[start:end], self.x[start:end], self.back[start:end])

    def take(self, some: NDArray[np.int64]) -> "Batch":
        return Batch(self.questions[some], self.x[some], self.back[some])


def empty_batch(size: int) -> Batch:
    return Batch(np.zeros(size, QUESTION), np.zeros((size, COUNT), np.float16), np.zeros(size, np.float32))


def join(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    batches = batches or [empty_batch(0)]
    questions, x, back = zip(*batches, strict=True)
    return Batch(np.concatenate(questions), np.concatenate(x), np.concatenate(back))


class Answered(NamedTuple):
    """Questions of one practice and horizon, in seconds, whose answers are known: `churned` [n].

    Kept as they are until they are told: a hundred thousand outcomes would be walked by the garbage collector.
    """

    practice: UUID
    clients: Sequence[UUID]
    horizon: float
    questions: Questions
    churned: Sequence[bool]

    def outcomes(self) -> list[Outcome]:
        id_, clients, horizon = self.practice, self.clients, self.horizon
        return [
            _new(Outcome, (id_, clients[row], asked, asked + horizon, KINDS[kind], p, rule, bool(shown), churned))
            for (asked, p, rule, row, kind, shown), churned in zip(self.questions.tolist(), self.churned, strict=True)
        ]


class Returns(NamedTuple):
    """Of the clients of some questions [n], unix seconds: last active, first active in the week before, last ended."""

    last: Floats
    week_first: Floats
    ended: Floats


def learn_weeks(
    batch: Batch, seen: Returns, outage_end: float, monday: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Note who came back in the week before `monday`; return the questions whose client was silent to the start of a
    week after asking that ended in it: their places, which week (from 0), and whether they returned in it.

    A question asked within the week has its first week still before it, so its return needs no exact time.
    """
    questions, _, back = batch
    asked = questions["asked"]
    returned = (back == 0.0) & (seen.last > asked)
    first = np.where(seen.week_first > asked, seen.week_first, seen.last)
    back[returned] = np.maximum(first - asked, 1.0)[returned] / DAY
    back[(seen.ended > asked) | (outage_end > asked)] = CENSORED
    week = np.floor((monday - asked) / WEEK).astype(np.int64) - 1
    some = np.flatnonzero((week >= 0) & ((back == 0.0) | (back > 7.0 * week)))
    week, days = week[some], back[some]
    return some, week, (days > 0.0) & (days <= 7.0 * (week + 1))


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
            block, theirs = self._blocks[-1].part(self._tail, self._tail + some), batch.part(done, done + some)
            block.questions[:], block.x[:], block.back[:] = theirs
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

    def forget(self, client: int) -> None:
        """Takes a client's questions out. Blocks are replaced, not written: a frozen state may still look at them."""
        kept: deque[Batch] = deque()
        head, tail = self._head, self._tail
        for i, (block, part) in enumerate(zip(self._blocks, self.parts(), strict=True)):
            keep = part.questions["client"] != client
            if keep.all():
                kept.append(block)
                tail = self._tail if i == len(self._blocks) - 1 else len(block.questions)
                continue
            head = 0 if not kept else head
            if keep.any():
                kept.append(part.take(np.flatnonzero(keep)))
            tail = len(kept[-1].questions) if kept else 0
            self._count -= int(np.count_nonzero(~keep))
        self._blocks, self._head, self._tail = kept, head, tail
        self.next_due = float(kept[0].questions["asked"][head]) + self.horizon if self._count else math.inf

    def parts(self) -> list[Batch]:
        """The questions waiting, in order, as views of the blocks."""
        last = len(self._blocks) - 1
        return [
            block.part(self._head if i == 0 else 0, self._tail if i == last else len(block.questions))
            for i, block in enumerate(self._blocks)
        ]

    def chunks(self, size: int) -> Iterator[list[Batch]]:
        """The same, by `size` questions at a time, however the blocks lie: what is summed over them must not change
        when a restored queue has other blocks.
        """
        chunk: list[Batch] = []
        room = size
        for part in self.parts():
            start = 0
            while start < len(part.questions):
                some = part.part(start, start + room)
                chunk.append(some)
                start += len(some.questions)
                room -= len(some.questions)
                if not room:
                    yield chunk
                    chunk, room = [], size
        if chunk:
            yield chunk
