"""Storing messages many at a time: one statement for all of a batch, whatever its size.

The statement locks the conversations, checks, numbers and inserts. It reads by the snapshot that it began with, so
if it had to wait for a lock, somebody else may have changed the conversation since: then it leaves that one alone
and says so ("stale"), and the caller stores it again with the lock taken beforehand.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.attachments import attach_uploads, hold_uploads
from wellio.chat.blocks import blocked
from wellio.chat.mentions import mentioned_in, store_mentions
from wellio.chat.values import Attachment, Message, NewMessage, Sent, message_of
from wellio.db import Connection, Row
from wellio.errors import Invalid, NotFound, TooMany, WellioError
from wellio.events import EventType
from wellio.idempotency import AlreadyAnswered, Once, claim, keep
from wellio.ids import uuid7
from wellio.outbox import Transaction

Outcome = Sent | WellioError | AlreadyAnswered

# One order for every process, so that two can't wait for each other.
LOCK_CONVERSATIONS = """
select l.id
from unnest($1::uuid[], $2::uuid[]) w (practice_id, id)
cross join lateral (
    select c.id from conversations c where c.id = w.id and c.practice_id = w.practice_id
    limit 1 for no key update
) l
"""

# locked: as LOCK_CONVERSATIONS. asked: what is known of each message; stored_…: the message that it repeats.
# files: how many are attached; null where they can't be. client_id: whom the event concerns, the client who writes or
# whom a coach writes to. audience: of each conversation once. A client's row that somebody is changing at this moment
# is passed over: a message does not wait for it.
# blocked_by, slow_s, slow_until: why it may be refused. The locked row is the newest, whatever the snapshot, and
# whoever sends moves last_seq. Of a sender whom slow mode holds, a batch takes the first (turn).
# The laterals with `limit 1` keep look-ups apart: joined, a planner without statistics would scan the tables.
STORE_MESSAGES = """
with given as (
    select g.*, min(g.n) over (partition by g.conversation_id) = g.n as leads
    from unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::uuid[], $9::uuid[], $10::uuid[],
                $13::smallint[])
         with ordinality
         g (practice_id, conversation_id, sender_id, client_message_id, body, reply_to, id, event_id, files, n)
), locked as materialized (
    select l.*
    from unnest($1::uuid[], $2::uuid[]) w (practice_id, id)
    cross join lateral (
        select c.id, c.practice_id, c.kind, c.last_seq, c.last_message_at, c.blocked_by, c.slow_mode_s
        from conversations c
        where c.id = w.id and c.practice_id = w.practice_id
        limit 1 for no key update
    ) l
), asked as materialized (
    select g.*, l.last_seq, greatest($11, l.last_message_at) as at, s.role,
           l.last_seq = (select c.last_seq from conversations c where c.id = g.conversation_id) as current,
           g.reply_to is null or exists (
               select from messages r where r.id = g.reply_to and r.conversation_id = g.conversation_id
           ) as reply_known,
           l.blocked_by,
           case when l.slow_mode_s > 0 and s.role = 'client' and s.member_role = 'member' then l.slow_mode_s
           end as slow_s,
           s.last_sent_at + make_interval(secs => l.slow_mode_s) as slow_until,
           case when s.role = 'client' then (select c.id from clients c where c.user_id = g.sender_id)
                when l.kind = 'direct' then (
                    select c.id from conversation_members o join clients c on c.user_id = o.user_id
                    where o.conversation_id = g.conversation_id limit 1)
           end as client_id,
           case when g.leads then (
               select array_agg(o.user_id) from conversation_members o
               where o.conversation_id = g.conversation_id and o.left_at is null)
           end as audience,
           d.id as stored_id, d.seq as stored_seq, d.body as stored_body, d.reply_to as stored_reply_to,
           d.attachments, d.reactions, d.edited_at, d.deleted_at, d.created_at
    from given g
    left join locked l on l.id = g.conversation_id and l.practice_id = g.practice_id
    left join lateral (
        select u.role, m.role as member_role, m.last_sent_at
        from conversation_members m
        join users u on u.id = m.user_id and u.status = 'active'
        where m.conversation_id = l.id and m.user_id = g.sender_id and m.left_at is null
        limit 1
    ) s on true
    left join lateral (
        select * from shown_messages m
        where m.conversation_id = g.conversation_id and m.sender_id = g.sender_id
          and m.client_message_id = g.client_message_id
        limit 1
    ) d on true
), admitted as (
    select a.*, row_number() over (partition by a.conversation_id, a.sender_id order by a.n) as turn
    from asked a
    where a.current and a.role is not null and a.reply_known and a.files is not null and a.stored_id is null
      and a.blocked_by = '{}'
      and (a.slow_s is null or a.slow_until is null or a.at >= a.slow_until)
), fresh as materialized (
    select a.*, a.last_seq + row_number() over (partition by a.conversation_id order by a.n) as seq
    from admitted a
    where a.slow_s is null or a.turn = 1
), slowed as (
    update conversation_members m set last_sent_at = f.at
    from fresh f
    where f.slow_s is not null and m.conversation_id = f.conversation_id and m.user_id = f.sender_id
), stored as (
    insert into messages (id, practice_id, conversation_id, seq, sender_id, client_message_id, body, reply_to,
                          attachment_count, created_at)
    select id, practice_id, conversation_id, seq, sender_id, client_message_id, body, reply_to, files, at
    from fresh
), logged as (
    insert into conversation_events (conversation_id, seq, practice_id, type, message_id, actor_id, created_at)
    select conversation_id, seq, practice_id, 'message:new', id, sender_id, at
    from fresh
), told as (
    insert into events (id, practice_id, type, client_id, subject_id, actor_id, payload, occurred_at)
    select event_id, practice_id, $12, client_id, conversation_id, sender_id,
           jsonb_build_object('by', role, 'seq', seq), at
    from fresh
), moved as (
    update conversations c
    set last_seq = h.seq, last_message_at = h.at, message_count = c.message_count + h.added
    from (select conversation_id, max(seq) as seq, max(at) as at, count(*) as added from fresh group by 1) h
    where c.id = h.conversation_id
), idle as (
    select l.id, f.at
    from (select client_id, max(at) as at from fresh where role = 'client' group by 1) f
    cross join lateral (
        select c.id from clients c where c.id = f.client_id limit 1 for no key update skip locked
    ) l
), seen as (
    update clients c set last_activity_at = greatest(c.last_activity_at, i.at) from idle i where c.id = i.id
)
select a.n, a.role, a.current, a.reply_known, a.files, a.blocked_by, a.slow_s, a.slow_until, a.audience,
       f.seq as fresh_seq, a.at,
       a.stored_id as id, a.conversation_id, a.stored_seq as seq, a.sender_id, a.stored_body as body,
       a.client_message_id, a.stored_reply_to as reply_to, a.attachments, a.reactions, a.edited_at, a.deleted_at,
       a.created_at
