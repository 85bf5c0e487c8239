"""Conversations: who talks with whom. A direct one has two people, a group any number (`openings.py`).

Its log (`conversation_events`) numbers all that happens in it, 1, 2, 3… without holes. Being opened is
not in the log: a new conversation stands at seq 0, and its first message is 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.chat.log import Entry, append, lock_conversation, publish_entry
from wellio.chat.values import Message, message_of
from wellio.db import Connection, Database, Row
from wellio.errors import Forbidden, Invalid, NotFound, PreconditionFailed
from wellio.live import Live
from wellio.outbox import Outbox, Transaction
from wellio.pages import Page, PageQuery, page_of
from wellio.values import Input, Line, check_not_null

Kind = Literal["direct", "group"]
ConversationRole = Literal["admin", "member"]
MAX_MEMBERS = 500
MAX_SLOW_MODE_S = 3600

LIST_CONVERSATIONS = """
with page as (
    select c.id, c.kind, c.title, c.last_seq, c.version, c.created_at, c.last_message_at, c.slow_mode_s,
           me.last_read_seq, me.muted and coalesce(me.muted_until > now(), true) as muted, me.muted_until,
           coalesce(me.archived_at_count = c.message_count, false) as archived
    from conversation_members me
    join conversations c on c.practice_id = me.practice_id and c.id = me.conversation_id
    where me.practice_id = $1 and me.user_id = $2 and me.left_at is null
      and ($3::uuid is null or c.id = $3)
      and ($6::boolean is null or coalesce(me.archived_at_count = c.message_count, false) = $6)
      and ($7::text is null or c.kind = $7)
      and ($8::boolean is null or $8 = exists (
          select from messages u
          where u.conversation_id = c.id and u.seq > me.last_read_seq and u.sender_id <> $2 and u.deleted_at is null))
    order by coalesce(c.last_message_at, c.created_at) desc, c.id
    limit $4 offset $5
)
select p.id as conversation_id, p.kind, p.title, p.last_seq, p.version, p.created_at as opened_at, p.slow_mode_s,
       p.muted, p.muted_until, p.archived, (select o.message_oversight from practices o where o.id = $1) as oversight,
       (select count(*) from messages u
        where u.conversation_id = p.id and u.seq > p.last_read_seq and u.sender_id <> $2
          and u.deleted_at is null) as unread,
       (select count(*) from message_mentions x
        where x.conversation_id = p.id and x.user_id = $2 and x.seq > p.last_read_seq) as unread_mentions,
       array(select k.message_id from pinned_messages k
             where k.conversation_id = p.id order by k.pinned_at desc, k.message_id) as pinned_message_ids,
       m.id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to, m.attachments, m.reactions, m.edited_at,
       m.deleted_at, m.created_at
from page p
left join lateral (
    select * from shown_messages l where l.conversation_id = p.id order by l.seq desc limit 1
) m on true
order by coalesce(p.last_message_at, p.created_at) desc, p.id
"""

COUNT_CONVERSATIONS = """
select count(*)
from conversation_members me
join conversations c on c.practice_id = me.practice_id and c.id = me.conversation_id
where me.practice_id = $1 and me.user_id = $2 and me.left_at is null
  and ($3::boolean is null or coalesce(me.archived_at_count = c.message_count, false) = $3)
  and ($4::text is null or c.kind = $4)
  and ($5::boolean is null or $5 = exists (
      select from messages u
      where u.conversation_id = c.id and u.seq > me.last_read_seq and u.sender_id <> $2 and u.deleted_at is null))
"""

# Where one of two has blocked the other, neither sees how far the other ($3: not the viewer) has read.
LIST_MEMBERS = """
select m.conversation_id, m.user_id, u.name, u.role, m.role as conversation_role,
       case when c.blocked_by = '{}' or m.user_id = $3 then m.last_read_seq else 0 end as last_read_seq
