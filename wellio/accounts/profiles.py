"""What users say of themselves: name, time zone, e-mail address, and what of them others are shown."""

from wellio.accounts.actors import Actor
from wellio.accounts.addresses import begin_change, lock_user
from wellio.accounts.users import User, get_user
from wellio.db import Connection, Database
from wellio.errors import NotFound
from wellio.outbox import Outbox
from wellio.values import Email, Flag, Input, Name, Zone, check_not_null

UPDATE_PROFILE = """
update users
set name = coalesce($3, name), timezone = coalesce($4, timezone), share_last_seen = coalesce($5, share_last_seen),
    updated_at = now()
where practice_id = $1 and id = $2
"""


class ProfileChanges(Input):
    """Only the named fields change. A new `email` counts once the link that is sent there is followed.

    `share_last_seen`: whether those who may see that one is online may see when one last was.
    """

    name: Name | None = None
    timezone: Zone | None = None
    email: Email | None = None
    share_last_seen: Flag | None = None


async def get_profile(db: Database | Connection, actor: Actor) -> User:
    """Raises NotFound."""
    user = await get_user(db, actor.practice_id, actor.user_id)
    if user is None:
        raise NotFound("No such user.")
    return user


async def change_profile(outbox: Outbox, actor: Actor, changes: ProfileChanges) -> User:
    """Raises Forbidden (REAUTH_REQUIRED) for a new address without a fresh proof of who asks."""
    check_not_null(changes)
    async with outbox.transaction() as tx:
        await lock_user(tx.connection, actor.practice_id, actor.user_id)
        user = await get_profile(tx.connection, actor)
        if changes.email not in (None, user.pending_email or user.email):
            actor.must_be_fresh()
            await begin_change(tx.connection, user, changes.email)
        said = (changes.name, changes.timezone, changes.share_last_seen)
        await tx.connection.execute(UPDATE_PROFILE, actor.practice_id, actor.user_id, *said)
        return await get_profile(tx.connection, actor)
