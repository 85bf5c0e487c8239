"""Calendars that coaches keep elsewhere, by their iCalendar addresses: at their busy times nobody can book.

The address is a secret that whoever has it reads the calendar by: it is sealed, and never shown again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.users import is_coach
from wellio.db import Connection, Database, Row
from wellio.errors import Conflict, Invalid, NotFound
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.outgoing import OutgoingRules, checked_url
from wellio.pages import Page, PageQuery, page_of
from wellio.sealing import Sealer
from wellio.values import Input, Line

MAX_CALENDARS = 10
URL = "external_calendars.url"
Status = Literal["new", "ok", "stale", "failed"]

LIST_CALENDARS = """
select id, coach_id, name, host, status, last_error, last_fetched_at, next_fetch_at, created_at
from external_calendars
where practice_id = $1 and coach_id = $2
order by created_at, id
limit $3 offset $4
"""

COUNT_CALENDARS = "select count(*) from external_calendars where practice_id = $1 and coach_id = $2"

LOCK_COACH = "select id from users where practice_id = $1 and id = $2 for no key update"

INSERT_CALENDAR = """
insert into external_calendars (id, practice_id, coach_id, name, url, host)
values ($1, $2, $3, $4, $5, $6)
returning id, coach_id, name, host, status, last_error, last_fetched_at, next_fetch_at, created_at
"""

DELETE_CALENDAR = "delete from external_calendars where practice_id = $1 and coach_id = $2 and id = $3 returning id"

# What was read is read anew.
REFRESH_CALENDAR = """
update external_calendars
set next_fetch_at = least(next_fetch_at, now()), etag = null, last_modified = null
where practice_id = $1 and coach_id = $2 and id = $3
returning id, coach_id, name, host, status, last_error, last_fetched_at, next_fetch_at, created_at
"""


class NewExternalCalendar(Input):
    """`url`: the secret iCalendar address that Google, Outlook or Apple give; `webcal://` is read as https."""

    url: Annotated[str, Field(max_length=2000, examples=["https://calendar.google.com/calendar/ical/…/basic.ics"])]
    name: Line = ""


@dataclass(frozen=True, slots=True)
class ExternalCalendar:
    """`status`: new (not read yet), ok, stale (can't be read any more; what was known stays busy) or failed (could
    never be read). `last_error` says why, `last_fetched_at` how old what is known is."""

    id: UUID
    coach_id: UUID
    name: str
    host: str
    status: Status
    last_error: str | None
    last_fetched_at: datetime | None
    next_fetch_at: datetime
    created_at: datetime


async def list_calendars(db: Database, actor: Actor, coach_id: UUID, query: PageQuery) -> Page[ExternalCalendar]:
    """A coach's own, or for owners any coach's. Raises NotFound."""
    async with db.connection() as connection:
        await _check_coach(connection, actor, coach_id)
        rows = await connection.fetch(LIST_CALENDARS, actor.practice_id, coach_id, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_CALENDARS, actor.practice_id, coach_id)
    return page_of([_calendar(row) for row in rows], query=query, total=total)


async def add_calendar(
    outbox: Outbox,
    sealer: Sealer,
    actor: Actor,
    coach_id: UUID,
    new: NewExternalCalendar,
    *,
    rules: OutgoingRules,
    once: Once | None = None,
) -> ExternalCalendar:
    """It is read within seconds. Raises NotFound, Invalid for an address that is not called, Conflict for one too
    many."""
    url = _url(new.url, rules)
    calendar_id = uuid7()
    sealed = sealer.seal(url.encode(), column=URL, row_id=calendar_id)
    async with outbox.transaction(once) as tx:
        await _check_coach(tx.connection, actor, coach_id)
        await tx.connection.execute(LOCK_COACH, actor.practice_id, coach_id)
        if await tx.connection.fetchval(COUNT_CALENDARS, actor.practice_id, coach_id) >= MAX_CALENDARS:
            raise Conflict(f"There are {MAX_CALENDARS} calendars; remove those not used.", code="TOO_MANY_CALENDARS")
        host = urlsplit(url).hostname
        row = await tx.connection.fetchrow(
            INSERT_CALENDAR, calendar_id, actor.practice_id, coach_id, new.name, sealed, host
        )
        assert row is not None
        tx.record(_changed(actor, coach_id))
        return await tx.answer(_calendar(row))


async def remove_calendar(outbox: Outbox, actor: Actor, coach_id: UUID, calendar_id: UUID) -> None:
    """Its busy times are open again. Raises NotFound."""
    async with outbox.transaction() as tx:
        await _check_coach(tx.connection, actor, coach_id)
        if await tx.connection.fetchval(DELETE_CALENDAR, actor.practice_id, coach_id, calendar_id) is None:
            raise NotFound("No such calendar.")
        tx.record(_changed(actor, coach_id))


async def refresh_calendar(outbox: Outbox, actor: Actor, coach_id: UUID, calendar_id: UUID) -> ExternalCalendar:
    """Has it read within seconds. Raises NotFound."""
    async with outbox.transaction() as tx:
        await _check_coach(tx.connection, actor, coach_id)
        row = await tx.connection.fetchrow(REFRESH_CALENDAR, actor.practice_id, coach_id, calendar_id)
        if row is None:
            raise NotFound("No such calendar.")
        return await tx.answer(_calendar(row))


def _url(url: str, rules: OutgoingRules) -> str:
    url = url.strip()
    if url.lower().startswith("webcal://"):
        url = f"https{url[len('webcal') :]}"
    try:
        return checked_url(url, rules)
    except ValueError as error:
        raise Invalid.field("url", f"The address {error}.") from None


async def _check_coach(connection: Connection, actor: Actor, coach_id: UUID) -> None:
    actor.must_be(STAFF)
    own = coach_id == actor.user_id
    if not own and (actor.role is not Role.OWNER or not await is_coach(connection, actor.practice_id, coach_id)):
        raise NotFound("No such coach.")


def _changed(actor: Actor, coach_id: UUID) -> Event:
    return Event(
        type=EventType.AVAILABILITY_CHANGED,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        subject_id=coach_id,
        payload={"changed": ["calendars"]},
    )


def _calendar(row: Row) -> ExternalCalendar:
    return ExternalCalendar(**dict(row))
