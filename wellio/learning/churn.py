"""The learner: from facts to predictions, each question learnt when its time is up.

`apply` takes one fact and does, at each instant, in this order: labels due, weekly questions (Mondays 00:00 UTC passed
by the practice's clock), the event, the event's question. It yields between bounded pieces of work, so that a
checkpoint of 100,000 clients never holds an event loop. Each practice has its own clock: one that replays its past does
not age another's clients. The state depends on nothing but the facts and their order, to the last bit.

A question is censored, not learnt, when its client's programme ended meanwhile, or when its window overlaps more than
21 days without any fact of the practice: nobody was there to be seen.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from wellio.learning.answers import MIN_ACTIVES, MIN_LABELS, Key, Outcome, Prediction, rule_of
from wellio.learning.clients import (
    ACTIVES,
    AMOUNT_WEIGHT,
    DAY,
    ENDED,
    FIRST,
    FIRST_MONDAY,
    LAST,
    LAST_AMOUNT,
    ORDER,
    VISIT_ACTIVES,
    VISITS,
    WEEK,
    WEEK_FIRST,
    observe,
)
from wellio.learning.counting import SAMPLE
from wellio.learning.engagement import CHECKPOINT_WEEKS, Checkpoint, Engagement, mixes_of, sample_of
from wellio.learning.engagement import COUNT as MIX
from wellio.learning.ensemble import Ensemble
from wellio.learning.features import features
from wellio.learning.frozen import Frozen, freeze, restore
from wellio.learning.hazard import Pass
from wellio.learning.inputs import CLIENT_CREATED, Fact, Forget, HorizonSet, Input, Tick
from wellio.learning.model import sigmoids
from wellio.learning.practices import MAX_TIME, MIN_TIME, OUTAGE, Practice, Running, monday_after
from wellio.learning.predicting import Predictor, View
from wellio.learning.questions import EVENT, QUESTION, WEEKLY, Answered, Batch, Returns, is_asked_at, learn_weeks

LEARN_CHUNK = 32  # labels, learnt at once
WEEK_CHUNK = 512  # questions, about 1 ms
ASK_CHUNK = 1024  # clients, about 1 ms
SORT_WINDOW = 4096  # labels, about 1 ms

_LOW = 0xFFFFFFFF
_new = tuple.__new__  # named tuples by the thousand: half the time of calling the class


class Learner:
    def __init__(self, *, horizon_days: float = 30.0, at_risk_days: float | None = None) -> None:
        self.horizon_days = horizon_days
        self.at_risk_days = 3.0 * horizon_days if at_risk_days is None else at_risk_days
        self.facts = 0
        self.labels = 0
        self.model = Ensemble()
        self.engagement = Engagement()
        self.predictor = Predictor(self.model, self.engagement)
        self.practices: list[Practice] = []
        self.gaps = Running()
        self.amounts = Running()
        self.centre = 0.0  # of the practices' intercepts
        self._by_id: dict[int, Practice] = {}
        self._changed: dict[int, None] = {}
        self._draining: deque[int] = deque()
        self._answered: deque[Answered] = deque()
        self._busy = False
        self._viewed: tuple[Practice, View] | None = None

    def apply_all(self, items: Iterable[Input]) -> None:
        for item in items:
            for _ in self.apply(item):
                pass

    def apply(self, item: Input) -> Iterator[None]:
        """Learn one input; to be run to its end, yielding between pieces of at most about 2 ms."""
        if self._busy:
            raise RuntimeError("The input before was not applied to its end")
        self._busy = True
        self._viewed = None
        self.predictor.forget()
        practice = self._by_id.get(item.practice.int) or self.add_practice(item.practice)
        t = item.t if MIN_TIME <= item.t <= MAX_TIME else practice.clock
        if isinstance(item, HorizonSet):
            practice.set_horizon(item.horizon_days, item.at_risk_days)
        elif isinstance(item, Forget):
            self._forget(practice, item.client)
        elif t and practice.is_moved_by(item, t):
            if not practice.clock:
                practice.start(t)
            if t >= practice.wake:
                yield from self._advance(practice, t)
            if isinstance(item, Tick) and t // DAY > practice.standing.ranked_at // DAY:
                yield from self._rank(practice, t)
            practice.clock = max(practice.clock, t)
        if t and isinstance(item, Fact):
            self._observe(practice, item, t)
        self.facts += 1
        self._busy = False

    def drain_changed(self, most: int | None = None) -> list[Key]:
        """Clients whose prediction has moved since they were last drained, in the order they first did.

        With `most` that many at a time, until none is left.
        """
        waiting, practices = self._draining, self.practices
        waiting.extend(self._changed)
        self._changed.clear()
        codes = [waiting.popleft() for _ in range(len(waiting) if most is None else min(most, len(waiting)))]
        return [_new(Key, (practices[code >> 32].id, practices[code >> 32].clients[code & _LOW])) for code in codes]

    def drain_outcomes(self, most: int | None = None) -> list[Outcome]:
        """Questions answered since the last call, in that order; with `most` about that many at a time, until none is
        left. A checkpoint of a large practice makes a hundred thousand.
        """
        outcomes: list[Outcome] = []
        while self._answered and (most is None or len(outcomes) < most):
            outcomes += self._answered.popleft().outcomes()
        return outcomes

    def predict(self, keys: Sequence[Key]) -> list[Prediction]:
        """Predictions at their practices' clocks, in the order of `keys`; clients never seen are left out.

        For many keys call it in slices of 50 or so: it takes about 25 µs a key.
        """
        found: dict[int, list[tuple[int, int]]] = {}
        for place, (practice_id, client_id) in enumerate(keys):
            practice = self._by_id.get(practice_id.int)
            row = None if practice is None else practice.rows.get(client_id.int)
            if practice is not None and row is not None:
                found.setdefault(practice.index, []).append((place, row))
        placed: list[tuple[int, Prediction]] = []
        for index, places in found.items():
            practice = self.practices[index]
            answers = self.predictor.predict(practice, [row for _, row in places], self._view(practice))
            if len(found) == 1:
                return answers
            placed.extend(zip([place for place, _ in places], answers, strict=True))
        placed.sort(key=itemgetter(0))
        return [prediction for _, prediction in placed]

    def freeze(self) -> Frozen:
        """A copy of the state, to be encoded in a thread. Drain the outcomes first: they are not part of it."""
        assert not self._busy, "an input is being applied"
        assert not self._answered, "outcomes not drained"
        return freeze(self)

    def dump(self) -> bytes:
        return self.freeze().encode()

    @classmethod
    def load(cls, data: bytes) -> "Learner":
        """Raises SnapshotDamaged, SnapshotVersion."""
        learner = cls()
        restore(learner, data)
        return learner

    def add_practice(self, id_: UUID) -> Practice:
        practice = Practice(id_, len(self.practices), self.horizon_days * DAY, self.at_risk_days * DAY)
        self.practices.append(practice)
        self._by_id[id_.int] = practice
        return practice

    def _view(self, practice: Practice) -> View:
        """Of a practice after the latest input."""
        if self._viewed is None or self._viewed[0] is not practice:
            norms = practice.norms(self.gaps, self.amounts)
            self._viewed = practice, View(norms, self._offset(practice), ready=self.labels >= MIN_LABELS)
        return self._viewed[1]

    def _advance(self, practice: Practice, t: float) -> Iterator[None]:
        """Bring the practice's clock to `t`: what falls due on the way, in order."""
        while practice.next_monday <= t:
            monday = practice.next_monday
            if monday - practice.last_fact <= OUTAGE:
                yield from self._learn_week(practice, monday)
            yield from self._learn_due(practice, monday)
            practice.clock = monday
            if monday - practice.last_fact > OUTAGE:
                practice.next_monday = monday_after(t)
                break
            yield from self._ask_weekly(practice, monday)
            yield from self._rank(practice, monday)
            practice.next_monday = monday + WEEK
        yield from self._learn_due(practice, t)

    def _forget(self, practice: Practice, client: UUID) -> None:
        row = practice.forget(client)
        if row is not None:
            code = practice.index << 32 | row
            self._changed.pop(code, None)
            self._draining = deque(other for other in self._draining if other != code)

    def _observe(self, practice: Practice, fact: Fact, t: float) -> None:
        row = practice.row_of(fact.client, t)
        state = practice.state[row].tolist()
        paid = state[AMOUNT_WEIGHT]
        log_gap = observe(state, fact, t)
        practice.state[row] = state
        if log_gap is not None:
            practice.gaps.learn(log_gap)
            self.gaps.learn(log_gap)
        if state[AMOUNT_WEIGHT] != paid:
            practice.amounts.learn(state[LAST_AMOUNT])
            self.amounts.learn(state[LAST_AMOUNT])
        if fact.kind != CLIENT_CREATED:
            practice.see(t)
        self._changed[practice.index << 32 | row] = None
        if fact.active and t >= practice.clock and is_asked_at(int(state[VISIT_ACTIVES])):
            self._ask(practice, row, state, t)

    def _ask(self, practice: Practice, row: int, state: list[float], t: float) -> None:
        probability, x = self.predictor.ask(practice, row, state, t, self._view(practice))
        rule = rule_of(0.0, practice.horizon / DAY)
        shown = self.labels >= MIN_LABELS and state[ACTIVES] >= MIN_ACTIVES
        practice.asking().append_one((t, probability, rule, row, EVENT, shown), x)

    def _ask_weekly(self, practice: Practice, monday: float) -> Iterator[None]:
        """In the order of the clients' hashes, by equal slices of their range: no sort of them all at once."""
        rows = practice.at_risk_rows(monday)
        order = practice.state[rows, ORDER]
        slices = len(rows) // ASK_CHUNK + 1
        yield
        for i in range(slices):
            some = np.flatnonzero((order >= i / slices) & (order < (i + 1) / slices))
            some = some[np.argsort(order[some])]
            if len(some):
                self._ask_many(practice, rows[some], monday)
            yield

    def _ask_many(self, practice: Practice, rows: NDArray[np.int64], monday: float) -> None:
        state = practice.state[rows]
        horizon = practice.horizon / DAY
        x = features(state, monday, practice.norms(self.gaps, self.amounts), horizon)
        questions = np.zeros(len(rows), QUESTION)
        questions["asked"] = monday
        questions["probability"] = sigmoids(self.model.logits(x, horizon) + self._offset(practice))
        questions["rule"] = rule_of((monday - state[:, LAST]) / DAY, horizon)
        questions["client"] = rows
        questions["kind"] = WEEKLY
        questions["shown"] = (state[:, ACTIVES] >= MIN_ACTIVES) & (self.labels >= MIN_LABELS)
        practice.asking().append(Batch(questions, x.astype(np.float16), np.zeros(len(rows), np.float32)))
        self._changed.update(dict.fromkeys((rows + (practice.index << 32)).tolist()))

    def _rank(self, practice: Practice, now: float) -> Iterator[None]:
        """Once a day at most: everybody at risk against everybody else, and what earlier rankings were worth."""
        standing = practice.standing
        for checkpoint in standing.take_due(now - practice.horizon):
            if practice.outage_end <= checkpoint.t and now - practice.last_fact <= OUTAGE:
                self.engagement.learn(checkpoint, practice.state)
            yield
        rows = practice.at_risk_rows(now)
        sampled = sample_of(practice.state[rows, ORDER])
        activities, mixes = [np.zeros(0)], [np.zeros((0, MIX), np.float32)]
        for start in range(0, len(rows), ASK_CHUNK):
            some, chosen = rows[start : start + ASK_CHUNK], sampled[start : start + ASK_CHUNK]
            mix = mixes_of(practice.state[some], now)
            activities.append(self.engagement.activities(mix))
            mixes.append(mix[chosen].astype(np.float32))
            self._changed.update(dict.fromkeys((some + (practice.index << 32)).tolist()))
            yield
        standing.set_marks(np.concatenate(activities))
        standing.ranked_at = now
        if (now - FIRST_MONDAY) % (CHECKPOINT_WEEKS * WEEK) == 0.0:
            followed = rows[sampled]
            visits = practice.state[followed, VISITS]
            standing.checkpoints.append(Checkpoint(now, followed, visits, np.concatenate(mixes)))

    def _learn_due(self, practice: Practice, t: float) -> Iterator[None]:
        while (queue := practice.earliest()) is not None and queue.next_due <= t:
            due = queue.take(t, SORT_WINDOW)
            if len(due.questions) > 1:
                due = _shuffle(practice, due)
                yield
            for start in range(0, len(due.questions), LEARN_CHUNK):
                self._learn(practice, queue.horizon, due.part(start, start + LEARN_CHUNK))
                yield

    def _learn(self, practice: Practice, horizon: float, due: Batch) -> None:
        """Score and learn questions of one queue; each knows the model only as it was when it was asked."""
        known: list[int] = []
        churned: list[bool] = []
        state, outage_end = practice.state, practice.outage_end
        for i, (asked, _, _, row, _, _) in enumerate(due.questions.tolist()):
            if state[row, ENDED] > asked or outage_end > asked or asked + horizon - practice.last_fact > OUTAGE:
                continue  # censored
            known.append(i)
            churned.append(bool(state[row, LAST] <= asked))
        if known:
            due = due if len(known) == len(due.x) else due.take(np.array(known))
            self._answered.append(Answered(practice.id, practice.clients, horizon, due.questions, churned))
            self._teach(practice, horizon, due, churned)

    def _teach(self, practice: Practice, horizon: float, known: Batch, churned: list[bool]) -> None:
        x, y, offset = known.x.astype(np.float64), np.array(churned, np.float64), self._offset(practice)
        self.model.learn_many(x, y, horizon / DAY, practice.intercept, offset)
        self.labels += len(churned)

    def _learn_week(self, practice: Practice, monday: float) -> Iterator[None]:
        """What the week before `monday` says of the questions waiting, and of the clients' counts."""
        weekly = self.model.hazard.start(monday)
        for queue in practice.queues:
            for parts in queue.chunks(WEEK_CHUNK):
                self._add_weeks(practice, weekly, parts, monday)
                yield
        self.model.hazard.finish(weekly)
        yield
        self._count_clients(practice, monday)
        self.model.end_week()
        self._centre()

    def _add_weeks(self, practice: Practice, weekly: Pass, parts: Sequence[Batch], monday: float) -> None:
        found = []
        for part in parts:
            seen = Returns(*practice.state[part.questions["client"]][:, (LAST, WEEK_FIRST, ENDED)].T)
            some, week, returned = learn_weeks(part, seen, practice.outage_end, monday)
            found.append((part.x[some], week, returned))
        x, week, returned = (np.concatenate(column) for column in zip(*found, strict=True))
        if len(week):
            weekly.add(x.astype(np.float64), week, returned)

    def _count_clients(self, practice: Practice, monday: float) -> None:
        """Show the counting model some clients: those whose hash comes first, the same every week."""
        state = practice.state[: len(practice.clients)]
        visits, last, ended, order = state[:, (VISITS, LAST, ENDED, ORDER)].T
        first = state[:, FIRST]
        some = (order < SAMPLE / max(len(state), 1)) & (visits > 0.0) & (last > ended)
        if some.any():
            self.model.counting.learn(
                monday, visits[some], (last - first)[some] / DAY, np.maximum(monday - first, last - first)[some] / DAY
            )

    def _centre(self) -> None:
        """What moves all practices is the members' to learn; their intercepts say how each differs."""
        weights = [practice.intercept.information for practice in self.practices]
        values = [practice.intercept.value * w for practice, w in zip(self.practices, weights, strict=True)]
        self.centre = sum(values) / sum(weights) if sum(weights) else 0.0

    def _offset(self, practice: Practice) -> float:
        return practice.intercept.value - self.centre if len(self.practices) > 1 else 0.0


def _shuffle(practice: Practice, due: Batch) -> Batch:
    """Questions by the moment they were asked and, at one moment, by the hash of the client."""
    hashes = practice.state[due.questions["client"], ORDER]
    return due.take(np.lexsort((hashes, due.questions["asked"])))
