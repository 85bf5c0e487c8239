"""Who is in a group: added, removed, leaving, and who manages it.

A group's admins manage it, and owners who are in it. A client manages only where somebody made them an admin, and
then does nothing to staff. When the last admin goes, the one who joined first takes over, staff before clients. A
direct conversation has its two people for good.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.chat.conversations import (
    MAX_MEMBERS,
    Conversation,
    ConversationRole,
    check_manager,
    get_conversation,
    get_conversation_of,
)
from wellio.chat.log import Entry, append, append_all, lock_conversation, publish_entry
from wellio.chat.openings import check_reachable
from wellio.db import Connection, Row
from wellio.errors import Conflict, Forbidden, NotFound
from wellio.live import Live
from wellio.outbox import Outbox, Transaction
from wellio.values import Input

MAX_ADDED = 100

LIST_GROUP = """
select m.user_id, m.role as conversation_role, u.role
from conversation_members m
join users u on u.practice_id = m.practice_id and u.id = m.user_id
where m.practice_id = $1 and m.conversation_id = $2 and m.left_at is null
"""

# What was said before somebody came is not unread to them: they have read up to the last entry of their coming ($4).
# Who comes back begins anew.
UPSERT_MEMBERS = """
insert into conversation_members (practice_id, conversation_id, user_id, last_read_seq, last_delivered_seq)
select $1, $2, t.user_id, $4, $4
from unnest($3::uuid[]) t (user_id)
on conflict on constraint conversation_members_pkey do update
set left_at = null, joined_at = now(), role = 'member', muted = false, muted_until = null, archived_at_count = null,
    last_read_seq = excluded.last_read_seq, last_delivered_seq = excluded.last_delivered_seq
"""

REMOVE_MEMBER = """
update conversation_members set left_at = now(), role = 'member'
where practice_id = $1 and conversation_id = $2 and user_id = $3
"""

DELETE_DRAFT = "delete from drafts where practice_id = $1 and conversation_id = $2 and user_id = $3"

UPDATE_ROLE = """
update conversation_members set role = $4 where practice_id = $1 and conversation_id = $2 and user_id = $3
"""

# Nobody, where there is an admin, or nobody at all.
FIND_SUCCESSOR = """
select m.user_id
from conversation_members m
join users u on u.practice_id = m.practice_id and u.id = m.user_id
where m.practice_id = $1 and m.conversation_id = $2 and m.left_at is null
  and not exists (
      select from conversation_members a
      where a.conversation_id = $2 and a.left_at is null and a.role = 'admin')
order by u.status = 'active' desc, u.role <> 'client' desc, m.joined_at, m.user_id
limit 1
"""


class NewMembers(Input):
    """Whoever of these is in the group already stays as they are."""

    user_ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MAX_ADDED)]


class MemberChanges(Input):
    """`role`: the one in the group, not the one in the practice."""

    role: Literal["admin", "member"]


async def add_members(outbox: Outbox, live: Live, actor: Actor, conversation_id: UUID, new: NewMembers) -> Conversation:
    """Raises NotFound, Forbidden, Conflict (direct, or too many), Invalid for whom the actor can't add."""
    async with outbox.transaction() as tx:
        row = await _lock_group(tx, actor, conversation_id)
        check_manager(actor, row)
        present = await _list_group(tx.connection, actor, conversation_id)
        added = [user_id for user_id in dict.fromkeys(new.user_ids) if user_id not in present]
        await check_reachable(tx.connection, actor, "user_ids", new.user_ids, known=present)
        if len(present) + len(added) > MAX_MEMBERS:
            raise Conflict(f"A group has at most {MAX_MEMBERS} members.", code="GROUP_FULL")
        entries = await append_all(tx, actor, conversation_id, "member:changed", [_added(i) for i in added])
        if entries:
            await tx.connection.execute(UPSERT_MEMBERS, actor.practice_id, conversation_id, added, entries[-1].seq)
            shown = await get_conversation_of(tx.connection, actor.practice_id, added[0], conversation_id)
        conversation = await get_conversation(tx.connection, actor, conversation_id)
    if entries:
        opened = {"conversation_id": conversation_id, "seq": 0, "conversation": shown}
        live.publish(added, "conversation:updated", opened)
        _publish(live, (*present, *added), entries)
    return conversation