from asked a
left join fresh f on f.n = a.n
order by a.n
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

    @property
    def plain(self) -> bool:
        """Nothing but words: one statement stores it."""
        return self.once is None and not self.new.upload_ids and not mentioned_in(self.new.body)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a batch came to. `outcomes` lacks those for which nothing was done yet.

    `messages` are the new ones in the order of their seqs, `audiences` the members of their conversations.
    """

    outcomes: Mapping[Waiting, Outcome]
    messages: Sequence[Message]
    audiences: Mapping[UUID, Sequence[UUID]]

    def __or__(self, later: "Stored") -> "Stored":
        return Stored(
            {**self.outcomes, **later.outcomes},
            [*self.messages, *later.messages],
            {**self.audiences, **later.audiences},
        )


async def store_at_once(
    connection: Connection, batch: Sequence[Waiting], attachments: Sequence[Sequence[Attachment] | None] | None = None
) -> Stored:
    """One statement, and so one transaction, for a batch without repeats. What is stale is left over.

    `attachments`: of each message; None where they can't be attached.
    """
    files = [()] * len(batch) if attachments is None else attachments
    ids = [uuid7() for _ in batch]
    rows = await connection.fetch(
        STORE_MESSAGES,
        *_conversations(batch),
        [w.actor.practice_id for w in batch],
        [w.new.conversation_id for w in batch],
        [w.actor.user_id for w in batch],
        [w.new.client_message_id for w in batch],
        [w.new.body for w in batch],
        [w.new.reply_to for w in batch],
        ids,
        [uuid7() for _ in batch],
        datetime.now(UTC),
        EventType.MESSAGE_SENT,
        [None if each is None else len(each) for each in files],
    )
    outcomes: dict[Waiting, Outcome] = {
        waiting: _outcome(waiting, message_id, row, each or ())
        for waiting, message_id, row, each in zip(batch, ids, rows, files, strict=True)
        if row["current"] is not False
    }
    messages = [o.message for o in outcomes.values() if isinstance(o, Sent) and not o.duplicate]
    audiences = {row["conversation_id"]: row["audience"] for row in rows if row["audience"]}
    return Stored(outcomes, messages, audiences)


async def store_locked(tx: Transaction, batch: Sequence[Waiting]) -> Stored:
    """The same in a transaction that takes the locks first, so that nothing is left over; keeps Idempotency-Keys.

    A message that repeats another of the batch begins a statement of its own: whether it is new depends on what
    became of the first, and those behind it are numbered after it.
    """
    refused = await _claim(tx, batch)
    asked = [waiting for waiting in batch if waiting not in refused]
    await tx.connection.execute(LOCK_CONVERSATIONS, *_conversations(asked))
    stored = Stored(refused, [], {})
    for part in _without_repeats(asked):
        stored |= await _store_part(tx, part)
    for waiting, outcome in stored.outcomes.items():
        if waiting.once is not None and isinstance(outcome, Sent):
            await keep(tx.connection, waiting.once, outcome.message)
    return stored


async def _store_part(tx: Transaction, part: Sequence[Waiting]) -> Stored:
    """With what its messages hold beside their words."""
    attachments = await hold_uploads(tx.connection, [(waiting.actor, waiting.new) for waiting in part])
    stored = await store_at_once(tx.connection, part, attachments)
    await attach_uploads(tx.connection, stored.messages)
    new = {message.id for message in stored.messages}
    sent = [(w.actor, o.message) for w, o in stored.outcomes.items() if isinstance(o, Sent)]
    await store_mentions(tx, [(sender, m) for sender, m in sent if m.id in new], stored.audiences)
    return stored


def _without_repeats(batch: Iterable[Waiting]) -> list[list[Waiting]]:
    """The batch in its order, cut wherever a message comes that the part has already, or an upload of it."""
    parts: list[list[Waiting]] = [[]]
    names: set[object] = set()
    for waiting in batch:
        own = {waiting.key, *waiting.new.upload_ids}
        if names & own:
            parts.append([])
            names.clear()
        names |= own
        parts[-1].append(waiting)
    return parts


def _conversations(batch: Iterable[Waiting]) -> tuple[list[UUID], list[UUID]]:
    """Practices and ids of the conversations, in the order in which they are locked."""
    wanted = sorted({(w.new.conversation_id, w.actor.practice_id) for w in batch})
    return [practice_id for _, practice_id in wanted], [conversation_id for conversation_id, _ in wanted]


def _outcome(waiting: Waiting, message_id: UUID, row: Row, attachments: Sequence[Attachment]) -> Outcome:
    if row["role"] is None:
        return NotFound("No such conversation.")
    if row["id"] is not None:
        return Sent(message_of(row), duplicate=True)
    if not row["reply_known"]:
        return Invalid.field("reply_to", "No such message in this conversation.")
    if row["files"] is None:
        return Invalid.field("upload_ids", "Name uploads of your own that are attached to nothing yet.")
    if row["blocked_by"]:
        return blocked(waiting.actor, row["blocked_by"])
    if row["fresh_seq"] is None:
        return _too_soon(row)
    return Sent(_message(waiting, message_id, row, attachments), duplicate=False)


def _too_soon(row: Row) -> TooMany:
    """Slow mode: by what was sent before, or by an earlier message of the same batch."""
    left_s = (row["slow_until"] - row["at"]).total_seconds() if row["slow_until"] else 0.0
    return TooMany(
        f"In this group you can send one message every {row['slow_s']} seconds.",
        retry_after_s=left_s if left_s > 0 else row["slow_s"],
        code="SLOW_MODE",
    )


def _message(waiting: Waiting, message_id: UUID, row: Row, attachments: Sequence[Attachment]) -> Message:
    return Message(
        id=message_id,
        conversation_id=waiting.new.conversation_id,
        seq=row["fresh_seq"],
        sender_id=waiting.actor.user_id,
        body=waiting.new.body,
        client_message_id=waiting.new.client_message_id,
        reply_to=waiting.new.reply_to,
        attachments=attachments,
        reactions={},
        edited_at=None,
        deleted_at=None,
        created_at=row["at"],
    )


async def _claim(tx: Transaction, batch: Sequence[Waiting]) -> dict[Waiting, Outcome]:
    """Which requests of the batch are repeats, by their Idempotency-Key."""
    refused: dict[Waiting, Outcome] = {}
    for waiting in batch:
        if waiting.once is not None:
            try:
                await claim(tx.connection, waiting.once)
            except (WellioError, AlreadyAnswered) as answer:
                refused[waiting] = answer
    return refused
