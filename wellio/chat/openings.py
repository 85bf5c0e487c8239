"""Opening conversations: who may begin to talk with whom, and that two people have one direct conversation.

A new conversation stands at seq 0: being opened is not in its log.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor
from wellio.chat.blocks import blocked, direct_key, list_blockers, lock_direct
from wellio.chat.conversations import MAX_MEMBERS, Conversation, Kind, get_conversation
from wellio.db import Connection
from wellio.errors import FieldError, Forbidden, Invalid
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.live import Live
from wellio.outbox import Outbox, Transaction
from wellio.values import Input, Line

# Whom of $4 the actor may talk to: an owner everybody, a coach the staff and the clients they coach,
# a client their own coach and the owners.
LIST_REACHABLE = """
select u.id, u.role
from users u
where u.practice_id = $1 and u.id = any($4::uuid[]) and u.status = 'active'
  and ($2 = 'owner'
       or ($2 = 'coach' and (u.role in ('owner', 'coach') or exists (
               select from clients c where c.practice_id = $1 and c.user_id = u.id and c.coach_id = $3)))
       or ($2 = 'client' and (u.role = 'owner' or exists (
               select from clients c where c.practice_id = $1 and c.user_id = $3 and c.coach_id = u.id))))
"""

# Of two people who write to each other at the same moment one inserts and the other waits, and finds that row.
INSERT_CONVERSATION = """
insert into conversations (id, practice_id, kind, title, direct_key, created_by)
values ($1, $2, $3, $4, $5, $6)
on conflict on constraint conversations_direct_key do nothing
returning id
"""

GET_DIRECT = "select id from conversations where practice_id = $1 and direct_key = $2"

INSERT_MEMBERS = """
insert into conversation_members (practice_id, conversation_id, user_id, role)
select $1, $2, t.user_id, t.role
from unnest($3::uuid[], $4::text[]) t (user_id, role)
"""

GET_CLIENT_AMONG = "select id from clients where practice_id = $1 and user_id = any($2::uuid[]) limit 1"


class NewConversation(Input):
    """`member_ids`: the others; for a direct conversation exactly one. Groups may have a title."""

    kind: Kind
    member_ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MAX_MEMBERS)]
    title: Line = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """`created` is False when two people had their direct conversation already."""

    conversation: Conversation
    created: bool


async def create_conversation(outbox: Outbox, live: Live, actor: Actor, new: NewConversation) -> Conversation:
    """`open_conversation`, for who does not mind whether it was there before."""
    return (await open_conversation(outbox, live, actor, new)).conversation


async def open_conversation(
    outbox: Outbox, live: Live, actor: Actor, new: NewConversation, *, once: Once | None = None
) -> Opened:
    """Opens a conversation, or finds the direct one that two people have. Raises Forbidden, Invalid."""
    others = sorted(set(new.member_ids) - {actor.user_id})
    _check_form(actor, new, others)
    async with outbox.transaction(once) as tx:
        await check_reachable(tx.connection, actor, "member_ids", new.member_ids)
        conversation_id = await _insert(tx, actor, new, others)
        created = conversation_id is not None
        if conversation_id is None:
            conversation_id = await tx.connection.fetchval(GET_DIRECT, actor.practice_id, _direct_key(actor, new))
        conversation = await get_conversation(tx.connection, actor, conversation_id)
        await tx.answer(conversation)
    if created:
        members = [member.user_id for member in conversation.members]
        told = {"conversation_id": conversation.id, "seq": 0, "conversation": conversation}
        live.publish(members, "conversation:updated", told)
    return Opened(conversation, created)


async def check_reachable(
    connection: Connection, actor: Actor, field: str, user_ids: Sequence[UUID], *, known: Collection[UUID] = ()
) -> None:
    """Raises Invalid with the place in `field` of each whom the actor may not talk to, and who is not `known`."""
    rows = await connection.fetch(LIST_REACHABLE, *actor.scope, user_ids)
    reachable = {row["id"] for row in rows} | {actor.user_id, *known}
    strangers = [
        FieldError(f"{field}.{n}", "No such person, or none that you can write to.")
        for n, user_id in enumerate(user_ids)
        if user_id not in reachable
    ]
    if strangers:
        raise Invalid(fields=strangers)


def _check_form(actor: Actor, new: NewConversation, others: Sequence[UUID]) -> None:
    if new.kind == "group" and actor.role not in STAFF:
        raise Forbidden("Only coaches and owners open groups.")
    if new.kind == "direct" and len(others) != 1:
        raise Invalid.field("member_ids", "A direct conversation is with one other person.")
    if new.kind == "direct" and new.title:
        raise Invalid.field("title", "A direct conversation has no title.")
    if not others:
        raise Invalid.field("member_ids", "Name somebody beside yourself.")


async def _insert(tx: Transaction, actor: Actor, new: NewConversation, others: Sequence[UUID]) -> UUID | None:
    """The new conversation's id; None when these two have one."""
    key = _direct_key(actor, new)
    if key is not None:
        await _check_not_blocked(tx, actor, key, others[0])
    conversation_id: UUID | None = await tx.connection.fetchval(
        INSERT_CONVERSATION, uuid7(), actor.practice_id, new.kind, new.title, key, actor.user_id
    )
    if conversation_id is None:
        return None
    user_ids = [actor.user_id, *others]
    roles = ["admin", *["member"] * len(others)]
    await tx.connection.execute(INSERT_MEMBERS, actor.practice_id, conversation_id, user_ids, roles)
    client_id = None
    if new.kind == "direct":
        client_id = await tx.connection.fetchval(GET_CLIENT_AMONG, actor.practice_id, user_ids)
    tx.record(
        Event(
            type=EventType.CONVERSATION_STARTED,
            practice_id=actor.practice_id,
            actor_id=actor.user_id,
            client_id=client_id,
            subject_id=conversation_id,
            payload={"kind": new.kind},
        )
    )
    return conversation_id


def _direct_key(actor: Actor, new: NewConversation) -> str | None:
    if new.kind != "direct":
        return None
    (other,) = set(new.member_ids) - {actor.user_id}
    return direct_key(actor.user_id, other)


async def _check_not_blocked(tx: Transaction, actor: Actor, key: str, other: UUID) -> None:
    """What two people have said stays to be read; but nobody opens a conversation that nothing can be said in."""
    await lock_direct(tx.connection, key)
    blockers = await list_blockers(tx.connection, actor.practice_id, actor.user_id, other)
    if blockers and not await tx.connection.fetchval(GET_DIRECT, actor.practice_id, key):
        raise blocked(actor, blockers)
