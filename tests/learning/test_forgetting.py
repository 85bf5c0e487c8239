"""Who is erased is forgotten: their state, their questions and their id are in no byte, and nobody else's change."""

import random

import numpy as np
import pytest

from tests.learning.histories import PRACTICE, START, client, history, learn, visit
from wellio.learning.answers import Key
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY
from wellio.learning.inputs import Forget, Input
from wellio.learning.questions import Batch, Queue, empty_batch, join


def waiting(learner: Learner, number: int) -> Batch:
    """The questions that wait, without those of one client."""
    practice = learner.practices[0]
    parts = join([part for queue in practice.queues for part in queue.parts()])
    row = practice.rows.get(client(number).int, -1)
    keep = parts.questions["client"] != row
    return parts.take(np.flatnonzero(keep))


def forget(number: int) -> Input:
    return Forget(PRACTICE, client(number), START)


@pytest.mark.parametrize("days", [20.0, 60.0, 150.0])
def test_nothing_is_left_of_who_is_erased(days: float) -> None:
    learner, _ = learn(fact for fact in history(clients=30, days=200.0) if fact.t < START + days * DAY)
    [practice] = learner.practices
    frozen, before = learner.freeze(), learner.dump()
    number = next(n for n in range(30) if client(n).int in practice.rows)
    others, row = waiting(learner, number), practice.rows[client(number).int]
    told = {p.client: p for p in learner.predict([Key(PRACTICE, c) for c in practice.clients])}
    learner.apply_all([forget(number), forget(number), forget(12345)])
    assert frozen.encode() == before
    assert client(number).bytes in before
    assert client(number).bytes not in learner.dump()
    assert not practice.state[row].any()
    for kept, as_before in zip(waiting(learner, number), others, strict=True):
        np.testing.assert_array_equal(kept, as_before)
    again = {p.client: p for p in learner.predict([Key(PRACTICE, c) for c in told])}
    assert again == {who: p for who, p in told.items() if who != client(number)}
    assert client(number) not in {key.client for key in learner.drain_changed()}
    restored = Learner.load(learner.dump())
    rest: list[Input] = [fact for fact in history(clients=30, days=200.0) if fact.t >= START + days * DAY]
    rest = [fact for fact in rest if getattr(fact, "client", None) != client(number)]
    for each in (learner, restored):
        each.apply_all([*rest, visit(START + 201 * DAY, number)])  # who comes again is somebody new
        each.drain_outcomes()
    assert learner.dump() == restored.dump()
    assert learner.practices[0].rows[client(number).int] != row


def test_queue_goes_on_without_a_client_wherever_their_questions_stand() -> None:
    chance = random.Random(7)
    for _ in range(40):
        queue, expected, t = Queue(100.0), list[tuple[float, int]](), 0.0
        for _ in range(chance.randrange(1, 12)):
            batch = empty_batch(chance.choice([1, 3, 40]))
            batch.questions["asked"] = t = t + 1.0
            batch.questions["client"] = [chance.randrange(3) for _ in batch.questions]
            queue.append(batch)
            expected += [(t, int(number)) for number in batch.questions["client"]]
            if chance.random() < 0.4:
                gone = chance.randrange(3)
                queue.forget(gone)
                expected = [each for each in expected if each[1] != gone]
            if chance.random() < 0.3:
                taken = queue.take(t + 100.0, chance.choice([1, 5]))
                assert taken.questions[["asked", "client"]].tolist() == expected[: len(taken.questions)]
                expected = expected[len(taken.questions) :]
            assert len(queue) == len(expected)
            assert queue.next_due == (expected[0][0] + 100.0 if expected else np.inf)
        rest = queue.take(1e9, 10_000)
        assert rest.questions[["asked", "client"]].tolist() == expected
