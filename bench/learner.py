"""What `bin/evaluate churn` does not say of the learner: whether an event costs the same after many, what 100,000
clients take in memory, and for how long a Monday of theirs holds the event loop.

    python -m bench.learner flatness [FILE --active purchase --horizon 45 --events 300000]
    python -m bench.learner size [--clients 100000]

FILE: a history as `bin/evaluate` reads it; the sample that comes with Wellio unless given. Prints one JSON object.
"""

import argparse
import gc
import hashlib
import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from uuid import UUID

import numpy as np

from wellio.evaluate.history import read_facts
from wellio.evaluate.replay import AT_ONCE, step
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY, FIRST_MONDAY, WEEK
from wellio.learning.inputs import ACTIVITY, Fact, Tick

SAMPLE = Path(__file__).parents[1] / "wellio" / "data" / "sample_history.csv.gz"
PRACTICE = UUID(int=1)
CHUNK = 500


def turn_of(facts: Sequence[Fact], turn: int) -> Iterator[Fact]:
    """The file's `turn`th repetition: later, and with other clients."""
    span = facts[-1].t - facts[0].t + DAY
    mask = int.from_bytes(hashlib.blake2b(str(turn).encode(), digest_size=16).digest()) if turn else 0
    for fact in facts:
        yield replace(fact, client=UUID(int=fact.client.int ^ mask), t=fact.t + turn * span)


def flatness(
    learner: Learner, facts: Sequence[Fact], total: int, clock: Callable[[], float] = time.process_time
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
    while some := list(islice(facts, CHUNK)):
        seconds = [time_of(young, some, clock), time_of(old, list(islice(later_facts, CHUNK)), clock)]
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios)


def time_of(learner: Learner, facts: Sequence[Fact], clock: Callable[[], float]) -> float:
    before = clock()
    for fact in facts:
        step(learner, fact)
    return clock() - before


def crowd(clients: int, days: float, seed: int = 1) -> list[Fact]:
    """Three visits a client, spread over `days`, ending on a Sunday."""
    chance = random.Random(seed)
    start = FIRST_MONDAY + 2600 * WEEK - days * DAY
    ids = [UUID(int=chance.getrandbits(128)) for _ in range(clients)]
    times = sorted((start + chance.uniform(0.0, days) * DAY, id_) for id_ in ids for _ in range(3))
    return [Fact(PRACTICE, id_, t, ACTIVITY, True, 20.0) for t, id_ in times]


def size(clients: int) -> dict[str, float]:
    """Memory of so many clients with the questions of a horizon of 30 days, and the pieces of their next Monday, with
    predictions for all, as the follower works them off: the event loop waits for one piece at a time.
    """
    facts = crowd(clients, 45.0)
    before = resident_mb()
    learner = Learner(horizon_days=30.0)
    for fact in facts:
        learner.apply_all([fact])
        learner.drain_outcomes()
        if len(learner.drain_changed()) > 1:  # a Monday's
            gc.collect()
    waiting = sum(len(queue) for practice in learner.practices for queue in practice.queues)
    megabytes = resident_mb() - before
    monday = learner.practices[0].next_monday
    gc.freeze()
    pieces = sorted(pieces_of(learner, monday))
    return {
        "clients": clients,
        "waiting": waiting,
        "megabytes": round(megabytes),
        "megabytes_per_100_000_clients": round(megabytes * 100_000 / clients),
        "monday_s": round(sum(pieces), 2),
        "pieces": len(pieces),
        **{f"piece_{name}_ms": round(float(np.quantile(pieces, q)) * 1e3, 2) for name, q in QUANTILES.items()},
    }


QUANTILES = {"median": 0.5, "p99": 0.99, "longest": 1.0}


def pieces_of(learner: Learner, monday: float) -> Iterator[float]:
    """Seconds of the processor for each piece of work."""
    work = learner.apply(Tick(PRACTICE, monday))
    before = time.process_time()
    for _ in work:
        learner.drain_outcomes()
        yield time.process_time() - before
        before = time.process_time()
    yield time.process_time() - before
    before = time.process_time()
    while keys := learner.drain_changed(AT_ONCE):
        learner.predict(keys)
        yield time.process_time() - before
        before = time.process_time()


def resident_mb() -> float:
    """Of this process, most so far."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1024.0) * 1.048576


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    flat = what.add_parser("flatness")
    flat.add_argument("file", type=Path, nargs="?", default=SAMPLE)
    flat.add_argument("--active", default="purchase")
    flat.add_argument("--horizon", type=float, default=45.0)
    flat.add_argument("--events", type=int, default=300_000)
    what.add_parser("size").add_argument("--clients", type=int, default=100_000)
    args = parser.parse_args()
    if args.what == "size":
        found = size(args.clients)
    else:
        active = args.active.split(",")
        facts = read_facts(args.file, active, modulus=1, remainder=0, bad_line=lambda *_: None)
        found = flatness(Learner(horizon_days=args.horizon), facts, args.events)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
