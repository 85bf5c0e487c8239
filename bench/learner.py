"""Replay a file of events through the learner: its speed, its accuracy, and whether a restart changes a bit.

    python -m bench.learner FILE [--horizon 45 --at-risk 135 --active purchase] [--check-restore 5] [--scale 300000]

FILE: CSV (may be gzipped) of `client_id, ts, type, amount`. `--active` lists the types a client does; others are
context. Prints one JSON object. Questions are scored from the first event + warm-up (two horizons and 28 days) to the
last event - horizon. Times are of the CPU and include predictions with reasons for every change, one event at a time.
"""

import argparse
import csv
import gc
import gzip
import hashlib
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from wellio.learning import metrics
from wellio.learning.answers import Outcome, Prediction
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY
from wellio.learning.inputs import ACTIVITY, REFUND, Fact
from wellio.learning.model import Intercept, OnlineLogistic, sigmoid
from wellio.learning.practices import FIRST_MONDAY, WEEK

KINDS = {"return": REFUND}


def read(path: Path, active: frozenset[str]) -> list[Fact]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        facts = [_fact(row, active) for row in csv.DictReader(file)]
    return sorted(facts, key=lambda fact: fact.t)


def _fact(row: dict[str, str], active: frozenset[str]) -> Fact:
    moment = datetime.fromisoformat(row["ts"])
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    client = UUID(bytes=hashlib.blake2b(row["client_id"].encode(), digest_size=16).digest())
    kind = KINDS.get(row["type"], row["type"])
    is_active = row["type"] in active
    amount = float(row.get("amount") or 0.0)
    return Fact(UUID(int=1), client, moment.timestamp(), ACTIVITY if is_active else kind, is_active, amount)


def step(learner: Learner, fact: Fact) -> tuple[list[Prediction], list[Outcome]]:
    """One event, all in: what a consumer does but for the database."""
    for _ in learner.apply(fact):
        pass
    keys = learner.drain_changed()
    predictions = [p for i in range(0, len(keys), 1000) for p in learner.predict(keys[i : i + 1000])]
    return predictions, learner.drain_outcomes()


def run(learner: Learner, facts: list[Fact], chunk: int = 1000) -> tuple[list[Outcome], list[float]]:
    """Replay; return the outcomes and the CPU seconds of each chunk of events."""
    outcomes: list[Outcome] = []
    seconds = []
    for start in range(0, len(facts), chunk):
        before = time.process_time()
        for fact in facts[start : start + chunk]:
            outcomes += step(learner, fact)[1]
        seconds.append(time.process_time() - before)
    return outcomes, seconds


