"""Invitations: how coaches, further owners and clients get a log-in. The link is mailed and serves for seven days.

Nothing tells who invites whether the address has an account already; whoever follows the link is told.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.addresses import link_invalid
from wellio.accounts.auth_sessions import OpenSession
from wellio.accounts.passwords import Passwords, check_new_password
from wellio.accounts.tokens import hash_token
from wellio.accounts.users import User, insert_user
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Forbidden, Invalid, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.mails import MailKind, queue_mail
from wellio.outbox import Outbox, Transaction
from wellio.pages import Page, PageQuery, fetch_page
from wellio.values import Email, Input, Name, Zone

TTL = timedelta(days=7)
MOST_INVITABLE = 1000

T = TypeVar("T")

INSERT_INVITATION = """
insert into invitations (id, practice_id, email, role, client_id, invited_by, expires_at)
values ($1, $2, $3, $4, $5, $6, $7)
"""

# A person is invited once at a time: the newest invitation counts.
WITHDRAW_EARLIER = """
update invitations set revoked_at = now(), token_hash = null
where practice_id = $1 and accepted_at is null and revoked_at is null
  and case when $4::uuid is null then client_id is null and lower(email) = lower($2) and role = $3
           else client_id = $4 end
"""

LIST_INVITATIONS = """
select id, email, role, client_id, invited_by, created_at, sent_at, expires_at, accepted_at, revoked_at, now() as now
from invitations
where practice_id = $1 and ($2 = 'owner' or invited_by = $3)
order by created_at desc, id
limit $4 offset $5
"""

COUNT_INVITATIONS = "select count(*) from invitations where practice_id = $1 and ($2 = 'owner' or invited_by = $3)"

GET_INVITATION = """
select id, email, role, client_id, invited_by, created_at, sent_at, expires_at, accepted_at, revoked_at, now() as now
from invitations
where practice_id = $1 and ($2 = 'owner' or invited_by = $3) and id = $4
for update
"""

PROLONG_INVITATION = "update invitations set expires_at = $3 where practice_id = $1 and id = $2"

REVOKE_INVITATION = """
update invitations set revoked_at = now(), token_hash = null
where practice_id = $1 and id = $2 and revoked_at is null
"""

LIST_INVITABLE_CLIENTS = """
select id, first_name || ' ' || last_name as name, coalesce(email, '') as email
from visible_clients($1, $2, $3)
where user_id is null and status <> 'archived'
order by lower(first_name), lower(last_name), id
limit $4
"""

GET_INVITABLE_CLIENT = "select user_id from visible_clients($1, $2, $3) where id = $4"

# Who invited must still be who may: a coach who was suspended lets nobody in.
FIND_OFFER = """
select i.id, i.practice_id, i.client_id, i.email, i.role, i.invited_by, i.expires_at, p.name as practice_name,
       p.timezone, u.name as invited_by_name
from invitations i
join practices p on p.id = i.practice_id
join users u on u.practice_id = i.practice_id and u.id = i.invited_by
where (i.token_hash = $1 or i.id = $2)
  and i.accepted_at is null and i.revoked_at is null and i.expires_at > now()
  and u.status = 'active' and (u.role = 'owner' or (u.role = 'coach' and i.role = 'client'))
for update of i
"""

SEND_INVITATION = "update invitations set token_hash = $2, sent_at = now() where id = $1"

ACCEPT_INVITATION = """
update invitations set accepted_at = now(), accepted_by = $3, token_hash = null where practice_id = $1 and id = $2
"""

LINK_CLIENT = """
update clients set user_id = $3, version = version + 1, updated_at = now()
where practice_id = $1 and id = $2 and user_id is null
returning id
"""

DELETE_OLD_INVITATIONS = """
delete from invitations
where accepted_at is null and coalesce(revoked_at, expires_at) < now() - interval '90 days'
"""


class NewInvitation(Input):
    """`client_id` goes with the role client: whose log-in it becomes."""

    email: Email
    role: Role
    client_id: UUID | None = None


class Acceptance(Input):
    """`token` is what the mailed link ends with."""

    token: str
    name: Name
    password: str
    timezone: Zone | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """`status`: waiting, accepted, revoked or expired."""

    id: UUID
    email: str
    role: Role
    client_id: UUID | None
    invited_by: UUID
    status: str
    created_at: datetime
    sent_at: datetime | None
    expires_at: datetime
    accepted_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvitableClient:
    """Who could have a log-in and has none. `email`: as it is known; may be empty."""

    id: UUID
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An invitation as the invited sees it."""

    practice_name: str
    email: str
    role: Role
    invited_by_name: str
    expires_at: datetime


