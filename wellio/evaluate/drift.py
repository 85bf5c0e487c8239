"""A sudden change, planted into a history: so that it can be seen how soon the learner follows."""

import hashlib
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wellio.learning.clients import DAY
from wellio.learning.inputs import Fact


@dataclass(frozen=True, slots=True)
class Leaving:
    """`share` of the loyal, who had been active more often than most by then, never come again from `day` days after
    the first event on, or from the middle of the history."""

    day: float | None
    share: float


def planted(facts: Sequence[Fact], leaving: Leaving) -> list[Fact]:
    """The history, in order of time, without what they would have done."""
    middle = (facts[-1].t - facts[0].t) / 2.0
    since = facts[0].t + (middle if leaving.day is None else leaving.day * DAY)
    actives = Counter(fact.client for fact in facts if fact.active and fact.t < since)
    most = statistics.median(actives.values()) if actives else 0.0
    gone = {client for client, n in actives.items() if n > most and _drawn(client.bytes) < leaving.share}
    return [fact for fact in facts if fact.t < since or fact.client not in gone]


def _drawn(client: bytes) -> float:
    """In [0, 1), the same in each run, and another than the hash by which `--modulus` parts clients."""
    return int.from_bytes(hashlib.blake2b(client, digest_size=8, person=b"leaving").digest()) / 2.0**64
