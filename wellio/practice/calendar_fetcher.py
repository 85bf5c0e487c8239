"""Reads coaches' calendars elsewhere every quarter of an hour: a duty of the process that leads.

What can't be fetched or read changes nothing that is known: a coach's busy times stay busy, and the calendar says
since when it is stale. What is read replaces all that was known, in one transaction.
"""

import asyncio
import logging
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from uuid import UUID

import orjson

from wellio.consumers import told
from wellio.db import Database
from wellio.errors import Unavailable
from wellio.leases import keep_working, record_patiently
from wellio.metrics import Metrics
from wellio.outgoing import Answered, Ask, Call, NotReached
from wellio.practice.busy_reader import UNREADABLE, Unreadable
from wellio.practice.external_busy import replace_external_busy
from wellio.practice.external_calendars import URL
from wellio.sealing import SealBroken, Sealer

log = logging.getLogger(__name__)

AT_ONCE = 2
POLL_S = 1.0
LEASE = timedelta(minutes=5)  # longer than guarded_http.TOTAL_S, READ_S and the tries to record the end
EVERY = timedelta(minutes=15)
LONGEST_WAIT = timedelta(hours=6)
# Beyond the widest booking window (730 days), in any zone. What did not change is read anew daily, as time goes on.
BACK, AHEAD = timedelta(days=2), timedelta(days=735)
READ_AGAIN = timedelta(days=1)
MAX_BYTES = 5 * 1024 * 1024
MAX_REDIRECTS = 3
READ_S = 60.0
HEADER_CHARS = 500
SOURCES = Path(__file__).parent.parent.parent
TOO_SLOW = "The calendar takes too long to read: it has too many events, or rules that never match."

CLAIM_CALENDAR = """
update external_calendars c
set next_fetch_at = now() + $1::interval
from (
    select id
    from external_calendars
    where next_fetch_at <= now()
    order by next_fetch_at, id
    limit 1
    for update skip locked
) due
where c.id = due.id
returning c.id, c.practice_id, c.coach_id, c.url, c.failures,
    case when c.last_read_at > now() - $2::interval then c.etag end as etag,
    case when c.last_read_at > now() - $2::interval then c.last_modified end as last_modified,
    (select coalesce(a.timezone, u.timezone) from users u
     left join availability a on a.practice_id = u.practice_id and a.coach_id = u.id
     where u.practice_id = c.practice_id and u.id = c.coach_id) as timezone
"""

LOCK_CALENDAR = "select id from external_calendars where practice_id = $1 and id = $2 for update"

NOTE_READ = """
update external_calendars
set status = 'ok', last_error = null, failures = 0, last_fetched_at = now(), last_read_at = now(), etag = $3,
    last_modified = $4, next_fetch_at = now() + $5::interval
where practice_id = $1 and id = $2
"""

NOTE_UNCHANGED = """
update external_calendars
set status = 'ok', last_error = null, failures = 0, last_fetched_at = now(), next_fetch_at = now() + $3::interval
where practice_id = $1 and id = $2
"""

NOTE_FAILURE = """
update external_calendars
set status = case when last_read_at is null then 'failed' else 'stale' end, last_error = $3,
    failures = failures + 1, next_fetch_at = now() + $4::interval
where practice_id = $1 and id = $2
"""


@dataclass(frozen=True, slots=True)
class LeasedCalendar:
    id: UUID
    practice_id: UUID
    coach_id: UUID
    url: bytes
    failures: int
    etag: str | None
    last_modified: str | None
    timezone: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """`spans` None: nothing has changed."""

    spans: Sequence[Sequence[int]] | None
    etag: str | None = None
    last_modified: str | None = None


