"""Tells webhooks what waits to be told: a duty of the process that leads.

A delivery and its webhook are leased to one attempt, so that a webhook hears one thing at a time, and each subject's
in the order of its versions: what comes later waits for what failed. One that fails rests, longer each time, so that
those that hang don't take all workers. Nothing is held while it is called: no transaction, no connection. At least
once each, under the same webhook-id: who hears one twice can tell (standardwebhooks.com).
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from wellio.db import Connection, Database
from wellio.errors import Unavailable
from wellio.ids import uuid7
from wellio.leases import keep_measuring, keep_working, record_patiently
from wellio.metrics import Metrics
from wellio.outbox import Outbox, Transaction
from wellio.outgoing import Answered, Ask, Call, NotReached
from wellio.outreach.webhook_signatures import signature_headers
from wellio.outreach.webhooks import FORMER_SECRET, SECRET, DisabledReason, give_up
from wellio.sealing import Sealer

log = logging.getLogger(__name__)

AT_ONCE = 16
POLL_S = 0.5
LEASE = timedelta(minutes=2)  # longer than guarded_http.TOTAL_S and the tries to record its end
# The schedule that Standard Webhooks recommends, within three days; up to a tenth less at random.
DELAYS_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 20 * 3600)
GONE = 410
ANSWER_CHARS = 500

# The webhook's lock alone decides: with one on deliveries as well, two could each take half of what they need, and the
# later delivery go first.
CLAIM_DELIVERY = """
with due as (
    select d.id, w.id as webhook_id
    from webhook_deliveries d
    join webhooks w on w.practice_id = d.practice_id and w.id = d.webhook_id
    where d.status = 'waiting' and d.next_attempt_at <= now() and w.disabled_at is null and w.free_at <= now()
      and not exists (
          select from webhook_deliveries b
          where b.webhook_id = d.webhook_id and b.subject_id = d.subject_id and b.status = 'waiting'
            and (b.subject_version, b.position) < (d.subject_version, d.position))
    order by d.next_attempt_at, d.position
    limit 1
    for update of w skip locked
), leased as (
    update webhooks w
    set free_at = now() + $1::interval
    from due
    where w.id = due.webhook_id
    returning w.url, w.secret, case when w.former_until > now() then w.former_secret end as former_secret
)
update webhook_deliveries d
set attempts = d.attempts + 1, next_attempt_at = now() + $1::interval
from due, leased
where d.id = due.id and d.status = 'waiting'
returning d.id, d.practice_id, d.webhook_id, d.type, d.body, d.attempts, leased.url, leased.secret,
          leased.former_secret
"""

INSERT_ATTEMPT = """
insert into webhook_attempts (id, practice_id, delivery_id, started_at, duration_ms, status, error, answer)
select $1, d.practice_id, d.id, $3, $4, $5, $6, $7
from webhook_deliveries d
where d.id = $2
"""

# Delivered is delivered, even when this attempt's lease was over and another has begun.
END_DELIVERY = """
update webhook_deliveries
set status = $2, ended_at = now(), last_status = $3, last_error = $4
where id = $1 and status = 'waiting'
"""

POSTPONE_DELIVERY = """
update webhook_deliveries
set next_attempt_at = now() + $3::interval, last_status = $4, last_error = $5
where id = $1 and attempts = $2 and status = 'waiting'
"""

NOTE_SUCCESS = """
update webhooks
set failures = 0, failing_since = null, last_attempt_at = now(), free_at = now()
where id = $1
"""

# It rests for 1, 2, 4… seconds, five minutes at most. The count of days begins anew after two without an attempt,
# which are more than lie between any two of one delivery: then nothing was failing, there was nothing to tell.
NOTE_FAILURE = """
update webhooks
set failures = failures + 1,
    failing_since = case when last_attempt_at > now() - interval '2 days' then coalesce(failing_since, now())
                         else now() end,
    last_attempt_at = now(),
    free_at = now() + make_interval(secs => least(300, 2 ^ least(failures, 9)))
where id = $1
returning failing_since < now() - interval '5 days' as lasting
"""

MEASURE_WAITING = """
select count(*) as waiting, coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as oldest_s
from webhook_deliveries
where status = 'waiting'
"""


@dataclass(frozen=True, slots=True)
class LeasedDelivery:
    """`attempts` counts this one."""

    id: UUID
    practice_id: UUID
    webhook_id: UUID
    type: str
    body: str
    attempts: int
    url: str
    secret: bytes
    former_secret: bytes | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went; `error` None: it was taken."""

    started_at: datetime
    error: str | None
    answered: Answered | None = None

    @property
    def status(self) -> int | None:
        return self.answered.status if self.answered else None


