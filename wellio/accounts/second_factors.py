"""The second factor: an authenticator app (TOTP), with recovery codes for when it is lost.

Set up in two steps: a secret is made and shown, and counts only once a code of it was given. Codes can be guessed, so
each wrong one from the fifth on makes the next wait, longer each time (a minute, two, four… a day); a right one, or a
recovery code, which can't be guessed and never waits, begins anew. Kept in PostgreSQL: no restart forgets it.
"""

import asyncio
import logging
import math
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import segno

from wellio.accounts.actors import Actor
from wellio.accounts.recovery_codes import count_left, delete_codes, replace_codes, use_code
from wellio.accounts.totp import SECRET_BYTES, base32_of, find_step, otpauth_uri
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, TooMany, Unavailable
from wellio.mails import MailKind, queue_mail
from wellio.outbox import Outbox
from wellio.sealing import SealBroken, Sealer

log = logging.getLogger(__name__)

COLUMN = "users.totp_secret"
FREE_FAILURES = 4
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(days=1)
_CODE = re.compile("[0-9]{6}")

IS_ON = "select totp_enabled_at is not null from users where practice_id = $1 and id = $2"

# Locked, so that of two requests with one code the second finds its step used. The database's clock is everybody's.
GET_FACTOR = """
select id, practice_id, email, totp_secret, totp_enabled_at is not null as is_on, totp_last_step, totp_failures,
       totp_failed_at, clock_timestamp() as now
from users
where practice_id = $1 and id = $2
for no key update
"""

UPDATE_UNCONFIRMED = """
update users set totp_secret = $3, totp_last_step = 0, updated_at = now()
where practice_id = $1 and id = $2 and totp_enabled_at is null
returning email
"""

TURN_ON = "update users set totp_enabled_at = now(), updated_at = now() where practice_id = $1 and id = $2"

TURN_OFF = """
update users
set totp_secret = null, totp_enabled_at = null, totp_last_step = 0, totp_failures = 0, totp_failed_at = null,
    updated_at = now()
where practice_id = $1 and id = $2
"""

USE_STEP = "update users set totp_last_step = $3, totp_failures = 0 where practice_id = $1 and id = $2"

FORGET_FAILURES = "update users set totp_failures = 0 where practice_id = $1 and id = $2"

COUNT_FAILURE = """
update users set totp_failures = totp_failures + 1, totp_failed_at = clock_timestamp()
where practice_id = $1 and id = $2
"""


