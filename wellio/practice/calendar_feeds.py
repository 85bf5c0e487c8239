"""Calendar feeds: secret addresses at which calendar programs read one's sessions, as a coach or as a client.

Whoever has the address reads: 256 bits, of which the sha256 is kept; it is shown once and can be revoked. A feed holds
twelve months of what was, all that is to come, and what was cancelled for thirty days more.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from wellio.accounts.actors import EVERYONE, Actor, Role
from wellio.accounts.tokens import hash_token
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, NotFound
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, fetch_page
from wellio.practice.calendars import STATES, CalendarEvent
from wellio.practice.sessions import get_session
from wellio.values import Flag, Input, Line

TOKEN_BYTES = 32
MAX_LIVE = 20
KEEP_PAST = timedelta(days=366)
SHOW_CANCELLED = timedelta(days=30)

# So that feeds made at once are counted one after the other, each by a statement of its own.
LOCK_USER = "select id from users where practice_id = $1 and id = $2 for no key update"

INSERT_FEED = """
insert into calendar_feeds (id, practice_id, user_id, name, token_hash, busy_only)
values ($1, $2, $3, $4, $5, $6)
returning created_at
"""

LIST_FEEDS = """
select id, name, busy_only, created_at, last_read_at
from calendar_feeds
where practice_id = $1 and user_id = $2 and revoked_at is null
order by created_at desc, id desc
limit $3 offset $4
"""

COUNT_FEEDS = "select count(*) from calendar_feeds where practice_id = $1 and user_id = $2 and revoked_at is null"

REVOKE_FEED = """
update calendar_feeds set revoked_at = now()
where practice_id = $1 and user_id = $2 and id = $3 and revoked_at is null
returning true
"""

FIND_FEED = """
select f.id, f.practice_id, f.user_id, f.busy_only, f.name, u.role, p.name as practice_name,
       f.last_read_at is null or f.last_read_at < now() - interval '1 hour' as stale
from calendar_feeds f
join users u on u.practice_id = f.practice_id and u.id = f.user_id and u.status = 'active'
join practices p on p.id = f.practice_id
where f.token_hash = $1 and f.revoked_at is null
"""

TOUCH_FEED = "update calendar_feeds set last_read_at = now() where id = $1"

# $3: as a client, by their places; else as a coach. Who left a group, or was moved out of one, sees it cancelled.
LIST_CALENDAR_SESSIONS = """
select s.id, s.title, s.starts_at, s.ends_at, s.location, s.meeting_url, s.created_at, s.updated_at,
       s.sequence + coalesce(p.sequence, 0) as sequence,
       case when p.status in ('cancelled', 'late_cancelled') then 'cancelled' else s.status end as status,
       case when $3 then coach.name else coalesce(c.first_name || ' ' || c.last_name, '') end as other,
       case when $3 then null else s.client_id end as client_id
from sessions s
join users coach on coach.practice_id = s.practice_id and coach.id = s.coach_id
left join clients c on c.practice_id = s.practice_id and c.id = s.client_id
left join lateral (
    select sp.status, sp.cancelled_at, sp.sequence
    from session_participants sp
    join clients own on own.practice_id = sp.practice_id and own.id = sp.client_id and own.user_id = $2
    where $3 and sp.practice_id = s.practice_id and sp.session_id = s.id
    limit 1
) p on true
where s.practice_id = $1
  and case when $3 then p.status is not null else s.coach_id = $2 end
  and s.ends_at > $4
  and (s.status not in ('cancelled', 'late_cancelled', 'cancelled_by_coach')
       or coalesce(s.cancelled_at, s.updated_at) > $5)
  and (p.status is null or p.status not in ('cancelled', 'late_cancelled')
       or coalesce(p.cancelled_at, s.cancelled_at, s.updated_at) > $5)
  and ($6::uuid is null or s.id = $6)
