"""API keys, for scripts and integrations: `wk_<prefix>_<secret>`, of which only the sha256 is kept.

A key acts as its user, now and within its scopes: never more than the user's role allows, whatever its scopes say. It
ends at once when it is revoked, when it expires, and for good when its user is suspended (a trigger does that).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from wellio.accounts.actors import Actor, Role
from wellio.accounts.tokens import hash_token
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, FieldError, Invalid, NotFound, Unauthorized
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, fetch_page
from wellio.values import Input, Moment, Name

FORM = "wk_"
PREFIX_BYTES, SECRET_BYTES = 4, 32
MAX_LIVE = 50

# Keys made at once are counted one after the other. By a statement of its own: one that locks and counts would count
# what was there before it waited.
LOCK_USER = "select id from users where practice_id = $1 and id = $2 for no key update"

COUNT_LIVE = """
select count(*)
from api_keys
where practice_id = $1 and user_id = $2 and revoked_at is null and (expires_at is null or expires_at > now())
"""

INSERT_KEY = """
insert into api_keys (id, practice_id, user_id, name, prefix, key_hash, scopes, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8)
returning created_at
"""

# Of a key that was used within the last minute, nothing is written.
GET_KEY_ACTOR = """
select u.id, u.practice_id, u.role, u.name, k.id as key_id, k.scopes,
       k.last_used_at is null or k.last_used_at < now() - interval '1 minute' as stale
from api_keys k
join users u on u.practice_id = k.practice_id and u.id = k.user_id
where k.key_hash = $1 and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
  and u.status = 'active' and u.role <> 'client'
"""

TOUCH_KEY = """
update api_keys set last_used_at = now()
where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')
"""

# $2: whose keys may be seen; null for an owner, who sees the practice's.
LIST_KEYS = """
select k.id, k.user_id, u.name as user_name, k.name, k.prefix, k.scopes, k.created_at, k.expires_at, k.last_used_at
from api_keys k
join users u on u.practice_id = k.practice_id and u.id = k.user_id
where k.practice_id = $1 and k.revoked_at is null
  and ($2::uuid is null or k.user_id = $2)
  and ($3::uuid is null or k.user_id = $3)
order by k.created_at desc, k.id desc
limit $4 offset $5
"""

COUNT_KEYS = """
select count(*)
from api_keys k
where k.practice_id = $1 and k.revoked_at is null
  and ($2::uuid is null or k.user_id = $2)
  and ($3::uuid is null or k.user_id = $3)
"""

REVOKE_KEY = """
update api_keys set revoked_at = now()
where practice_id = $1 and ($2::uuid is null or user_id = $2) and id = $3 and revoked_at is null
returning true
"""

Scope = Annotated[str, StringConstraints(max_length=60)]


class NewApiKey(Input):
    """`scopes`: the operations' tags with `:read` or `:write`, or `all:read`, `all:write`. Expires never by default."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=60)]
    expires_at: Moment | None = None


class ApiKeyQuery(PageQuery):
    """`user_id`: an owner sees all keys of the practice, or those of one user."""

    user_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`prefix`: how the key begins. `last_used_at` to the minute."""

    id: UUID
    user_id: UUID
    user_name: str
    name: str
    prefix: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiKeySecret:
    """A new key. `key` is shown this once."""

    id: UUID
    key: str
    name: str
    prefix: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None


async def create_api_key(outbox: Outbox, actor: Actor, new: NewApiKey, *, known: frozenset[str]) -> ApiKeySecret:
    """`known`: the scopes there are. Raises Invalid, and Conflict for one too many."""
    scopes = sorted(set(new.scopes))
    _check(scopes, known, new.expires_at)
    key_id, prefix = uuid7(), f"{FORM}{secrets.token_hex(PREFIX_BYTES)}"
    key = f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    async with outbox.transaction() as tx:
        await _refuse_too_many(tx.connection, actor)
        created_at = await tx.connection.fetchval(
            INSERT_KEY,
            key_id,
            actor.practice_id,
            actor.user_id,
            new.name,
            prefix,
            hash_token(key),
            scopes,
            new.expires_at,
        )
        # The answer is not kept for repeats: it holds the key.
        secret = ApiKeySecret(key_id, key, new.name, prefix, scopes, created_at, new.expires_at)
        return await tx.answer(secret)


def _check(scopes: Sequence[str], known: frozenset[str], expires_at: datetime | None) -> None:
    unknown = [scope for scope in scopes if scope not in known]
    problems = []
    if unknown:
        problems.append(FieldError("scopes", f"There is no {unknown[0]!r}; there are {', '.join(sorted(known))}."))
    if expires_at is not None and expires_at <= datetime.now(UTC):
        problems.append(FieldError("expires_at", "Must be in the future."))
    if problems:
        raise Invalid(fields=problems)


async def _refuse_too_many(connection: Connection, actor: Actor) -> None:
    await connection.execute(LOCK_USER, actor.practice_id, actor.user_id)
    if await connection.fetchval(COUNT_LIVE, actor.practice_id, actor.user_id) >= MAX_LIVE:
        raise Conflict(f"You have {MAX_LIVE} API keys; revoke those not used any more.", code="TOO_MANY_API_KEYS")


async def list_api_keys(db: Database, actor: Actor, query: ApiKeyQuery) -> Page[ApiKey]:
    """One's own; for an owner those of the practice. Revoked ones are gone, expired ones still stand there."""
    filters = (actor.practice_id, _whose(actor), query.user_id)
    return await fetch_page(db, query, LIST_KEYS, COUNT_KEYS, filters, _api_key)


async def revoke_api_key(outbox: Outbox, actor: Actor, key_id: UUID) -> None:
    """Raises NotFound, also for a key that was revoked."""
    async with outbox.transaction() as tx:
        if not await tx.connection.fetchval(REVOKE_KEY, actor.practice_id, _whose(actor), key_id):
            raise NotFound("No such API key.")


async def authenticate_key(db: Database, key: str) -> Actor:
    """Raises Unauthorized for a key that is unknown, revoked, expired, or of nobody who may have one."""
    row = await db.fetchrow(GET_KEY_ACTOR, hash_token(key))
    if row is None:
        raise Unauthorized("This API key is not valid, or not any more.")
    if row["stale"]:
        await db.execute(TOUCH_KEY, row["key_id"])
    scopes = frozenset(row["scopes"])
    return Actor(row["id"], row["practice_id"], Role(row["role"]), row["key_id"], row["name"], scopes=scopes)


def _whose(actor: Actor) -> UUID | None:
    return None if actor.role is Role.OWNER else actor.user_id


def _api_key(row: Row) -> ApiKey:
    return ApiKey(**dict(row))
