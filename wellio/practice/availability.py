"""Availability: when a coach can be booked. Weekly hours, dates of their own, time off, notice, buffers and limits.

Hours are wall times in the coach's zone: after a change of clocks, nine o'clock is still nine o'clock.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from pydantic import AfterValidator, Field, StringConstraints

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.users import is_coach
from wellio.db import Connection, Database, Row
from wellio.errors import Invalid, NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.practice.slots import Interval, Limits, Opening, WallInterval
from wellio.values import Input, Line, Moment, Zone, changed_values

DAY_MINUTES = 1440
MAX_HOURS_PER_DAY = 20
MAX_TIME_OFF = timedelta(days=400)
WALL_TIME = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")

# All at once: booking asks for it each time. Dates from $3, time off that ends after $4. Without a row in
# `availability` its columns are null.
LIST_AVAILABILITIES = """
select u.id as coach_id, coalesce(a.timezone, u.timezone) as timezone, a.weekly, a.increment_minutes,
       a.min_notice_minutes, a.min_notice_days, a.max_days_ahead, a.buffer_before_minutes, a.buffer_after_minutes,
       a.max_per_day, a.max_per_week, a.max_per_month, a.max_per_year, a.version,
       array(select (o.id, o.day, o.hours::text) from availability_overrides o
             where o.practice_id = $1 and o.coach_id = u.id and o.day >= $3
             order by o.day limit 1000) as overrides,
       array(select (t.id, t.starts_at, t.ends_at, t.note) from time_off t
             where t.practice_id = $1 and t.coach_id = u.id and t.ends_at > $4
             order by t.starts_at limit 1000) as time_off
from users u
left join availability a on a.practice_id = u.practice_id and a.coach_id = u.id
where u.practice_id = $1 and u.id = any($2::uuid[])
"""

# Also the lock that bookings of a coach queue at, so that limits count what the one before has booked.
LOCK_AVAILABILITY = "select coach_id from availability where practice_id = $1 and coach_id = $2 for update"

UPSERT_AVAILABILITY = """
insert into availability (practice_id, coach_id, timezone, weekly, increment_minutes, min_notice_minutes,
                          min_notice_days, max_days_ahead, buffer_before_minutes, buffer_after_minutes, max_per_day,
                          max_per_week, max_per_month, max_per_year)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
on conflict on constraint availability_pkey do update
set timezone = excluded.timezone, weekly = excluded.weekly, increment_minutes = excluded.increment_minutes,
    min_notice_minutes = excluded.min_notice_minutes, min_notice_days = excluded.min_notice_days,
    max_days_ahead = excluded.max_days_ahead, buffer_before_minutes = excluded.buffer_before_minutes,
    buffer_after_minutes = excluded.buffer_after_minutes, max_per_day = excluded.max_per_day,
    max_per_week = excluded.max_per_week, max_per_month = excluded.max_per_month,
    max_per_year = excluded.max_per_year, version = availability.version + 1, updated_at = now()
