"""Users: who can sign in. One e-mail address is one account, in one practice, with one role."""

from dataclasses import dataclass, replace
from uuid import UUID

from wellio.accounts.actors import Role
from wellio.db import Connection, Database, Row

INSERT_USER = """
insert into users (id, practice_id, role, name, email, password_hash, timezone, email_verified_at)
values ($1, $2, $3, $4, $5, $6, $7, case when $8 then now() end)
"""

GET_USER = """
select id, practice_id, role, name, email, timezone, email_verified_at, pending_email, totp_enabled_at,
       share_last_seen
from users
where practice_id = $1 and id = $2
"""

FIND_CREDENTIALS = """
select id, practice_id, role, name, email, timezone, email_verified_at, pending_email, totp_enabled_at,
       share_last_seen, password_hash, status
from users
where lower(email) = lower($1)
"""

GET_CREDENTIALS = """
select id, practice_id, role, name, email, timezone, email_verified_at, pending_email, totp_enabled_at,
       share_last_seen, password_hash, status
from users
where practice_id = $1 and id = $2
"""

UPDATE_HASH = "update users set password_hash = $3, updated_at = now() where practice_id = $1 and id = $2"

# Only while the password is the one that was just verified: it may have been changed since.
REHASH = "update users set password_hash = $4 where practice_id = $1 and id = $2 and password_hash = $3"

# Waits for who changes the password or suspends the user, and lets them wait for the session that is being opened.
HOLD_CREDENTIALS = """
select password_hash, status from users where practice_id = $1 and id = $2 for share
"""

IS_COACH = """
select exists (
    select from users
    where practice_id = $1 and id = $2 and role in ('owner', 'coach') and status = 'active'
)
"""

LIST_OWNERS = "select id from users where practice_id = $1 and role = 'owner' and status = 'active'"


@dataclass(frozen=True, slots=True)
class User:
    """A user as they see themself. `pending_email`: the address it changes to once the link sent there is followed."""

    id: UUID
    practice_id: UUID
    role: Role
    name: str
    email: str
    timezone: str
    email_verified: bool = False
    pending_email: str | None = None
    mfa_enabled: bool = False
    share_last_seen: bool = True


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with what log-in needs to decide; never leaves this package."""

    user: User
    password_hash: str
    active: bool


async def insert_user(connection: Connection | Database, user: User, *, password_hash: str) -> None:
    """Raises Conflict EMAIL_TAKEN."""
    await connection.execute(
        INSERT_USER,
        user.id,
        user.practice_id,
        user.role.value,
        user.name,
        user.email,
        password_hash,
        user.timezone,
        user.email_verified,
    )


async def get_user(db: Database | Connection, practice_id: UUID, user_id: UUID) -> User | None:
    row = await db.fetchrow(GET_USER, practice_id, user_id)
    return _user(row) if row else None


async def find_credentials(db: Database, email: str) -> Credentials | None:
    """By the address, whatever its case."""
    row = await db.fetchrow(FIND_CREDENTIALS, email)
    return _credentials(row) if row else None


async def get_credentials(db: Database | Connection, practice_id: UUID, user_id: UUID) -> Credentials | None:
    row = await db.fetchrow(GET_CREDENTIALS, practice_id, user_id)
    return _credentials(row) if row else None


async def update_password_hash(db: Database | Connection, user: User, password_hash: str) -> None:
    await db.execute(UPDATE_HASH, user.practice_id, user.id, password_hash)


async def replace_hash(db: Database, credentials: Credentials, password_hash: str) -> Credentials:
    """Another hash of the same password."""
    user = credentials.user
    await db.execute(REHASH, user.practice_id, user.id, credentials.password_hash, password_hash)
    return replace(credentials, password_hash=password_hash)


async def still_stand(connection: Connection, credentials: Credentials) -> bool:
    """Whether the password is still the one that was verified and the user active; until the transaction ends."""
    row = await connection.fetchrow(HOLD_CREDENTIALS, credentials.user.practice_id, credentials.user.id)
    return row is not None and row["password_hash"] == credentials.password_hash and row["status"] == "active"


async def is_coach(connection: Connection, practice_id: UUID, user_id: UUID) -> bool:
    """Whether clients can be assigned to that user; owners coach too."""
    return bool(await connection.fetchval(IS_COACH, practice_id, user_id))


async def list_owner_ids(db: Database | Connection, practice_id: UUID) -> list[UUID]:
    return [row["id"] for row in await db.fetch(LIST_OWNERS, practice_id)]


def _credentials(row: Row) -> Credentials:
    return Credentials(_user(row), row["password_hash"], row["status"] == "active")


def _user(row: Row) -> User:
    return User(
        row["id"],
        row["practice_id"],
        Role(row["role"]),
        row["name"],
        row["email"],
        row["timezone"],
        email_verified=row["email_verified_at"] is not None,
        pending_email=row["pending_email"],
        mfa_enabled=row["totp_enabled_at"] is not None,
        share_last_seen=row["share_last_seen"],
    )
