"""Sends what people have scheduled, in the process that leads, through the same writer as everything else.

A message is marked as being sent before, and as sent after. After a crash between the two it is sent again, under the
same client_message_id: so it is stored once. Those of one conversation go one after the other, in their order.
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import groupby
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.chat.messages import MessageWriter, NewMessage
from wellio.chat.scheduled_messages import scheduled_of, tell_sender
from wellio.db import Database, Row
from wellio.errors import Conflict, NotFound, TooMany, Unavailable, WellioError
from wellio.leases import keep_working
from wellio.live import Live
from wellio.sealing import Sealer

log = logging.getLogger(__name__)

POLL_S = 1.0
AT_ONCE = 100

CLAIM_DUE = """
with due as (
    select id from scheduled_messages
    where status in ('waiting', 'sending') and due_at <= now()
    order by due_at, id
    limit $1
    for update skip locked
)
update scheduled_messages s
set status = 'sending'
from due d, users u
where s.id = d.id and u.practice_id = s.practice_id and u.id = s.sender_id
returning s.id, s.practice_id, s.conversation_id, s.sender_id, s.client_message_id, s.body, s.reply_to, s.send_at,
          s.due_at, s.timezone, s.status, s.failure, s.message_id, s.version, s.created_at,
          u.role, u.name, u.status as sender_status
"""

END_SCHEDULED = """
update scheduled_messages
set status = $2, failure = $3, message_id = $4, body = case when $2 = 'sent' then null else body end,
    version = version + 1, updated_at = now()
where id = $1 and status = 'sending'
returning id, conversation_id, client_message_id, body, reply_to, send_at, timezone, status, failure, message_id,
          version, created_at
"""

POSTPONE = """
update scheduled_messages set status = 'waiting', due_at = now() + make_interval(secs => $2)
where id = $1 and status = 'sending'
"""


class ScheduledSender:
    """`run` for as long as this process leads."""

    def __init__(self, db: Database, live: Live, messages: MessageWriter, sealer: Sealer) -> None:
        self._db, self._live, self._messages, self._sealer = db, live, messages, sealer

    async def run(self) -> None:
        await keep_working(self.send_due, poll_s=POLL_S)

    async def send_due(self) -> bool:
        """Whether there may be more. Raises Unavailable without the database."""
        rows = await self._db.fetch(CLAIM_DUE, AT_ONCE)
        rows.sort(key=lambda row: (row["conversation_id"], row["due_at"], row["id"]))
        parts = [list(part) for _, part in groupby(rows, key=lambda row: row["conversation_id"])]
        await asyncio.gather(*(self._send_all(part) for part in parts))
        return len(rows) == AT_ONCE

    async def _send_all(self, rows: Sequence[Row]) -> None:
        """What the database was away for is due again, and those behind it with it."""
        try:
            for row in rows:
                await self._send(row)
        except Unavailable:
            log.warning("A scheduled message could not be sent yet", extra={"scheduled_id": str(row["id"])})

    async def _send(self, row: Row) -> None:
        try:
            message_id = await self._store(row)
        except Unavailable:
            raise
        except TooMany as error:
            await self._db.execute(POSTPONE, row["id"], error.retry_after_s)
        except WellioError as error:
            code = "NOT_A_MEMBER" if isinstance(error, NotFound) else error.code
            await self._end(row, "failed", failure=code)
        else:
            await self._end(row, "sent", message_id=message_id)

    async def _store(self, row: Row) -> UUID:
        if row["sender_status"] != "active":
            raise Conflict("The sender is suspended.", code="SENDER_SUSPENDED")
        body = scheduled_of(self._sealer, row).body
        if body is None:
            raise Conflict("The key that sealed it is not known any more.", code="UNREADABLE")
        # It acts for its sender, whose devices may all be signed out by now.
        actor = Actor(row["sender_id"], row["practice_id"], Role(row["role"]), row["id"], row["name"])
        new = NewMessage(
            conversation_id=row["conversation_id"],
            client_message_id=row["client_message_id"],
            body=body,
            reply_to=row["reply_to"],
        )
        return (await self._messages.send(actor, new)).message.id

    async def _end(self, row: Row, status: str, *, failure: str | None = None, message_id: UUID | None = None) -> None:
        ended = await self._db.fetchrow(END_SCHEDULED, row["id"], status, failure, message_id)
        if ended is not None:
            tell_sender(self._live, row["sender_id"], scheduled_of(self._sealer, ended))