"""

UPSERT_OVERRIDE = """
insert into availability_overrides (id, practice_id, coach_id, day, hours)
values ($1, $2, $3, $4, $5)
on conflict on constraint availability_overrides_day_key do update set hours = excluded.hours
returning id
"""

DELETE_OVERRIDE = """
delete from availability_overrides where practice_id = $1 and coach_id = $2 and id = $3 returning id
"""

INSERT_TIME_OFF = """
insert into time_off (id, practice_id, coach_id, starts_at, ends_at, note)
values ($1, $2, $3, $4, $5, $6)
"""

DELETE_TIME_OFF = "delete from time_off where practice_id = $1 and coach_id = $2 and id = $3 returning id"


def _wall_time(text: str) -> str:
    if not WALL_TIME.fullmatch(text) or minutes_of(text) > DAY_MINUTES:
        raise ValueError("must be a time of day from 00:00 to 24:00, such as 09:30")
    return text


WallTime = Annotated[str, StringConstraints(max_length=5), AfterValidator(_wall_time), Field(examples=["09:30"])]


class Hours(Input):
    """A part of a day, half-open: 09:00-12:00 and 12:00-15:00 join. `ends` may be 24:00."""

    starts: WallTime
    ends: WallTime


DayHours = Annotated[tuple[Hours, ...], Field(max_length=MAX_HOURS_PER_DAY)]
Count = Annotated[int, Field(ge=0, le=10_000, strict=True)]
BufferMinutes = Annotated[int, Field(ge=0, le=DAY_MINUTES, strict=True)]


class Week(Input):
    monday: DayHours = ()
    tuesday: DayHours = ()
    wednesday: DayHours = ()
    thursday: DayHours = ()
    friday: DayHours = ()
    saturday: DayHours = ()
    sunday: DayHours = ()


WEEKDAYS = tuple(Week.model_fields)


class AvailabilityChanges(Input):
    """Only the named fields change; `weekly` changes as a whole. `null` lifts a limit."""

    timezone: Zone | None = None
    weekly: Week | None = None
    increment_minutes: Annotated[int, Field(ge=5, le=720, strict=True)] | None = None
    min_notice_minutes: Annotated[int, Field(ge=0, le=730 * DAY_MINUTES, strict=True)] | None = None
    min_notice_days: Annotated[int, Field(ge=0, le=730, strict=True)] | None = None
    max_days_ahead: Annotated[int, Field(ge=1, le=730, strict=True)] | None = None
    buffer_before_minutes: BufferMinutes | None = None
    buffer_after_minutes: BufferMinutes | None = None
    max_per_day: Count | None = None
    max_per_week: Count | None = None
    max_per_month: Count | None = None
    max_per_year: Count | None = None


CLEARABLE = frozenset({"max_per_day", "max_per_week", "max_per_month", "max_per_year"})


class NewOverride(Input):
    """`day` is a date in the coach's zone. No hours: closed."""

    day: date
    hours: DayHours = ()


class NewTimeOff(Input):
    starts_at: Moment
    ends_at: Moment
    note: Line = ""


@dataclass(frozen=True, slots=True)
class Override:
    id: UUID
    day: date
    hours: Sequence[Hours]


@dataclass(frozen=True, slots=True)
class TimeOff:
    id: UUID
    starts_at: datetime
    ends_at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class Availability:
    """`version` 0: nothing was set yet, and no slot is offered. Dates and time off from today on."""

    coach_id: UUID
    timezone: str
    weekly: Week
    increment_minutes: int
    min_notice_minutes: int
    min_notice_days: int
    max_days_ahead: int
    buffer_before_minutes: int
    buffer_after_minutes: int
    max_per_day: int | None
    max_per_week: int | None
    max_per_month: int | None
    max_per_year: int | None
    overrides: Sequence[Override]
    time_off: Sequence[TimeOff]
    version: int


DEFAULTS: Mapping[str, Any] = {
    "weekly": {},
    "increment_minutes": 30,
    "min_notice_minutes": 0,
    "min_notice_days": 0,
    "max_days_ahead": 60,
    "buffer_before_minutes": 0,
    "buffer_after_minutes": 0,
    "max_per_day": None,
    "max_per_week": None,
    "max_per_month": None,
    "max_per_year": None,
    "version": 0,
}


async def get_availability(db: Database, actor: Actor, coach_id: UUID) -> Availability:
    """A coach's own, or for owners any coach's. Raises NotFound."""
    async with db.connection() as connection:
        await _check_coach(connection, actor, coach_id)
        return await find_availability(connection, actor.practice_id, coach_id)


