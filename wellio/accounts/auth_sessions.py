"""Signed-in devices: log-in, rotating refresh, log-out, and the check that each request makes.

Refresh tokens rotate (RFC 9700, 4.14.2): each use makes the next one. The direct predecessor is honoured for
ten more seconds, while its successor is unused, and gives that same successor: an answer lost on the way logs
nobody out. Any older token that comes back was stolen, and revokes the session.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from wellio.accounts.actors import Actor, Role
from wellio.accounts.passwords import Passwords
from wellio.accounts.tokens import ACCESS_TTL, Claims, Tokens, hash_token
from wellio.accounts.users import Credentials, User, find_credentials, get_user, replace_hash
from wellio.attribution import attribute
from wellio.audit import record_change
from wellio.db import Connection, Database, Row
from wellio.errors import Unauthorized
from wellio.events import Event, EventType
from wellio.ids import uuid7
from wellio.limits import LOGIN_ACCOUNT, LOGIN_HOUR, LOGIN_MINUTE, REFRESH, Limits
from wellio.mails import MailKind, queue_mail
from wellio.outbox import Outbox, Transaction

IDLE = timedelta(days=14)
ABSOLUTE = timedelta(days=60)
COOKIE_TTL = timedelta(hours=12)
GRACE = timedelta(seconds=10)

T = TypeVar("T")
# Opens a session of some kind, the API's or the console's, for a user who has proved to be one.
OpenSession = Callable[[Transaction, User], Awaitable[T]]

INSERT_SESSION = """
insert into auth_sessions (id, practice_id, user_id, cookie_hash, user_agent, address, expires_at)
values ($1, $2, $3, $4, $5, $6, $7)
"""

INSERT_REFRESH = "insert into refresh_tokens (token_hash, session_id) values ($1, $2)"

GET_REFRESH = """
select t.session_id, t.used_at, s.practice_id, s.user_id, s.revoked_at, s.expires_at, s.last_seen_at,
       u.status, u.email, now() as now
from refresh_tokens t
join auth_sessions s on s.id = t.session_id
join users u on u.id = s.user_id
where t.token_hash = $1
for update of t, s
"""

FIND_SUCCESSOR = (
    "select token_hash, used_at from refresh_tokens where session_id = $1 and token_hash = any($2::bytea[])"
)
GET_SESSION_OF_REFRESH = "select session_id from refresh_tokens where token_hash = $1"
USE_REFRESH = "update refresh_tokens set used_at = now() where token_hash = $1"
TOUCH_SESSION = "update auth_sessions set last_seen_at = now() where id = $1"

REVOKE_SESSION = """
update auth_sessions set revoked_at = now(), revoked_reason = $3
where practice_id = $1 and id = $2 and revoked_at is null
"""

# All of a user's; but for one, which may be null.
REVOKE_SESSIONS = """
update auth_sessions set revoked_at = now(), revoked_reason = $3
where practice_id = $1 and user_id = $2 and revoked_at is null and id is distinct from $4
"""

GET_ACTOR = """
select u.id, u.practice_id, u.role, u.name, s.id as session_id, s.authenticated_at,
       s.last_seen_at < now() - interval '1 minute' as unseen
from auth_sessions s
join users u on u.practice_id = s.practice_id and u.id = s.user_id
where s.id = $1 and s.practice_id = $2 and s.user_id = $3
  and s.revoked_at is null and s.expires_at > now() and u.status = 'active'
"""

GET_ACTOR_BY_COOKIE = """
select u.id, u.practice_id, u.role, u.name, s.id as session_id, s.authenticated_at,
       s.last_seen_at < now() - interval '1 minute' as unseen
from auth_sessions s
join users u on u.practice_id = s.practice_id and u.id = s.user_id
where s.cookie_hash = $1 and s.revoked_at is null and s.expires_at > now() and u.status = 'active'
"""

LIST_REVOKED = "select id from auth_sessions where revoked_at > now() - make_interval(secs => $1)"

LIST_ENDED = """
select wanted.id
from unnest($1::uuid[]) wanted (id)
left join auth_sessions s on s.id = wanted.id
left join users u on u.practice_id = s.practice_id and u.id = s.user_id
where s.id is null or s.revoked_at is not null or s.expires_at <= now() or u.status <> 'active'
"""

# One write a minute at most, and none that waits: a refresh may have the session locked.
SEE_SESSION = """
update auth_sessions set last_seen_at = now()
where id = (
    select id from auth_sessions
    where id = $1 and last_seen_at < now() - interval '1 minute'
    for no key update skip locked
)
"""

# A client who signs in shows a sign of life: the event names the client, not only the user.
GET_CLIENT_OF_USER = "select id from clients where practice_id = $1 and user_id = $2"

# A used token is kept for as long as a session may lie idle: should it come back, it was stolen. Later it is unknown.
DELETE_OLD_REFRESH_TOKENS = """
delete from refresh_tokens t
using auth_sessions s
where s.id = t.session_id
  and (t.used_at < now() - interval '14 days' or least(s.revoked_at, s.expires_at) < now() - interval '1 day')
