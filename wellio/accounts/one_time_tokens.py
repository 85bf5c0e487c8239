"""One-time tokens: the links that are mailed, and log-ins that wait for their second factor.

256 random bits, of which only the sha256 is kept (ASVS 6.5). A token serves once, for one purpose, and only while the
address it was sent to is the user's (or, to verify one, the address that it is to become). A new one of the same
purpose ends those before.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from wellio.accounts.tokens import hash_token
from wellio.attribution import attribute
from wellio.db import Connection


class Purpose(StrEnum):
    PASSWORD_RESET = "password_reset"
    VERIFY_EMAIL = "verify_email"
    SECOND_FACTOR = "second_factor"


TTL = {
    Purpose.PASSWORD_RESET: timedelta(minutes=30),
    Purpose.VERIFY_EMAIL: timedelta(hours=24),
    Purpose.SECOND_FACTOR: timedelta(minutes=5),
}

END_TOKENS = """
update one_time_tokens set used_at = now()
where practice_id = $1 and user_id = $2 and purpose = any($3::text[]) and used_at is null
"""

INSERT_TOKEN = """
insert into one_time_tokens (token_hash, practice_id, user_id, purpose, email, expires_at)
values ($1, $2, $3, $4, $5, $6)
"""

# Before the token: who changes a password has the user locked, and then ends their tokens.
LOCK_HOLDER = """
select u.id
from one_time_tokens t
join users u on u.practice_id = t.practice_id and u.id = t.user_id
where t.token_hash = $1
for no key update of u
"""

# The row is locked: of fifty at once, one finds it unused.
GET_TOKEN = """
select practice_id, user_id, email, attempts
from one_time_tokens
where token_hash = $1 and purpose = $2 and used_at is null and expires_at > now()
for update
"""

USE_TOKEN = "update one_time_tokens set used_at = now() where token_hash = $1"

COUNT_ATTEMPT = "update one_time_tokens set attempts = attempts + 1 where token_hash = $1"

DELETE_OLD_TOKENS = "delete from one_time_tokens where expires_at < now() - interval '7 days'"


@dataclass(frozen=True, slots=True)
class OneTimeToken:
    practice_id: UUID
    user_id: UUID
    email: str
    attempts: int


async def mint_token(
    connection: Connection, purpose: Purpose, *, practice_id: UUID, user_id: UUID, email: str = ""
) -> str:
    """A new token; the user's earlier ones of that purpose serve no more."""
    token = secrets.token_urlsafe(32)
    await end_tokens(connection, purpose, practice_id=practice_id, user_id=user_id)
    expires_at = datetime.now(UTC) + TTL[purpose]
    await connection.execute(INSERT_TOKEN, hash_token(token), practice_id, user_id, purpose.value, email, expires_at)
    return token


async def end_tokens(connection: Connection, *purposes: Purpose, practice_id: UUID, user_id: UUID) -> None:
    """The user's tokens of these purposes serve no more."""
    await connection.execute(END_TOKENS, practice_id, user_id, [purpose.value for purpose in purposes])


async def find_token(connection: Connection, purpose: Purpose, token: str) -> OneTimeToken | None:
    """None when it is unknown, of another purpose, used or expired. Locks its user and it for the transaction."""
    await connection.execute(LOCK_HOLDER, hash_token(token))
    row = await connection.fetchrow(GET_TOKEN, hash_token(token), purpose.value)
    if row is None:
        return None
    attribute(practice_id=row["practice_id"], subject_id=row["user_id"])
    return OneTimeToken(**dict(row))


async def use_token(connection: Connection, token: str) -> None:
    await connection.execute(USE_TOKEN, hash_token(token))


async def count_attempt(connection: Connection, token: str) -> None:
    await connection.execute(COUNT_ATTEMPT, hash_token(token))