async def create_invitation(
    outbox: Outbox, actor: Actor, new: NewInvitation, *, once: Once | None = None
) -> Invitation:
    """Raises Forbidden for a coach who invites staff, Invalid, and Conflict for a client who has a log-in."""
    actor.must_be(STAFF)
    _check_role(actor, new)
    invitation_id, expires_at = uuid7(), datetime.now(UTC) + TTL
    async with outbox.transaction(once) as tx:
        if new.client_id is not None:
            await _check_client(tx.connection, actor, new.client_id)
        role = new.role.value
        await tx.connection.execute(WITHDRAW_EARLIER, actor.practice_id, new.email, role, new.client_id)
        await tx.connection.execute(
            INSERT_INVITATION,
            invitation_id,
            actor.practice_id,
            new.email,
            role,
            new.client_id,
            actor.user_id,
            expires_at,
        )
        await _queue(tx.connection, actor.practice_id, invitation_id, new.email)
        return await tx.answer(await _get(tx.connection, actor, invitation_id))


async def list_invitations(db: Database, actor: Actor, query: PageQuery) -> Page[Invitation]:
    """An owner's are all of the practice, a coach's those they sent; the newest first."""
    actor.must_be(STAFF)
    return await fetch_page(db, query, LIST_INVITATIONS, COUNT_INVITATIONS, actor.scope, _invitation)


async def list_invitable_clients(db: Database, actor: Actor) -> list[InvitableClient]:
    """Whom `actor` may invite, by name."""
    actor.must_be(STAFF)
    rows = await db.fetch(LIST_INVITABLE_CLIENTS, *actor.scope, MOST_INVITABLE)
    return [InvitableClient(**dict(row)) for row in rows]


async def resend_invitation(outbox: Outbox, actor: Actor, invitation_id: UUID) -> Invitation:
    """A new link, for seven days more; the one before ends. Raises NotFound and Conflict."""
    actor.must_be(STAFF)
    async with outbox.transaction() as tx:
        before = await _get(tx.connection, actor, invitation_id)
        _check_open(before)
        if before.client_id is not None:
            await _check_client(tx.connection, actor, before.client_id)
        expires_at = datetime.now(UTC) + TTL
        await tx.connection.execute(PROLONG_INVITATION, actor.practice_id, invitation_id, expires_at)
        await _queue(tx.connection, actor.practice_id, invitation_id, before.email)
        return await _get(tx.connection, actor, invitation_id)


async def revoke_invitation(outbox: Outbox, actor: Actor, invitation_id: UUID) -> None:
    """Its link serves no more. Raises NotFound, and Conflict when it was accepted."""
    actor.must_be(STAFF)
    async with outbox.transaction() as tx:
        before = await _get(tx.connection, actor, invitation_id)
        if before.status == "accepted":
            _check_open(before)
        await tx.connection.execute(REVOKE_INVITATION, actor.practice_id, invitation_id)


async def mint_invitation(connection: Connection, invitation_id: UUID) -> tuple[str, Offer] | None:
    """A new link for it, which ends the one before. None when it no longer stands."""
    row = await connection.fetchrow(FIND_OFFER, None, invitation_id)
    if row is None:
        return None
    token = secrets.token_urlsafe(32)
    await connection.execute(SEND_INVITATION, invitation_id, hash_token(token))
    return token, _offer(row)


async def preview_invitation(db: Database, token: str) -> Offer:
    """Raises Invalid (LINK_INVALID)."""
    async with db.transaction() as connection:
        return _offer(await _find(connection, token))


async def accept_invitation(
    outbox: Outbox, passwords: Passwords, open_session: OpenSession[T], acceptance: Acceptance
) -> T:
    """The new user's session, as `open_session` makes it.

    Raises Invalid, and Conflict for an address or client that has a log-in already.
    """
    offer = await preview_invitation(outbox.db, acceptance.token)
    known = (acceptance.name, offer.email, offer.practice_name)
    await check_new_password(acceptance.password, known=known)
    password_hash = await passwords.hash(acceptance.password)
    try:
        async with outbox.transaction() as tx:
            user = await _accept(tx, acceptance, password_hash)
            return await open_session(tx, user)
    except Conflict as error:
        raise _taken() if error.code == "EMAIL_TAKEN" else error from None


