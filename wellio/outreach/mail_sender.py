"""Sends the mails that wait: a duty of the process that leads.

A mail is leased to one attempt by moving its next time past the attempt's longest duration. Its link and text are made
next, and then it is handed over with no transaction open, however slow the server is. What is recorded last decides:
killed between the server's OK and the record, a mail is sent again when its lease ends, under the same Message-ID. So
each mail is sent at least once, and twice only after an answer that nobody heard.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from uuid import UUID

from wellio.db import Database
from wellio.errors import Unavailable
from wellio.leases import keep_measuring, keep_working, record_patiently
from wellio.metrics import Metrics
from wellio.outreach.mail_texts import fill_mail, make_message
from wellio.outreach.mail_words import QueuedMail
from wellio.outreach.smtp import NotSent

log = logging.getLogger(__name__)

AT_ONCE = 4
POLL_S = 1.0
LEASE = timedelta(minutes=5)  # longer than smtp.CONVERSATION_TIMEOUT_S and the tries to record its end
# Minutes until the next attempt: after ten of them a day has passed, and greylisting (RFC 6647) is long over.
DELAYS_MIN = (1, 3, 9, 27, 81, 243, 360, 360, 360)
LONGEST_WAIT = timedelta(days=3)
KEEP_DAYS = 90

CLAIM_MAIL = """
update mails
set attempts = attempts + 1, next_attempt_at = now() + $1::interval
where id = (
    select id
    from mails
    where status = 'waiting' and next_attempt_at <= now()
    order by next_attempt_at, id
    limit 1
    for update skip locked
)
returning id, practice_id, user_id, kind, recipient, data, created_at, attempts
"""

# Sent is sent, even when this attempt's lease was over and another has begun.
END_MAIL = """
update mails
set status = $2, ended_at = now(), last_error = $3
where id = $1 and status = 'waiting'
"""

POSTPONE_MAIL = """
update mails
set next_attempt_at = now() + $3::interval, last_error = $4
where id = $1 and attempts = $2 and status = 'waiting'
"""

MEASURE_WAITING = """
select count(*) as waiting, coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as oldest_s
from mails
where status = 'waiting'
"""

DELETE_OLD_MAILS = "delete from mails where status <> 'waiting' and ended_at < now() - make_interval(days => $1)"

# Hands a mail over. Raises NotSent; anything else is a bug, and the mail is tried again.
Delivery = Callable[[EmailMessage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """How mails leave: by whom, from whom, and what their links begin with."""

    deliver: Delivery
    sender: str
    base_url: str


class MailSender:
    def __init__(self, db: Database, metrics: Metrics, post: Post) -> None:
        self._db = db
        self._metrics = metrics
        self._post = post

    async def run(self) -> None:
        """Sends a few at a time; never ends by itself."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(keep_working(self.send_next, poll_s=POLL_S))
                group.create_task(keep_measuring(self._measure))
        finally:
            self._metrics.mails_waiting.set(0)
            self._metrics.mail_oldest_seconds.set(0)

    async def send_next(self) -> bool:
        """One attempt at the mail that is due first; False when none is. Raises Unavailable without the database."""
        row = await self._db.fetchrow(CLAIM_MAIL, LEASE)
        if row is None:
            return False
        mail = QueuedMail(**dict(row))
        try:
            await self._send(mail)
        except NotSent as failure:
            await self._fail(mail, failure.reason, permanent=failure.permanent)
        except Unavailable:
            raise  # its lease ends by itself
        except Exception as error:
            log.exception("A mail could not be made", extra={"kind": mail.kind, "mail_id": str(mail.id)})
            await self._fail(mail, type(error).__name__)
        return True

    async def _send(self, mail: QueuedMail) -> None:
        async with self._db.transaction() as connection:
            filled = await fill_mail(connection, mail, self._post.base_url)
        if filled is None:
            await self._end(mail.id, "dropped")
            self._count(mail, "dropped")
            return
        try:
            # A hundred dates with their calendar take a while; others are served meanwhile.
            message = await asyncio.to_thread(make_message, mail, filled, self._post.sender)
        except ValueError:
            raise NotSent("the recipient is not an address", permanent=True) from None
        await self._post.deliver(message)
        self._count(mail, "sent")
        log.info("A mail was sent", extra={"kind": mail.kind, "mail_id": str(mail.id), "attempts": mail.attempts})
        await self._end(mail.id, "sent")

    async def _fail(self, mail: QueuedMail, reason: str, *, permanent: bool = False) -> None:
        told = {"kind": mail.kind, "mail_id": str(mail.id), "attempts": mail.attempts, "reason": reason}
        if permanent or mail.attempts > len(DELAYS_MIN) or datetime.now(UTC) - mail.created_at > LONGEST_WAIT:
            self._count(mail, "dead")
            log.error("A mail was given up", extra=told)
            await self._end(mail.id, "dead", reason)
            return
        delay = timedelta(minutes=DELAYS_MIN[mail.attempts - 1] * random.uniform(0.8, 1.2))  # noqa: S311 (no secret)
        self._count(mail, "postponed")
        log.warning("A mail could not be sent yet", extra=told | {"again_in_s": round(delay.total_seconds())})
        await self._db.execute(POSTPONE_MAIL, mail.id, mail.attempts, delay, reason)

    async def _end(self, mail_id: UUID, status: str, reason: str | None = None) -> None:
        """Records it, also when the database is away for a moment: unrecorded means sent again."""

        async def record() -> None:
            await self._db.execute(END_MAIL, mail_id, status, reason)

        await record_patiently(record)

    def _count(self, mail: QueuedMail, outcome: str) -> None:
        self._metrics.mails.labels(mail.kind, outcome).inc()

    async def _measure(self) -> None:
        row = await self._db.fetchrow(MEASURE_WAITING)
        if row is not None:
            self._metrics.mails_waiting.set(row["waiting"])
            self._metrics.mail_oldest_seconds.set(row["oldest_s"])
