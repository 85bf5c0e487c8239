"""Reading a conversation: its messages page by page, and its log from where a device left off.

`sync` gives what live pushes would have given, from the database, so a device that missed anything (a lost
link, a deploy, a slow reader) ends with every event once and in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor
from wellio.chat.values import Message, message_of
from wellio.db import Connection, Database, Row
from wellio.encoding import to_json
from wellio.errors import Invalid, NotFound
from wellio.pages import Page, PageQuery, Pagination

MAX_LIMIT = 200
# One answer of `sync` stays well below what a slow device's queue may hold.
MAX_SYNC_BYTES = 256 * 1024

GET_MESSAGE_COUNT = "select message_count from visible_conversations($1, $2) where id = $3"

LIST_NEWEST = """
select id, conversation_id, seq, sender_id, body, client_message_id, reply_to, attachments, reactions, edited_at,
       deleted_at, created_at
from shown_messages
where conversation_id = $1 and ($2::bigint is null or seq < $2)
order by seq desc
limit $3 offset $4
"""

LIST_AFTER = """
select id, conversation_id, seq, sender_id, body, client_message_id, reply_to, attachments, reactions, edited_at,
       deleted_at, created_at
from shown_messages
where conversation_id = $1 and seq > $2
order by seq
limit $3
"""

GET_MESSAGE = """
select m.id, m.conversation_id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to, m.attachments,
       m.reactions, m.edited_at, m.deleted_at, m.created_at
from shown_messages m
join visible_conversations($1, $2) c on c.id = m.conversation_id
where m.id = $3
"""

LIST_HEADS = """
select m.user_id, m.conversation_id, c.last_seq
from unnest($1::uuid[], $2::uuid[]) w (practice_id, user_id)
join conversation_members m on m.practice_id = w.practice_id and m.user_id = w.user_id and m.left_at is null
join conversations c on c.practice_id = m.practice_id and c.id = m.conversation_id
"""

LIST_SYNCED = """
select c.id, c.last_seq, me.last_read_seq,
       (select jsonb_object_agg(o.user_id, o.last_read_seq) from conversation_members o
        where o.conversation_id = c.id and o.left_at is null and o.last_read_seq > 0
          and (c.blocked_by = '{}' or o.user_id = $2)) as members_read
from unnest($3::uuid[]) with ordinality w (id, n)
join conversation_members me
    on me.conversation_id = w.id and me.practice_id = $1 and me.user_id = $2 and me.left_at is null
join conversations c on c.id = w.id
order by w.n
"""

LIST_LOG = """
select e.conversation_id, e.seq as log_seq, e.type, e.data,
       m.id, m.seq, m.sender_id, m.body, m.client_message_id, m.reply_to, m.attachments, m.reactions, m.edited_at,
       m.deleted_at, m.created_at
