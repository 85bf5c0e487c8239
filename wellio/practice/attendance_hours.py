"""Attendance by weekday and hour: when people come, and when they don't."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from wellio.accounts.actors import Actor
from wellio.db import Database, Row
from wellio.practice.report_scope import PeriodQuery, report_scope
from wellio.practice.summary import rate

# Of places that were not cancelled in time. The second half of an hour that comes twice counts with the first.
COUNT_PLACES_BY_HOUR = """
select extract(isodow from l.at)::int as weekday, extract(hour from l.at)::int as hour,
       count(distinct s.id) as sessions,
       count(*) filter (where p.status = 'attended') as attended,
       count(*) filter (where p.status = 'no_show') as missed,
       count(*) filter (where p.status = 'late_cancelled') as late
from sessions s
cross join lateral (select s.starts_at at time zone $3 as at) l
join session_participants p on p.practice_id = s.practice_id and p.session_id = s.id
where s.practice_id = $1 and ($2::uuid is null or s.coach_id = $2) and s.starts_at >= $4 and s.starts_at < $5
  and p.status in ('attended', 'no_show', 'late_cancelled')
group by weekday, hour
order by weekday, hour
"""


@dataclass(frozen=True, slots=True)
class AttendanceHour:
    """`weekday` from 1, Monday; `hour` of the practice's clock at which sessions begin. Rates are of the places."""

    weekday: int
    hour: int
    sessions: int
    attended: int
    missed: int
    late: int
    attendance_rate: float
    no_show_rate: float


@dataclass(frozen=True, slots=True)
class AttendanceHours:
    """Hours in which there was nothing are left out."""

    timezone: str
    from_date: date
    to_date: date
    hours: Sequence[AttendanceHour]


async def attendance_hours(db: Database, actor: Actor, query: PeriodQuery) -> AttendanceHours:
    """An owner's is of all sessions or of a coach's, a coach's of their own. Raises Invalid. Three queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        span = scope.spans(query)[0]
        rows = await connection.fetch(
            COUNT_PLACES_BY_HOUR, scope.practice_id, scope.coach_id, scope.zone.key, *span.instants(scope.zone)
        )
    return AttendanceHours(scope.zone.key, span.first, span.end, [_hour(row) for row in rows])


def _hour(row: Row) -> AttendanceHour:
    places = row["attended"] + row["missed"] + row["late"]
    return AttendanceHour(
        **dict(row),
        attendance_rate=rate(row["attended"], places) or 0.0,
        no_show_rate=rate(row["missed"], places) or 0.0,
    )