"""

DELETE_OLD_SESSIONS = "delete from auth_sessions where greatest(expires_at, revoked_at) < now() - interval '30 days'"


@dataclass(frozen=True, slots=True)
class Device:
    """Where a log-in comes from, as shown to the user later."""

    user_agent: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """What a signed-in device gets. `expires_in` is seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    user: User
    token_type: str = "Bearer"  # noqa: S105 - the kind of token, not one


async def check_password(
    db: Database, passwords: Passwords, limits: Limits, *, email: str, password: str, address: str
) -> Credentials:
    """The active user with that address and password; rehashes when the parameters have risen since.

    Counted before anything is looked at, so that of many tries at once no more than the limit reach the hash, and
    alike for accounts that do not exist. A right password gives its try back.
    """
    attempt = (LOGIN_ACCOUNT.of(email.lower()), LOGIN_MINUTE.of(address), LOGIN_HOUR.of(address))
    await limits.take(*attempt)
    credentials = await find_credentials(db, email)
    if credentials is not None:  # whose account it was, should it fail; nobody is known to act yet
        attribute(practice_id=credentials.user.practice_id, subject_id=credentials.user.id)
    matches = await passwords.verify(credentials.password_hash if credentials else None, password)
    if credentials is None or not matches or not credentials.active:
        raise wrong_credentials()
    await limits.give_back(*attempt)
    if passwords.needs_rehash(credentials.password_hash):
        return await replace_hash(db, credentials, await passwords.hash(password))
    return credentials


def wrong_credentials() -> Unauthorized:
    return Unauthorized("The e-mail address or the password is wrong.", code="WRONG_CREDENTIALS")


async def open_session(tx: Transaction, tokens: Tokens, user: User, device: Device) -> Login:
    """A new session for `user` in the caller's transaction."""
    session_id = uuid7()
    refresh = tokens.new_refresh()
    await _insert_session(tx.connection, session_id, user, device, cookie_hash=None, ttl=ABSOLUTE)
    await tx.connection.execute(INSERT_REFRESH, hash_token(refresh), session_id)
    tx.record(await _logged_in(tx.connection, user))
    _attribute_to(user, session_id)
    return _login(tokens, user, session_id, refresh)


async def open_console_session(tx: Transaction, tokens: Tokens, user: User, device: Device) -> str:
    """Signs a browser in, in the caller's transaction; returns the cookie's value."""
    session_id, cookie = uuid7(), tokens.new_refresh()
    await _insert_session(tx.connection, session_id, user, device, cookie_hash=hash_token(cookie), ttl=COOKIE_TTL)
    tx.record(await _logged_in(tx.connection, user))
    _attribute_to(user, session_id)
    return cookie


async def refresh(db: Database, tokens: Tokens, limits: Limits, token: str) -> Login:
    """The next tokens of a session. Raises Unauthorized and TooMany; a reused token also revokes the session."""
    session_id = await db.fetchval(GET_SESSION_OF_REFRESH, hash_token(token))
    if session_id is not None:
        await limits.take(REFRESH.of(session_id))
    login = None
    async with db.transaction() as connection:
        row = await connection.fetchrow(GET_REFRESH, hash_token(token))
        if row is not None and _alive(row):
            login = await _rotate(connection, tokens, token, row)
    if login is None:
        raise Unauthorized("The refresh token is not valid; log in again.", code="REFRESH_INVALID")
    return login


def _alive(row: Row) -> bool:
    idle_until = row["last_seen_at"] + IDLE
    return bool(
        row["revoked_at"] is None and row["status"] == "active" and row["now"] < min(row["expires_at"], idle_until)
    )


async def _rotate(connection: Connection, tokens: Tokens, token: str, row: Row) -> Login | None:
    """None when the token was used before and the session is now revoked."""
    successor: str | None
    if row["used_at"] is None:
        successor = tokens.next_refresh(token)[0]
        await connection.execute(USE_REFRESH, hash_token(token))
        await connection.execute(INSERT_REFRESH, hash_token(successor), row["session_id"])
        await connection.execute(TOUCH_SESSION, row["session_id"])
    else:
        successor = await _unused_successor(connection, row, tokens.next_refresh(token))
    if successor is None or (row["used_at"] and row["now"] - row["used_at"] > GRACE):
        await _end_stolen(connection, row)
        return None
    user = await get_user(connection, row["practice_id"], row["user_id"])
    assert user is not None  # the session's foreign key
    return _login(tokens, user, row["session_id"], successor)


