"""Storing messages many at a time: a few statements for all of a batch, whatever its size."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.chat.values import Message, NewMessage, Sent, message_of
from wellio.db import Connection, Row
from wellio.errors import Invalid, NotFound, WellioError
from wellio.events import EventType
from wellio.idempotency import AlreadyAnswered, Once, claim, keep
from wellio.ids import uuid7
from wellio.outbox import Transaction

Outcome = Sent | WellioError | AlreadyAnswered

# One order for every process, so that two can't wait for each other.
LOCK_CONVERSATIONS = """
select c.id, c.last_seq
from unnest($1::uuid[], $2::uuid[]) w (practice_id, id)
join conversations c on c.practice_id = w.practice_id and c.id = w.id
order by c.id
for no key update of c
"""

# Read after the lock, so nothing of it changes before the commit. client_id: whom the event concerns, the client who
# writes or whom a coach writes to. audience: of each conversation once. The columns after it: what this one repeats.
# `limit 1` keeps each look-up apart: joined, a planner without statistics would scan the tables.
CHECK_MESSAGES = """
select i.n, s.role as sender_role,
       case when s.role = 'client' then (select c.id from clients c where c.user_id = i.sender_id)
            when k.kind = 'direct' then (
                select c.id from conversation_members o join clients c on c.user_id = o.user_id
                where o.conversation_id = i.conversation_id limit 1)
       end as client_id,
       i.reply_to is null or exists (
           select from messages r where r.id = i.reply_to and r.conversation_id = i.conversation_id) as reply_known,
       case when i.first = i.n then (
           select array_agg(o.user_id) from conversation_members o
           where o.conversation_id = i.conversation_id and o.left_at is null)
       end as audience,
       d.id, d.conversation_id, d.seq, d.sender_id, d.body, d.client_message_id, d.reply_to,
       d.edited_at, d.deleted_at, d.created_at
from (
    select *, min(n) over (partition by conversation_id) as first
    from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[]) with ordinality
         w (practice_id, conversation_id, sender_id, client_message_id, reply_to, n)
) i
left join lateral (
    select u.role
    from conversation_members m
    join users u on u.id = m.user_id and u.status = 'active'
    where m.conversation_id = i.conversation_id and m.user_id = i.sender_id
      and m.practice_id = i.practice_id and m.left_at is null
    limit 1
) s on true
left join lateral (select kind from conversations c where c.id = i.conversation_id limit 1) k on true
left join lateral (
    select * from messages m
    where m.conversation_id = i.conversation_id and m.sender_id = i.sender_id
      and m.client_message_id = i.client_message_id
    limit 1
) d on true
"""

# Messages, log and events in one statement: each costs the whole batch a round trip under the lock.
# A client's row that somebody is changing at this moment is passed over: a message does not wait for it.
INSERT_MESSAGES = """
with given as (
    select *
    from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[], $6::uuid[], $7::text[], $8::uuid[],
                $9::uuid[], $10::uuid[], $11::text[])
         g (id, practice_id, conversation_id, seq, sender_id, client_message_id, body, reply_to, event_id, client_id,
            role)
), stored as (
    insert into messages (id, practice_id, conversation_id, seq, sender_id, client_message_id, body, reply_to,
                          created_at)
    select id, practice_id, conversation_id, seq, sender_id, client_message_id, body, reply_to, $12
    from given
), logged as (
    insert into conversation_events (conversation_id, seq, practice_id, type, message_id, actor_id, created_at)
    select conversation_id, seq, practice_id, 'message:new', id, sender_id, $12
    from given
), told as (
    insert into events (id, practice_id, type, client_id, subject_id, actor_id, payload, occurred_at)
    select event_id, practice_id, $13, client_id, conversation_id, sender_id,
           jsonb_build_object('by', role, 'seq', seq), $12
    from given
), moved as (
    update conversations c
    set last_seq = h.seq, last_message_at = $12, message_count = c.message_count + h.added
    from (select conversation_id, max(seq) as seq, count(*) as added from given group by conversation_id) h
    where c.id = h.conversation_id
), idle as (
    select c.id from clients c where c.id = any($14::uuid[]) for no key update skip locked
)
update clients c set last_activity_at = greatest(c.last_activity_at, $12)
from idle
where c.id = idle.id
"""


@dataclass(slots=True, eq=False)
class Waiting:
    """A message on its way into a transaction, and who waits for it."""

    actor: Actor
    new: NewMessage
    once: Once | None
    sent: asyncio.Future[Sent]

    @property
    def key(self) -> tuple[UUID, UUID, UUID]:
        return self.new.conversation_id, self.actor.user_id, self.new.client_message_id


@dataclass(frozen=True, slots=True)
class Checked:
    """What the database knows about one message of a batch. `role` is None for who is not a member.

    `audience`: the members, with the batch's first message of a conversation.
    """

    role: Role | None
    client_id: UUID | None
    reply_known: bool
    audience: Sequence[UUID] | None
    stored: Message | None


@dataclass(frozen=True, slots=True)
class Fresh:
    """A message to insert."""

    actor: Actor
    message: Message
    checked: Checked


@dataclass(frozen=True, slots=True)
class Plan:
    """What a batch comes to: an outcome for each of its messages, and those to insert."""

    outcomes: list[Outcome] = field(default_factory=list)
    fresh: list[Fresh] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored batch: `audiences` are the members of each conversation that has a new message."""

    outcomes: Sequence[Outcome]
    messages: Sequence[Message]
    audiences: Mapping[UUID, Sequence[UUID]]


