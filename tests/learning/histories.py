"""Made-up histories with a known truth, the same for the same seed on every machine."""

import random
from collections.abc import Iterable
from uuid import UUID

from wellio.learning.answers import Outcome
from wellio.learning.churn import Learner
from wellio.learning.clients import DAY
from wellio.learning.inputs import ACTIVITY, Fact, Input

PRACTICE = UUID(int=0x9A)
START = 1_577_836_800.0  # 2020-01-01, a Wednesday
MONDAY = 1_577_836_800.0 + 5 * DAY


def client(number: int) -> UUID:
    return UUID(int=0xC0FFEE << 64 | number)


def visit(t: float, number: int = 0, kind: str = ACTIVITY, **fields: float) -> Fact:
    return Fact(PRACTICE, client(number), t, kind, True, **fields)


def context(t: float, kind: str, number: int = 0, **fields: float) -> Fact:
    return Fact(PRACTICE, client(number), t, kind, False, **fields)


def history(
    clients: int = 60, days: float = 400.0, seed: int = 1, practice: UUID = PRACTICE, leave_days: float = 200.0
) -> list[Fact]:
    """Clients who join over time, come at a rhythm of their own, and leave for good after `leave_days` on average."""
    chance = random.Random(seed)
    facts: list[Fact] = []
    for number in range(clients):
        t = START + chance.uniform(0.0, 0.6 * days) * DAY
        gap = chance.choice([2.0, 4.0, 7.0, 14.0])
        end = t + chance.expovariate(1.0 / leave_days) * DAY
        while t < min(end, START + days * DAY):
            kind = chance.choice(["session_attended", "message_sent", "payment", "diary_entry", "logged_in"])
            amount = round(chance.lognormvariate(4.0, 0.5), 2) if kind == "payment" else 0.0
            facts.append(Fact(practice, client(number), t, kind, True, amount))
            if chance.random() < 0.2:
                kind = chance.choice(["message_sent", "session_missed", "session_cancelled", "refund"])
                facts.append(Fact(practice, client(number), t + 3600.0, kind, False))
            t += gap * chance.gammavariate(3.0, 1.0 / 3.0) * DAY
    return sorted(facts, key=lambda fact: fact.t)


def learn(facts: Iterable[Input], horizon_days: float = 30.0) -> tuple[Learner, list[Outcome]]:
    learner = Learner(horizon_days=horizon_days)
    learner.apply_all(facts)
    return learner, learner.drain_outcomes()