class CalendarFetcher:
    def __init__(self, db: Database, metrics: Metrics, *, call: Call, sealer: Sealer) -> None:
        self._db = db
        self._metrics = metrics
        self._call = call
        self._sealer = sealer

    async def run(self) -> None:
        """Reads a few at a time; never ends by itself."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(keep_working(self.fetch_next, poll_s=POLL_S))

    async def fetch_next(self) -> bool:
        """Reads the calendar that is due first; False when none is. Raises Unavailable without the database."""
        row = await self._db.fetchrow(CLAIM_CALENDAR, LEASE, READ_AGAIN)
        if row is None:
            return False
        calendar = LeasedCalendar(**dict(row))
        try:
            fetched = await self._fetch(calendar)
        except (NotReached, Unreadable) as failure:
            await self._fail(calendar, str(failure))
        except Unavailable:
            raise  # its lease ends by itself
        except (SealBroken, OSError, ValueError) as error:
            log.exception("A calendar could not be read", extra={"calendar_id": str(calendar.id)})
            await self._fail(calendar, f"Wellio failed: {told(error).partition(':')[0]}.")
        else:
            await record_patiently(lambda: self._store(calendar, fetched))
            self._metrics.calendars.labels("unchanged" if fetched.spans is None else "read").inc()
        return True

    async def _fetch(self, calendar: LeasedCalendar) -> Fetched:
        """Raises NotReached, Unreadable."""
        url = self._sealer.unseal(calendar.url, column=URL, row_id=calendar.id).decode()
        conditions = {"If-None-Match": calendar.etag, "If-Modified-Since": calendar.last_modified}
        answered = await self._call(
            Ask(
                url=url,
                headers={name: value for name, value in conditions.items() if value} | {"Accept": "text/calendar"},
                most_bytes=MAX_BYTES,
                whole=True,
                redirects=MAX_REDIRECTS,
            )
        )
        if answered.status == 304 and any(conditions.values()):
            return Fetched(None)
        if answered.status != 200:
            raise NotReached(
                f"The answer was {answered.status}: the calendar is not there, or its address has changed."
            )
        spans = await read_apart(answered.body, calendar.timezone, datetime.now(UTC))
        return Fetched(spans, _header(answered, "etag"), _header(answered, "last-modified"))

    async def _store(self, calendar: LeasedCalendar, fetched: Fetched) -> None:
        pause = EVERY * random.uniform(0.9, 1.1)  # noqa: S311 (no secret)
        place = (calendar.practice_id, calendar.id)
        async with self._db.transaction() as connection:
            if await connection.fetchval(LOCK_CALENDAR, *place) is None:
                return  # it was removed meanwhile
            if fetched.spans is None:
                await connection.execute(NOTE_UNCHANGED, *place, pause)
                return
            await replace_external_busy(connection, *place, calendar.coach_id, fetched.spans)
            await connection.execute(NOTE_READ, *place, fetched.etag, fetched.last_modified, pause)

    async def _fail(self, calendar: LeasedCalendar, reason: str) -> None:
        wait = min(EVERY * 2 ** min(calendar.failures, 5), LONGEST_WAIT)

        async def record() -> None:
            await self._db.execute(NOTE_FAILURE, calendar.practice_id, calendar.id, reason, wait)

        await record_patiently(record)
        self._metrics.calendars.labels("failed").inc()
        log.info("A calendar could not be fetched", extra={"calendar_id": str(calendar.id), "reason": reason})


async def read_apart(ics: bytes, zone: str, now: datetime) -> Sequence[Sequence[int]]:
    """As `busy_reader.read_busy`, in a process of its own: a hostile file is ended with it. Raises Unreadable."""
    bounds = [str(int((now - BACK).timestamp())), str(int((now + AHEAD).timestamp()))]
    command = [sys.executable, "-m", "wellio.practice.busy_reader", zone, *bounds]
    # With nothing of this process's environment, which holds secrets.
    process = await asyncio.to_thread(
        lambda: Popen(command, cwd=SOURCES, env={}, stdin=PIPE, stdout=PIPE, stderr=PIPE)  # noqa: S603 (ours)
    )
    try:
        out, error = await asyncio.to_thread(process.communicate, ics, READ_S)
    except TimeoutExpired:
        raise Unreadable(TOO_SLOW) from None
    finally:
        process.kill()
    if process.returncode == UNREADABLE:
        raise Unreadable(error.decode())
    if process.returncode != 0:
        raise Unreadable(TOO_SLOW)
    spans: Sequence[Sequence[int]] = orjson.loads(out)
    return spans


def _header(answered: Answered, name: str) -> str | None:
    value = answered.headers.get(name, "")
    return value if 0 < len(value) <= HEADER_CHARS and value.isprintable() and value.isascii() else None