async def _accept(tx: Transaction, acceptance: Acceptance, password_hash: str) -> User:
    row = await _find(tx.connection, acceptance.token)
    user = User(
        uuid7(),
        row["practice_id"],
        Role(row["role"]),
        acceptance.name,
        row["email"],
        acceptance.timezone or row["timezone"],
        email_verified=True,  # the link was mailed there
    )
    await insert_user(tx.connection, user, password_hash=password_hash)
    if row["client_id"] is not None:
        await link_client(tx, user, row["client_id"])
    await tx.connection.execute(ACCEPT_INVITATION, user.practice_id, row["id"], user.id)
    return user


async def link_client(tx: Transaction, user: User, client_id: UUID) -> None:
    """It becomes the client's log-in. Raises Conflict when there is one already."""
    if await tx.connection.fetchval(LINK_CLIENT, user.practice_id, client_id, user.id) is None:
        raise _has_login()
    tx.record(
        Event(
            type=EventType.CLIENT_UPDATED,
            practice_id=user.practice_id,
            actor_id=user.id,
            client_id=client_id,
            subject_id=client_id,
            payload={"changed": ["user_id"]},
        )
    )


def _check_role(actor: Actor, new: NewInvitation) -> None:
    if actor.role is not Role.OWNER and new.role is not Role.CLIENT:
        raise Forbidden("Only an owner invites coaches and owners.")
    if (new.role is Role.CLIENT) != (new.client_id is not None):
        problem = "Say whose log-in it becomes." if new.client_id is None else "Goes with the role client alone."
        raise Invalid.field("client_id", problem)


async def _check_client(connection: Connection, actor: Actor, client_id: UUID) -> None:
    row = await connection.fetchrow(GET_INVITABLE_CLIENT, *actor.scope, client_id)
    if row is None:
        raise Invalid.field("client_id", "No such client in this practice.")
    if row["user_id"] is not None:
        raise _has_login()


def _check_open(invitation: Invitation) -> None:
    if invitation.status in ("accepted", "revoked"):
        raise Conflict(f"This invitation was {invitation.status}.", code="INVITATION_CLOSED")


def _has_login() -> Conflict:
    return Conflict("This client has a log-in already.", code="CLIENT_HAS_LOGIN")


def _taken() -> Conflict:
    return Conflict(
        "There is an account with this e-mail address already. Sign in with it, or ask whoever invited you to "
        "invite another address of yours.",
        code="EMAIL_TAKEN",
    )


async def _queue(connection: Connection, practice_id: UUID, invitation_id: UUID, email: str) -> None:
    await queue_mail(
        connection, MailKind.INVITATION, email, practice_id=practice_id, data={"invitation_id": invitation_id}
    )


async def _get(connection: Connection, actor: Actor, invitation_id: UUID) -> Invitation:
    row = await connection.fetchrow(GET_INVITATION, *actor.scope, invitation_id)
    if row is None:
        raise NotFound("No such invitation.")
    return _invitation(row)


async def _find(connection: Connection, token: str) -> Row:
    """The invitation that stands, locked. Raises Invalid (LINK_INVALID)."""
    row = await connection.fetchrow(FIND_OFFER, hash_token(token), None)
    if row is None:
        raise link_invalid()
    return row


def _offer(row: Row) -> Offer:
    return Offer(row["practice_name"], row["email"], Role(row["role"]), row["invited_by_name"], row["expires_at"])


def _invitation(row: Row) -> Invitation:
    return Invitation(
        id=row["id"],
        email=row["email"],
        role=Role(row["role"]),
        client_id=row["client_id"],
        invited_by=row["invited_by"],
        status=_status(row),
        created_at=row["created_at"],
        sent_at=row["sent_at"],
        expires_at=row["expires_at"],
        accepted_at=row["accepted_at"],
    )


def _status(row: Row) -> str:
    if row["accepted_at"] is not None:
        return "accepted"
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["expires_at"] <= row["now"] else "waiting"