async def remove_member(outbox: Outbox, live: Live, actor: Actor, conversation_id: UUID, user_id: UUID) -> None:
    """Oneself is leaving. Raises NotFound, Forbidden, Conflict for a direct conversation."""
    async with outbox.transaction() as tx:
        row = await _lock_group(tx, actor, conversation_id)
        present = await _list_group(tx.connection, actor, conversation_id)
        leaving = user_id == actor.user_id
        if not leaving:
            check_manager(actor, row)
            _check_over(actor, _find(present, user_id))
        gone, *follows = await take_out(tx, actor, conversation_id, user_id, "left" if leaving else "removed")
    # The last that they get of it.
    _publish(live, present, [gone])
    _publish(live, present.keys() - {user_id}, follows)


async def take_out(
    tx: Transaction, actor: Actor, conversation_id: UUID, user_id: UUID, change: Literal["removed", "left"]
) -> list[Entry]:
    """Of a group that is locked: the entry of a member's going, and that of a new admin where they were the last."""
    await tx.connection.execute(REMOVE_MEMBER, actor.practice_id, conversation_id, user_id)
    await tx.connection.execute(DELETE_DRAFT, actor.practice_id, conversation_id, user_id)
    told = {"user_id": user_id, "change": change, "role": None}
    gone = await append(tx, actor, conversation_id, "member:changed", told)
    return [gone, *await _hand_over(tx, actor, conversation_id)]


async def change_member(
    outbox: Outbox, live: Live, actor: Actor, conversation_id: UUID, user_id: UUID, changes: MemberChanges
) -> Conversation:
    """Makes a member an admin, or a member again. Raises NotFound, Forbidden, Conflict for the last admin."""
    entries: list[Entry] = []
    async with outbox.transaction() as tx:
        row = await _lock_group(tx, actor, conversation_id)
        check_manager(actor, row)
        present = await _list_group(tx.connection, actor, conversation_id)
        member = _find(present, user_id)
        _check_over(actor, member)
        if member["conversation_role"] != changes.role:
            if changes.role == "member" and _is_last_admin(present):
                raise Conflict("The group needs an admin; make somebody else one first.", code="LAST_ADMIN")
            entries = [await _set_role(tx, actor, conversation_id, user_id, changes.role)]
        conversation = await get_conversation(tx.connection, actor, conversation_id)
    _publish(live, present, entries)
    return conversation


async def _lock_group(tx: Transaction, actor: Actor, conversation_id: UUID) -> Row:
    row = await lock_conversation(tx, actor, conversation_id)
    if row["kind"] == "direct":
        raise Conflict(
            "A direct conversation has its two people for good; mute it, or block the other.",
            code="DIRECT_CONVERSATION",
        )
    return row


def _check_over(actor: Actor, member: Row) -> None:
    if actor.role is Role.CLIENT and member["role"] != "client":
        raise Forbidden("A client who is an admin changes nothing about coaches and owners.")


async def _list_group(connection: Connection, actor: Actor, conversation_id: UUID) -> dict[UUID, Row]:
    rows = await connection.fetch(LIST_GROUP, actor.practice_id, conversation_id)
    return {row["user_id"]: row for row in rows}


def _find(present: dict[UUID, Row], user_id: UUID) -> Row:
    if user_id not in present:
        raise NotFound("No such member.")
    return present[user_id]


def _is_last_admin(present: dict[UUID, Row]) -> bool:
    return [row["conversation_role"] for row in present.values()].count("admin") == 1


async def _hand_over(tx: Transaction, actor: Actor, conversation_id: UUID) -> list[Entry]:
    """The entry of a new admin, where the group was left without one."""
    successor = await tx.connection.fetchval(FIND_SUCCESSOR, actor.practice_id, conversation_id)
    return [await _set_role(tx, actor, conversation_id, successor, "admin")] if successor else []


async def _set_role(
    tx: Transaction, actor: Actor, conversation_id: UUID, user_id: UUID, role: ConversationRole
) -> Entry:
    await tx.connection.execute(UPDATE_ROLE, actor.practice_id, conversation_id, user_id, role)
    told = {"user_id": user_id, "change": "role", "role": role}
    return await append(tx, actor, conversation_id, "member:changed", told)


def _added(user_id: UUID) -> dict[str, Any]:
    return {"user_id": user_id, "change": "added", "role": "member"}


def _publish(live: Live, user_ids: Iterable[UUID], entries: Sequence[Entry]) -> None:
    told = tuple(user_ids)
    for entry in entries:
        publish_entry(live, told, entry)