class WebhookSender:
    def __init__(self, outbox: Outbox, metrics: Metrics, *, call: Call, sealer: Sealer) -> None:
        self._outbox = outbox
        self._db: Database = outbox.db
        self._metrics = metrics
        self._call = call
        self._sealer = sealer

    async def run(self) -> None:
        """Tells several webhooks at a time, each one thing at a time; never ends by itself."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(keep_working(self.deliver_next, poll_s=POLL_S))
                group.create_task(keep_measuring(self._measure))
        finally:
            self._metrics.webhooks_waiting.set(0)
            self._metrics.webhook_oldest_seconds.set(0)

    async def deliver_next(self) -> bool:
        """One attempt at what is due first; False when nothing is. Raises Unavailable without the database."""
        row = await self._db.fetchrow(CLAIM_DELIVERY, LEASE)
        if row is None:
            return False
        delivery = LeasedDelivery(**dict(row))
        try:
            outcome = await self._attempt(delivery)
        except Unavailable:
            raise  # its lease ends by itself
        except Exception as error:
            log.exception("A webhook could not be told", extra={"delivery_id": str(delivery.id)})
            outcome = Outcome(datetime.now(UTC), f"Wellio failed: {type(error).__name__}.")
        await record_patiently(lambda: self._record(delivery, outcome))
        return True

    async def _attempt(self, delivery: LeasedDelivery) -> Outcome:
        started_at, body = datetime.now(UTC), delivery.body.encode()
        headers = signature_headers(str(delivery.id), int(started_at.timestamp()), body, self._secrets(delivery))
        headers["Content-Type"] = "application/json"
        try:
            answered = await self._call(Ask(url=delivery.url, method="POST", headers=headers, body=body))
        except NotReached as failure:
            return Outcome(started_at, failure.reason)
        return Outcome(started_at, _what_is_wrong(answered.status), answered)

    def _secrets(self, delivery: LeasedDelivery) -> Sequence[str]:
        sealed = [(SECRET, delivery.secret), (FORMER_SECRET, delivery.former_secret)]
        return [
            self._sealer.unseal(value, column=column, row_id=delivery.webhook_id).decode()
            for column, value in sealed
            if value is not None
        ]

    async def _record(self, delivery: LeasedDelivery, outcome: Outcome) -> None:
        async with self._outbox.transaction() as tx:
            await _insert_attempt(tx.connection, delivery, outcome)
            if outcome.error is None:
                word = "delivered"
                await tx.connection.execute(END_DELIVERY, delivery.id, word, outcome.status, None)
                await tx.connection.execute(NOTE_SUCCESS, delivery.webhook_id)
            else:
                word = await self._record_failure(tx, delivery, outcome)
        self._metrics.webhooks.labels(word).inc()

    async def _record_failure(self, tx: Transaction, delivery: LeasedDelivery, outcome: Outcome) -> str:
        """What it came to, in a word of the metric."""
        over = outcome.status == GONE or delivery.attempts > len(DELAYS_S)
        if over:
            await tx.connection.execute(END_DELIVERY, delivery.id, "failed", outcome.status, outcome.error)
        else:
            delay = timedelta(seconds=DELAYS_S[delivery.attempts - 1] * random.uniform(0.9, 1.0))  # noqa: S311 (no secret)
            await tx.connection.execute(
                POSTPONE_DELIVERY, delivery.id, delivery.attempts, delay, outcome.status, outcome.error
            )
        lasting = await tx.connection.fetchval(NOTE_FAILURE, delivery.webhook_id)
        reason: DisabledReason | None = "gone" if outcome.status == GONE else "failing" if lasting else None
        if reason and await give_up(tx, delivery.practice_id, delivery.webhook_id, reason):
            log.warning("A webhook was turned off", extra={"webhook_id": str(delivery.webhook_id), "reason": reason})
            return "disabled"
        return "failed" if over else "postponed"

    async def _measure(self) -> None:
        row = await self._db.fetchrow(MEASURE_WAITING)
        if row is not None:
            self._metrics.webhooks_waiting.set(row["waiting"])
            self._metrics.webhook_oldest_seconds.set(row["oldest_s"])


async def _insert_attempt(connection: Connection, delivery: LeasedDelivery, outcome: Outcome) -> None:
    answered = outcome.answered
    await connection.execute(
        INSERT_ATTEMPT,
        uuid7(),
        delivery.id,
        outcome.started_at,
        round(answered.took.total_seconds() * 1000) if answered else None,
        outcome.status,
        outcome.error,
        _beginning(answered.body) if answered else "",
    )


def _what_is_wrong(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"The answer was {status}: redirects are not followed; give the address it redirects to."
    if status == GONE:
        return "The answer was 410: gone, so the webhook was turned off."
    return f"The answer was {status}."


def _beginning(body: bytes) -> str:
    """As it may be stored and shown: without control characters."""
    text = body[: 4 * ANSWER_CHARS].decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)[:ANSWER_CHARS]