from conversation_members m
join users u on u.practice_id = m.practice_id and u.id = m.user_id
join conversations c on c.practice_id = m.practice_id and c.id = m.conversation_id
where m.practice_id = $1 and m.conversation_id = any($2::uuid[]) and m.left_at is null
order by m.conversation_id, m.joined_at, u.name, m.user_id
"""

UPDATE_CONVERSATION = """
update conversations set title = $3, slow_mode_s = $4, version = version + 1 where practice_id = $1 and id = $2
"""

LIST_MEMBER_IDS = """
select user_id from conversation_members
where practice_id = $1 and conversation_id = $2 and left_at is null
"""

LIST_HEARING = """
select m.user_id
from conversation_members m
join conversations c on c.practice_id = m.practice_id and c.id = m.conversation_id
where m.practice_id = $1 and m.conversation_id = $2 and m.left_at is null and (c.blocked_by = '{}' or m.user_id = $3)
"""


class ConversationChanges(Input):
    """Of a group. `slow_mode_s`: clients who are no admins send one message in so many seconds; 0 ends it."""

    title: Line | None = None
    slow_mode_s: Annotated[int, Field(ge=0, le=MAX_SLOW_MODE_S, strict=True)] | None = None


class ConversationQuery(PageQuery):
    """`archived`: those that the caller has archived, instead of the others."""

    archived: bool = False
    kind: Kind | None = None
    unread: bool | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """`role` is the person's role in the practice, `conversation_role` the one in the group."""

    user_id: UUID
    name: str
    role: Role
    conversation_role: ConversationRole
    last_read_seq: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """As one member sees it: `unread` counts the others' messages after the viewer's `last_read_seq`, and
    `unread_mentions` those of them that name the viewer; muted and archived is it for the viewer alone.

    `pinned_message_ids`: the last pinned first. `oversight`: whether owners may read it who are not in it; if it is
    `reported`, once one of its messages is.
    """

    id: UUID
    kind: Kind
    title: str
    members: Sequence[Member]
    last_message: Message | None
    last_seq: int
    unread: int
    unread_mentions: int
    pinned_message_ids: Sequence[UUID]
    slow_mode_s: int
    muted: bool
    muted_until: datetime | None
    archived: bool
    oversight: Literal["none", "reported", "all"]
    version: int
    created_at: datetime


async def list_conversations(db: Database, actor: Actor, query: ConversationQuery) -> Page[Conversation]:
    """The actor's conversations, the most recently active first."""
    who, filters = (actor.practice_id, actor.user_id), (query.archived, query.kind, query.unread)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_CONVERSATIONS, *who, None, query.page_size, query.offset, *filters)
        conversations = await _conversations(connection, *who, rows)
        total = await connection.fetchval(COUNT_CONVERSATIONS, *who, *filters)
    return page_of(conversations, query=query, total=total)


async def get_conversation(db: Database | Connection, actor: Actor, conversation_id: UUID) -> Conversation:
    """Raises NotFound, for who is not a member too."""
    return await get_conversation_of(db, actor.practice_id, actor.user_id, conversation_id)


async def get_conversation_of(
    db: Database | Connection, practice_id: UUID, user_id: UUID, conversation_id: UUID
) -> Conversation:
    """As that user sees it. Raises NotFound."""
    rows = await db.fetch(LIST_CONVERSATIONS, practice_id, user_id, conversation_id, 1, 0, None, None, None)
    if not rows:
        raise NotFound("No such conversation.")
    return (await _conversations(db, practice_id, user_id, rows))[0]


async def change_conversation(
    outbox: Outbox,
    live: Live,
    actor: Actor,
    conversation_id: UUID,
    changes: ConversationChanges,
    *,
    if_version: int | None = None,
) -> Conversation:
    """A group's title and slow mode. Raises NotFound, Forbidden, Invalid, PreconditionFailed."""
    entry = None
    async with outbox.transaction() as tx:
        row = await lock_conversation(tx, actor, conversation_id)
        _check_changes(actor, row, changes, if_version)
        new = {name: row[name] for name in ("title", "slow_mode_s")} | changes.model_dump(exclude_unset=True)
        if any(new[name] != row[name] for name in new):
            entry = await _change(tx, actor, row, new)
        conversation = await get_conversation(tx.connection, actor, conversation_id)
    if entry is not None:
        publish_entry(live, [member.user_id for member in conversation.members], entry)
    return conversation


