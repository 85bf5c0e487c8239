"""Logging in: by password, and for users with a second factor by a code as well, in a step of its own.

The first step of two gives a token that is good for the second alone: for five minutes, five wrong codes, one log-in.
Which kind of session is opened at the end, the API's or the console's, the caller says.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

from wellio.accounts.actors import FRESH, Actor
from wellio.accounts.auth_sessions import OpenSession, check_password, wrong_credentials
from wellio.accounts.one_time_tokens import Purpose, count_attempt, find_token, mint_token, use_token
from wellio.accounts.passwords import Passwords
from wellio.accounts.second_factors import is_on, prove
from wellio.accounts.users import User, get_credentials, still_stand
from wellio.db import Connection, Database
from wellio.errors import Forbidden, Invalid, Unauthorized
from wellio.limits import LOGIN_ACCOUNT, Limits
from wellio.outbox import Outbox
from wellio.sealing import Sealer

MAX_WRONG_CODES = 5
CODE_WRONG = "This code is wrong, or was used before."

T = TypeVar("T")

RENEW_PROOF = """
update auth_sessions set authenticated_at = now()
where practice_id = $1 and id = $2 and user_id = $3 and revoked_at is null
returning authenticated_at
"""


@dataclass(frozen=True, slots=True)
class SecondStep:
    """The password was right, and a code is wanted too, with `mfa_token`."""

    mfa_token: str
    mfa_required: Literal[True] = True


@dataclass(frozen=True, slots=True)
class FreshProof:
    """Until when changes that need a fresh proof are possible."""

    fresh_until: datetime


async def log_in(
    outbox: Outbox,
    passwords: Passwords,
    limits: Limits,
    open_session: OpenSession[T],
    *,
    email: str,
    password: str,
    address: str,
) -> T | SecondStep:
    """Raises Unauthorized, with the same words whether the address or the password is wrong, and TooMany."""
    proved = await check_password(outbox.db, passwords, limits, email=email, password=password, address=address)
    user = proved.user
    async with outbox.transaction() as tx:
        # Else who knows an old password could be let in just after it was changed.
        if not await still_stand(tx.connection, proved):
            raise wrong_credentials()
        if await is_on(tx.connection, user.practice_id, user.id):
            token = await mint_token(
                tx.connection, Purpose.SECOND_FACTOR, practice_id=user.practice_id, user_id=user.id
            )
            tx.reason = "password right, second factor asked for"
            return SecondStep(token)
        return await open_session(tx, user)


async def finish_log_in(
    outbox: Outbox, sealer: Sealer, open_session: OpenSession[T], *, mfa_token: str, code: str
) -> T:
    """The second step. Raises Unauthorized MFA_TOKEN_INVALID (begin anew) or WRONG_CODE (try again), and TooMany."""
    async with outbox.transaction() as tx:
        user = await _user_of(tx.connection, mfa_token)
        if user is not None and await prove(tx.connection, sealer, user.practice_id, user.id, code):
            await use_token(tx.connection, mfa_token)
            return await open_session(tx, user)
        if user is not None:
            await count_attempt(tx.connection, mfa_token)
            tx.reason = "wrong code"
    if user is None:
        raise Unauthorized("This sign-in has ended; begin again with your password.", code="MFA_TOKEN_INVALID")
    raise Unauthorized(CODE_WRONG, code="WRONG_CODE")


async def _user_of(connection: Connection, mfa_token: str) -> User | None:
    """Locks the token: of many at once with one code, one logs in."""
    token = await find_token(connection, Purpose.SECOND_FACTOR, mfa_token)
    if token is None or token.attempts >= MAX_WRONG_CODES:
        return None
    credentials = await get_credentials(connection, token.practice_id, token.user_id)
    return credentials.user if credentials and credentials.active else None


async def step_up(
    outbox: Outbox,
    passwords: Passwords,
    limits: Limits,
    sealer: Sealer,
    actor: Actor,
    *,
    password: str | None,
    code: str | None,
) -> FreshProof:
    """Proves anew who this is: by code for users with a second factor, by password for the others.

    Raises Invalid when the other one was given, Forbidden WRONG_CODE or WRONG_PASSWORD, and TooMany: failures count as
    at log-in.
    """
    if await is_on(outbox.db, actor.practice_id, actor.user_id):
        if code is None or password is not None:
            raise Invalid.field("code", "Give the code of your second factor, and no password.")
        return await _step_up_by_code(outbox, sealer, actor, code)
    if password is None or code is not None:
        raise Invalid.field("password", "Give your password, and no code: your account has no second factor.")
    await _check_own_password(outbox.db, passwords, limits, actor, password)
    async with outbox.transaction() as tx:
        return await _renew_proof(tx.connection, actor)


async def _step_up_by_code(outbox: Outbox, sealer: Sealer, actor: Actor, code: str) -> FreshProof:
    async with outbox.transaction() as tx:
        if await prove(tx.connection, sealer, actor.practice_id, actor.user_id, code):
            return await _renew_proof(tx.connection, actor)
        tx.reason = "wrong code"
    raise Forbidden(CODE_WRONG, code="WRONG_CODE")


async def _check_own_password(db: Database, passwords: Passwords, limits: Limits, actor: Actor, password: str) -> None:
    credentials = await get_credentials(db, actor.practice_id, actor.user_id)
    assert credentials is not None  # users are suspended, never deleted
    attempt = LOGIN_ACCOUNT.of(credentials.user.email.lower())
    await limits.take(attempt)
    if not await passwords.verify(credentials.password_hash, password):
        raise Forbidden("The password is wrong.", code="WRONG_PASSWORD")
    await limits.give_back(attempt)


async def _renew_proof(connection: Connection, actor: Actor) -> FreshProof:
    session: UUID = actor.session_id
    at = await connection.fetchval(RENEW_PROOF, actor.practice_id, session, actor.user_id)
    if at is None:
        raise Unauthorized("This session has ended; log in again.", code="SESSION_ENDED")
    return FreshProof(at + FRESH)
