"""What happens when…: who is notified of what, and what open devices are shown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import pytest

from tests.factories import House, make_client, make_house, make_user
from tests.learning_store.histories import payment, read_log
from tests.waiting import eventually
from wellio import consumers as following
from wellio.accounts.actors import Actor, Role
from wellio.db import Database
from wellio.errors import Forbidden, NotFound
from wellio.events import EventType
from wellio.ids import uuid7
from wellio.jobs.schedule import JOBS
from wellio.learning import answers
from wellio.learning.answers import Reason, band_of
from wellio.learning.facts import _MAKERS as LEARNT
from wellio.learning.predictions import (
    Change,
    Counterfactual,
    Moved,
    Prediction,
    PredictionQuery,
    get_prediction,
    list_predictions,
)
from wellio.live import Live, Push
from wellio.metrics import Metrics
from wellio.outbox import Outbox
from wellio.outreach.notifications import risk_news
from wellio.practice.bookings import NewSession, book_session
from wellio.practice.participants import add_participant, remove_participant
from wellio.practice.session_changes import SessionChanges, change_session
from wellio.practice.sessions import Session
from wellio.practice.waitlist import ForClient, join_waitlist
from wellio.subscriptions import SUBSCRIPTIONS, consumers, lead_with, notify, store_predictions

TOMORROW = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_S", "GATHER_S", "RETRY_S"):
        monkeypatch.setattr(following, name, 0.005)


class Devices:
    """What each user's devices were told."""

    def __init__(self) -> None:
        self.live = Live()
        self.live.attach(self.hear)
        self.heard: list[Push] = []

    def hear(self, push: Push) -> None:
        self.heard.append(push)

    def of(self, actor: Actor, event: str) -> list[Any]:
        return [push.data for push in self.heard if actor.user_id in push.user_ids and push.event == event]


@pytest.fixture
async def devices(outbox: Outbox) -> AsyncIterator[Devices]:
    """With the consumers of notifications and pushes running, as the leader runs them."""
    devices = Devices()
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers(outbox, devices.live, Metrics())]
    yield devices
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def book(outbox: Outbox, actor: Actor, house: House, at: datetime = TOMORROW) -> Session:
    fields = {"client_id": str(house.client_id), "coach_id": str(house.coach.user_id), "duration_minutes": 50}
    new = NewSession.model_validate_json(orjson.dumps(fields | {"starts_at": at}))
    return await book_session(outbox, actor, new)


async def change(outbox: Outbox, actor: Actor, session_id: UUID, **fields: Any) -> None:
    await change_session(outbox, actor, session_id, SessionChanges.model_validate_json(orjson.dumps(fields)))


async def notifications(db: Database, actor: Actor) -> list[tuple[str, str, str]]:
    rows = await db.fetch(
        "select kind, title, body from notifications where user_id = $1 order by created_at, id", actor.user_id
    )
    return [tuple(row) for row in rows]


def test_every_type_of_event_says_what_follows_from_it() -> None:
    assert set(SUBSCRIPTIONS) == set(EventType)
    assert {t for t, follows in SUBSCRIPTIONS.items() if follows.learns} == set(LEARNT)


async def test_booking_is_news_to_the_other_side_only(
    db: Database, outbox: Outbox, house: House, devices: Devices
) -> None:
    session = await book(outbox, house.coach, house)
    await eventually(lambda: devices.of(house.client, "notification:new"))
    assert await notifications(db, house.coach) == []
    ((kind, title, body),) = await notifications(db, house.client)
    assert (kind, title) == ("session_booked", "New session with Carl Coach")
    assert body == f"{TOMORROW:%a} {TOMORROW.day} {TOMORROW:%b %Y, %H:%M} (UTC)"
    (row,) = devices.of(house.client, "notification:new")
    assert row.data["session_id"] == str(session.id)
    assert row.read_at is None


async def test_booking_by_the_owner_is_news_to_both(
    db: Database, outbox: Outbox, house: House, devices: Devices
) -> None:
    await book(outbox, house.owner, house)
    for actor, other in ((house.coach, "Klara Client"), (house.client, "Carl Coach")):
        await eventually(partial(devices.of, actor, "notification:new"))
        assert [title for _, title, _ in await notifications(db, actor)] == [f"New session with {other}"]
    assert await notifications(db, house.owner) == []
    assert await notifications(db, house.other_client) == []