async def list_member_ids(db: Database | Connection, actor: Actor, conversation_id: UUID) -> list[UUID]:
    """Everybody in one of the actor's conversations. Raises NotFound for one they are not in."""
    return await _list_with(db, actor, LIST_MEMBER_IDS, actor.practice_id, conversation_id)


async def list_hearing(db: Database | Connection, actor: Actor, conversation_id: UUID) -> list[UUID]:
    """Who learns that the actor types: the members, but for two of whom one has blocked the other.

    Raises NotFound for a conversation that the actor is not in.
    """
    return await _list_with(db, actor, LIST_HEARING, actor.practice_id, conversation_id, actor.user_id)


async def _list_with(db: Database | Connection, actor: Actor, statement: str, *values: UUID) -> list[UUID]:
    user_ids = [row["user_id"] for row in await db.fetch(statement, *values)]
    if actor.user_id not in user_ids:
        raise NotFound("No such conversation.")
    return user_ids


def check_manager(actor: Actor, row: Row) -> None:
    """Of a group that is locked. Raises Forbidden."""
    if row["role"] != "admin" and actor.role is not Role.OWNER:
        raise Forbidden("Only an admin of the group, or an owner who is in it, can do this.")


def _check_changes(actor: Actor, row: Row, changes: ConversationChanges, if_version: int | None) -> None:
    actor.must_be(STAFF)
    check_not_null(changes)
    if row["kind"] == "direct" and changes.title:
        raise Invalid.field("title", "A direct conversation has no title.")
    if row["kind"] == "direct" and changes.slow_mode_s:
        raise Invalid.field("slow_mode_s", "A direct conversation has no slow mode.")
    if changes.slow_mode_s is not None:
        check_manager(actor, row)
    if if_version is not None and if_version != row["version"]:
        raise PreconditionFailed("The conversation was changed since you read it; read it again.")


async def _change(tx: Transaction, actor: Actor, row: Row, new: Mapping[str, Any]) -> Entry:
    await tx.connection.execute(UPDATE_CONVERSATION, actor.practice_id, row["id"], new["title"], new["slow_mode_s"])
    told = {"id": row["id"], "kind": row["kind"], **new}
    return await append(tx, actor, row["id"], "conversation:updated", {"conversation": told})


async def _conversations(
    db: Database | Connection, practice_id: UUID, viewer_id: UUID, rows: Sequence[Row]
) -> list[Conversation]:
    members: dict[UUID, list[Member]] = {row["conversation_id"]: [] for row in rows}
    for member in await db.fetch(LIST_MEMBERS, practice_id, list(members), viewer_id):
        members[member["conversation_id"]].append(_member(member))
    return [_conversation(row, members[row["conversation_id"]]) for row in rows]


def _member(row: Row) -> Member:
    return Member(row["user_id"], row["name"], Role(row["role"]), row["conversation_role"], row["last_read_seq"])


def _conversation(row: Row, members: Sequence[Member]) -> Conversation:
    return Conversation(
        id=row["conversation_id"],
        kind=row["kind"],
        title=row["title"],
        members=members,
        last_message=message_of(row) if row["id"] else None,
        last_seq=row["last_seq"],
        unread=row["unread"],
        unread_mentions=row["unread_mentions"],
        pinned_message_ids=row["pinned_message_ids"],
        slow_mode_s=row["slow_mode_s"],
        muted=row["muted"],
        muted_until=row["muted_until"],
        archived=row["archived"],
        oversight=row["oversight"],
        version=row["version"],
        created_at=row["opened_at"],
    )