async def store_batch(tx: Transaction, batch: Sequence[Waiting]) -> Stored:
    """Locks, checks, numbers and inserts; the caller commits, and tells of it afterwards."""
    refused = await _claim(tx, batch)
    heads = await _lock(tx.connection, batch)
    checks = await _check(tx.connection, batch)
    plan = plan_batch(batch, heads=heads, checks=checks, refused=refused, now=datetime.now(UTC))
    await _insert(tx.connection, plan.fresh)
    for waiting, outcome in zip(batch, plan.outcomes, strict=True):
        if waiting.once is not None and isinstance(outcome, Sent):
            await keep(tx.connection, waiting.once, outcome.message)
    audiences = {w.new.conversation_id: c.audience for w, c in zip(batch, checks, strict=True) if c.audience}
    return Stored(plan.outcomes, [fresh.message for fresh in plan.fresh], audiences)


def plan_batch(
    batch: Sequence[Waiting],
    *,
    heads: Mapping[UUID, int],
    checks: Sequence[Checked],
    refused: Mapping[int, Outcome],
    now: datetime,
) -> Plan:
    """Numbers the messages that may be stored: without holes, in the order they came, none for a repeat."""
    plan = Plan()
    seqs = dict(heads)
    first: dict[tuple[UUID, UUID, UUID], Message] = {}
    for n, (waiting, checked) in enumerate(zip(batch, checks, strict=True)):
        error = refused.get(n) or _error(waiting, checked, heads)
        stored = checked.stored or first.get(waiting.key)
        if error is not None:
            plan.outcomes.append(error)
        elif stored is not None:
            plan.outcomes.append(Sent(stored, duplicate=True))
        else:
            seqs[waiting.new.conversation_id] += 1
            message = _message(waiting, seqs[waiting.new.conversation_id], now)
            first[waiting.key] = message
            plan.fresh.append(Fresh(waiting.actor, message, checked))
            plan.outcomes.append(Sent(message, duplicate=False))
    return plan


def _error(waiting: Waiting, checked: Checked, heads: Mapping[UUID, int]) -> WellioError | None:
    if checked.role is None or waiting.new.conversation_id not in heads:
        return NotFound("No such conversation.")
    if not checked.reply_known and checked.stored is None:
        return Invalid.field("reply_to", "No such message in this conversation.")
    return None


def _message(waiting: Waiting, seq: int, now: datetime) -> Message:
    return Message(
        id=uuid7(),
        conversation_id=waiting.new.conversation_id,
        seq=seq,
        sender_id=waiting.actor.user_id,
        body=waiting.new.body,
        client_message_id=waiting.new.client_message_id,
        reply_to=waiting.new.reply_to,
        attachments=(),
        reactions={},
        edited_at=None,
        deleted_at=None,
        created_at=now,
    )


async def _claim(tx: Transaction, batch: Sequence[Waiting]) -> dict[int, Outcome]:
    """Which requests of the batch are repeats, by their Idempotency-Key."""
    refused: dict[int, Outcome] = {}
    for n, waiting in enumerate(batch):
        if waiting.once is not None:
            try:
                await claim(tx.connection, waiting.once)
            except (WellioError, AlreadyAnswered) as answer:
                refused[n] = answer
    return refused


async def _lock(connection: Connection, batch: Sequence[Waiting]) -> dict[UUID, int]:
    """The heads of the conversations that exist, which nobody else can move now."""
    wanted = sorted({(w.actor.practice_id, w.new.conversation_id) for w in batch})
    rows = await connection.fetch(LOCK_CONVERSATIONS, [p for p, _ in wanted], [c for _, c in wanted])
    return {row["id"]: row["last_seq"] for row in rows}


async def _check(connection: Connection, batch: Sequence[Waiting]) -> list[Checked]:
    rows = await connection.fetch(
        CHECK_MESSAGES,
        [w.actor.practice_id for w in batch],
        [w.new.conversation_id for w in batch],
        [w.actor.user_id for w in batch],
        [w.new.client_message_id for w in batch],
        [w.new.reply_to for w in batch],
    )
    checks = {row["n"]: _checked(row) for row in rows}
    return [checks[n] for n in range(1, len(batch) + 1)]


def _checked(row: Row) -> Checked:
    role = Role(row["sender_role"]) if row["sender_role"] else None
    stored = message_of(row) if row["id"] else None
    return Checked(role, row["client_id"], row["reply_known"], row["audience"], stored)


async def _insert(connection: Connection, fresh: Sequence[Fresh]) -> None:
    if not fresh:
        return
    messages = [f.message for f in fresh]
    await connection.execute(
        INSERT_MESSAGES,
        [m.id for m in messages],
        [f.actor.practice_id for f in fresh],
        [m.conversation_id for m in messages],
        [m.seq for m in messages],
        [m.sender_id for m in messages],
        [m.client_message_id for m in messages],
        [m.body for m in messages],
        [m.reply_to for m in messages],
        [uuid7() for _ in messages],
        [f.checked.client_id for f in fresh],
        [f.checked.role for f in fresh],
        messages[0].created_at,
        EventType.MESSAGE_SENT,
        list({f.checked.client_id for f in fresh if f.checked.role is Role.CLIENT and f.checked.client_id}),
    )
