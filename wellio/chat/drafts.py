"""What a member has begun to write in a conversation: one draft each, sealed, shown to its author alone.

Once its words are sent, it is removed, by who follows the log of events: storing a message knows nothing of drafts. A
draft that says anything else stays. Saving one is no event and no line of the audit log: it happens at every pause in
typing, and nobody else sees it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.chat.conversations import Conversation, ConversationQuery, get_conversation, list_conversations
from wellio.chat.values import Body
from wellio.db import Connection, Database, Row
from wellio.errors import NotFound
from wellio.events import Event
from wellio.ids import uuid7
from wellio.live import Live, Push
from wellio.pages import Page
from wellio.sealing import SealBroken, Sealer
from wellio.values import Input

log = logging.getLogger(__name__)

COLUMN = "drafts.body"
DRAFT_CHANGED = "draft:changed"

# The member's row is held, so that who is removed meanwhile leaves no draft behind.
UPSERT_DRAFT = """
with me as (
    select practice_id, conversation_id, user_id
    from conversation_members
    where practice_id = $1 and user_id = $2 and conversation_id = $3 and left_at is null
    for share
)
insert into drafts (id, practice_id, conversation_id, user_id, body, reply_to)
select $4, practice_id, conversation_id, user_id, $5, $6
from me
on conflict on constraint drafts_once do update
set id = excluded.id, body = excluded.body, reply_to = excluded.reply_to, updated_at = now()
returning updated_at
"""

# Null for who is not a member.
DELETE_DRAFT = """
with gone as (
    delete from drafts where practice_id = $1 and user_id = $2 and conversation_id = $3 returning id
)
select exists (select from gone) as removed
from conversation_members
where practice_id = $1 and user_id = $2 and conversation_id = $3 and left_at is null
"""

LIST_DRAFTS = """
select id, conversation_id, body, reply_to, updated_at
from drafts
where practice_id = $1 and user_id = $2 and conversation_id = any($3::uuid[])
"""

# The drafts of who has sent something since, with what they sent. Each is held: what comes meanwhile waits, and stays.
LOCK_DRAFTS_OF_SENDERS = """
select d.id, d.conversation_id, d.user_id, d.body, m.body as sent
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) s (practice_id, conversation_id, user_id, seq)
cross join lateral (
    select id, conversation_id, user_id, body from drafts
    where practice_id = s.practice_id and conversation_id = s.conversation_id and user_id = s.user_id
    limit 1 for update
) d
cross join lateral (
    select body from messages where conversation_id = s.conversation_id and seq = s.seq limit 1
) m
"""

DELETE_DRAFTS = "delete from drafts where id = any($1::uuid[])"


class NewDraft(Input):
    """Takes the place of the one before. `reply_to`: a message of the conversation."""

    body: Body
    reply_to: UUID | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    body: str
    reply_to: UUID | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OwnConversation(Conversation):
    """With what the viewer has begun to write in it."""

    draft: Draft | None = None


async def list_own_conversations(
    db: Database, sealer: Sealer, actor: Actor, query: ConversationQuery
) -> Page[OwnConversation]:
    page = await list_conversations(db, actor, query)
    return Page(await _with_drafts(db, sealer, actor, page.items), page.pagination)


async def get_own_conversation(db: Database, sealer: Sealer, actor: Actor, conversation_id: UUID) -> OwnConversation:
    """Raises NotFound."""
    conversation = await get_conversation(db, actor, conversation_id)
    return (await _with_drafts(db, sealer, actor, [conversation]))[0]


async def save_draft(
    db: Database, live: Live, sealer: Sealer, actor: Actor, conversation_id: UUID, new: NewDraft
) -> Draft:
    """Raises NotFound, Invalid (reply_to)."""
    draft_id = uuid7()
    sealed = sealer.seal(new.body.encode(), column=COLUMN, row_id=draft_id)
    member = (actor.practice_id, actor.user_id, conversation_id)
    updated_at = await db.fetchval(UPSERT_DRAFT, *member, draft_id, sealed, new.reply_to)
    if updated_at is None:
        raise NotFound("No such conversation.")
    draft = Draft(new.body, new.reply_to, updated_at)
    publish_draft(live, actor.user_id, conversation_id, draft)
    return draft


async def delete_draft(db: Database, live: Live, actor: Actor, conversation_id: UUID) -> None:
    """Whether there was one or not. Raises NotFound for a conversation that the actor is not in."""
    removed = await db.fetchval(DELETE_DRAFT, actor.practice_id, actor.user_id, conversation_id)
    if removed is None:
        raise NotFound("No such conversation.")
    if removed:
        publish_draft(live, actor.user_id, conversation_id, None)


async def remove_sent_drafts(connection: Connection, sealer: Sealer, sent: Sequence[Event]) -> list[Push]:
    """After the commit of messages (`MessageSent`, at least one): a draft that says what its author sent goes."""
    places = [(e.practice_id, e.subject_id, e.actor_id, e.payload["seq"]) for e in sent]
    rows = await connection.fetch(LOCK_DRAFTS_OF_SENDERS, *map(list, zip(*places, strict=True)))
    gone = {row["id"]: row for row in rows if _opened(sealer, row) == row["sent"]}
    if gone:
        await connection.execute(DELETE_DRAFTS, list(gone))
    return [_push(row["user_id"], row["conversation_id"], None) for row in gone.values()]


def publish_draft(live: Live, user_id: UUID, conversation_id: UUID, draft: Draft | None) -> None:
    """After the commit, to the author's devices alone."""
    push = _push(user_id, conversation_id, draft)
    live.publish(push.user_ids, push.event, push.data, ephemeral=push.ephemeral)


def _push(user_id: UUID, conversation_id: UUID, draft: Draft | None) -> Push:
    # Ephemeral: a device that misses one finds it in the conversation.
    data = {"conversation_id": conversation_id, "draft": draft}
    return Push(user_ids=(user_id,), event=DRAFT_CHANGED, data=data, ephemeral=True)


async def _with_drafts(
    db: Database, sealer: Sealer, actor: Actor, conversations: Sequence[Conversation]
) -> list[OwnConversation]:
    rows = await db.fetch(LIST_DRAFTS, actor.practice_id, actor.user_id, [c.id for c in conversations])
    drafts = {row["conversation_id"]: _draft(sealer, row) for row in rows}
    fields = Conversation.__slots__
    return [OwnConversation(**{n: getattr(c, n) for n in fields}, draft=drafts.get(c.id)) for c in conversations]


def _draft(sealer: Sealer, row: Row) -> Draft | None:
    body = _opened(sealer, row)
    return None if body is None else Draft(body, row["reply_to"], row["updated_at"])


def _opened(sealer: Sealer, row: Row) -> str | None:
    """None where the key that sealed it is gone."""
    try:
        return sealer.unseal(row["body"], column=COLUMN, row_id=row["id"]).decode()
    except SealBroken:
        log.exception("A draft can't be opened", extra={"conversation_id": str(row["conversation_id"])})
        return None
