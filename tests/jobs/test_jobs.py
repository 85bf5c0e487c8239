"""What the jobs do."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import House, make_practice, sign_in
from tests.learning_store.histories import payment, read_log
from wellio.db import Database
from wellio.errors import Unavailable
from wellio.events import EventType
from wellio.ids import uuid7
from wellio.jobs import save_snapshot as saving
from wellio.jobs.clean_up import clean_up
from wellio.jobs.mature_labels import mature_labels
from wellio.jobs.save_snapshot import save_snapshot
from wellio.jobs.work import Work
from wellio.outbox import Outbox


async def ticks(db: Database) -> list[object]:
    events = await read_log(db)
    return [e.practice_id for e in events if e.type is EventType.CLOCK_TICKED]


async def record_payment(outbox: Outbox, house: House, at: datetime) -> None:
    async with outbox.transaction() as tx:
        tx.record(payment(house.practice, house.client_id, at))


async def test_practice_in_use_gets_the_hour_written_into_its_log(db: Database, outbox: Outbox, house: House) -> None:
    unused = await make_practice(db)
    assert await mature_labels(Work(outbox)) == {"practices": 0}
    await record_payment(outbox, house, datetime.now(UTC) - timedelta(days=20))
    assert await mature_labels(Work(outbox)) == {"practices": 1}
    assert await ticks(db) == [house.practice.id]
    assert unused.id != house.practice.id


async def test_practice_of_the_past_keeps_its_own_time(db: Database, outbox: Outbox, house: House) -> None:
    await record_payment(outbox, house, datetime(2011, 12, 9, tzinfo=UTC))
    assert await mature_labels(Work(outbox)) == {"practices": 0}


async def test_no_tick_comes_into_a_replay(db: Database, outbox: Outbox, house: House) -> None:
    """It would end the past that is being replayed."""
    await record_payment(outbox, house, datetime.now(UTC))
    await db.execute("insert into replays (practice_id, file_name, digest) values ($1, '', '')", house.practice.id)
    assert await mature_labels(Work(outbox)) == {"practices": 0}
    await db.execute("update replays set ended_at = now()")
    assert await mature_labels(Work(outbox)) == {"practices": 1}


async def test_snapshot_is_saved_only_when_something_was_learnt(outbox: Outbox) -> None:
    assert await save_snapshot(Work(outbox)) == {"saved": 0}


async def test_snapshot_that_nobody_saves_is_told(
    db: Database, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "WAIT_S", 0.0)
    await db.execute("insert into consumers (name, xid, position) values ('learner', 5, 5)")
    with pytest.raises(Unavailable, match="no process leads"):
        await save_snapshot(Work(outbox))


async def test_clean_up_deletes_what_has_served_and_no_event(db: Database, outbox: Outbox, house: House) -> None:
    ended = await sign_in(db, house.owner)
    await record_payment(outbox, house, datetime.now(UTC))
    for age in ("3 days", "1 hour"):
        await db.execute(
            "insert into idempotency_keys (user_id, operation, key, body_hash, status, answer, created_at)"
            f" values ($1, 'post', $2, '', 200, '', now() - interval '{age}')",
            house.owner.user_id,
            age,
        )
    for days in (100, 80):
        await db.execute(
            "insert into job_runs (id, name, due_at, started_at)"
            " values ($1, 'x', now() - make_interval(days => $2), now() - make_interval(days => $2))",
            uuid7(),
            days,
        )
    await db.execute(
        "update auth_sessions set revoked_at = now() - interval '40 days', expires_at = now() - interval '40 days'"
        " where user_id = $1",
        house.client.user_id,
    )
    for token, days in ((b"kept", 13), (b"old", 15)):
        await db.execute(
            "insert into refresh_tokens (token_hash, session_id, used_at)"
            " values ($1, $2, now() - make_interval(days => $3))",
            token, house.owner.session_id, days,
        )  # fmt: skip
    await db.execute("insert into refresh_tokens values ($1, $2)", b"of an ended session", ended.session_id)
    await db.execute("update auth_sessions set revoked_at = now() - interval '2 days' where id = $1", ended.session_id)
    for days in (8, 6):
        await db.execute(
            "insert into one_time_tokens (token_hash, practice_id, user_id, purpose, expires_at)"
            " values ($1, $2, $3, 'password_reset', now() - make_interval(days => $4))",
            bytes([days]), house.practice.id, house.coach.user_id, days,
        )  # fmt: skip
    for days, accepted in ((91, False), (89, False), (91, True)):
        await db.execute(
            "insert into invitations (id, practice_id, email, role, invited_by, expires_at, accepted_at)"
            " values ($1, $2, 'a@example.org', 'coach', $3, now() - make_interval(days => $4),"
            " case when $5 then now() - make_interval(days => $4) end)",
            uuid7(), house.practice.id, house.owner.user_id, days, accepted,
        )  # fmt: skip
    for days in (399, 401):
        await db.execute(
            "insert into slot_choices (id, practice_id, question, coach_id, starts_at, probability, offered,"
            " propensity, drawn, created_at) values ($1, $2, $3, $4, now(), 0.5, 1, 1, false,"
            " now() - make_interval(days => $5))",
            uuid7(), house.practice.id, bytes([days % 256]), house.coach.user_id, days,
        )  # fmt: skip
    assert await clean_up(Work(outbox)) == {
        "idempotency_keys": 1,
        "auth_sessions": 1,
        "refresh_tokens": 2,
        "one_time_tokens": 1,
        "invitations": 1,
        "job_runs": 1,
        "reminders_sent": 0,
        "mails": 0,
        "scheduled_messages": 0,
        "prediction_history": 0,
        "prediction_outcomes": 0,
        "attendance_bookings": 0,
        "slot_choices": 1,
        "webhook_deliveries": 0,
    }
    assert await db.fetchval("select key from idempotency_keys") == "1 hour"
    assert await db.fetchval("select token_hash from refresh_tokens") == b"kept"
    assert len(await read_log(db)) == 1
