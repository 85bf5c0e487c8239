"""A user's notifications: the list of them, how many are unread, and reading them on one device for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, model_validator

from wellio.accounts.actors import Actor
from wellio.db import Connection, Database
from wellio.errors import FieldError, Invalid
from wellio.live import Live
from wellio.outreach.notifications import Notification
from wellio.pages import Page, PageQuery, fetch_page
from wellio.values import Input, Moment

MAX_IDS = 200
COUNT_PUSHED_AS = "notification:count"

LIST_NOTIFICATIONS = """
select id, kind, title, body, data, read_at, created_at
from notifications
where practice_id = $1 and user_id = $2 and (not $3 or read_at is null)
order by created_at desc, id desc
limit $4 offset $5
"""

COUNT_NOTIFICATIONS = """
select count(*) from notifications where practice_id = $1 and user_id = $2 and (not $3 or read_at is null)
"""

LIST_OWN_AMONG = "select id from notifications where practice_id = $1 and user_id = $2 and id = any($3::uuid[])"

READ_NOTIFICATIONS = """
update notifications set read_at = now()
where practice_id = $1 and user_id = $2 and read_at is null and (id = any($3::uuid[]) or created_at <= $4)
returning id
"""


class NotificationQuery(PageQuery):
    """`unread`: only those that were not read yet."""

    unread: bool = False


class ReadNotifications(Input):
    """One of both. `up_to`: all that were made until then."""

    ids: Annotated[tuple[UUID, ...], Field(max_length=MAX_IDS)] = ()
    up_to: Moment | None = None

    @model_validator(mode="after")
    def _one(self) -> "ReadNotifications":
        if bool(self.ids) == (self.up_to is not None):
            raise ValueError("Give ids or up_to.")
        return self


@dataclass(frozen=True, slots=True)
class UnreadNotifications:
    unread: int


async def list_notifications(db: Database, actor: Actor, query: NotificationQuery) -> Page[Notification]:
    """The newest first."""
    of_user = (actor.practice_id, actor.user_id, query.unread)
    return await fetch_page(
        db, query, LIST_NOTIFICATIONS, COUNT_NOTIFICATIONS, of_user, lambda row: Notification(**dict(row))
    )


async def count_notifications(db: Database | Connection, actor: Actor) -> UnreadNotifications:
    return UnreadNotifications(await db.fetchval(COUNT_NOTIFICATIONS, actor.practice_id, actor.user_id, True))  # noqa: FBT003


async def read_notifications(
    db: Database, live: Live, actor: Actor, read: ReadNotifications, *, skip_sid: str | None = None
) -> UnreadNotifications:
    """How many are left. The user's other devices are told, if any was unread; `skip_sid` is the one that knows.

    Raises Invalid for ids that are not the actor's.
    """
    async with db.transaction() as connection:
        await _check_own(connection, actor, read.ids)
        changed: Sequence[Any] = await connection.fetch(
            READ_NOTIFICATIONS, actor.practice_id, actor.user_id, list(read.ids), read.up_to
        )
        left = await count_notifications(connection, actor)
    if changed:
        live.publish([actor.user_id], COUNT_PUSHED_AS, left, skip_sid=skip_sid)
    return left


async def _check_own(connection: Connection, actor: Actor, ids: Sequence[UUID]) -> None:
    rows = await connection.fetch(LIST_OWN_AMONG, actor.practice_id, actor.user_id, list(ids)) if ids else []
    own = {row["id"] for row in rows}
    unknown = [FieldError(f"ids.{n}", "No such notification.") for n, id_ in enumerate(ids) if id_ not in own]
    if unknown:
        raise Invalid(fields=unknown)
