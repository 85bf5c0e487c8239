"""Webhooks hear each event once, in order, signed, whatever they or the process do."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from tests.factories import House, make_client, make_house
from tests.outreach.receiver import HANG, HANG_UP, HUGE, REDIRECT, Receiver
from tests.waiting import eventually
from wellio import guarded_http, leases
from wellio.db import Database
from wellio.events import Event, EventType
from wellio.guarded_http import open_guarded_http
from wellio.jobs.clean_up import clean_up
from wellio.jobs.work import Work
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.outbox import Outbox
from wellio.outgoing import Call, OutgoingRules
from wellio.outreach import webhook_sender
from wellio.outreach.webhook_deliveries import resend_delivery, send_test
from wellio.outreach.webhook_events import TELLINGS, WebhookType
from wellio.outreach.webhook_sender import DELAYS_S, WebhookSender
from wellio.outreach.webhooks import (
    NewWebhook,
    WebhookChanges,
    WebhookSecret,
    change_webhook,
    create_webhook,
    get_webhook,
    rotate_secret,
)
from wellio.practice.bookings import NewSession, book_session
from wellio.practice.client_changes import ClientChanges, change_client
from wellio.practice.clients import NewClient, create_client
from wellio.practice.participants import add_participant, remove_participant
from wellio.practice.payments import NewPayment, record_payment
from wellio.practice.session_changes import SessionChanges, change_session
from wellio.practice.waitlist import ForClient, accept_offer, join_waitlist
from wellio.sealing import Sealer
from wellio.subscriptions import consumers

RULES = OutgoingRules(loopback=True)
SEALER = Sealer({"k1": bytes(32)})
START = (datetime.now(UTC) + timedelta(days=3)).replace(hour=9, minute=0, second=0, microsecond=0)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().open() as receiver:
        yield receiver


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    async with open_guarded_http(RULES) as call:
        yield call


@pytest.fixture
def sender(outbox: Outbox, call: Call) -> WebhookSender:
    return WebhookSender(outbox, Metrics(), call=call, sealer=SEALER)


async def listen(outbox: Outbox, house: House, url: str, **more: Any) -> WebhookSecret:
    return await create_webhook(outbox, SEALER, house.owner, NewWebhook(url=url, **more), rules=RULES)


async def book(outbox: Outbox, house: House, hours: int = 0) -> UUID:
    starts_at = (START + timedelta(hours=hours)).isoformat()
    new = NewSession.model_validate({"client_id": house.client_id, "starts_at": starts_at, "duration_minutes": 30})
    return (await book_session(outbox, house.coach, new)).id


async def change(outbox: Outbox, house: House, session_id: UUID, **changes: Any) -> None:
    await change_session(outbox, house.coach, session_id, SessionChanges.model_validate(changes))


async def follow(outbox: Outbox) -> None:
    """What the consumer makes of the whole log."""
    (consumer,) = (c for c in consumers(outbox, Live(), Metrics()) if c.name == "webhooks")
    task = asyncio.create_task(consumer.run())
    await eventually(lambda: _has_followed(outbox.db))
    task.cancel()
    await asyncio.wait({task})


async def _has_followed(db: Database) -> bool:
    return bool(
        await db.fetchval(
            "select exists (select from consumers c where c.name = 'webhooks' and not exists ("
            " select from events e where (e.xid, e.position) > (c.xid, c.position)))"
        )
    )


async def let_be_due(db: Database) -> None:
    await db.execute("update webhook_deliveries set next_attempt_at = now() where status = 'waiting'")
    await db.execute("update webhooks set free_at = now()")


async def drain(sender: WebhookSender) -> None:
    while await sender.deliver_next():
        pass


async def deliveries(db: Database) -> list[dict[str, Any]]:
    rows = await db.fetch(
        "select id, type, status, attempts, last_status, last_error, subject_version as version,"
        " extract(epoch from next_attempt_at - now())::float8 as due_in_s from webhook_deliveries order by position"
    )
    return [dict(row) for row in rows]


async def test_30_each_transition_is_told_once_in_the_order_of_its_versions(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    """scheduling.md 30, with the time before of a move (24)."""
    secret = (await listen(outbox, house, receiver.url)).secret
    session_id = await book(outbox, house)
    await change(outbox, house, session_id, starts_at=(START + timedelta(hours=2)).isoformat())
    await change(outbox, house, session_id, status="cancelled", cancel_reason="Something private")
    await follow(outbox)
    await follow(outbox)
    await drain(sender)
    assert [heard.told["type"] for heard in receiver.heard] == [
        "session.booked", "session.rescheduled", "session.cancelled",
    ]  # fmt: skip
    assert [heard.told["data"]["version"] for heard in receiver.heard] == [1, 2, 3]
    moved = receiver.heard[1].told["data"]
    assert datetime.fromisoformat(moved["previous_start_at"]) == START
    assert datetime.fromisoformat(moved["starts_at"]) == START + timedelta(hours=2)
    assert moved["session_id"] == str(session_id)
    assert receiver.heard[2].told["data"]["status"] == "cancelled_by_coach"
    assert len({heard.id for heard in receiver.heard}) == 3
    for heard in receiver.heard:
        assert heard.is_signed_with(secret)
        assert set(heard.told) == {"type", "timestamp", "data"}
        assert b"private" not in heard.body
    assert {d["status"] for d in await deliveries(db)} == {"delivered"}


async def test_places_in_a_group_and_its_waitlist_are_told_in_the_order_of_versions(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    """Every change of a place is one of its group, whose next version it bears."""
    await listen(outbox, house, receiver.url)
    other_id = await make_client(db, house.practice, coach=house.coach)
    new = {"kind": "group", "capacity": 1, "starts_at": START.isoformat(), "duration_minutes": 30}
    group_id = (await book_session(outbox, house.coach, NewSession.model_validate(new))).id
    await add_participant(outbox, house.coach, group_id, ForClient(client_id=house.client_id))
    await join_waitlist(outbox, house.coach, group_id, ForClient(client_id=other_id))
    await change(outbox, house, group_id, title="Renamed")
    await remove_participant(outbox, house.coach, group_id, house.client_id)
    await accept_offer(outbox, house.coach, group_id, ForClient(client_id=other_id))
    await follow(outbox)
    await drain(sender)
    told = [heard.told for heard in receiver.heard]
    assert [t["type"] for t in told] == [
        "session.booked", "participant.joined", "waitlist.joined", "session.updated", "participant.left",
        "waitlist.offered", "participant.joined",
    ]  # fmt: skip
    assert [t["data"]["version"] for t in told] == list(range(1, 8))
    assert {t["data"]["session_id"] for t in told} == {str(group_id)}
    assert [t["data"]["client_id"] for t in told if "." in t["type"] and "session" not in t["type"]] == [
        str(client_id) for client_id in (house.client_id, other_id, house.client_id, other_id, other_id)
    ]
    assert await db.fetchval("select version from sessions where id = $1", group_id) == 7


async def test_versions_keep_their_order_when_the_log_has_them_the_other_way_round(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    """A transaction that began first may change the session last; the log is in the order of beginnings."""
    await listen(outbox, house, receiver.url)
    session_id = await book(outbox, house)
    async with outbox.transaction() as tx:
        for version in (3, 2):
            payload = {"version": version, "status": "scheduled"}
            tx.record(
                Event(
                    type=EventType.SESSION_UPDATED,
                    practice_id=house.practice.id,
                    subject_id=session_id,
                    actor_id=house.coach.user_id,
                    payload=payload,
                )
            )
    await follow(outbox)
    await drain(sender)
    assert [heard.told["data"]["version"] for heard in receiver.heard] == [1, 2, 3]


async def test_what_comes_later_waits_for_what_failed_and_other_subjects_do_not(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    await listen(outbox, house, receiver.url)
    first = await book(outbox, house)
    await change(outbox, house, first, title="Moved")
    other = await book(outbox, house, hours=1)
    await follow(outbox)
    receiver.answers = [500]
    await drain(sender)
    assert len(receiver.heard) == 1
    await db.execute("update webhooks set free_at = now()")  # it has rested
    await drain(sender)
    assert [(h.told["data"]["session_id"], h.told["data"]["version"]) for h in receiver.heard] == [
        (str(first), 1), (str(other), 1),
    ]  # fmt: skip
    await let_be_due(db)
    await drain(sender)
    assert [h.told["data"]["version"] for h in receiver.heard[2:]] == [1, 2]
    assert receiver.heard[2].id == receiver.heard[0].id
    assert receiver.heard[2].body == receiver.heard[0].body


async def test_only_what_is_wanted_is_told_and_nothing_of_another_practice(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    foreign = await make_house(db, "Other practice")
    await book(outbox, house)  # before the webhook was made
    await listen(outbox, house, receiver.url, event_types=(WebhookType.CLIENT_UPDATED, WebhookType.PAYMENT_RECORDED))
    await book(outbox, house, hours=1)
    await book(outbox, foreign)
    await change_client(outbox, house.coach, house.client_id, ClientChanges(goals="lose weight"))
    await record_payment(
        outbox,
        house.coach,
        NewPayment.model_validate(
            {"client_id": house.client_id, "amount_minor": 9000, "paid_at": "2026-01-02T10:00:00Z", "note": "cash"}
        ),
    )
    await follow(outbox)
    await drain(sender)
    told = [heard.told for heard in receiver.heard]
    assert [t["type"] for t in told] == ["client.updated", "payment.recorded"]
    assert told[0]["data"] == {"client_id": str(house.client_id), "changed": ["goals"]}
    assert {n: told[1]["data"][n] for n in ("amount_minor", "currency")} == {"amount_minor": 9000, "currency": "EUR"}
    assert b"weight" not in receiver.heard[0].body
    assert b"cash" not in receiver.heard[1].body


async def test_what_an_import_brings_in_is_told_to_nobody(
    db: Database, outbox: Outbox, house: House, receiver: Receiver
) -> None:
    await listen(outbox, house, receiver.url)
    async with outbox.transaction() as tx:
        for actor_id in (None, house.coach.user_id):
            tx.record(
                Event(
                    type=EventType.PAYMENT_RECORDED,
                    practice_id=house.practice.id,
                    actor_id=actor_id,
                    occurred_at=datetime.now(UTC) - timedelta(days=9),
                    payload={"amount_minor": 1, "currency": "EUR"},
                )
            )
    await follow(outbox)
    assert len(await deliveries(db)) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (500, "The answer was 500."), (404, "The answer was 404."), (REDIRECT, "redirects are not followed"),
        (HANG_UP, "could not be"), (HANG, "took longer"),
    ],
)  # fmt: skip
async def test_what_was_not_taken_is_tried_again_later(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender, answer: int | str,
    says: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(guarded_http, "TOTAL_S", 0.3)
    webhook = await listen(outbox, house, receiver.url)
    await send_test(outbox, house.owner, webhook.id)
    receiver.answers = [answer, answer]
    for attempt, seconds in ((1, 5), (2, 300)):
        await drain(sender)
        (waiting,) = await deliveries(db)
        assert (waiting["status"], waiting["attempts"]) == ("waiting", attempt)
        assert seconds * 0.85 - 2 < waiting["due_in_s"] <= seconds
        assert says in waiting["last_error"]
        await let_be_due(db)
    await drain(sender)
    assert (await deliveries(db))[0]["status"] == "delivered"
    assert len({heard.id for heard in receiver.heard}) == 1
    assert {heard.path for heard in receiver.heard} == {"/"}
    assert (await get_webhook(db, house.owner, webhook.id)).failing_since is None


async def test_delivery_fails_after_three_days_of_attempts(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    webhook = await listen(outbox, house, receiver.url)
    await send_test(outbox, house.owner, webhook.id)
    receiver.answers = [500] * 20
    for _ in range(len(DELAYS_S) + 3):
        await drain(sender)
        await let_be_due(db)
    (failed,) = await deliveries(db)
    assert (failed["status"], failed["attempts"], failed["last_status"]) == ("failed", 10, 500)
    assert len(receiver.heard) == 10
    assert timedelta(hours=64) < sum(DELAYS_S) * timedelta(seconds=0.9) < sum(DELAYS_S) * timedelta(seconds=1)
    assert sum(DELAYS_S) * timedelta(seconds=1) < timedelta(days=3)
    receiver.answers = []
    await resend_delivery(outbox, house.owner, webhook.id, failed["id"])
    await drain(sender)
    assert (await deliveries(db))[0]["status"] == "delivered"
    assert len({heard.id for heard in receiver.heard}) == 1


async def test_hung_webhooks_hold_up_nobody_else(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them takes one worker at most, however much waits for it."""
    monkeypatch.setattr(webhook_sender, "AT_ONCE", 3)
    monkeypatch.setattr(webhook_sender, "POLL_S", 0.01)
    async with Receiver().open() as hung:
        hung.answers = [HANG] * 100
        dead = await listen(outbox, house, hung.url)
        for _ in range(10):
            await send_test(outbox, house.owner, dead.id)
        alive = await listen(outbox, house, receiver.url)
        for _ in range(5):
            await send_test(outbox, house.owner, alive.id)
        sender = WebhookSender(outbox, Metrics(), call=call, sealer=SEALER)
        task = asyncio.create_task(sender.run())
        await eventually(lambda: len(receiver.heard) == 5 and len(hung.heard) == 1)
        assert db.pool.get_size() - db.pool.get_idle_size() <= 3  # none is held while it hangs
        task.cancel()
        await asyncio.wait({task})
        assert (hung.most_at_once, receiver.most_at_once) == (1, 1)


