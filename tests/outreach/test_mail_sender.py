"""Mails that wait are sent, each once, whatever the server, the process or the transaction does."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from tests.factories import House
from tests.outreach.post_office import HANG, HANG_UP, TAKE_AND_HANG_UP, TAKEN, PostOffice
from tests.waiting import eventually
from wellio import leases
from wellio.db import Database
from wellio.mails import MailKind, queue_mail
from wellio.metrics import Metrics
from wellio.outreach import mail_sender, smtp
from wellio.outreach.mail_sender import DELAYS_MIN, KEEP_DAYS, MailSender, Post
from wellio.outreach.smtp import SmtpServer, Tls

SENDER = "Wellio <no-reply@wellio.example>"


pytestmark = pytest.mark.usefixtures("mails_leave")


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    async with PostOffice().open() as office:
        yield office


def sender(db: Database, office: PostOffice, metrics: Metrics | None = None) -> MailSender:
    server = SmtpServer(host="127.0.0.1", port=office.port, tls=Tls.NONE)
    post = Post(deliver=server.send, sender=SENDER, base_url="https://wellio.example")
    return MailSender(db, metrics or Metrics(), post)


def about(house: House) -> dict[str, Any]:
    return {"practice_id": house.practice.id, "user_id": house.owner.user_id}


async def queue(db: Database, house: House, kind: MailKind = MailKind.PASSWORD_CHANGED) -> UUID:
    email = await db.fetchval("select email from users where id = $1", house.owner.user_id)
    async with db.transaction() as connection:
        return await queue_mail(connection, kind, email, **about(house))


async def row(db: Database, mail_id: UUID) -> dict[str, Any]:
    found = await db.fetchrow(
        "select status, attempts, last_error, ended_at, extract(epoch from next_attempt_at - now())::float8 as due_in_s"
        " from mails where id = $1",
        mail_id,
    )
    assert found is not None
    return dict(found)


async def let_be_due(db: Database) -> None:
    await db.execute("update mails set next_attempt_at = now() where status = 'waiting'")


async def drain(one: MailSender) -> None:
    while await one.send_next():
        pass


async def has_taken(office: PostOffice, count: int) -> bool:
    return len(office.taken) >= count


async def test_mail_is_sent_once_and_recorded(db: Database, house: House, office: PostOffice) -> None:
    metrics = Metrics()
    mail_id = await queue(db, house)
    await drain(sender(db, office, metrics))
    (message,) = office.taken
    assert message["Message-ID"] == f"<{mail_id}@wellio.example>"
    assert message["Subject"] == "Your password was changed"
    stored = await row(db, mail_id)
    assert (stored["status"], stored["attempts"], stored["last_error"]) == ("sent", 1, None)
    assert stored["ended_at"] is not None
    assert metrics.mails.labels("password_changed", "sent")._value.get() == 1
    assert not await sender(db, office).send_next()


async def test_mail_of_a_rolled_back_transaction_is_never_sent(db: Database, house: House, office: PostOffice) -> None:
    async with db.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await queue_mail(connection, MailKind.PASSWORD_CHANGED, "o@example.org", **about(house))
        await drain(sender(db, office))
        await transaction.rollback()
    await drain(sender(db, office))
    assert not office.taken


async def test_mail_to_nobody_ends_without_a_word(
    db: Database, house: House, office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wellio")
    async with db.transaction() as connection:
        mail_id = await queue_mail(connection, MailKind.PASSWORD_RESET, "nobody@example.org")
    await drain(sender(db, office))
    assert (await row(db, mail_id))["status"] == "dropped"
    assert not office.taken
    assert caplog.text == ""


async def test_greylisted_mail_arrives_later(db: Database, house: House, office: PostOffice) -> None:
    mail_id = await queue(db, house)
    office.to_rcpt = ["450 4.7.1 greylisted"] * 2
    for attempt, minutes in ((1, 1), (2, 3)):
        await drain(sender(db, office))
        stored = await row(db, mail_id)
        assert (stored["status"], stored["attempts"]) == ("waiting", attempt)
        assert minutes * 60 * 0.75 < stored["due_in_s"] < minutes * 60 * 1.25
        assert stored["last_error"] == "the recipient was refused: 450 4.7.1"
        await let_be_due(db)
    await drain(sender(db, office))
    assert (await row(db, mail_id))["status"] == "sent"
    assert len(office.taken) == 1


async def test_refused_recipient_is_not_tried_again(
    db: Database, house: House, office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    mail_id = await queue(db, house)
    office.to_rcpt = ["550 5.1.1 no such user: secret-canary"]
    await drain(sender(db, office))
    stored = await row(db, mail_id)
    assert (stored["status"], stored["last_error"]) == ("dead", "the recipient was refused: 550 5.1.1")
    assert "A mail was given up" in caplog.text
    assert "secret-canary" not in caplog.text


async def test_mail_is_given_up_after_ten_attempts(db: Database, house: House, office: PostOffice) -> None:
    mail_id = await queue(db, house)
    office.to_rcpt = ["451 later"] * 20
    for _ in range(len(DELAYS_MIN) + 5):
        await drain(sender(db, office))
        await let_be_due(db)
    stored = await row(db, mail_id)
    assert (stored["status"], stored["attempts"]) == ("dead", 10)
    assert sum(DELAYS_MIN) < 3 * 24 * 60


async def test_mail_is_given_up_after_three_days(db: Database, house: House, office: PostOffice) -> None:
    mail_id = await queue(db, house)
    await db.execute("update mails set created_at = now() - interval '73 hours'")
    office.to_rcpt = ["451 later"]
    await drain(sender(db, office))
    assert (await row(db, mail_id))["status"] == "dead"


@pytest.mark.parametrize("answer", [HANG_UP, HANG])
async def test_mail_without_an_answer_waits_and_arrives(
    db: Database, house: House, office: PostOffice, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(smtp, "STEP_TIMEOUT_S", 0.2)
    mail_id = await queue(db, house)
    office.to_data = [answer]
    await drain(sender(db, office))
    assert (await row(db, mail_id))["status"] == "waiting"
    await let_be_due(db)
    await drain(sender(db, office))
    assert (await row(db, mail_id))["status"] == "sent"
    assert len(office.taken) == 1


async def test_lost_answer_sends_the_same_mail_again(db: Database, house: House, office: PostOffice) -> None:
    """The server has it, and nobody heard: at least once, and told apart by the Message-ID."""
    await queue(db, house)
    office.to_data = [TAKE_AND_HANG_UP]
    await drain(sender(db, office))
    await let_be_due(db)
    await drain(sender(db, office))
    first, second = office.taken
    assert first["Message-ID"] == second["Message-ID"]


async def test_killed_before_the_record_it_is_sent_again_when_the_lease_ends(
    db: Database, house: House, office: PostOffice
) -> None:
    mail_id = await queue(db, house)
    office.to_data = [HANG]
    doomed = asyncio.create_task(sender(db, office).send_next())
    await eventually(office.asked.is_set)
    doomed.cancel()
    await asyncio.wait({doomed})
    other = sender(db, office)
    assert not await other.send_next()
    stored = await row(db, mail_id)
    assert stored["status"] == "waiting"
    assert 60 < stored["due_in_s"] <= mail_sender.LEASE.total_seconds()
    await let_be_due(db)
    await drain(other)
    assert (await row(db, mail_id))["status"] == "sent"


async def test_two_processes_send_each_mail_once(db: Database, house: House, office: PostOffice) -> None:
    ids = [await queue(db, house) for _ in range(40)]
    tasks = [asyncio.create_task(sender(db, office).run()) for _ in range(2)]
    await eventually(partial(has_taken, office, len(ids)))
    await eventually(lambda: _all_ended(db))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert sorted(str(m["Message-ID"]) for m in office.taken) == sorted(f"<{i}@wellio.example>" for i in ids)


async def _all_ended(db: Database) -> bool:
    return not await db.fetchval("select count(*) from mails where status = 'waiting'")


async def test_slow_server_holds_no_connection_of_the_database(db: Database, house: House, office: PostOffice) -> None:
    office.to_data = [HANG] * mail_sender.AT_ONCE
    for _ in range(mail_sender.AT_ONCE):
        await queue(db, house)
    task = asyncio.create_task(sender(db, office).run())
    await eventually(lambda: not office.to_data)
    assert db.pool.get_size() == db.pool.get_idle_size()
    office.go_on.set()
    await eventually(lambda: _all_ended(db))
    task.cancel()
    await asyncio.wait({task})


async def test_mail_that_cannot_be_made_stops_no_other(
    db: Database, house: House, office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    broken = await queue(db, house)
    await db.execute("update mails set kind = 'of a newer version'")
    whole = await queue(db, house)
    await drain(sender(db, office))
    assert (await row(db, whole))["status"] == "sent"
    stored = await row(db, broken)
    assert (stored["status"], stored["last_error"]) == ("waiting", "ValueError")
    assert "A mail could not be made" in caplog.text


async def test_neither_link_nor_address_is_logged_or_stored(
    db: Database, house: House, office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await queue(db, house, MailKind.PASSWORD_RESET)
    office.to_data = ["451 later", "554 5.7.1 no", TAKEN]
    await drain(sender(db, office))
    await let_be_due(db)
    await drain(sender(db, office))
    email = await db.fetchval("select email from users where id = $1", house.owner.user_id)
    said = " ".join(str(vars(record)) for record in caplog.records if record.name.startswith("wellio"))
    assert "A mail could not be sent yet" in said
    assert "A mail was given up" in said
    assert email not in said
    assert "token" not in said
    assert email not in str(await db.fetch("select last_error, data from mails"))


async def test_waiting_mails_are_measured(db: Database, house: House, office: PostOffice) -> None:
    metrics = Metrics()
    await queue(db, house)
    later = "next_attempt_at = now() + interval '1 hour'"
    await db.execute(f"update mails set created_at = now() - interval '1 hour', {later}")
    task = asyncio.create_task(sender(db, office, metrics).run())
    await eventually(lambda: metrics.mails_waiting._value.get() == 1)
    assert 3590 < metrics.mail_oldest_seconds._value.get() < 3700
    task.cancel()
    await asyncio.wait({task})
    assert metrics.mails_waiting._value.get() == 0


async def test_ended_mails_are_deleted_after_ninety_days(db: Database, house: House, office: PostOffice) -> None:
    old, waiting = await queue(db, house), await queue(db, house)
    await db.execute("update mails set created_at = now() - interval '100 days'")
    await db.execute("update mails set status = 'sent', ended_at = now() - interval '91 days' where id = $1", old)
    assert await db.execute(mail_sender.DELETE_OLD_MAILS, KEEP_DAYS) == "DELETE 1"
    assert await db.fetchval("select id from mails") == waiting


async def test_record_waits_for_a_database_that_is_away(
    db: Database, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail is with the server: not recorded, it would be sent again."""
    monkeypatch.setattr(leases, "RECORD_AGAIN_S", (0.01,) * 500)
    mail_id = await queue(db, house)
    delivered: list[EmailMessage] = []
    held: list[Any] = []

    async def deliver(message: EmailMessage) -> None:
        delivered.append(message)
        held.extend([await db.pool.acquire(timeout=1) for _ in range(db.pool.get_max_size())])

    monkeypatch.setattr("wellio.db.ACQUIRE_TIMEOUT_S", 0.05)
    post = Post(deliver=deliver, sender=SENDER, base_url="https://wellio.example")
    sending = asyncio.create_task(MailSender(db, Metrics(), post).send_next())
    await eventually(lambda: len(held) == db.pool.get_max_size())
    await asyncio.wait({sending}, timeout=0.2)
    assert not sending.done()
    for connection in held:
        await db.pool.release(connection)
    assert await sending
    assert (await row(db, mail_id))["status"] == "sent"
    assert len(delivered) == 1


def test_lease_outlives_an_attempt() -> None:
    longest = smtp.CONVERSATION_TIMEOUT_S + smtp.GOODBYE_TIMEOUT_S + sum(leases.RECORD_AGAIN_S)
    assert timedelta(seconds=longest) < mail_sender.LEASE