async def change_availability(
    outbox: Outbox, actor: Actor, coach_id: UUID, changes: AvailabilityChanges, *, if_version: int | None = None
) -> Availability:
    """Raises NotFound, Invalid (notice beyond the window) and PreconditionFailed."""
    values = _changed_values(changes)
    async with outbox.transaction() as tx:
        await _check_coach(tx.connection, actor, coach_id)
        await tx.connection.execute(LOCK_AVAILABILITY, actor.practice_id, coach_id)
        before = await find_availability(tx.connection, actor.practice_id, coach_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The availability was changed since you read it; read it again.")
        await _store(tx.connection, actor.practice_id, before, values)
        tx.record(_changed(actor, coach_id, sorted(values)))
        return await find_availability(tx.connection, actor.practice_id, coach_id)


async def set_override(
    outbox: Outbox, actor: Actor, coach_id: UUID, new: NewOverride, *, once: Once | None = None
) -> Override:
    """The hours of one date, instead of what it had. Raises NotFound."""
    hours = _wall(new.hours, "hours")
    async with outbox.transaction(once) as tx:
        await _check_coach(tx.connection, actor, coach_id)
        override_id = await tx.connection.fetchval(
            UPSERT_OVERRIDE, uuid7(), actor.practice_id, coach_id, new.day, hours
        )
        tx.record(_changed(actor, coach_id, ["overrides"]))
        return await tx.answer(Override(override_id, new.day, _hours(hours)))


async def delete_override(outbox: Outbox, actor: Actor, coach_id: UUID, override_id: UUID) -> None:
    """The date has the week's hours again. Raises NotFound."""
    await _delete(outbox, actor, coach_id, DELETE_OVERRIDE, override_id, "overrides")


async def add_time_off(
    outbox: Outbox, actor: Actor, coach_id: UUID, new: NewTimeOff, *, once: Once | None = None
) -> TimeOff:
    """Booked sessions stay. Raises NotFound, Invalid."""
    if not timedelta(0) < new.ends_at - new.starts_at <= MAX_TIME_OFF:
        raise Invalid.field("ends_at", f"Must be later than starts_at, by at most {MAX_TIME_OFF.days} days.")
    time_off = TimeOff(uuid7(), new.starts_at, new.ends_at, new.note)
    async with outbox.transaction(once) as tx:
        await _check_coach(tx.connection, actor, coach_id)
        await tx.connection.execute(
            INSERT_TIME_OFF, time_off.id, actor.practice_id, coach_id, new.starts_at, new.ends_at, new.note
        )
        tx.record(_changed(actor, coach_id, ["time_off"]))
        return await tx.answer(time_off)


async def delete_time_off(outbox: Outbox, actor: Actor, coach_id: UUID, time_off_id: UUID) -> None:
    """Raises NotFound."""
    await _delete(outbox, actor, coach_id, DELETE_TIME_OFF, time_off_id, "time_off")


async def find_availability(
    connection: Connection, practice_id: UUID, coach_id: UUID, *, since: datetime | None = None
) -> Availability:
    """What is set for a coach of the practice, whoever asks."""
    rows = await _read(connection, practice_id, [coach_id], since or datetime.now(UTC))
    if not rows:
        raise NotFound("No such coach.")
    return _availability(rows[0])


async def find_openings(
    connection: Connection, practice_id: UUID, coach_ids: Sequence[UUID], *, since: datetime
) -> dict[UUID, Opening]:
    """Of many coaches at once, for the slot engine."""
    rows = await _read(connection, practice_id, coach_ids, since)
    return {row["coach_id"]: opening_of(_availability(row)) for row in rows}


async def _read(connection: Connection, practice_id: UUID, coach_ids: Sequence[UUID], since: datetime) -> list[Row]:
    day = (since - timedelta(days=1)).date()
    return list(await connection.fetch(LIST_AVAILABILITIES, practice_id, coach_ids, day, since))


def _availability(row: Row) -> Availability:
    values: dict[str, Any] = {n: DEFAULTS.get(n) if value is None else value for n, value in row.items()}
    values["weekly"] = _week(values["weekly"])
    values["overrides"] = [Override(o[0], o[1], _hours(orjson.loads(o[2]))) for o in row["overrides"]]
    values["time_off"] = [TimeOff(*entry) for entry in row["time_off"]]
    return Availability(**values)


def opening_of(availability: Availability) -> Opening:
    """The same for the slot engine."""
    a = availability
    return Opening(
        zone=ZoneInfo(a.timezone),
        weekly={number: _wall(getattr(a.weekly, name), name) for number, name in enumerate(WEEKDAYS, start=1)},
        overrides={o.day: _wall(o.hours, "hours") for o in a.overrides},
        time_off=[_interval(t) for t in a.time_off],
        increment_minutes=a.increment_minutes,
        min_notice=timedelta(minutes=a.min_notice_minutes),
        min_notice_days=a.min_notice_days,
        max_days_ahead=a.max_days_ahead,
        limits=Limits(
            per_day=a.max_per_day, per_week=a.max_per_week, per_month=a.max_per_month, per_year=a.max_per_year
        ),
    )


def minutes_of(wall_time: str) -> int:
    """540 of 09:00."""
    return int(wall_time[:2]) * 60 + int(wall_time[3:])


def _changed_values(changes: AvailabilityChanges) -> dict[str, Any]:
    values = changed_values(changes, clearable=CLEARABLE)
    if "weekly" in values:
        week: Week = values["weekly"]
        hours = {str(n): _wall(getattr(week, name), f"weekly.{name}") for n, name in enumerate(WEEKDAYS, start=1)}
        values["weekly"] = {number: wall for number, wall in hours.items() if wall}
    return values


async def _store(connection: Connection, practice_id: UUID, before: Availability, values: Mapping[str, Any]) -> None:
    names = ("timezone", "weekly", *(name for name in DEFAULTS if name not in ("weekly", "version")))
    weekly = {str(n): _wall(getattr(before.weekly, name), name) for n, name in enumerate(WEEKDAYS, start=1)}
    stored = {"weekly": {number: wall for number, wall in weekly.items() if wall}}
    after = [values[n] if n in values else stored.get(n, getattr(before, n)) for n in names]
    await connection.execute(UPSERT_AVAILABILITY, practice_id, before.coach_id, *after)


async def _delete(outbox: Outbox, actor: Actor, coach_id: UUID, sql: str, row_id: UUID, what: str) -> None:
    async with outbox.transaction() as tx:
        await _check_coach(tx.connection, actor, coach_id)
        if await tx.connection.fetchval(sql, actor.practice_id, coach_id, row_id) is None:
            raise NotFound("No such entry.")
        tx.record(_changed(actor, coach_id, [what]))


async def _check_coach(connection: Connection, actor: Actor, coach_id: UUID) -> None:
    actor.must_be(STAFF)
    own = coach_id == actor.user_id
    if not own and (actor.role is not Role.OWNER or not await is_coach(connection, actor.practice_id, coach_id)):
        raise NotFound("No such coach.")


def _wall(hours: Sequence[Hours], path: str) -> list[WallInterval]:
    """In minutes, in order. Raises Invalid for what ends before it begins."""
    wall = sorted((minutes_of(h.starts), minutes_of(h.ends)) for h in hours)
    if any(starts >= ends for starts, ends in wall):
        raise Invalid.field(path, "Each part of a day must end later than it begins; use 24:00 for midnight.")
    return wall


def _hours(wall: Sequence[Sequence[int]]) -> tuple[Hours, ...]:
    return tuple(Hours(starts=_text(low), ends=_text(high)) for low, high in wall)


def _text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _week(stored: Mapping[str, Sequence[Sequence[int]]]) -> Week:
    return Week(**{name: _hours(stored.get(str(n), ())) for n, name in enumerate(WEEKDAYS, start=1)})


def _interval(time_off: TimeOff) -> Interval:
    return time_off.starts_at, time_off.ends_at


def _changed(actor: Actor, coach_id: UUID, fields: Sequence[str]) -> Event:
    return Event(
        type=EventType.AVAILABILITY_CHANGED,
        practice_id=actor.practice_id,
        actor_id=actor.user_id,
        subject_id=coach_id,
        payload={"changed": list(fields)},
    )