async def test_move_and_cancellation_are_news(db: Database, outbox: Outbox, house: House, devices: Devices) -> None:
    session = await book(outbox, house.coach, house)
    await change(outbox, house.coach, session.id, starts_at=TOMORROW + timedelta(hours=2))
    await change(outbox, house.client, session.id, status="cancelled")
    await eventually(lambda: devices.of(house.coach, "notification:new"))
    # both of the client's come in one transaction, or in two: they are told apart by what they say, not by when
    moved = f"Now {TOMORROW:%a} {TOMORROW.day} {TOMORROW:%b %Y,} 11:00 (UTC)"
    told = [(kind, body) for kind, _, body in await notifications(db, house.client)]
    assert ("session_rescheduled", moved) in told
    assert len(told) == 2
    assert [kind for kind, _, _ in await notifications(db, house.coach)] == ["session_cancelled"]


async def test_repeated_event_is_told_once(db: Database, outbox: Outbox, house: House) -> None:
    await book(outbox, house.coach, house)
    events = await read_log(db)
    pushes: list[Push] = []
    for _ in range(3):
        async with db.transaction() as connection:
            pushes += await notify(connection, events)
    assert len(await notifications(db, house.client)) == 1
    assert len(pushes) == 1


async def test_imported_past_is_news_to_nobody(db: Database, outbox: Outbox, house: House, devices: Devices) -> None:
    first = await book(outbox, house.coach, house)
    await eventually(lambda: len(devices.heard) == 2)  # the client's notification, everyone's session
    (booked,) = [e for e in await read_log(db) if e.type is EventType.SESSION_BOOKED]
    past = replace(booked, id=uuid7(), occurred_at=datetime(2020, 1, 1, tzinfo=UTC))
    async with outbox.transaction() as tx:
        tx.record(past)
    second = await book(outbox, house.coach, house, TOMORROW + timedelta(days=1))
    await eventually(lambda: len(devices.heard) >= 4)
    assert [session.id for session in devices.of(house.owner, "session:updated")] == [first.id, second.id]
    assert len(await notifications(db, house.client)) == 2


async def test_changed_session_is_shown_to_its_coach_its_client_and_the_owner(
    outbox: Outbox, house: House, devices: Devices
) -> None:
    session = await book(outbox, house.coach, house)
    await eventually(lambda: devices.of(house.coach, "session:updated"))
    for actor in (house.coach, house.client, house.owner):
        assert devices.of(actor, "session:updated") == [session]
    for stranger in (house.other_coach, house.other_client):
        assert devices.of(stranger, "session:updated") == []


async def test_sessions_of_another_practice_reach_nobody_here(
    db: Database, outbox: Outbox, house: House, devices: Devices
) -> None:
    other = await make_house(db, "Other")
    await book(outbox, other.coach, other)
    await eventually(lambda: devices.of(other.owner, "session:updated"))
    people = (house.owner, house.coach, house.client)
    assert not [push for push in devices.heard if {p.user_id for p in people} & set(push.user_ids)]


# ---------------------------------------------------------------- groups


async def make_group(outbox: Outbox, house: House, *client_ids: UUID, capacity: int = 2) -> Session:
    fields = {"kind": "group", "capacity": capacity, "title": "Circle", "duration_minutes": 50}
    new = NewSession.model_validate_json(
        orjson.dumps(fields | {"starts_at": TOMORROW, "client_ids": [str(c) for c in client_ids]})
    )
    return await book_session(outbox, house.coach, new)


def _is_told(devices: Devices, actor: Actor, kinds: set[str]) -> bool:
    return {news.kind for news in devices.of(actor, "notification:new")} == kinds


async def add_person(db: Database, house: House) -> tuple[Actor, UUID]:
    user = await make_user(db, house.practice, Role.CLIENT, "Petra Person")
    return user, await make_client(db, house.practice, coach=house.coach, user=user, first_name="Petra")


