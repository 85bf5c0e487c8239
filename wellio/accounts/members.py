"""The users of a practice as others see them, and what owners do to them: roles, suspending, signing out.

An owner sees everybody, a coach the staff and the log-ins of their clients.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.auth_sessions import end_sessions
from wellio.db import Connection, Database, Row
from wellio.errors import Forbidden, Invalid, NotFound
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, fetch_page
from wellio.values import Input, check_not_null

Status = Literal["active", "suspended"]
OWNERS = frozenset({Role.OWNER})

LIST_MEMBERS = """
select u.id, u.role, u.name, u.email, u.timezone, u.status, u.email_verified_at, u.totp_enabled_at, u.created_at,
       c.id as client_id
from users u
left join clients c on c.practice_id = u.practice_id and c.user_id = u.id
where u.practice_id = $1 and ($2 = 'owner' or u.role <> 'client' or c.coach_id = $3)
  and ($4::text is null or u.role = $4)
  and ($5::text is null or u.status = $5)
order by lower(u.name), u.id
limit $6 offset $7
"""

COUNT_MEMBERS = """
select count(*)
from users u
left join clients c on c.practice_id = u.practice_id and c.user_id = u.id
where u.practice_id = $1 and ($2 = 'owner' or u.role <> 'client' or c.coach_id = $3)
  and ($4::text is null or u.role = $4)
  and ($5::text is null or u.status = $5)
"""

GET_MEMBER = """
select u.id, u.role, u.name, u.email, u.timezone, u.status, u.email_verified_at, u.totp_enabled_at, u.created_at,
       c.id as client_id
from users u
left join clients c on c.practice_id = u.practice_id and c.user_id = u.id
where u.practice_id = $1 and ($2 = 'owner' or u.role <> 'client' or c.coach_id = $3) and u.id = $4
"""

# Owners change owners one at a time, in one lock order: so one who was demoted meanwhile can't demote the last.
LOCK_OWNERS = """
select id from users
where practice_id = $1 and role = 'owner' and status = 'active'
order by id
for no key update
"""

UPDATE_MEMBER = "update users set role = $3, status = $4, updated_at = now() where practice_id = $1 and id = $2"


class MemberQuery(PageQuery):
    role: Role | None = None
    status: Status | None = None


class MemberChanges(Input):
    """Only the named fields change. A coach may become owner and the other way round; a client stays one."""

    role: Literal["owner", "coach"] | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class PracticeMember:
    """`client_id`: the client whose log-in it is."""

    id: UUID
    role: Role
    name: str
    email: str
    timezone: str
    status: Status
    email_verified: bool
    mfa_enabled: bool
    client_id: UUID | None
    created_at: datetime


async def list_members(db: Database, actor: Actor, query: MemberQuery) -> Page[PracticeMember]:
    actor.must_be(STAFF)
    filters = (*actor.scope, query.role and query.role.value, query.status)
    return await fetch_page(db, query, LIST_MEMBERS, COUNT_MEMBERS, filters, _member)


async def get_member(db: Database | Connection, actor: Actor, user_id: UUID) -> PracticeMember:
    """Raises NotFound."""
    actor.must_be(STAFF)
    row = await db.fetchrow(GET_MEMBER, *actor.scope, user_id)
    if row is None:
        raise NotFound("No such user.")
    return _member(row)


async def change_member(outbox: Outbox, actor: Actor, user_id: UUID, changes: MemberChanges) -> PracticeMember:
    """Another role, or a suspension, signs the user out everywhere (by a trigger). Raises NotFound, Forbidden, Invalid.

    As nobody changes themself, whoever changes others stays an owner: a practice always has one.
    """
    check_not_null(changes)
    async with outbox.transaction() as tx:
        await _check_owner(tx.connection, actor)
        before = await get_member(tx.connection, actor, user_id)
        if user_id == actor.user_id:
            raise Forbidden("Another owner has to change your role or status.", code="OWN_ACCOUNT")
        if before.role is Role.CLIENT and changes.role is not None:
            raise Invalid.field("role", "The log-in of a client stays one; invite them to another address as a coach.")
        role, status = changes.role or before.role.value, changes.status or before.status
        if (role, status) != (before.role.value, before.status):
            await tx.connection.execute(UPDATE_MEMBER, actor.practice_id, user_id, role, status)
        return await get_member(tx.connection, actor, user_id)


async def sign_out_member(outbox: Outbox, actor: Actor, user_id: UUID) -> None:
    """Ends all sessions of a user. Raises NotFound."""
    actor.must_be(OWNERS)
    async with outbox.transaction() as tx:
        await get_member(tx.connection, actor, user_id)
        await end_sessions(tx.connection, actor.practice_id, user_id, "signed out by an owner")


async def _check_owner(connection: Connection, actor: Actor) -> None:
    """Raises Forbidden unless `actor` is an owner now, and lets no other owner act until the transaction ends."""
    actor.must_be(OWNERS)
    owners = await connection.fetch(LOCK_OWNERS, actor.practice_id)
    if actor.user_id not in {row["id"] for row in owners}:
        raise Forbidden("You are no longer an owner of this practice.")


def _member(row: Row) -> PracticeMember:
    return PracticeMember(
        id=row["id"],
        role=Role(row["role"]),
        name=row["name"],
        email=row["email"],
        timezone=row["timezone"],
        status=row["status"],
        email_verified=row["email_verified_at"] is not None,
        mfa_enabled=row["totp_enabled_at"] is not None,
        client_id=row["client_id"],
        created_at=row["created_at"],
    )
