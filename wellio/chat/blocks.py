"""Who does not want to hear from whom.

Between two people one of whom has blocked the other nothing is sent in their direct conversation, and neither typing,
receipts nor presence is told. In groups both go on. Clients block anybody but owners, who answer for the practice;
staff block clients, as they have to talk to each other.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Database
from wellio.errors import Forbidden, NotFound
from wellio.live import Live
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of

LIST_BLOCKS = """
select b.blocked_id as user_id, u.name, b.created_at
from user_blocks b
join users u on u.practice_id = b.practice_id and u.id = b.blocked_id
where b.practice_id = $1 and b.user_id = $2 and ($3::uuid is null or b.blocked_id = $3)
order by b.created_at desc, b.blocked_id
limit $4 offset $5
"""

COUNT_BLOCKS = "select count(*) from user_blocks where practice_id = $1 and user_id = $2"

# Somebody whom the actor knows: an owner, a coach to a coach, who shares a conversation with them or did, who coaches
# them, whom they coach. An owner knows everybody.
GET_KNOWN_ROLE = """
select u.role
from users u
where u.practice_id = $1 and u.id = $4 and u.id <> $3
  and ($2 = 'owner' or u.role = 'owner' or ($2 = 'coach' and u.role = 'coach')
       or exists (
           select from clients c
           where c.practice_id = $1
             and ((c.user_id = $3 and c.coach_id = u.id) or (c.coach_id = $3 and c.user_id = u.id)))
       or exists (
           select from conversation_members a
           join conversation_members b on b.conversation_id = a.conversation_id and b.user_id = u.id
           where a.practice_id = $1 and a.user_id = $3))
"""

# Two people's blocks and the opening of their conversation come one after the other.
LOCK_DIRECT = "select pg_advisory_xact_lock(hashtextextended('direct/' || $1, 0))"

INSERT_BLOCK = """
insert into user_blocks (practice_id, user_id, blocked_id) values ($1, $2, $3)
on conflict on constraint user_blocks_pkey do nothing
"""

DELETE_BLOCK = "delete from user_blocks where practice_id = $1 and user_id = $2 and blocked_id = $3"

LIST_BLOCKERS = """
select user_id from user_blocks
where practice_id = $1 and ((user_id = $2 and blocked_id = $3) or (user_id = $3 and blocked_id = $2))
"""

UPDATE_BLOCKED_BY = "update conversations set blocked_by = $3 where practice_id = $1 and direct_key = $2"


@dataclass(frozen=True, slots=True)
class Block:
    """Somebody whom the caller has blocked."""

    user_id: UUID
    name: str
    created_at: datetime


async def list_blocks(db: Database, actor: Actor, query: PageQuery) -> Page[Block]:
    """Whom the actor has blocked, the latest first."""
    who = (actor.practice_id, actor.user_id)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_BLOCKS, *who, None, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_BLOCKS, *who)
    return page_of([Block(**row) for row in rows], query=query, total=total)


async def block_person(outbox: Outbox, live: Live, actor: Actor, user_id: UUID) -> Block:
    """Blocked already, they stay so. Raises NotFound, also for oneself and for strangers; Forbidden for an owner, and
    for staff among themselves."""
    who = (actor.practice_id, actor.user_id, user_id)
    async with outbox.transaction() as tx:
        role = await tx.connection.fetchval(GET_KNOWN_ROLE, *actor.scope, user_id)
        _check_blockable(actor, role)
        await lock_direct(tx.connection, direct_key(actor.user_id, user_id))
        await tx.connection.execute(INSERT_BLOCK, *who)
        await _update_conversation(tx.connection, *who)
        row = await tx.connection.fetchrow(LIST_BLOCKS, *who, 1, 0)
        assert row is not None
    _tell(live, actor, user_id, blocked=True)
    # From now on they are offline to each other.
    live.publish([actor.user_id], "presence", {"users": [{"user_id": user_id, "status": "offline"}]}, ephemeral=True)
    live.publish([user_id], "presence", {"users": [{"user_id": actor.user_id, "status": "offline"}]}, ephemeral=True)
    return Block(**row)


async def unblock_person(outbox: Outbox, live: Live, actor: Actor, user_id: UUID) -> None:
    """Raises NotFound for who is not blocked."""
    who = (actor.practice_id, actor.user_id, user_id)
    async with outbox.transaction() as tx:
        await lock_direct(tx.connection, direct_key(actor.user_id, user_id))
        if await tx.connection.execute(DELETE_BLOCK, *who) == "DELETE 0":
            raise NotFound("You have not blocked this person.")
        await _update_conversation(tx.connection, *who)
    _tell(live, actor, user_id, blocked=False)


def blocked(actor: Actor, blocked_by: Collection[UUID]) -> Forbidden:
    """What is told of a direct conversation in which `blocked_by` have blocked the other; not by whom."""
    if actor.user_id in blocked_by:
        return Forbidden("You have blocked this person; unblock them to write.", code="BLOCKED")
    return Forbidden("Messages can't be sent in this conversation at the moment.", code="BLOCKED")


def direct_key(one: UUID, other: UUID) -> str:
    """Of the direct conversation of two people, the same whoever of them begins."""
    return "/".join(sorted((str(one), str(other))))


async def lock_direct(connection: Connection, key: str) -> None:
    await connection.execute(LOCK_DIRECT, key)


async def list_blockers(connection: Connection, practice_id: UUID, one: UUID, other: UUID) -> list[UUID]:
    """Who of the two has blocked the other."""
    return [row["user_id"] for row in await connection.fetch(LIST_BLOCKERS, practice_id, one, other)]


def _check_blockable(actor: Actor, role: str | None) -> None:
    if role is None:
        raise NotFound("No such person.")
    if actor.role is Role.CLIENT and role == "owner":
        raise Forbidden("An owner of the practice can't be blocked; mute the conversation.")
    if actor.role is not Role.CLIENT and role != "client":
        raise Forbidden("Coaches and owners block clients only; mute the conversation.")


async def _update_conversation(connection: Connection, practice_id: UUID, one: UUID, other: UUID) -> None:
    """Waits for messages that are being stored; those that come after it are refused."""
    blockers = await list_blockers(connection, practice_id, one, other)
    await connection.execute(UPDATE_BLOCKED_BY, practice_id, direct_key(one, other), blockers)


def _tell(live: Live, actor: Actor, user_id: UUID, *, blocked: bool) -> None:
    """To their own devices alone."""
    live.publish([actor.user_id], "block:changed", {"user_id": user_id, "blocked": blocked})
