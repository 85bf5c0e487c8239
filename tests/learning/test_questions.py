"""The queue of questions: first in, first out, whatever its blocks."""

import math

import numpy as np
import pytest

from wellio.learning.clients import DAY, WEEK
from wellio.learning.features import COUNT
from wellio.learning.questions import CENSORED, Batch, Queue, Returns, empty_batch, join, learn_weeks


def batch(asked: list[float]) -> Batch:
    made = empty_batch(len(asked))
    made.questions["asked"] = asked
    made.questions["client"] = range(len(asked))
    made.x[:] = np.array(asked)[:, None] % 2048.0  # what half precision holds exactly
    return made


def filled(counts: list[int], horizon: float = 10.0) -> Queue:
    """One batch each second."""
    queue = Queue(horizon)
    for second, count in enumerate(counts):
        queue.append(batch([float(second)] * count))
    return queue


def test_nothing_is_due_before_the_horizon() -> None:
    queue = filled([3])
    assert queue.next_due == 10.0
    assert len(queue.take(9.999, 100).questions) == 0
    assert len(queue.take(10.0, 100).questions) == 3
    assert len(queue) == 0
    assert queue.next_due == math.inf


@pytest.mark.parametrize("counts", [[1] * 500, [5000, 1, 9000], [31, 1, 1, 32, 64, 4096, 7]])
def test_comes_out_in_the_order_it_went_in(counts: list[int]) -> None:
    queue = filled(counts)
    expected = [float(second) for second, count in enumerate(counts) for _ in range(count)]
    taken: list[float] = []
    for now in range(len(counts)):
        while len(part := queue.take(now + 10.0, 77).questions):
            taken += part["asked"].tolist()
        assert taken == [asked for asked in expected if asked <= now]
    assert taken == expected


def test_features_stay_with_their_question() -> None:
    queue = filled([40, 40, 40])
    taken = queue.take(11.0, 1000)
    assert np.array_equal(taken.x, np.repeat(taken.questions["asked"][:, None], COUNT, axis=1))


def test_one_at_a_time_is_as_a_batch() -> None:
    single, many = Queue(5.0), Queue(5.0)
    for i in range(100):
        single.append_one((float(i), 0.25, 0.5, i, 1, True), np.full(COUNT, float(i)))
    made = batch([float(i) for i in range(100)])
    made.questions["probability"], made.questions["rule"] = 0.25, 0.5
    made.questions["kind"] = made.questions["shown"] = 1
    many.append(made)
    one, other = join(single.parts()), join(many.parts())
    assert np.array_equal(one.questions, other.questions)
    assert np.array_equal(one.x, other.x)
    assert np.array_equal(one.back, other.back)


def test_parts_are_what_is_left() -> None:
    queue = filled([10] * 20)
    queue.take(14.0, 1000)
    left = join(queue.parts())
    assert left.questions["asked"].tolist() == [float(s) for s in range(5, 20) for _ in range(10)]
    assert len(queue) == 150


def test_goes_on_after_it_ran_empty() -> None:
    queue = filled([100])
    queue.take(10.0, 1000)
    queue.append(batch([50.0]))
    assert queue.next_due == 60.0
    assert queue.take(60.0, 10).questions["asked"].tolist() == [50.0]


def test_a_question_takes_100_bytes() -> None:
    one = empty_batch(1)
    assert one.questions.nbytes + one.x.nbytes + one.back.nbytes <= 100


def test_chunks_are_the_same_whatever_the_blocks() -> None:
    ragged, whole = filled([31, 1, 1, 32, 64, 900, 7]), Queue(10.0)
    ragged.take(11.0, 1000)
    whole.append(join(ragged.parts()))
    chunks = [[join(parts).questions["asked"].tolist() for parts in queue.chunks(100)] for queue in (ragged, whole)]
    assert chunks[0] == chunks[1]
    assert [len(chunk) for chunk in chunks[0]] == [100] * 10 + [4]


def test_a_week_is_learnt_when_it_is_over_and_only_of_the_silent() -> None:
    """Asked on day 0 (a Monday's question) and on days 3 and 5 (after events), seen on five Mondays."""
    waiting = batch([0.0, 3 * DAY, 5 * DAY, 0.0])
    back = np.array([16 * DAY, 16 * DAY, 18 * DAY, 1e9])  # first return; later ones don't matter
    found: list[tuple[int, int, int]] = []
    for monday in (WEEK, 2 * WEEK, 3 * WEEK, 4 * WEEK):
        came = (back <= monday) & (back > monday - WEEK)
        last = np.where(back <= monday, monday - 3600.0, -1.0)  # and was there again just now
        first = np.where(came, back, -1.0)
        ended = np.array([0.0, 0.0, 0.0, 2.5 * WEEK if monday > 2.5 * WEEK else 0.0])
        some, week, returned = learn_weeks(waiting, Returns(last, first, ended), 0.0, monday)
        found += zip(some.tolist(), week.tolist(), returned.tolist(), strict=True)
    assert sorted(found) == [
        (0, 0, 0),  # day 16 is in its third week
        (0, 1, 0),
        (0, 2, 1),
        (1, 0, 0),
        (1, 1, 1),  # days 10 to 17
        (2, 0, 0),
        (2, 1, 1),  # days 12 to 19
        (3, 0, 0),
        (3, 1, 0),
    ]
    assert waiting.back.tolist() == [16.0, 13.0, 13.0, CENSORED]
