"""The devices a user is signed in on, as they see them: apps by tokens, browsers by the console's cookie."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.accounts.auth_sessions import IDLE, end_sessions
from wellio.db import Database
from wellio.errors import NotFound
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of

# A cookie does not end by idleness: it lives for hours.
LIST_DEVICES = """
select id, case when cookie_hash is null then 'app' else 'browser' end as kind, user_agent as agent, address,
       created_at, last_seen_at, id = $4 as current
from auth_sessions
where practice_id = $1 and user_id = $2 and revoked_at is null and expires_at > now()
  and (cookie_hash is not null or last_seen_at > now() - $3::interval)
order by last_seen_at desc, id
limit $5 offset $6
"""

COUNT_DEVICES = """
select count(*)
from auth_sessions
where practice_id = $1 and user_id = $2 and revoked_at is null and expires_at > now()
  and (cookie_hash is not null or last_seen_at > now() - $3::interval)
"""

REVOKE_DEVICE = """
update auth_sessions set revoked_at = now(), revoked_reason = 'revoked by its user'
where practice_id = $1 and user_id = $2 and id = $3 and revoked_at is null
returning id
"""


@dataclass(frozen=True, slots=True)
class SignedInDevice:
    """`current`: the one that asks. `last_seen_at` is right to the minute."""

    id: UUID
    kind: Literal["app", "browser"]
    agent: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    current: bool


async def list_devices(db: Database, actor: Actor, query: PageQuery) -> Page[SignedInDevice]:
    """The one seen last comes first."""
    of_user = (actor.practice_id, actor.user_id, IDLE)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_DEVICES, *of_user, actor.session_id, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_DEVICES, *of_user)
    return page_of([SignedInDevice(**dict(row)) for row in rows], query=query, total=total)


async def revoke_device(outbox: Outbox, actor: Actor, device_id: UUID) -> None:
    """Signs out one of the user's own devices. Raises NotFound."""
    async with outbox.transaction() as tx:
        if await tx.connection.fetchval(REVOKE_DEVICE, actor.practice_id, actor.user_id, device_id) is None:
            raise NotFound("No such device.")


async def log_out_everywhere(outbox: Outbox, actor: Actor) -> None:
    """Signs out all the user's devices, this one included."""
    async with outbox.transaction() as tx:
        await end_sessions(tx.connection, actor.practice_id, actor.user_id, "logged out everywhere")
