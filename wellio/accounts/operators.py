"""What operators do to accounts from the command line, whatever the practice: `wellio/commands`."""

import secrets
from dataclasses import dataclass
from uuid import UUID

from wellio.accounts.actors import Role
from wellio.accounts.auth_sessions import end_sessions
from wellio.accounts.invitations import link_client
from wellio.accounts.one_time_tokens import Purpose, end_tokens
from wellio.accounts.passwords import Passwords, check_new_password
from wellio.accounts.practices import Practice, insert_practice, registered_event
from wellio.accounts.users import Credentials, User, find_credentials, insert_user, update_password_hash
from wellio.attribution import attribute
from wellio.db import Database
from wellio.errors import Invalid, NotFound
from wellio.ids import uuid7
from wellio.mails import MailKind, queue_mail
from wellio.outbox import Outbox
from wellio.values import Email, Input, Name

PRACTICE_EXISTS = "select exists (select from practices where id = $1)"

SIGN_OUT = """
update auth_sessions set revoked_at = now(), revoked_reason = 'revoked by an operator'
where revoked_at is null and expires_at > now() and ($1::uuid is null or practice_id = $1)
"""


class NewUser(Input):
    """`password` None: one is made. `client_id` goes with the role client: whose log-in it becomes."""

    email: Email
    name: Name
    role: Role
    client_id: UUID | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """Shown to the operator, once."""

    user: User
    password: str


async def add_user(outbox: Outbox, passwords: Passwords, practice: Practice, new: NewUser) -> Credential:
    """A user whose address the operator vouches for; the practice too when it is new. Raises Invalid and Conflict."""
    if (new.role is Role.CLIENT) != (new.client_id is not None):
        raise Invalid("The role client, and only that, goes with a client whose log-in it becomes.")
    password = await _checked(new.password, (new.name, new.email, practice.name))
    password_hash = await passwords.hash(password)
    user = User(uuid7(), practice.id, new.role, new.name, new.email, practice.timezone, email_verified=True)
    attribute(practice_id=practice.id, subject_id=user.id)
    async with outbox.transaction() as tx:
        if not await tx.connection.fetchval(PRACTICE_EXISTS, practice.id):
            await insert_practice(tx.connection, practice)
            tx.record(registered_event(practice, user))
        await insert_user(tx.connection, user, password_hash=password_hash)
        if new.client_id is not None:
            await link_client(tx, user, new.client_id)
    return Credential(user, password)


async def set_password(outbox: Outbox, passwords: Passwords, email: str, password: str | None) -> Credential:
    """Signs the user out everywhere, and tells them by mail. Raises NotFound and Invalid."""
    credentials = await _existing(outbox.db, email)
    user = credentials.user
    password = await _checked(password, (user.name, user.email))
    password_hash = await passwords.hash(password)
    attribute(practice_id=user.practice_id, subject_id=user.id)
    async with outbox.transaction() as tx:
        await update_password_hash(tx.connection, user, password_hash)
        await end_sessions(tx.connection, user.practice_id, user.id, "password set by an operator")
        for purpose in (Purpose.PASSWORD_RESET, Purpose.SECOND_FACTOR):
            await end_tokens(tx.connection, purpose, practice_id=user.practice_id, user_id=user.id)
        await queue_mail(
            tx.connection, MailKind.PASSWORD_CHANGED, user.email, practice_id=user.practice_id, user_id=user.id
        )
    return Credential(user, password)


async def mail_reset_link(outbox: Outbox, email: str) -> None:
    """Raises NotFound: unlike strangers, an operator may know."""
    user = (await _existing(outbox.db, email)).user
    attribute(practice_id=user.practice_id, subject_id=user.id)
    async with outbox.transaction() as tx:
        await queue_mail(tx.connection, MailKind.PASSWORD_RESET, user.email)


async def sign_out_user(outbox: Outbox, email: str) -> User:
    """Raises NotFound."""
    user = (await _existing(outbox.db, email)).user
    attribute(practice_id=user.practice_id, subject_id=user.id)
    async with outbox.transaction() as tx:
        await end_sessions(tx.connection, user.practice_id, user.id, "revoked by an operator")
    return user


async def sign_out_practice(outbox: Outbox, practice_id: UUID | None) -> int:
    """Signs everybody of a practice out, or of all practices; how many devices it were."""
    attribute(practice_id=practice_id)
    async with outbox.transaction() as tx:
        return int((await tx.connection.execute(SIGN_OUT, practice_id)).rpartition(" ")[2])


async def _existing(db: Database, email: str) -> Credentials:
    credentials = await find_credentials(db, email)
    if credentials is None:
        raise NotFound(f"Nobody has the address {email}.")
    return credentials


async def _checked(password: str | None, known: tuple[str, ...]) -> str:
    if password is None:
        return secrets.token_urlsafe(18)
    await check_new_password(password, known=known)
    return password