order by s.starts_at, s.id
"""


class NewFeed(Input):
    """`busy_only`: the feed tells when, and nothing of whom, what and where."""

    name: Line = ""
    busy_only: Flag = False


@dataclass(frozen=True, slots=True)
class Feed:
    """`last_read_at` to the hour."""

    id: UUID
    name: str
    busy_only: bool
    created_at: datetime
    last_read_at: datetime | None


@dataclass(frozen=True, slots=True)
class FeedSecret:
    """A new feed. `address` is shown this once."""

    id: UUID
    name: str
    busy_only: bool
    created_at: datetime
    address: str


@dataclass(frozen=True, slots=True)
class FeedContent:
    """What a feed shows now, to whom (`practice_id`, `user_id`), and whose data that is."""

    practice_id: UUID
    user_id: UUID
    name: str
    events: Sequence[CalendarEvent]
    client_ids: Sequence[UUID]


async def create_feed(outbox: Outbox, actor: Actor, new: NewFeed, *, base_url: str) -> FeedSecret:
    """Raises Conflict for one too many."""
    actor.must_be(EVERYONE)
    feed_id, token = uuid7(), secrets.token_urlsafe(TOKEN_BYTES)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_USER, actor.practice_id, actor.user_id)
        if await tx.connection.fetchval(COUNT_FEEDS, actor.practice_id, actor.user_id) >= MAX_LIVE:
            raise Conflict(f"You have {MAX_LIVE} feeds; revoke those not used any more.", code="TOO_MANY_FEEDS")
        created_at = await tx.connection.fetchval(
            INSERT_FEED, feed_id, actor.practice_id, actor.user_id, new.name, hash_token(token), new.busy_only
        )
        # The answer is not kept for repeats: it holds the address.
        address = f"{base_url}/calendar/{token}.ics"
        return await tx.answer(FeedSecret(feed_id, new.name, new.busy_only, created_at, address))


async def list_feeds(db: Database, actor: Actor, query: PageQuery) -> Page[Feed]:
    """One's own, without those revoked."""
    return await fetch_page(
        db, query, LIST_FEEDS, COUNT_FEEDS, (actor.practice_id, actor.user_id), lambda row: Feed(**dict(row))
    )


async def revoke_feed(outbox: Outbox, actor: Actor, feed_id: UUID) -> None:
    """Raises NotFound, also for one that was revoked."""
    async with outbox.transaction() as tx:
        if not await tx.connection.fetchval(REVOKE_FEED, actor.practice_id, actor.user_id, feed_id):
            raise NotFound("No such feed.")


async def read_feed(db: Database, token: str) -> FeedContent:
    """Raises NotFound for a token that is unknown or revoked, or whose user is suspended."""
    async with db.connection() as connection:
        feed = await connection.fetchrow(FIND_FEED, hash_token(token))
        if feed is None:
            raise NotFound("There is no such calendar, or not any more.")
        if feed["stale"]:
            await connection.execute(TOUCH_FEED, feed["id"])
        rows = await _rows(connection, feed["practice_id"], feed["user_id"], by_place=feed["role"] == Role.CLIENT)
    name = feed["name"] or feed["practice_name"]
    if feed["busy_only"]:
        return FeedContent(feed["practice_id"], feed["user_id"], name, [_busy(row) for row in rows], ())
    clients = dict.fromkeys(row["client_id"] for row in rows if row["client_id"])
    return FeedContent(feed["practice_id"], feed["user_id"], name, [_event(row) for row in rows], list(clients))


async def get_calendar_event(db: Database, actor: Actor, session_id: UUID) -> tuple[CalendarEvent, UUID | None]:
    """One session as its viewer's calendar shows it, however long ago it was, and its client. Raises NotFound."""
    async with db.connection() as connection:
        session = await get_session(connection, actor, session_id)
        viewer = actor.user_id if actor.role is Role.CLIENT else session.coach_id
        rows = await _rows(connection, actor.practice_id, viewer, by_place=actor.role is Role.CLIENT, only=session_id)
    if not rows:
        raise NotFound("No such session.")
    return _event(rows[0]), session.client_id


async def _rows(
    connection: Connection, practice_id: UUID, user_id: UUID, *, by_place: bool, only: UUID | None = None
) -> list[Row]:
    now = datetime.now(UTC)
    since = now - KEEP_PAST if only is None else datetime(1900, 1, 1, tzinfo=UTC)
    cancelled_since = now - SHOW_CANCELLED if only is None else since
    return await connection.fetch(LIST_CALENDAR_SESSIONS, practice_id, user_id, by_place, since, cancelled_since, only)


def _event(row: Row) -> CalendarEvent:
    words = [part for part in (row["title"], row["other"]) if part]
    return CalendarEvent(
        session_id=row["id"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        summary=": ".join(words) or "Session",
        state=STATES.get(row["status"], "CONFIRMED"),
        sequence=row["sequence"],
        created_at=row["created_at"],
        changed_at=row["updated_at"],
        location=row["location"],
        url=row["meeting_url"],
    )


def _busy(row: Row) -> CalendarEvent:
    return CalendarEvent(
        session_id=row["id"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        summary="Busy",
        state=STATES.get(row["status"], "CONFIRMED"),
        sequence=row["sequence"],
        created_at=row["created_at"],
        changed_at=row["updated_at"],
    )
