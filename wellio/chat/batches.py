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
from wellio.events import Event, EventType
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

# Read after the lock, so nothing of it changes before the commit. `stored_…`: the message that this one repeats.
# client_id: whom the event concerns: the sending client, or the client whom a coach writes to.
CHECK_MESSAGES = """
select i.n, u.role as sender_role,
       case when u.role = 'client' then own.id else other.id end as client_id,
       i.reply_to is null or r.id is not null as reply_known,
       d.id, d.conversation_id, d.seq, d.sender_id, d.body, d.client_message_id, d.reply_to,
       d.edited_at, d.deleted_at, d.created_at
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[]) with ordinality
     i (practice_id, conversation_id, sender_id, client_message_id, reply_to, n)
left join conversation_members m
    on m.conversation_id = i.conversation_id and m.user_id = i.sender_id
    and m.practice_id = i.practice_id and m.left_at is null
left join users u on u.practice_id = m.practice_id and u.id = m.user_id and u.status = 'active'
left join messages d
    on d.conversation_id = i.conversation_id and d.sender_id = i.sender_id
    and d.client_message_id = i.client_message_id
left join messages r
    on r.practice_id = i.practice_id and r.conversation_id = i.conversation_id and r.id = i.reply_to
left join clients own on own.user_id = i.sender_id and own.practice_id = i.practice_id
left join lateral (
    select c.id
    from conversations k
    join conversation_members o on o.conversation_id = k.id and o.user_id <> i.sender_id
    join clients c on c.user_id = o.user_id and c.practice_id = i.practice_id
    where k.id = i.conversation_id and k.kind = 'direct'
    limit 1
) other on true
"""

LIST_AUDIENCES = """
select conversation_id, array_agg(user_id) as user_ids
from conversation_members
where conversation_id = any($1::uuid[]) and left_at is null
group by conversation_id
"""

# A client's row that somebody is changing at this moment is passed over: a message does not wait for it.
INSERT_MESSAGES = """
with given as (
    select *
    from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[], $6::uuid[], $7::text[], $8::uuid[])
         g (id, practice_id, conversation_id, seq, sender_id, client_message_id, body, reply_to)
), stored as (
    insert into messages (id, practice_id, conversation_id, seq, sender_id, client_message_id, body, reply_to,
                          created_at)
    select id, practice_id, conversation_id, seq, sender_id, client_message_id, body, reply_to, $9
    from given
), logged as (
    insert into conversation_events (conversation_id, seq, practice_id, type, message_id, actor_id, created_at)
    select conversation_id, seq, practice_id, 'message:new', id, sender_id, $9
    from given
), moved as (
    update conversations c
    set last_seq = h.seq, last_message_at = $9, message_count = c.message_count + h.added
    from (select conversation_id, max(seq) as seq, count(*) as added from given group by conversation_id) h
    where c.id = h.conversation_id
), idle as (
    select c.id from clients c where c.id = any($10::uuid[]) for no key update skip locked
)
update clients c set last_activity_at = greatest(c.last_activity_at, $9)
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
    """What the database knows about one message of a batch. `role` is None for who is not a member."""

    role: Role | None
    client_id: UUID | None
    reply_known: bool
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
    await _insert(tx, plan)
    for waiting, outcome in zip(batch, plan.outcomes, strict=True):
        if waiting.once is not None and isinstance(outcome, Sent):
            await keep(tx.connection, waiting.once, outcome.message)
    messages = [fresh.message for fresh in plan.fresh]
    return Stored(plan.outcomes, messages, await _list_audiences(tx.connection, messages))


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
    return Checked(role, row["client_id"], row["reply_known"], message_of(row) if row["id"] else None)


async def _insert(tx: Transaction, plan: Plan) -> None:
    if not plan.fresh:
        return
    messages = [fresh.message for fresh in plan.fresh]
    await tx.connection.execute(
        INSERT_MESSAGES,
        [m.id for m in messages],
        [fresh.actor.practice_id for fresh in plan.fresh],
        [m.conversation_id for m in messages],
        [m.seq for m in messages],
        [m.sender_id for m in messages],
        [m.client_message_id for m in messages],
        [m.body for m in messages],
        [m.reply_to for m in messages],
        messages[0].created_at,
        list({f.checked.client_id for f in plan.fresh if f.checked.role is Role.CLIENT and f.checked.client_id}),
    )
    tx.record(*(_event(fresh) for fresh in plan.fresh))


def _event(fresh: Fresh) -> Event:
    return Event(
        type=EventType.MESSAGE_SENT,
        practice_id=fresh.actor.practice_id,
        occurred_at=fresh.message.created_at,
        client_id=fresh.checked.client_id,
        subject_id=fresh.message.conversation_id,
        actor_id=fresh.actor.user_id,
        payload={"by": fresh.checked.role, "seq": fresh.message.seq},
    )


async def _list_audiences(connection: Connection, messages: Sequence[Message]) -> dict[UUID, list[UUID]]:
    if not messages:
        return {}
    rows = await connection.fetch(LIST_AUDIENCES, list({message.conversation_id for message in messages}))
    return {row["conversation_id"]: row["user_ids"] for row in rows}
