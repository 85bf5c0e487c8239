"""Home: today at a glance, for an owner, a coach or a client.

The day is the viewer's, in their own time zone; the months of the ledger are the practice's, so that
everybody in it reads the same month.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.practices import get_practice
from wellio.accounts.users import get_user
from wellio.chat.receipts import count_unread
from wellio.db import Database, Row
from wellio.learning.attendance_rows import KNOWN_AT, PROBABILITY_AT
from wellio.learning.expected_attendance import (
    ExpectedAttendance,
    UnlikelyPlace,
    expected_attendance,
    list_unlikely_places,
)
from wellio.practice.analytics import utilisation_of
from wellio.practice.report_scope import coach_of
from wellio.practice.summary import rate

TODAY_LIMIT = 50
NEXT_LIMIT = 5

COUNT_CLIENTS = """
select count(*) filter (where c.status = 'active') as active,
       count(*) filter (where c.status = 'active' and c.created_at >= $4) as new,
       count(*) filter (
           where p.band = 'high' and p.status = 'ok' and c.status not in ('churned', 'archived')
       ) as at_risk
from visible_clients($1, $2, $3) c
left join predictions p on p.practice_id = $1 and p.client_id = c.id
"""

# $9 and $10: as in expected_attendance.py; clients are not told of it.
LIST_HOME_SESSIONS = """
select t.part, t.total, t.id, t.client_id, t.title, t.status, t.starts_at, t.ends_at, t.location, t.meeting_url,
       c.first_name || ' ' || c.last_name as client_name, u.name as coach_name, e.attendance
from (
    (select 'today' as part, count(*) over () as total, s.*
     from visible_sessions($1, $2, $3) s
     where s.starts_at >= $4 and s.starts_at < $5
       and s.status in ('scheduled', 'in_progress', 'completed', 'no_show')
     order by s.starts_at, s.id
     limit $7)
    union all
    (select 'next', 0, s.*
     from visible_sessions($1, $2, $3) s
     where s.starts_at > $6 and s.status = 'scheduled'
     order by s.starts_at, s.id
     limit $8)
) t
join users u on u.practice_id = $1 and u.id = t.coach_id
left join clients c on c.practice_id = $1 and c.id = t.client_id
left join lateral (
    select avg(b.numbers[$9]) as attendance
    from session_participants p
    join attendance_bookings b on b.practice_id = $1 and b.session_id = t.id and b.client_id = p.client_id
    where p.practice_id = $1 and p.session_id = t.id and p.status = 'booked' and b.attended is null
      and b.numbers[$10] = 1
) e on $2 <> 'client' and t.status in ('scheduled', 'in_progress') and t.ends_at > $6
order by t.starts_at, t.id
"""

SUM_PAYMENTS = """
select p.currency,
       coalesce(sum(p.net_minor) filter (where p.paid_at >= $5), 0)::bigint as this_month_minor,
       coalesce(sum(p.net_minor) filter (where p.paid_at < $5), 0)::bigint as last_month_minor,
       coalesce(sum(p.net_minor) filter (where p.paid_at < $6), 0)::bigint as last_month_so_far_minor
from visible_payments($1, $2, $3) p
where p.paid_at >= $4 and p.paid_at < $7
group by p.currency
order by p.currency
"""

COUNT_PLACES = """
select count(*) filter (where p.status = 'attended') as attended,
       count(*) filter (where p.status = 'no_show') as missed,
       count(*) filter (where p.status = 'late_cancelled') as late
from visible_sessions($1, $2, $3) s
join session_participants p on p.practice_id = $1 and p.session_id = s.id
where s.starts_at >= $4 and s.starts_at < $5
"""


@dataclass(frozen=True, slots=True)
class HomeSession:
    """`client_name` is null for a group session. `attendance`: the probability that the client comes, of a group the
    mean over its booked places; null for clients, for what is over, and where too little is known."""

    id: UUID
    client_id: UUID | None
    client_name: str | None
    coach_name: str
    title: str
    status: str
    starts_at: datetime
    ends_at: datetime
    location: str
    meeting_url: str
    attendance: float | None


@dataclass(frozen=True, slots=True)
class Revenue:
    """Payments minus refunds of one currency, in minor units. `last_month_so_far_minor`: up to the same moment."""

    currency: str
    this_month_minor: int
    last_month_minor: int
    last_month_so_far_minor: int


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """`new`: active ones added this month; `at_risk`: those whose predicted churn is in the high band."""

    active: int
    new: int
    at_risk: int


@dataclass(frozen=True, slots=True)
class MonthFigures:
    """Places of this month so far, and rates as of `GET /analytics/summary`: null where there is nothing to divide by.
    `utilisation` is of the days up to and with today."""

    attended: int
    attendance_rate: float | None
    no_show_rate: float | None
    utilisation: float | None


@dataclass(frozen=True, slots=True)
class HomeSummary:
    """What may be null is null for a client. The practice's currency comes first in `revenue`. `expected_today`: of
    today's sessions that are not over; `may_be_missed`: booked places of the next two days, the likeliest first."""

    practice_name: str
    timezone: str
    today: date
    clients: ClientFigures | None
    sessions_today: int
    today_sessions: Sequence[HomeSession]
    next_sessions: Sequence[HomeSession]
    unread_messages: int
    revenue: Sequence[Revenue] | None
    month: MonthFigures | None
    expected_today: ExpectedAttendance | None
    may_be_missed: Sequence[UnlikelyPlace] | None


