"""Owners who read conversations that they are not in, as far as the practice's policy goes.

The policy is `none`, `reported` (conversations of which a message was reported; the default) or `all`, and everybody
can see which holds. Each reading is an event and a row of the audit log with its reason, stored before anything is
shown. An owner who reads is no member: nobody's receipts move, and nothing is pushed to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.chat.history import MessageQuery, list_page
from wellio.chat.values import Message
from wellio.db import Connection, Database
from wellio.errors import Forbidden, NotFound
from wellio.events import Event, EventType
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.values import Input, Line

OWNERS = frozenset({Role.OWNER})
Policy = Literal["none", "reported", "all"]

GET_POLICY = "select message_oversight from practices where id = $1"

UPDATE_POLICY = "update practices set message_oversight = $2 where id = $1 and message_oversight <> $2 returning id"

# Of everybody who ever was in it: a group with nobody left stays to be read.
LIST_OVERSEEN = """
select c.id, c.kind, c.title, c.last_seq, c.message_count, c.last_message_at, c.created_at,
       (select count(*) from message_reports r where r.conversation_id = c.id and r.status = 'open') as open_reports,
       array(select m.user_id from conversation_members m
             where m.conversation_id = c.id and m.left_at is null order by m.joined_at, m.user_id) as member_ids
from conversations c
join practices p on p.id = c.practice_id
where c.practice_id = $1 and ($2::uuid is null or c.id = $2)
  and (p.message_oversight = 'all'
       or (p.message_oversight = 'reported' and exists (
           select from message_reports r where r.conversation_id = c.id)))
order by coalesce(c.last_message_at, c.created_at) desc, c.id
limit $3 offset $4
"""

COUNT_OVERSEEN = """
select count(*)
from conversations c
join practices p on p.id = c.practice_id
where c.practice_id = $1
  and (p.message_oversight = 'all'
       or (p.message_oversight = 'reported' and exists (
           select from message_reports r where r.conversation_id = c.id)))
"""


class OversightChanges(Input):
    message_oversight: Policy


class OverseenQuery(MessageQuery):
    """`reason`: why it is read, for the audit log."""

    reason: Annotated[Line, Field(min_length=3)]


@dataclass(frozen=True, slots=True)
class Oversight:
    message_oversight: Policy


@dataclass(frozen=True, slots=True)
class OverseenConversation:
    """`member_ids`: who is in it now."""

    id: UUID
    kind: Literal["direct", "group"]
    title: str
    last_seq: int
    message_count: int
    last_message_at: datetime | None
    created_at: datetime
    open_reports: int
    member_ids: Sequence[UUID]


async def get_oversight(db: Database | Connection, actor: Actor) -> Oversight:
    return Oversight(await db.fetchval(GET_POLICY, actor.practice_id))


async def change_oversight(outbox: Outbox, actor: Actor, changes: OversightChanges) -> Oversight:
    """By an owner; recorded."""
    actor.must_be(OWNERS)
    async with outbox.transaction() as tx:
        changed = await tx.connection.fetchval(UPDATE_POLICY, actor.practice_id, changes.message_oversight)
        if changed is not None:
            event = EventType.MESSAGE_OVERSIGHT_CHANGED
            tx.record(_event(event, actor, actor.practice_id, message_oversight=changes.message_oversight))
        return await get_oversight(tx.connection, actor)


async def list_overseen(db: Database, actor: Actor, query: PageQuery) -> Page[OverseenConversation]:
    """What the policy lets owners read. Raises Forbidden where that is nothing."""
    actor.must_be(OWNERS)
    async with db.connection() as connection:
        await _check_policy(connection, actor)
        rows = await connection.fetch(LIST_OVERSEEN, actor.practice_id, None, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_OVERSEEN, actor.practice_id)
    return page_of([OverseenConversation(**row) for row in rows], query=query, total=total)


async def oversee_conversation(
    outbox: Outbox, actor: Actor, conversation_id: UUID, query: OverseenQuery
) -> Page[Message]:
    """Its messages, when the reading is recorded. Raises Forbidden, and NotFound for what the policy leaves out."""
    actor.must_be(OWNERS)
    async with outbox.transaction() as tx:
        await _check_policy(tx.connection, actor)
        row = await tx.connection.fetchrow(LIST_OVERSEEN, actor.practice_id, conversation_id, 1, 0)
        if row is None:
            raise NotFound("No such conversation, or none that the practice's policy lets owners read.")
        tx.reason = query.reason
        tx.record(_event(EventType.CONVERSATION_OVERSEEN, actor, conversation_id))
    return await list_page(outbox.db, conversation_id, row["message_count"], query)


async def _check_policy(connection: Connection, actor: Actor) -> None:
    if (await get_oversight(connection, actor)).message_oversight == "none":
        raise Forbidden("This practice's policy is that owners read no conversations of others.", code="OVERSIGHT_OFF")


def _event(type_: EventType, actor: Actor, subject_id: UUID, **payload: str) -> Event:
    return Event(
        type=type_, practice_id=actor.practice_id, actor_id=actor.user_id, subject_id=subject_id, payload=payload
    )