from unnest($1::uuid[], $2::bigint[]) with ordinality w (id, cursor, n)
join lateral (
    select * from conversation_events l
    where l.conversation_id = w.id and l.seq > w.cursor
    order by l.seq
    limit $3
) e on true
left join shown_messages m on m.id = e.message_id and e.type in ('message:new', 'message:updated')
order by w.n, e.seq
limit $3
"""


class MessageQuery(PageQuery):
    """Newest first, by `page` or below `before_seq`; or oldest first above `after_seq`.

    `limit` is the length of a cursor's page, up to 200; without a cursor it stands for `page_size`.
    """

    before_seq: Annotated[int, Field(ge=1, le=2**62)] | None = None
    after_seq: Annotated[int, Field(ge=0, le=2**62)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = None


@dataclass(frozen=True, slots=True)
class Synced:
    """One conversation's events after a cursor. `has_more`: ask again from the last of `events`.

    `members_read`: how far each member has read, by user id; who has read nothing is left out.
    """

    id: UUID
    events: Sequence[Mapping[str, Any]]
    head_seq: int
    has_more: bool
    last_read_seq: int
    members_read: Mapping[str, int]


async def list_messages(db: Database, actor: Actor, conversation_id: UUID, query: MessageQuery) -> Page[Message]:
    """Raises NotFound, and Invalid for an after_seq with another cursor."""
    total = await db.fetchval(GET_MESSAGE_COUNT, actor.practice_id, actor.user_id, conversation_id)
    if total is None:
        raise NotFound("No such conversation.")
    return await list_page(db, conversation_id, total, query)


async def list_page(db: Database, conversation_id: UUID, total: int, query: MessageQuery) -> Page[Message]:
    """Of a conversation that the caller may read, with `total` messages. Raises Invalid."""
    if query.after_seq is not None and (query.before_seq is not None or query.page > 1):
        raise Invalid.field("after_seq", "Goes with neither before_seq nor page.")
    size = query.limit or query.page_size
    # One more than asked for: whether there is a next page.
    if query.after_seq is not None:
        rows = await db.fetch(LIST_AFTER, conversation_id, query.after_seq, size + 1)
    else:
        rows = await db.fetch(LIST_NEWEST, conversation_id, query.before_seq, size + 1, (query.page - 1) * size)
    pagination = Pagination(query.page, size, total, -(-total // size), has_next=len(rows) > size)
    return Page([message_of(row) for row in rows[:size]], pagination)


async def get_message(db: Database, actor: Actor, message_id: UUID) -> Message:
    """Raises NotFound."""
    row = await db.fetchrow(GET_MESSAGE, actor.practice_id, actor.user_id, message_id)
    if row is None:
        raise NotFound("No such message.")
    return message_of(row)


async def list_heads(db: Database, people: Sequence[tuple[UUID, UUID]]) -> dict[UUID, dict[UUID, int]]:
    """Of each (practice_id, user_id): the last seq of each of their conversations."""
    heads: dict[UUID, dict[UUID, int]] = {user_id: {} for _, user_id in people}
    for row in await db.fetch(LIST_HEADS, [p for p, _ in people], [u for _, u in people]):
        heads[row["user_id"]][row["conversation_id"]] = row["last_seq"]
    return heads


async def sync(db: Database, actor: Actor, cursors: Mapping[UUID, int], *, limit: int) -> list[Synced]:
    """What happened after each cursor, at most `limit` events in all, in the order the cursors came.

    A conversation that the actor is not in (any more) is left out.
    """
    async with db.connection() as connection:
        return await read_on(connection, actor, cursors, limit=limit)


async def read_on(connection: Connection, actor: Actor, cursors: Mapping[UUID, int], *, limit: int) -> list[Synced]:
    """As `sync`, for who has a connection."""
    found = await connection.fetch(LIST_SYNCED, actor.practice_id, actor.user_id, list(cursors))
    behind = [row["id"] for row in found if row["last_seq"] > cursors[row["id"]]]
    log = await connection.fetch(LIST_LOG, behind, [cursors[i] for i in behind], limit) if behind else []
    events = _within_budget(log)
    return [_synced(row, events.get(row["id"], []), cursors[row["id"]]) for row in found]


def _within_budget(log: Sequence[Row]) -> dict[UUID, list[dict[str, Any]]]:
    """The log's events by conversation, cut off where they would become too large for one answer."""
    events: dict[UUID, list[dict[str, Any]]] = {}
    size = 0
    for row in log:
        event = _event(row)
        size += len(to_json(event))
        if events and size > MAX_SYNC_BYTES:
            break
        events.setdefault(row["conversation_id"], []).append(event)
    return events


def _event(row: Row) -> dict[str, Any]:
    """An event as it was pushed, with its name beside it."""
    if row["type"] == "message:new":
        return {"type": row["type"], **_fields(message_of(row))}
    event = {
        "type": row["type"],
        "conversation_id": row["conversation_id"],
        "seq": row["log_seq"],
        **(row["data"] or {}),
    }
    if row["type"] == "message:updated":
        event["message"] = message_of(row)
    return event


def _fields(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__slots__}


def _synced(row: Row, events: Sequence[Mapping[str, Any]], cursor: int) -> Synced:
    reached = events[-1]["seq"] if events else cursor
    return Synced(
        id=row["id"],
        events=events,
        head_seq=max(row["last_seq"], reached),
        has_more=reached < row["last_seq"],
        last_read_seq=row["last_read_seq"],
        members_read=row["members_read"] or {},
    )