async def test_place_taken_or_given_up_is_news_to_the_other_side(
    db: Database, outbox: Outbox, house: House, devices: Devices
) -> None:
    group = await make_group(outbox, house)
    await add_participant(outbox, house.client, group.id, ForClient())
    await remove_participant(outbox, house.client, group.id, house.client_id)
    await add_participant(outbox, house.coach, group.id, ForClient(client_id=house.client_id))
    await remove_participant(outbox, house.coach, group.id, house.client_id)
    await eventually(lambda: len(devices.of(house.client, "notification:new")) >= 2)
    to_coach = {title for _, title, _ in await notifications(db, house.coach)}
    assert to_coach == {"Klara Client takes part in Circle", "Klara Client gave up a place in Circle"}
    to_client = {title for _, title, _ in await notifications(db, house.client)}
    assert to_client == {"You have a place in Circle", "You take part in Circle no longer"}


async def test_offer_from_the_waitlist_is_news_to_who_waits(
    db: Database, outbox: Outbox, house: House, devices: Devices
) -> None:
    person, person_id = await add_person(db, house)
    group = await make_group(outbox, house, house.client_id, capacity=1)
    await join_waitlist(outbox, person, group.id, ForClient())
    await remove_participant(outbox, house.client, group.id, house.client_id)
    await eventually(lambda: devices.of(person, "notification:new"))
    ((kind, title, body),) = await notifications(db, person)
    assert (kind, title) == ("waitlist_offered", "A place in Circle is free for you")
    assert body.startswith("Until ")
    assert body.endswith(f": {TOMORROW:%a} {TOMORROW.day} {TOMORROW:%b %Y, %H:%M} (UTC)")
    (news,) = devices.of(person, "notification:new")
    assert news.data["client_id"] == str(person_id)


async def test_moved_or_cancelled_group_is_news_to_all_who_take_part(
    db: Database, outbox: Outbox, house: House, devices: Devices
) -> None:
    person, person_id = await add_person(db, house)
    group = await make_group(outbox, house, house.client_id, person_id)
    told = {"participant_joined", "session_rescheduled"}
    await change(outbox, house.coach, group.id, starts_at=TOMORROW + timedelta(hours=2))
    for actor in (house.client, person):
        await eventually(partial(_is_told, devices, actor, told))
    await change(outbox, house.coach, group.id, status="cancelled")
    for actor in (house.client, person):
        await eventually(partial(_is_told, devices, actor, told | {"participant_left"}))
        assert len(await notifications(db, actor)) == 3
    assert await notifications(db, house.coach) == []


async def test_changed_group_is_shown_to_each_client_without_the_others(
    db: Database, outbox: Outbox, house: House, devices: Devices
) -> None:
    person, person_id = await add_person(db, house)
    await make_group(outbox, house, house.client_id, person_id)
    await eventually(lambda: devices.of(person, "session:updated") and devices.of(house.owner, "session:updated"))
    (whole,) = devices.of(house.owner, "session:updated")[-1:]
    assert {p.client_id for p in whole.participants} == {house.client_id, person_id}
    for actor, client_id in ((house.client, house.client_id), (person, person_id)):
        for shown in devices.of(actor, "session:updated"):
            assert [p.client_id for p in shown.participants] == [client_id]
            assert shown.booked == 2


# ---------------------------------------------------------------- predictions


def moved(
    house: House,
    probability: float,
    *,
    client_id: UUID | None = None,
    status: answers.Status = "ok",
    day: int = 1,
    event_id: UUID | None = None,
    present: bool = True,
    usual: float | None = None,
) -> Moved:
    prediction = answers.Prediction(
        practice=house.practice.id,
        client=client_id or house.client_id,
        probability=probability,
        band=band_of(probability),
        status=status,
        reasons=(Reason("rhythm", "usually every 7 days, silent for 19", 0.81239),),
        horizon_days=30.0,
        as_of=datetime(2026, 1, day, tzinfo=UTC).timestamp(),
        usual=usual,
        engagement=61.5,
    )
    return Moved(prediction, event_id or UUID(int=day), present)


async def store(db: Database, *rows: Moved) -> Devices:
    devices = Devices()
    async with db.transaction() as connection:
        pushes = await store_predictions(connection, rows)
    for push in pushes:
        devices.hear(push)
    return devices