@dataclass(frozen=True, slots=True)
class Calendar:
    """The moments between which today and the two months lie."""

    now: datetime
    today: date
    day_start: datetime
    day_end: datetime
    last_month: datetime
    same_moment_last_month: datetime
    this_month: datetime
    next_month: datetime
    practice_day_end: datetime


async def home_summary(db: Database, actor: Actor, *, now: datetime | None = None) -> HomeSummary:
    """Twelve queries for staff, four for a client, whatever the size of the practice."""
    practice = await get_practice(db, actor.practice_id)
    user = await get_user(db, actor.practice_id, actor.user_id)
    assert user is not None  # an actor is a user
    day_zone, month_zone = await load_zone(user.timezone), await load_zone(practice.timezone)
    calendar = calendar_at(now or datetime.now(UTC), day_zone=day_zone, month_zone=month_zone)
    total, today, following = await _sessions(db, actor, calendar)
    staff = actor.role in STAFF
    return HomeSummary(
        practice_name=practice.name,
        timezone=user.timezone,
        today=calendar.today,
        clients=await _client_figures(db, actor, calendar) if staff else None,
        sessions_today=total,
        today_sessions=today,
        next_sessions=following,
        unread_messages=(await count_unread(db, actor)).unread,
        revenue=await _revenue(db, actor, calendar, practice.currency) if staff else None,
        month=await _month(db, actor, calendar) if staff else None,
        expected_today=await _expected_today(db, actor, calendar) if staff else None,
        may_be_missed=await list_unlikely_places(db, actor, calendar.now) if staff else None,
    )


async def _expected_today(db: Database, actor: Actor, calendar: Calendar) -> ExpectedAttendance:
    bounds = (calendar.day_start, calendar.day_end, calendar.now)
    return await expected_attendance(db, actor.practice_id, coach_of(actor, None), *bounds)


async def _month(db: Database, actor: Actor, calendar: Calendar) -> MonthFigures:
    row = await db.fetchrow(COUNT_PLACES, *actor.scope, calendar.this_month, calendar.now)
    assert row is not None  # an aggregate
    expected = row["attended"] + row["missed"] + row["late"]
    return MonthFigures(
        attended=row["attended"],
        attendance_rate=rate(row["attended"], expected),
        no_show_rate=rate(row["missed"], expected),
        utilisation=await utilisation_of(db, actor, calendar.this_month, calendar.practice_day_end),
    )


async def load_zone(name: str) -> ZoneInfo:
    """In a thread: the first use of a zone reads a file."""
    return await asyncio.to_thread(ZoneInfo, name)


def calendar_at(now: datetime, *, day_zone: ZoneInfo, month_zone: ZoneInfo) -> Calendar:
    """Boundaries are local midnights, so a day has 23 or 25 hours where the clocks change."""
    today = now.astimezone(day_zone).date()
    first = now.astimezone(month_zone).date().replace(day=1)
    this_month = _midnight(first, month_zone)
    last_month = _midnight((first - timedelta(days=1)).replace(day=1), month_zone)
    return Calendar(
        now=now,
        today=today,
        day_start=_midnight(today, day_zone),
        day_end=_midnight(today + timedelta(days=1), day_zone),
        last_month=last_month,
        same_moment_last_month=min(last_month + (now - this_month), this_month),
        this_month=this_month,
        next_month=_midnight((first + timedelta(days=32)).replace(day=1), month_zone),
        practice_day_end=_midnight(now.astimezone(month_zone).date() + timedelta(days=1), month_zone),
    )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    # In UTC: the difference of two local times of one zone ignores the clock change between them.
    return datetime.combine(day, time(), zone).astimezone(UTC)


async def _client_figures(db: Database, actor: Actor, calendar: Calendar) -> ClientFigures:
    row = await db.fetchrow(COUNT_CLIENTS, *actor.scope, calendar.this_month)
    assert row is not None  # an aggregate
    return ClientFigures(row["active"], row["new"], row["at_risk"])


async def _sessions(db: Database, actor: Actor, calendar: Calendar) -> tuple[int, list[HomeSession], list[HomeSession]]:
    """How many there are today, the first of them, and the next ones from now on."""
    bounds = (calendar.day_start, calendar.day_end, calendar.now)
    rows = await db.fetch(LIST_HOME_SESSIONS, *actor.scope, *bounds, TODAY_LIMIT, NEXT_LIMIT, PROBABILITY_AT, KNOWN_AT)
    today = [row for row in rows if row["part"] == "today"]
    following = [row for row in rows if row["part"] == "next"]
    return today[0]["total"] if today else 0, [_session(r) for r in today], [_session(r) for r in following]


async def _revenue(db: Database, actor: Actor, calendar: Calendar, currency: str) -> list[Revenue]:
    rows = await db.fetch(
        SUM_PAYMENTS,
        *actor.scope,
        calendar.last_month,
        calendar.this_month,
        calendar.same_moment_last_month,
        calendar.next_month,
    )
    of = {row["currency"]: Revenue(**dict(row)) for row in rows}
    return [of.pop(currency, Revenue(currency, 0, 0, 0)), *of.values()]


def _session(row: Row) -> HomeSession:
    return HomeSession(
        id=row["id"],
        client_id=row["client_id"],
        client_name=row["client_name"],
        coach_name=row["coach_name"],
        title=row["title"],
        status=row["status"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        location=row["location"],
        meeting_url=row["meeting_url"],
        attendance=row["attendance"],
    )
