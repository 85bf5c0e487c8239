"""Events of a made-up practice: clients who come at their own pace, some of whom stop."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.factories import make_client, make_practice
from tests.waiting import eventually
from wellio.accounts.practices import Practice
from wellio.db import Database
from wellio.events import Cursor, Event, EventType
from wellio.learning.answers import Outcome
from wellio.learning.churn import Learner
from wellio.learning.facts import input_of
from wellio.outbox import Outbox, list_events_after

START = datetime(2020, 1, 1, 8, tzinfo=UTC)


async def make_history(db: Database, *, clients: int = 25, events: int = 900, seed: int = 1) -> Practice:
    """A practice with its clients and a log of payments, in order of time, in transactions of uneven size."""
    rng = random.Random(seed)
    practice = await make_practice(db)
    ids = [await make_client(db, practice, last_name=str(i)) for i in range(clients)]
    outbox = Outbox(db)
    log = list(_payments(rng, practice, ids, events))
    while log:
        some = rng.randint(1, 40)
        async with outbox.transaction() as tx:
            tx.record(*log[:some])
        log = log[some:]
    return practice


def _payments(rng: random.Random, practice: Practice, ids: Sequence[UUID], events: int) -> list[Event]:
    paces = {client: rng.uniform(2, 30) for client in ids}
    next_at = {client: START + timedelta(days=rng.uniform(0, 20)) for client in ids}
    made: list[Event] = []
    while len(made) < events and next_at:
        client = min(next_at, key=lambda c: next_at[c])
        made.append(payment(practice, client, next_at[client], amount_minor=rng.randint(500, 9000)))
        next_at[client] += timedelta(days=rng.expovariate(1 / paces[client]))
        if rng.random() < 0.02:
            del next_at[client]
    return made


def payment(practice: Practice, client: UUID, at: datetime, *, amount_minor: int = 5000) -> Event:
    payload = {"amount_minor": amount_minor, "currency": "EUR"}
    return Event(
        type=EventType.PAYMENT_RECORDED, practice_id=practice.id, client_id=client, occurred_at=at, payload=payload
    )


async def read_log(db: Database) -> list[Event]:
    """All events. Transactions of other databases of the cluster hold the log back too, so it waits for its end."""
    stored = await db.fetchval("select count(*) from events")

    async def whole() -> list[Event]:
        events = await list_events_after(db, Cursor(), 1_000_000)
        return events if len(events) == stored else []

    return await eventually(whole)


async def learn_at_once(db: Database) -> tuple[Learner, list[Outcome]]:
    """What a learner that nothing interrupts makes of the whole log."""
    learner = Learner()
    for event in await read_log(db):
        item = input_of(event)
        if item is not None:
            learner.apply_all([item])
    return learner, learner.drain_outcomes()