async def test_prediction_is_shown_to_the_clients_coach_and_the_owner(db: Database, house: House) -> None:
    devices = await store(db, moved(house, 0.25, usual=0.12))
    shown = Prediction(
        client_id=house.client_id,
        client_name="Klara Client",
        probability=0.25,
        band="low",
        reasons=devices.of(house.owner, "churn:updated")[0].reasons,
        counterfactual=Counterfactual(0.12, "on their usual day 12%, now 25%"),
        engagement=61.5,
        horizon_days=30,
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        last_event_id=UUID(int=1),
        status="ok",
        next_session_at=None,
        context=None,
    )
    for actor in (house.owner, house.coach):
        assert devices.of(actor, "churn:updated") == [shown]
    for stranger in (house.other_coach, house.client, house.other_client):
        assert devices.of(stranger, "churn:updated") == []
    assert await get_prediction(db, house.coach, house.client_id) == shown


async def test_risk_that_becomes_high_is_news_to_the_coach_once(db: Database, house: House) -> None:
    await store(db, moved(house, 0.5, day=1))
    devices = await store(db, moved(house, 0.8, day=2))
    (told,) = devices.of(house.coach, "notification:new")
    assert told.kind == "client_at_risk"
    assert told.title == "Klara Client may be about to leave"
    assert told.body == "80% to show no activity in the next 30 days: usually every 7 days, silent for 19"
    assert devices.of(house.owner, "notification:new") == []
    await db.execute(
        "insert into sessions (id, practice_id, coach_id, client_id, starts_at, ends_at, timezone, currency)"
        " values ($1, $2, $3, $4, '2099-06-01T22:30Z', '2099-06-01T23:30Z', 'UTC', 'EUR')",
        uuid7(), house.practice.id, house.coach.user_id, house.client_id,
    )  # fmt: skip
    again = await store(db, moved(house, 0.9, day=3))
    (shown,) = again.of(house.coach, "churn:updated")
    assert shown.context == "has a session booked on Tuesday, 2 June 2099"  # as clocks show it in Berlin
    assert shown.reasons == devices.of(house.coach, "churn:updated")[0].reasons
    (news, *_) = risk_news(Change(house.practice.id, house.coach.user_id, "low", shown), [house.coach.user_id])
    assert news.body.endswith("silent for 19; has a session booked on Tuesday, 2 June 2099")
    assert again.of(house.coach, "notification:new") == []
    assert len(await notifications(db, house.coach)) == 1


async def test_risk_is_told_once_a_silence(db: Database, house: House) -> None:
    """It goes by the client's last event, so a figure that swings around the mark says it once."""
    last = UUID(int=77)
    for day, probability in ((1, 0.5), (2, 0.8), (3, 0.5), (4, 0.8)):
        await store(db, moved(house, probability, day=day, event_id=last))
    assert len(await notifications(db, house.coach)) == 1
    await store(db, moved(house, 0.3, day=5, event_id=UUID(int=78)))
    await store(db, moved(house, 0.8, day=6, event_id=UUID(int=78)))
    assert len(await notifications(db, house.coach)) == 2


async def test_risk_of_a_client_without_coach_is_news_to_the_owner(db: Database, house: House) -> None:
    client_id = await make_client(db, house.practice)
    await store(db, moved(house, 0.5, client_id=client_id, day=1))
    devices = await store(db, moved(house, 0.8, client_id=client_id, day=2))
    assert [n.kind for n in devices.of(house.owner, "notification:new")] == ["client_at_risk"]


@pytest.mark.parametrize(
    ("before", "status", "present", "news"),
    [
        ("unsure", "ok", True, 1),  # shown as the simple rule's before: now it is known
        ("medium", "not_enough_history", True, 0),
        ("medium", "ok", False, 0),  # a past that is replayed
        ("none", "ok", True, 0),  # nothing was known, so nothing has risen
    ],
)
async def test_what_counts_as_risen(
    db: Database, house: House, before: str, status: answers.Status, present: bool, news: int
) -> None:
    if before != "none":
        await store(db, moved(house, 0.5, status="not_enough_history" if before == "unsure" else "ok"))
    await store(db, moved(house, 0.8, day=2, status=status, present=present))
    assert len(await notifications(db, house.coach)) == news


