"""New passwords: changed by who knows the old one, or set by a link that was mailed."""

from typing import Any

from wellio.accounts.actors import Actor
from wellio.accounts.addresses import end_change, link_invalid, lock_user, same_address
from wellio.accounts.auth_sessions import end_sessions
from wellio.accounts.one_time_tokens import Purpose, end_tokens, find_token, use_token
from wellio.accounts.passwords import Passwords, check_new_password
from wellio.accounts.practices import get_practice
from wellio.accounts.users import Credentials, User, get_credentials, update_password_hash
from wellio.db import Connection, Database
from wellio.errors import Invalid, NotFound
from wellio.limits import LOGIN_ACCOUNT, RESET_ADDRESS, RESET_DAY, RESET_HOUR, Limits
from wellio.mails import MailKind, queue_mail
from wellio.outbox import Outbox, Transaction
from wellio.values import Email, Input


class PasswordChange(Input):
    current_password: str
    new_password: str


class ResetRequest(Input):
    email: Email


class NewPassword(Input):
    """`token` is what the mailed link ends with."""

    token: str
    password: str


async def change_password(
    outbox: Outbox, passwords: Passwords, limits: Limits, actor: Actor, change: PasswordChange
) -> None:
    """Ends all the user's other sessions, and tells them by mail. Raises Invalid; failures count as at log-in."""
    credentials = await get_credentials(outbox.db, actor.practice_id, actor.user_id)
    if credentials is None:
        raise NotFound("No such user.")
    attempt = LOGIN_ACCOUNT.of(credentials.user.email.lower())
    await limits.take(attempt)
    if not await passwords.verify(credentials.password_hash, change.current_password):
        raise Invalid.field("current_password", "This is not your password.")
    await limits.give_back(attempt)
    if change.new_password == change.current_password:
        raise Invalid.field("new_password", "Choose another password than the one you have.")
    await _check(outbox.db, credentials.user, change.new_password, path="new_password")
    password_hash = await passwords.hash(change.new_password)
    async with outbox.transaction() as tx:
        before = await _locked(tx.connection, credentials.user)
        if before is None or before.password_hash != credentials.password_hash:
            raise Invalid.field("current_password", "Your password was changed in the meantime.")
        await _set_password(tx, before.user, password_hash)
        await end_sessions(tx.connection, actor.practice_id, actor.user_id, "password changed", but=actor.session_id)


async def request_reset(outbox: Outbox, limits: Limits, request: ResetRequest, *, address: str) -> None:
    """The same work whoever has the address, or nobody: whether a link is sent turns out when the mail is made.

    Raises TooMany, by the e-mail address and by the caller's `address`.
    """
    email = request.email.lower()
    await limits.take(RESET_HOUR.of(email), RESET_DAY.of(email), RESET_ADDRESS.of(address))
    async with outbox.transaction() as tx:
        await queue_mail(tx.connection, MailKind.PASSWORD_RESET, request.email)


async def reset_password(outbox: Outbox, passwords: Passwords, limits: Limits, new: NewPassword) -> None:
    """Ends all the user's sessions, and tells them by mail. Raises Invalid (LINK_INVALID for the link).

    Failed log-ins are forgotten: whoever was kept out by somebody else's guesses comes in again.
    """
    async with outbox.db.transaction() as connection:
        user = (await _holder(connection, new.token)).user
    await _check(outbox.db, user, new.password, path="password")
    password_hash = await passwords.hash(new.password)
    async with outbox.transaction() as tx:
        user = (await _holder(tx.connection, new.token)).user
        await use_token(tx.connection, new.token)
        await _set_password(tx, user, password_hash)
        await end_sessions(tx.connection, user.practice_id, user.id, "password reset")
    await limits.clear(LOGIN_ACCOUNT.of(user.email.lower()))


async def _check(db: Database, user: User, password: str, *, path: str) -> None:
    practice = await get_practice(db, user.practice_id)
    known = (user.name, user.email, practice.name)
    await check_new_password(password, known=known, second_factor=user.mfa_enabled, path=path)


async def _holder(connection: Connection, token: str) -> Credentials:
    """Whose link it is: an active user who still has the address it was sent to. Locks token and user."""
    found = await find_token(connection, Purpose.PASSWORD_RESET, token)
    if found is not None:
        credentials = await get_credentials(connection, found.practice_id, found.user_id)
        if credentials and credentials.active and same_address(credentials.user.email, found.email):
            return credentials
    raise link_invalid()


async def _locked(connection: Connection, user: User) -> Credentials | None:
    await lock_user(connection, user.practice_id, user.id)
    return await get_credentials(connection, user.practice_id, user.id)


async def _set_password(tx: Transaction, user: User, password_hash: str) -> None:
    """What was begun with the old password ends with it: a link, a log-in that waits for its second factor, and a
    change of address, by which whoever knew it would come back in."""
    ids: dict[str, Any] = {"practice_id": user.practice_id, "user_id": user.id}
    await update_password_hash(tx.connection, user, password_hash)
    await end_tokens(tx.connection, Purpose.PASSWORD_RESET, Purpose.SECOND_FACTOR, **ids)
    if user.pending_email is not None:
        await end_change(tx.connection, user)
    await queue_mail(tx.connection, MailKind.PASSWORD_CHANGED, user.email, **ids)