def quality(outcomes: list[Outcome], facts: list[Fact], horizon: float, warmup: float) -> dict[str, Any]:
    first, last = facts[0].t + warmup * DAY, facts[-1].t - horizon * DAY
    pairs = zip(outcomes, _recency_model(outcomes, horizon), strict=True)
    scored = [(o, recency) for o, recency in pairs if first <= o.asked_at <= last]
    result: dict[str, Any] = {}
    for kind in ("weekly", "event"):
        some = [o for o, _ in scored if o.kind == kind]
        if not some:
            continue
        y = np.array([o.churned for o in some])
        weeks = np.array([int((o.asked_at - FIRST_MONDAY) // WEEK) for o in some])
        result[kind] = {
            "n": len(some),
            "base_rate": round(float(y.mean()), 4),
            **_scores(np.array([o.probability for o in some]), y, weeks),
            "recency_only": _scores(np.array([recency for o, recency in scored if o.kind == kind]), y, weeks),
            "simple_rule": _scores(np.array([o.rule for o in some]), y, weeks),
        }
    return result


def _scores(p: np.ndarray[Any, Any], y: np.ndarray[Any, Any], weeks: np.ndarray[Any, Any]) -> dict[str, float]:
    scores = {
        "auc": metrics.auc(p, y),
        "mean_weekly_auc": metrics.mean_group_auc(p, y, weeks),
        "pr_auc": metrics.average_precision(p, y),
        "log_loss": metrics.log_loss(p, y),
        "brier": metrics.brier(p, y),
        "ece": metrics.ece(p, y),
    }
    return {name: round(score, 4) for name, score in scores.items()}


def _recency_model(outcomes: list[Outcome], horizon: float) -> list[float]:
    """The same online model on recency alone (log and root), predicting when asked and learning when due."""
    model, intercept = OnlineLogistic(("log", "root")), Intercept()
    silent = [max(horizon * (o.rule / (1.0 - o.rule) - 0.5), 0.0) for o in outcomes]  # the rule's inverse
    x = np.array([[np.log1p(s), np.sqrt(s)] for s in silent])
    order = sorted(range(len(outcomes)), key=lambda i: outcomes[i].asked_at)
    found, learnt = [0.0] * len(outcomes), 0
    for i in order:
        while outcomes[learnt].due_at <= outcomes[i].asked_at:
            model.learn_many(x[learnt : learnt + 1], [outcomes[learnt].churned], intercept)
            learnt += 1
        found[i] = sigmoid(model.logit(model.standardise(x[i])) + intercept.value)
    return found


def turn_of(facts: list[Fact], turn: int) -> Iterator[Fact]:
    """The file's `turn`th repetition: later, and with other clients."""
    span = facts[-1].t - facts[0].t + DAY
    mask = int.from_bytes(hashlib.blake2b(str(turn).encode(), digest_size=16).digest()) if turn else 0
    for fact in facts:
        yield replace(fact, client=UUID(int=fact.client.int ^ mask), t=fact.t + turn * span)


def flatness(
    learner: Learner, facts: list[Fact], total: int, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Cost of an event after so many, as a ratio to its cost after the file once.

    Measured side by side on the same events, for a machine's speed changes more in a minute than the learner's does.
    `clock` gives seconds.
    """
    learner.apply_all(facts)
    start, turns = settled(learner), max(2, round(total / len(facts)))
    found = {str(len(facts)): 1.0}
    for turn in range(1, turns):
        if turn in (turns // 4, turns // 2, turns - 1):
            young, old = Learner.load(start), Learner.load(settled(learner))
            ratio = compare(young, turn_of(facts, 1), old, turn_of(facts, turn), clock)
            found[str(turn * len(facts))] = round(ratio, 3)
        learner.apply_all(turn_of(facts, turn))
    return found


def settled(learner: Learner) -> bytes:
    learner.drain_changed()
    learner.drain_outcomes()
    return learner.dump()


def compare(
    young: Learner, facts: Iterator[Fact], old: Learner, later_facts: Iterator[Fact], clock: Callable[[], float]
) -> float:
    ratios = []
    while some := list(islice(facts, 500)):
        seconds = [time_of(young, some, clock), time_of(old, list(islice(later_facts, 500)), clock)]
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios)


def time_of(learner: Learner, facts: list[Fact], clock: Callable[[], float]) -> float:
    before = clock()
    for fact in facts:
        step(learner, fact)
    return clock() - before


def check_restore(make: Any, facts: list[Fact], cuts: int) -> dict[str, Any]:
    """Cut, dump, load, go on: every prediction and outcome, and the last dump, must be those of the whole run."""
    whole = make()
    results = [step(whole, fact) for fact in facts]
    final = whole.dump()
    places = sorted(random.Random(7).sample(range(1, len(facts)), cuts))
    learner, cut = make(), 0
    differing = 0
    for i, fact in enumerate(facts):
        if cut < len(places) and i == places[cut]:
            learner, cut = Learner.load(learner.dump()), cut + 1
        differing += step(learner, fact) != results[i]
    return {"cuts": places, "events_differing": differing, "final_dump_equal": learner.dump() == final}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--horizon", type=float, default=45.0)
    parser.add_argument("--at-risk", type=float)
    parser.add_argument("--warmup", type=float)
    parser.add_argument("--active", default="purchase")
    parser.add_argument("--check-restore", type=int, default=0, metavar="N")
    parser.add_argument("--scale", type=int, default=0, metavar="EVENTS", help="measure flatness up to so many")
    args = parser.parse_args()
    facts = read(args.file, frozenset(args.active.split(",")))

    def make() -> Learner:
        return Learner(horizon_days=args.horizon, at_risk_days=args.at_risk)

    gc.freeze()
    learner = make()
    outcomes, seconds = run(learner, facts)
    result: dict[str, Any] = {
        "events": len(facts),
        "labels": learner.labels,
        "us_per_event": round(sum(seconds) / len(facts) * 1e6, 1),
        "us_per_event_median_chunk": round(statistics.median(seconds) * 1000, 1),
        "dump_bytes": len(learner.dump()),
        **quality(outcomes, facts, args.horizon, args.warmup or 2 * args.horizon + 28),
    }
    if args.scale:
        result["cost_ratio_after_events"] = flatness(make(), facts, args.scale)
    if args.check_restore:
        result["restore"] = check_restore(make, facts, args.check_restore)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
