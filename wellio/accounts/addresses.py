"""E-mail addresses of users: verified by a link that is sent there, also when they change.

A new address waits in `users.pending_email` until somebody follows the link in the mail to it: whoever mistypes keeps
their account, and nobody takes an address that is another's.
"""

from typing import Any
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.accounts.one_time_tokens import OneTimeToken, Purpose, end_tokens, find_token, use_token
from wellio.accounts.users import User, get_user
from wellio.db import Connection
from wellio.errors import Conflict, Invalid
from wellio.mails import MailKind, queue_mail
from wellio.outbox import Outbox

LOCK_USER = "select id from users where practice_id = $1 and id = $2 for no key update"

SET_PENDING = "update users set pending_email = $3, updated_at = now() where practice_id = $1 and id = $2"

VERIFY_ADDRESS = """
update users set email_verified_at = coalesce(email_verified_at, now()), updated_at = now()
where practice_id = $1 and id = $2
"""

MOVE_ADDRESS = """
update users set email = pending_email, pending_email = null, email_verified_at = now(), updated_at = now()
where practice_id = $1 and id = $2
"""


async def verify_address(outbox: Outbox, token: str) -> None:
    """Raises Invalid (LINK_INVALID), and Conflict (EMAIL_TAKEN) for an address that became another's meanwhile."""
    async with outbox.transaction() as tx:
        found = await find_token(tx.connection, Purpose.VERIFY_EMAIL, token)
        user = await _addressee(tx.connection, found) if found else None
        if found is None or user is None:
            raise link_invalid()
        await use_token(tx.connection, token)
        if same_address(found.email, user.email):
            await tx.connection.execute(VERIFY_ADDRESS, user.practice_id, user.id)
        else:
            await tx.connection.execute(MOVE_ADDRESS, user.practice_id, user.id)
            # Links that lie in the old mailbox open nothing any more.
            await end_tokens(tx.connection, Purpose.PASSWORD_RESET, practice_id=user.practice_id, user_id=user.id)


async def resend_verification(outbox: Outbox, actor: Actor) -> None:
    """The link again, to the address that waits for it. Raises Conflict when none does."""
    async with outbox.transaction() as tx:
        user = await get_user(tx.connection, actor.practice_id, actor.user_id)
        if user is None or (user.email_verified and user.pending_email is None):
            raise Conflict("Your e-mail address is verified already.", code="EMAIL_VERIFIED")
        await queue_verification(tx.connection, user)


async def begin_change(connection: Connection, user: User, email: str) -> None:
    """Sends the link to the new address and tells the old one. The address that is theirs ends a change that waits."""
    if same_address(email, user.email):
        await end_change(connection, user)
        return
    await connection.execute(SET_PENDING, user.practice_id, user.id, email)
    ids: dict[str, Any] = {"practice_id": user.practice_id, "user_id": user.id}
    await queue_mail(connection, MailKind.VERIFY_EMAIL, email, **ids)
    await queue_mail(connection, MailKind.EMAIL_CHANGING, user.email, **ids)


async def end_change(connection: Connection, user: User) -> None:
    """The address stays; a link to a new one serves no more."""
    await connection.execute(SET_PENDING, user.practice_id, user.id, None)
    await end_tokens(connection, Purpose.VERIFY_EMAIL, practice_id=user.practice_id, user_id=user.id)


async def queue_verification(connection: Connection, user: User) -> None:
    """Of the address that waits to become theirs, or else of the one they have."""
    recipient = user.pending_email or user.email
    await queue_mail(connection, MailKind.VERIFY_EMAIL, recipient, practice_id=user.practice_id, user_id=user.id)


def same_address(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def link_invalid() -> Invalid:
    return Invalid("This link has been used already, or is too old. Ask for a new one.", code="LINK_INVALID")


async def lock_user(connection: Connection, practice_id: UUID, user_id: UUID) -> None:
    await connection.execute(LOCK_USER, practice_id, user_id)


async def _addressee(connection: Connection, token: OneTimeToken) -> User | None:
    """Whose token it is, while the address it was sent to is theirs or is about to be."""
    user = await get_user(connection, token.practice_id, token.user_id)
    if user is None or not any(same_address(token.email, own) for own in (user.email, user.pending_email or "")):
        return None
    return user
