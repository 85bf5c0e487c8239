"""Messages that somebody reports to the practice's owners, as they were then, whatever becomes of them.

The copy and the note are sealed. Owners settle a report: nothing more, the message is deleted, or its sender removed
from the group. Their authority is the report; they need not be in the conversation.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.chat.conversation_members import take_out
from wellio.chat.conversations import LIST_MEMBER_IDS
from wellio.chat.held_messages import hold_message, hold_reported_message
from wellio.chat.log import Entry, publish_entry
from wellio.chat.message_changes import erase
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.live import Live
from wellio.outbox import Outbox, Transaction
from wellio.pages import Page, PageQuery, page_of
from wellio.sealing import SealBroken, Sealer
from wellio.values import Input, Text

BODY, NOTE = "message_reports.body", "message_reports.note"
OWNERS = frozenset({Role.OWNER})

Reason = Literal["harassment", "spam", "inappropriate", "safety", "other"]
Status = Literal["open", "resolved", "dismissed"]
Action = Literal["none", "delete_message", "remove_member"]

LIST_REPORTS = """
select id, conversation_id, message_id, sender_id, reporter_id, reason, note, body, status, action, resolved_by,
       resolved_at, created_at
from message_reports
where practice_id = $1 and ($2::uuid is null or id = $2) and ($3::text is null or status = $3)
order by created_at desc, id desc
limit $4 offset $5
"""

COUNT_REPORTS = "select count(*) from message_reports where practice_id = $1 and ($2::text is null or status = $2)"

INSERT_REPORT = """
insert into message_reports (id, practice_id, conversation_id, message_id, sender_id, reporter_id, reason, note, body,
                             created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""

LOCK_REPORT = "select id from message_reports where practice_id = $1 and id = $2 for update"

SETTLE_REPORT = """
update message_reports set status = $3, action = $4, resolved_by = $5, resolved_at = now()
where practice_id = $1 and id = $2
"""


class NewReport(Input):
    reason: Reason
    note: Annotated[Text, Field(max_length=2000)] = ""


class ReportChanges(Input):
    """`action` goes with `resolved`."""

    status: Literal["resolved", "dismissed"]
    action: Action = "none"


class ReportQuery(PageQuery):
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class ReportReceipt:
    """What is told to who reported."""

    id: UUID
    message_id: UUID
    reason: Reason
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """`body`: what the message said when it was reported. It and `note` are null where their key is gone."""

    id: UUID
    conversation_id: UUID
    message_id: UUID
    sender_id: UUID
    reporter_id: UUID
    reason: Reason
    note: str | None
    body: str | None
    status: Status
    action: Action | None
    resolved_by: UUID | None
    resolved_at: datetime | None
    created_at: datetime


async def report_message(
    outbox: Outbox, sealer: Sealer, actor: Actor, message_id: UUID, new: NewReport, *, once: Once | None = None
) -> ReportReceipt:
    """Raises NotFound, Conflict (one's own, deleted, or reported before)."""
    receipt = ReportReceipt(uuid7(), message_id, new.reason, datetime.now(UTC))
    note = sealer.seal(new.note.encode(), column=NOTE, row_id=receipt.id) if new.note else None
    async with outbox.transaction(once) as tx:
        held = await hold_message(tx, actor, message_id)
        held.must_be_there()
        message = held.message
        if message.sender_id == actor.user_id:
            raise Conflict("This message is your own; delete it.", code="OWN_MESSAGE")
        body = sealer.seal(message.body.encode(), column=BODY, row_id=receipt.id)
        place = (actor.practice_id, message.conversation_id, message_id, message.sender_id, actor.user_id)
        await tx.connection.execute(INSERT_REPORT, receipt.id, *place, new.reason, note, body, receipt.created_at)
        tx.record(_event(EventType.MESSAGE_REPORTED, actor, receipt.id, message.conversation_id, reason=new.reason))
        return await tx.answer(receipt)


async def list_reports(db: Database, sealer: Sealer, actor: Actor, query: ReportQuery) -> Page[Report]:
    """The latest first; owners only."""
    actor.must_be(OWNERS)
    async with db.connection() as connection:
        asked = (actor.practice_id, None, query.status, query.page_size, query.offset)
        rows = await connection.fetch(LIST_REPORTS, *asked)
        total = await connection.fetchval(COUNT_REPORTS, actor.practice_id, query.status)
    return page_of([_report(sealer, row) for row in rows], query=query, total=total)


async def settle_report(
    outbox: Outbox, live: Live, sealer: Sealer, actor: Actor, report_id: UUID, changes: ReportChanges
) -> Report:
    """Raises NotFound, Conflict (settled before), Invalid for an action that does not fit."""
    actor.must_be(OWNERS)
    if changes.status == "dismissed" and changes.action != "none":
        raise Invalid.field("action", "A report that is dismissed has no action.")
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_REPORT, actor.practice_id, report_id)
        report = await _get(tx.connection, sealer, actor, report_id)
        if report.status != "open":
            raise Conflict("This report was settled before.", code="REPORT_SETTLED")
        told = await _act(tx, actor, report, changes.action)
        settled = (changes.status, changes.action, actor.user_id)
        await tx.connection.execute(SETTLE_REPORT, actor.practice_id, report_id, *settled)
        tx.record(_event(EventType.REPORT_SETTLED, actor, report_id, report.conversation_id, action=changes.action))
        report = await _get(tx.connection, sealer, actor, report_id)
    for audience, entry in told:
        publish_entry(live, audience, entry)
    return report


async def _act(tx: Transaction, actor: Actor, report: Report, action: Action) -> list[tuple[list[UUID], Entry]]:
    """What follows from it in the conversation, each with whom it is told to."""
    if action == "none":
        return []
    held = await hold_reported_message(tx, actor.practice_id, report.message_id)
    rows = await tx.connection.fetch(LIST_MEMBER_IDS, actor.practice_id, report.conversation_id)
    members = [row["user_id"] for row in rows]
    if action == "delete_message":
        there = held.message.deleted_at is None
        return [(members, entry) for entry in await erase(tx, actor, held)] if there else []
    if held.kind == "direct":
        raise Invalid.field("action", "Nobody is removed from a direct conversation; suspend the sender instead.")
    if report.sender_id not in members:
        return []
    gone, *follows = await take_out(tx, actor, report.conversation_id, report.sender_id, "removed")
    left = [user_id for user_id in members if user_id != report.sender_id]
    return [(members, gone), *((left, entry) for entry in follows)]


async def _get(connection: Connection, sealer: Sealer, actor: Actor, report_id: UUID) -> Report:
    row = await connection.fetchrow(LIST_REPORTS, actor.practice_id, report_id, None, 1, 0)
    if row is None:
        raise NotFound("No such report.")
    return _report(sealer, row)


def _report(sealer: Sealer, row: Row) -> Report:
    opened = {"note": _opened(sealer, row, "note", NOTE) or "", "body": _opened(sealer, row, "body", BODY)}
    return Report(**{**row, **opened})


def _opened(sealer: Sealer, row: Row, name: str, column: str) -> str | None:
    if row[name] is None:
        return None
    try:
        return sealer.unseal(row[name], column=column, row_id=row["id"]).decode()
    except SealBroken:
        return None


def _event(type_: EventType, actor: Actor, report_id: UUID, conversation_id: UUID, **payload: str) -> Event:
    return Event(
        type=type_,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        subject_id=conversation_id,
        payload={"report_id": str(report_id), **payload},
    )
