"""The learner at work on a history: what it was asked, what it said, and how long that took."""

import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from time import process_time
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from wellio.evaluate.telling import Progress
from wellio.learning.answers import Outcome, Prediction
from wellio.learning.churn import Learner
from wellio.learning.clients import ACTIVES, DAY, FIRST, LAST, ORDER, RECENT_30, RECENT_90, UPDATED, VISITS
from wellio.learning.features import COUNT, Floats
from wellio.learning.inputs import Fact
from wellio.learning.practices import Practice
from wellio.learning.questions import Batch

AT_ONCE = 50  # predictions, as the product makes them
WATCHED_CLIENTS = 5000
CUT_SEED = 20_261_123


@dataclass(slots=True)
class Times:
    """Seconds of the processor. `events`: of each at which nothing fell due, to the new prediction with its reasons."""

    events: list[float] = field(default_factory=list)
    labels: float = 0.0
    questions: float = 0.0  # weekly ones, asked
    asked: int = 0
    total: float = 0.0


class WatchedLearner(Learner):
    """The product's learner, with its questions' features, its clients on Mondays and its times written down."""

    def __init__(self, *, horizon_days: float, at_risk_days: float) -> None:
        super().__init__(horizon_days=horizon_days, at_risk_days=at_risk_days)
        self.taught: list[Batch] = []
        self.mondays: list[tuple[float, Floats]] = []  # [n, 3]: visits, days from first to last and to now
        self.times = Times()
        self.ranked: list[tuple[float, list[UUID], Floats]] = []

    def _teach(self, practice: Practice, horizon: float, known: Batch, churned: list[bool]) -> None:
        before = process_time()
        super()._teach(practice, horizon, known, churned)
        self.times.labels += process_time() - before
        self.taught.append(known)

    def _ask_weekly(self, practice: Practice, monday: float) -> Iterator[None]:
        state = practice.state[: len(practice.clients)]
        seen = state[(state[:, ACTIVES] > 0.0) & (state[:, ORDER] < WATCHED_CLIENTS / max(len(state), 1))]
        ages = np.maximum(np.stack([seen[:, LAST] - seen[:, FIRST], monday - seen[:, FIRST]], axis=1), 0.0)
        self.mondays.append((monday, np.column_stack([seen[:, VISITS], ages / 86_400.0])))
        before = process_time()
        yield from super()._ask_weekly(practice, monday)
        self.times.questions += process_time() - before

    def _rank(self, practice: Practice, now: float) -> Iterator[None]:
        yield from super()._rank(practice, now)
        rows = practice.at_risk_rows(now)
        state = practice.state[rows]
        watched = rows[state[:, ORDER] < WATCHED_CLIENTS / max(len(rows), 1)].tolist()
        state = practice.state[watched]
        days = np.maximum(now - state[:, UPDATED], 0.0) / DAY
        counts = [state[:, RECENT_30] * 0.5 ** (days / 30.0), state[:, RECENT_90] * 0.5 ** (days / 90.0)]
        scores = self.predictor.engagements(practice, state.tolist())
        clients = [practice.clients[row] for row in watched]
        self.ranked.append((now, clients, np.column_stack([scores, *counts])))


@dataclass(frozen=True, slots=True)
class Answers:
    """Questions in the order in which their labels fell due [n], each with what was said when it was asked."""

    asked: Floats
    due: Floats
    weekly: NDArray[np.bool_]
    probability: Floats
    rule: Floats
    churned: NDArray[np.bool_]
    x: NDArray[np.float16]  # [n, COUNT]
    mondays: Sequence[tuple[float, Floats]]
    ranked: Sequence[tuple[float, Sequence[UUID], Floats]]  # on Mondays: clients [n], scores and rivals' [n, 3]
    times: Times


def step(learner: Learner, fact: Fact) -> tuple[list[Prediction], list[Outcome]]:
    """One event, all in: what the product does but for the database."""
    for _ in learner.apply(fact):
        pass
    keys = learner.drain_changed()
    predictions = [learner.predict(keys[i : i + AT_ONCE]) for i in range(0, len(keys), AT_ONCE)]
    return list(chain.from_iterable(predictions)), learner.drain_outcomes()


def answer(facts: Sequence[Fact], *, horizon: float, at_risk: float, progress: Progress) -> Answers:
    learner = WatchedLearner(horizon_days=horizon, at_risk_days=at_risk)
    times, columns = learner.times, [np.zeros((0, 6))]
    for done, fact in enumerate(facts):
        quiet = len(learner.taught), len(learner.mondays)
        before = process_time()
        predictions, outcomes = step(learner, fact)
        took = process_time() - before
        times.total += took
        if quiet == (len(learner.taught), len(learner.mondays)):
            times.events.append(took)
        else:
            times.asked += max(len(predictions) - 1, 0)
        if outcomes:
            columns.append(np.array([_row(outcome) for outcome in outcomes]))
        progress(done)
    asked, due, weekly, probability, rule, churned = np.concatenate(columns).T
    x = np.concatenate([np.zeros((0, COUNT), np.float16), *[batch.x for batch in learner.taught]])
    return Answers(asked, due, weekly > 0, probability, rule, churned > 0, x, learner.mondays, learner.ranked, times)


def _row(o: Outcome) -> tuple[float, float, bool, float, float, bool]:
    return o.asked_at, o.due_at, o.kind == "weekly", o.probability, o.rule, o.churned


def us_per_step(times: Times, labels: int, events: int) -> dict[str, float | None]:
    """Microseconds of the processor. `event`: median, from the event to the new prediction with its reasons;
    `label`: to learn one; `event_and_label`: both, what an event costs end to end; `all`: everything by events, the
    weekly questions, their labels and predictions included.
    """
    event = statistics.median(times.events) if times.events else None
    label = times.labels / labels if labels else None
    both = event + label if event is not None and label is not None else None
    question = times.questions / times.asked if times.asked else None
    found = {"event": event, "label": label, "event_and_label": both, "weekly_question": question}
    found["all"] = times.total / events
    return {name: None if s is None else round(s * 1e6, 1) for name, s in found.items()}


def check_restore(
    facts: Sequence[Fact], *, horizon: float, at_risk: float, cuts: int, progress: Progress
) -> dict[str, object]:
    """Beside an uninterrupted learner another goes from snapshot to snapshot; all that both say is held together."""
    whole, cut = (Learner(horizon_days=horizon, at_risk_days=at_risk) for _ in range(2))
    places = sorted(random.Random(CUT_SEED).sample(range(1, len(facts)), min(cuts, len(facts) - 1)))  # noqa: S311
    ahead = iter([*places, -1])
    place, compared, differing = next(ahead), 0, 0
    for done, fact in enumerate(facts):
        if done == place:
            cut, place = Learner.load(cut.dump()), next(ahead)
        said, again = step(whole, fact), step(cut, fact)
        if places and done >= places[0]:
            compared += len(said[0]) + len(said[1])
            differing += said != again
        progress(done)
    return {
        "cuts": places,
        "compared": compared,
        "events_differing": differing,
        "last_snapshot_equal": whole.dump() == cut.dump(),
        "snapshot_bytes": len(whole.dump()),
    }