@dataclass(frozen=True, slots=True)
class SecondFactor:
    enabled: bool
    recovery_codes_left: int


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`secret` is base32, for typing; `qr_code` a data URL of an SVG that holds `otpauth_uri`. Shown once."""

    secret: str
    otpauth_uri: str
    qr_code: str


@dataclass(frozen=True, slots=True)
class RecoveryCodes:
    """Shown once."""

    recovery_codes: list[str]


async def get_second_factor(db: Database, actor: Actor) -> SecondFactor:
    left = await count_left(db, actor.practice_id, actor.user_id)
    return SecondFactor(await is_on(db, actor.practice_id, actor.user_id), left)


async def is_on(db: Database | Connection, practice_id: UUID, user_id: UUID) -> bool:
    return bool(await db.fetchval(IS_ON, practice_id, user_id))


async def enrol(outbox: Outbox, sealer: Sealer, actor: Actor) -> Enrolment:
    """A new secret, which counts once it is confirmed. Raises Conflict while a second factor is on."""
    secret = secrets.token_bytes(SECRET_BYTES)
    sealed = sealer.seal(secret, column=COLUMN, row_id=actor.user_id)
    async with outbox.transaction() as tx:
        email = await tx.connection.fetchval(UPDATE_UNCONFIRMED, actor.practice_id, actor.user_id, sealed)
        if email is None:
            raise Conflict(
                "Your account has a second factor. Turn it off first, to set up another.", code="SECOND_FACTOR_ON"
            )
    uri = otpauth_uri(secret, email)
    return Enrolment(base32_of(secret), uri, await asyncio.to_thread(_qr_code, uri))


def _qr_code(text: str) -> str:
    return str(segno.make(text, error="m", micro=False).svg_data_uri(scale=4))


async def confirm(outbox: Outbox, sealer: Sealer, actor: Actor, code: str) -> RecoveryCodes:
    """Turns the second factor on. Raises Invalid for a wrong code, Conflict when there is nothing to confirm."""
    async with outbox.transaction() as tx:
        factor = await _get_factor(tx.connection, actor.practice_id, actor.user_id)
        if factor["is_on"] or factor["totp_secret"] is None:
            raise Conflict("There is nothing to confirm: begin with a new secret.", code="NOTHING_TO_CONFIRM")
        if confirmed := await _check_code(tx.connection, sealer, factor, code):
            await tx.connection.execute(TURN_ON, actor.practice_id, actor.user_id)
            await _mail(tx.connection, factor, MailKind.SECOND_FACTOR_ON)
            codes = await replace_codes(tx.connection, actor.practice_id, actor.user_id)
        else:
            tx.reason = "wrong code"
    if not confirmed:
        raise Invalid.field("code", "This is not the code of now; see that your phone's clock is right.")
    return RecoveryCodes(codes)


async def renew_recovery_codes(outbox: Outbox, actor: Actor) -> RecoveryCodes:
    """Raises Conflict without a second factor."""
    async with outbox.transaction() as tx:
        factor = await _get_factor(tx.connection, actor.practice_id, actor.user_id)
        if not factor["is_on"]:
            raise Conflict("Your account has no second factor.", code="SECOND_FACTOR_OFF")
        return RecoveryCodes(await replace_codes(tx.connection, actor.practice_id, actor.user_id))


async def turn_off(outbox: Outbox, actor: Actor) -> None:
    """Password alone from now on; a secret that was never confirmed is forgotten too."""
    async with outbox.transaction() as tx:
        factor = await _get_factor(tx.connection, actor.practice_id, actor.user_id)
        await tx.connection.execute(TURN_OFF, actor.practice_id, actor.user_id)
        await delete_codes(tx.connection, actor.practice_id, actor.user_id)
        if factor["is_on"]:
            await _mail(tx.connection, factor, MailKind.SECOND_FACTOR_OFF)


async def prove(connection: Connection, sealer: Sealer, practice_id: UUID, user_id: UUID, code: str) -> bool:
    """Whether `code` is one of the app, or a recovery code, and now used. Raises TooMany after many wrong ones.

    What it writes must be committed in either case: wrong codes are counted.
    """
    factor = await _get_factor(connection, practice_id, user_id)
    if not factor["is_on"]:
        return False
    if _CODE.fullmatch(_plain(code)):
        return await _check_code(connection, sealer, factor, code)
    if not await use_code(connection, practice_id, user_id, code):
        return False
    await connection.execute(FORGET_FAILURES, practice_id, user_id)
    left = await count_left(connection, practice_id, user_id)
    await _mail(connection, factor, MailKind.RECOVERY_CODE_USED, left=left)
    return True


async def _check_code(connection: Connection, sealer: Sealer, factor: Row, code: str) -> bool:
    """Uses the code's step, or counts a failure. Raises TooMany and Unavailable."""
    wait_s = _wait_s(factor)
    if wait_s > 0:
        minutes = math.ceil(wait_s / 60)
        message = f"Too many wrong codes. Use a recovery code, or try again in {minutes} min."
        raise TooMany(message, retry_after_s=wait_s, code="CODES_BLOCKED")
    secret, now_s = _unseal(sealer, factor), factor["now"].timestamp()
    step = find_step(secret, _plain(code), now_s=now_s, after=factor["totp_last_step"])
    if step is None:
        await connection.execute(COUNT_FAILURE, factor["practice_id"], factor["id"])
        return False
    await connection.execute(USE_STEP, factor["practice_id"], factor["id"], step)
    return True


def _wait_s(factor: Row) -> float:
    over = factor["totp_failures"] - FREE_FAILURES
    if over <= 0:
        return 0.0
    wait = min(FIRST_WAIT * 2 ** min(over - 1, 20), LONGEST_WAIT)
    return float((factor["totp_failed_at"] + wait - factor["now"]).total_seconds())


def _unseal(sealer: Sealer, factor: Row) -> bytes:
    try:
        return sealer.unseal(factor["totp_secret"], column=COLUMN, row_id=factor["id"])
    except SealBroken:
        log.exception("A second factor can't be opened", extra={"user_id": str(factor["id"])})
        raise Unavailable("Codes can't be checked at the moment. Use a recovery code, or try later.") from None


async def _get_factor(connection: Connection, practice_id: UUID, user_id: UUID) -> Row:
    row = await connection.fetchrow(GET_FACTOR, practice_id, user_id)
    assert row is not None  # users are suspended, never deleted
    return row


async def _mail(connection: Connection, factor: Row, kind: MailKind, **data: int) -> None:
    await queue_mail(
        connection, kind, factor["email"], practice_id=factor["practice_id"], user_id=factor["id"], data=data
    )


def _plain(code: str) -> str:
    """However it was typed: apps show 123 456."""
    return code.replace(" ", "")