async def test_webhook_that_fails_rests_longer_each_time(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    webhook = await listen(outbox, house, receiver.url)
    for _ in range(12):
        await send_test(outbox, house.owner, webhook.id)
    receiver.answers = [500] * 12
    rests = []
    for _ in range(12):
        assert await sender.deliver_next()
        assert not await sender.deliver_next()
        sql = "select round(extract(epoch from free_at - last_attempt_at))::integer from webhooks"
        rests.append(await db.fetchval(sql))
        await db.execute("update webhooks set free_at = now()")
    assert rests == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


async def test_two_processes_tell_each_thing_once_and_one_at_a_time(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_sender, "AT_ONCE", 3)
    monkeypatch.setattr(webhook_sender, "POLL_S", 0.01)
    webhook = await listen(outbox, house, receiver.url)
    sent = [(await send_test(outbox, house.owner, webhook.id)).id for _ in range(30)]
    senders = [WebhookSender(outbox, Metrics(), call=call, sealer=SEALER) for _ in range(2)]
    tasks = [asyncio.create_task(one.run()) for one in senders]
    await eventually(lambda: _all_ended(db))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert [heard.id for heard in receiver.heard] == [str(delivery_id) for delivery_id in sent]
    assert receiver.most_at_once == 1


async def _all_ended(db: Database) -> bool:
    return not await db.fetchval("select count(*) from webhook_deliveries where status = 'waiting'")


async def test_killed_before_the_record_it_is_told_again_when_the_lease_ends(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    webhook = await listen(outbox, house, receiver.url)
    await send_test(outbox, house.owner, webhook.id)
    receiver.answers = [HANG]
    doomed = asyncio.create_task(sender.deliver_next())
    await eventually(lambda: len(receiver.heard) == 1)
    doomed.cancel()
    await asyncio.wait({doomed})
    assert not await sender.deliver_next()
    await let_be_due(db)
    await drain(sender)
    assert (await deliveries(db))[0]["status"] == "delivered"
    assert receiver.heard[0].id == receiver.heard[1].id


async def test_address_that_is_gone_is_turned_off_with_notice(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    webhook = await listen(outbox, house, receiver.url)
    for _ in range(2):
        await send_test(outbox, house.owner, webhook.id)
    receiver.answers = [410]
    await drain(sender)
    after = await get_webhook(db, house.owner, webhook.id)
    assert (after.enabled, after.disabled_reason) == (False, "gone")
    assert [d["status"] for d in await deliveries(db)] == ["failed", "failed"]
    assert len(receiver.heard) == 1
    assert await db.fetchval("select payload ->> 'reason' from events where type = 'WebhookDisabled'") == "gone"
    mails = await db.fetch("select kind, user_id from mails")
    assert [(m["kind"], m["user_id"]) for m in mails] == [("webhook_disabled", house.owner.user_id)]
    await change_webhook(outbox, house.owner, webhook.id, WebhookChanges(enabled=True), rules=RULES)
    await send_test(outbox, house.owner, webhook.id)
    await drain(sender)
    assert (await deliveries(db))[-1]["status"] == "delivered"


async def test_five_days_of_failure_turn_it_off_and_a_quiet_time_does_not_count(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    webhook = await listen(outbox, house, receiver.url)

    async def fail_after(**columns: str) -> bool:
        await send_test(outbox, house.owner, webhook.id)
        for column, ago in columns.items():
            await db.execute(f"update webhooks set {column} = now() - $1::text::interval", ago)
        await let_be_due(db)
        receiver.answers = [500] * 10
        await sender.deliver_next()
        return (await get_webhook(db, house.owner, webhook.id)).enabled

    assert await fail_after()
    assert await fail_after(failing_since="9 days", last_attempt_at="3 days")
    assert await fail_after(failing_since="4 days 23 hours", last_attempt_at="1 hour")
    assert not await fail_after(failing_since="5 days 1 minute", last_attempt_at="1 hour")
    assert (await get_webhook(db, house.owner, webhook.id)).disabled_reason == "failing"
    assert await db.fetchval("select count(*) from mails") == 1


async def test_rotated_secret_signs_together_with_the_one_before_for_a_day(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    first = await listen(outbox, house, receiver.url)
    second = await rotate_secret(outbox, SEALER, house.owner, first.id)
    await send_test(outbox, house.owner, first.id)
    await drain(sender)
    (heard,) = receiver.heard
    assert heard.is_signed_with(first.secret)
    assert heard.is_signed_with(second.secret)
    await db.execute("update webhooks set former_until = now()")
    await send_test(outbox, house.owner, first.id)
    await drain(sender)
    assert receiver.heard[1].is_signed_with(second.secret)
    with pytest.raises(WebhookVerificationError):
        receiver.heard[1].is_signed_with(first.secret)
    stored = await db.fetchval("select secret from webhooks")
    assert second.secret.encode() not in stored


async def test_changed_body_and_old_time_are_refused_by_the_receiver(
    outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    """I-16, as the receiver's library sees it."""
    webhook = await listen(outbox, house, receiver.url)
    await send_test(outbox, house.owner, webhook.id)
    await drain(sender)
    (heard,) = receiver.heard
    changed = type(heard)(heard.headers, heard.body + b" ", heard.path)
    old = type(heard)(heard.headers | {"webhook-timestamp": "1700000000"}, heard.body, heard.path)
    for other in (changed, old):
        with pytest.raises(WebhookVerificationError):
            other.is_signed_with(webhook.secret)


async def test_huge_answer_is_kept_by_its_beginning(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    webhook = await listen(outbox, house, receiver.url)
    await send_test(outbox, house.owner, webhook.id)
    receiver.answers = [HUGE]
    await drain(sender)
    row = await db.fetchrow("select status, answer, error, duration_ms from webhook_attempts")
    assert row
    assert (row["status"], row["error"], len(row["answer"])) == (200, None, 500)
    assert row["answer"].startswith("word  word")
    assert row["duration_ms"] is not None


async def test_sender_survives_a_webhook_that_it_can_not_tell(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    """Its secret was sealed with a key that is lost."""
    webhook = await listen(outbox, house, receiver.url)
    await send_test(outbox, house.owner, webhook.id)
    await drain(WebhookSender(outbox, Metrics(), call=call, sealer=Sealer({"k2": bytes(range(32))})))
    assert (await deliveries(db))[0]["last_error"] == "Wellio failed: SealBroken."
    assert "A webhook could not be told" in caplog.text
    await let_be_due(db)
    await drain(WebhookSender(outbox, Metrics(), call=call, sealer=SEALER))
    assert len(receiver.heard) == 1


async def test_neither_secret_nor_address_is_logged(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    webhook = await listen(outbox, house, f"{receiver.url}/canary-path?token=canary")
    await send_test(outbox, house.owner, webhook.id)
    receiver.answers = [410]
    await drain(sender)
    said = " ".join(str(vars(record)) for record in caplog.records if record.name.startswith("wellio"))
    assert "A webhook was turned off" in said
    assert "canary" not in said
    assert webhook.secret not in said


async def test_private_address_is_never_called_however_it_came_into_the_row(
    db: Database, outbox: Outbox, house: House, receiver: Receiver
) -> None:
    webhook = await listen(outbox, house, receiver.url)
    await send_test(outbox, house.owner, webhook.id)
    async with open_guarded_http(OutgoingRules()) as call:
        await drain(WebhookSender(outbox, Metrics(), call=call, sealer=SEALER))
    assert receiver.heard == []
    assert (await deliveries(db))[0]["last_error"] == guarded_http.UNREACHABLE


async def test_old_deliveries_are_deleted_with_their_attempts(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    webhook = await listen(outbox, house, receiver.url)
    for _ in range(2):
        await send_test(outbox, house.owner, webhook.id)
    await drain(sender)
    await send_test(outbox, house.owner, webhook.id)
    (first, *_) = await deliveries(db)
    sql = "update webhook_deliveries set ended_at = now() - interval '31 days' where id = $1"
    await db.execute(sql, first["id"])
    assert (await clean_up(Work(outbox)))["webhook_deliveries"] == 1
    assert await db.fetchval("select count(*) from webhook_deliveries") == 2
    assert await db.fetchval("select count(*) from webhook_attempts") == 1


async def test_waiting_deliveries_are_measured(
    db: Database, outbox: Outbox, house: House, receiver: Receiver, call: Call
) -> None:
    metrics = Metrics()
    webhook = await listen(outbox, house, receiver.url)
    await send_test(outbox, house.owner, webhook.id)
    await db.execute("update webhook_deliveries set created_at = now() - interval '1 hour'")
    task = asyncio.create_task(WebhookSender(outbox, metrics, call=call, sealer=SEALER).run())
    await eventually(lambda: metrics.webhooks_waiting._value.get() == 1)
    assert 3590 < metrics.webhook_oldest_seconds._value.get() < 3700
    task.cancel()
    await asyncio.wait({task})


def test_lease_outlives_an_attempt() -> None:
    longest = guarded_http.TOTAL_S + sum(leases.RECORD_AGAIN_S)
    assert timedelta(seconds=longest) < webhook_sender.LEASE


def test_every_public_name_is_told_by_some_event() -> None:
    assert {telling.type for telling in TELLINGS.values()} == set(WebhookType) - {WebhookType.TEST}


async def test_new_client_is_told_without_a_name(
    outbox: Outbox, house: House, receiver: Receiver, sender: WebhookSender
) -> None:
    await listen(outbox, house, receiver.url)
    client = await create_client(outbox, house.owner, NewClient(first_name="Canary", last_name="Person"))
    await follow(outbox)
    await drain(sender)
    assert receiver.heard[0].told["data"] == {"client_id": str(client.id)}