async def test_crowd_of_changes_is_told_as_one(db: Database, house: House) -> None:
    ids = [await make_client(db, house.practice, coach=house.coach) for _ in range(60)]
    await store(db, *[moved(house, 0.5, client_id=i) for i in ids])
    devices = await store(db, *[moved(house, 0.8, client_id=i, day=2, event_id=i) for i in ids])
    for actor in (house.owner, house.coach, house.other_coach):
        assert devices.of(actor, "churn:updated") == []
        assert devices.of(actor, "sync:required") == [{"reason": "churn"}]
    assert devices.of(house.client, "sync:required") == []
    assert len(devices.of(house.coach, "notification:new")) == 60


async def test_fifty_changes_are_told_one_by_one(db: Database, house: House) -> None:
    ids = [await make_client(db, house.practice, coach=house.coach) for _ in range(50)]
    devices = await store(db, *[moved(house, 0.5, client_id=i) for i in ids])
    assert len(devices.of(house.coach, "churn:updated")) == 50
    assert devices.of(house.coach, "sync:required") == []


async def test_staff_list_predictions_by_risk_of_whom_they_see(db: Database, house: House) -> None:
    await store(db, moved(house, 0.4), moved(house, 0.8, client_id=house.other_client_id))
    everyone = await list_predictions(db, house.owner, PredictionQuery())
    assert [p.client_id for p in everyone.items] == [house.other_client_id, house.client_id]
    assert everyone.pagination.total == 2
    mine = await list_predictions(db, house.coach, PredictionQuery())
    assert [p.client_id for p in mine.items] == [house.client_id]
    high = await list_predictions(db, house.owner, PredictionQuery(band="high"))
    assert [p.band for p in high.items] == ["high"]
    of_coach = await list_predictions(db, house.owner, PredictionQuery(coach_id=house.coach.user_id))
    assert [p.client_id for p in of_coach.items] == [house.client_id]
    with pytest.raises(Forbidden):
        await list_predictions(db, house.client, PredictionQuery())


async def test_one_prediction_is_told_to_who_sees_the_client(db: Database, house: House) -> None:
    unknown = await get_prediction(db, house.coach, house.client_id)
    assert (unknown.status, unknown.probability, unknown.as_of) == ("not_enough_history", None, None)
    assert (unknown.horizon_days, unknown.client_name) == (30, "Klara Client")
    stranger = await make_house(db, "Other")
    for actor in (house.other_coach, stranger.owner):
        with pytest.raises(NotFound, match="No such client"):
            await get_prediction(db, actor, house.client_id)
    with pytest.raises(Forbidden):
        await get_prediction(db, house.client, house.client_id)


# ---------------------------------------------------------------- the leader's whole work


@asynccontextmanager
async def leading(outbox: Outbox, devices: Devices) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(lead_with(outbox, devices.live, Metrics()))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_leader_learns_notifies_pushes_and_runs_jobs(db: Database, outbox: Outbox, house: House) -> None:
    devices = Devices()
    async with leading(outbox, devices):
        await book(outbox, house.coach, house)
        async with outbox.transaction() as tx:
            tx.record(payment(house.practice, house.client_id, datetime.now(UTC)))
        for event in ("session:updated", "churn:updated"):
            await eventually(partial(devices.of, house.owner, event))
        await eventually(lambda: devices.of(house.client, "notification:new"))
        await eventually(lambda: _jobs_have_run(db))
    assert await db.fetchval("select count(*) from learner_snapshots") >= 1  # saved when leadership ended


async def _jobs_have_run(db: Database) -> bool:
    done = await db.fetchval("select count(distinct name) from job_runs where outcome = 'done'")
    return bool(done == len(JOBS))


async def test_second_leader_gives_way(
    db: Database, outbox: Outbox, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a hung leader wakes up: whoever finds the cursor moved by another stops all of its work."""
    one = Devices()
    async with leading(outbox, one) as first:
        session = await book(outbox, house.coach, house)
        await eventually(lambda: one.of(house.client, "notification:new"))
        await db.execute("update consumers set position = position + 1000000 where name <> 'learner'")
        await change(outbox, house.coach, session.id, starts_at=TOMORROW + timedelta(hours=2))
        await eventually(first.done)
        assert first.exception() is None
    assert "Giving up leading" in caplog.text