async def _end_stolen(connection: Connection, row: Row) -> None:
    """Two hold the tokens of one session, and one of them stole them. Its user is told by mail."""
    ids: dict[str, Any] = {"practice_id": row["practice_id"], "user_id": row["user_id"]}
    attribute(practice_id=row["practice_id"], subject_id=row["user_id"], session_id=row["session_id"])
    await connection.execute(REVOKE_SESSION, row["practice_id"], row["session_id"], "refresh token reused")
    await queue_mail(connection, MailKind.REFRESH_REUSED, row["email"], **ids)
    await record_change(connection, reason="refresh token reused")


async def _unused_successor(connection: Connection, row: Row, candidates: list[str]) -> str | None:
    """The one that was made; the secret may have changed since."""
    by_hash = {hash_token(candidate): candidate for candidate in candidates}
    made = await connection.fetchrow(FIND_SUCCESSOR, row["session_id"], list(by_hash))
    return by_hash[made["token_hash"]] if made and made["used_at"] is None else None


async def log_out(outbox: Outbox, actor: Actor) -> None:
    async with outbox.transaction() as tx:
        await tx.connection.execute(REVOKE_SESSION, actor.practice_id, actor.session_id, "logged out")


async def end_sessions(
    connection: Connection, practice_id: UUID, user_id: UUID, reason: str, *, but: UUID | None = None
) -> None:
    """Signs a user out everywhere, `but` for one session."""
    await connection.execute(REVOKE_SESSIONS, practice_id, user_id, reason, but)


async def list_revoked(db: Database, within_s: float) -> set[UUID]:
    """The sessions that were revoked within the last so many seconds."""
    return {row["id"] for row in await db.fetch(LIST_REVOKED, within_s)}


async def list_ended(db: Database, session_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these sessions let nobody in any more, for whatever reason."""
    return {row["id"] for row in await db.fetch(LIST_ENDED, session_ids)}


async def authenticate(db: Database | Connection, claims: Claims) -> Actor:
    """The user behind a valid token, as of now. Raises Unauthorized when the session has ended."""
    row = await db.fetchrow(GET_ACTOR, claims.session_id, claims.practice_id, claims.user_id)
    if row is None:
        raise Unauthorized("This session has ended; log in again.", code="SESSION_ENDED")
    return await _seen(db, row)


async def authenticate_cookie(db: Database, cookie: str) -> Actor | None:
    row = await db.fetchrow(GET_ACTOR_BY_COOKIE, hash_token(cookie))
    return await _seen(db, row) if row else None


async def _seen(db: Database | Connection, row: Row) -> Actor:
    """`last_seen_at` is right to the minute."""
    if row["unseen"]:
        await db.execute(SEE_SESSION, row["session_id"])
    return _actor(row)


async def _insert_session(
    connection: Connection, session_id: UUID, user: User, device: Device, *, cookie_hash: bytes | None, ttl: timedelta
) -> None:
    await connection.execute(
        INSERT_SESSION,
        session_id,
        user.practice_id,
        user.id,
        cookie_hash,
        device.user_agent[:300],
        device.address,
        datetime.now(UTC) + ttl,
    )


def _login(tokens: Tokens, user: User, session_id: UUID, refresh_token: str) -> Login:
    access = tokens.issue_access(user_id=user.id, practice_id=user.practice_id, session_id=session_id)
    return Login(access, refresh_token, int(ACCESS_TTL.total_seconds()), user)


async def _logged_in(connection: Connection, user: User) -> Event:
    return Event(
        type=EventType.USER_LOGGED_IN,
        practice_id=user.practice_id,
        actor_id=user.id,
        client_id=await connection.fetchval(GET_CLIENT_OF_USER, user.practice_id, user.id),
        payload={"role": user.role.value},
    )


def _attribute_to(user: User, session_id: UUID) -> None:
    """What is recorded from here on is of who has just signed in."""
    attribute(
        practice_id=user.practice_id, user_id=user.id, role=user.role.value, session_id=session_id, subject_id=None
    )


def _actor(row: Row) -> Actor:
    return Actor(
        row["id"],
        row["practice_id"],
        Role(row["role"]),
        row["session_id"],
        row["name"],
        authenticated_at=row["authenticated_at"],
    )
