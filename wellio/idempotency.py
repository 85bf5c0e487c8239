"""Idempotency keys: a request that creates something happens once, however often it is sent.

The answer is kept in the effect's own transaction, so a crash between commit and answer loses neither
(draft-ietf-httpapi-idempotency-key-header).
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from wellio.db import Connection
from wellio.errors import Conflict, Invalid, Malformed

MAX_KEY_CHARS = 200
KEEP_HOURS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """One keyed request. `render` makes the answer's bytes of what the action returns."""

    user_id: UUID
    operation: str
    key: str
    body_hash: bytes
    status: int
    render: Callable[[Any], bytes]


class AlreadyAnswered(Exception):
    """This request was served before; here is the answer it got."""

    def __init__(self, status: int, answer: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.answer = answer


def once_from_header(
    key: str | None, *, user_id: UUID, operation: str, body: bytes, status: int, render: Callable[[Any], bytes]
) -> Once | None:
    """None without the header. Raises Malformed for a key that can't be kept."""
    if key is None:
        return None
    if not key or len(key) > MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise Malformed(f"Idempotency-Key must be 1 to {MAX_KEY_CHARS} printable ASCII characters.")
    digest = sha256(body).digest()
    return Once(user_id=user_id, operation=operation, key=key, body_hash=digest, status=status, render=render)


LOCK_KEY = "select pg_try_advisory_xact_lock(hashtextextended($1, 0))"

GET_ANSWER = """
select body_hash, status, answer
from idempotency_keys
where user_id = $1 and operation = $2 and key = $3
"""

INSERT_ANSWER = """
insert into idempotency_keys (user_id, operation, key, body_hash, status, answer)
values ($1, $2, $3, $4, $5, $6)
"""

DELETE_OLD_KEYS = "delete from idempotency_keys where created_at < now() - make_interval(hours => $1)"


async def claim(connection: Connection, once: Once) -> None:
    """Raises AlreadyAnswered for a repeat, Conflict while the first runs, Invalid for another body."""
    if not await connection.fetchval(LOCK_KEY, f"{once.user_id}/{once.operation}/{once.key}"):
        raise Conflict(
            "A request with this Idempotency-Key is still running; try again shortly.", code="IDEMPOTENCY_IN_PROGRESS"
        )
    row = await connection.fetchrow(GET_ANSWER, once.user_id, once.operation, once.key)
    if row is None:
        return
    if row["body_hash"] != once.body_hash:
        raise Invalid("This Idempotency-Key was used with another body; use a new key.", code="IDEMPOTENCY_KEY_REUSED")
    raise AlreadyAnswered(row["status"], row["answer"])


async def keep(connection: Connection, once: Once, result: Any) -> None:
    await connection.execute(
        INSERT_ANSWER, once.user_id, once.operation, once.key, once.body_hash, once.status, once.render(result)
    )
