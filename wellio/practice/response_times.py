"""Response times: how long clients wait for a coach's answer to what they write. By times alone, never by words."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.db import Database, Row
from wellio.practice.availability import find_openings
from wellio.practice.report_scope import PeriodQuery, ReportScope, report_scope
from wellio.practice.slots import Opening, open_intervals

OpenHours = tuple[UUID, datetime, datetime]

# A question is the first of the messages that a client sends in a row, in a conversation of two with somebody of the
# staff, and the answer the next message of the other one, whenever it comes. $5 to $7: the coaches' hours.
SUM_RESPONSE_TIMES = """
with hours as (
    select h.coach_id, range_agg(tstzrange(h.first, h.until)) as open
    from unnest($5::uuid[], $6::timestamptz[], $7::timestamptz[]) h (coach_id, first, until)
    group by h.coach_id
), talks as (
    select c.id, u.id as coach_id
    from conversations c
    join conversation_members m on m.practice_id = $1 and m.conversation_id = c.id
    join users u on u.practice_id = $1 and u.id = m.user_id and u.role in ('owner', 'coach')
    join conversation_members o on o.practice_id = $1 and o.conversation_id = c.id and o.user_id <> u.id
    join users a on a.practice_id = $1 and a.id = o.user_id and a.role = 'client'
    where c.practice_id = $1 and c.kind = 'direct' and ($2::uuid is null or u.id = $2) and c.last_message_at >= $3
), turns as (
    select * from (
        select t.coach_id, t.id, m.seq, m.created_at, m.sender_id = t.coach_id as answers,
               lag(m.sender_id) over (partition by t.id order by m.seq) is not distinct from m.sender_id as goes_on
        from talks t
        join messages m on m.practice_id = $1 and m.conversation_id = t.id and m.created_at >= $3
    ) m
    where not goes_on
), questions as (
    select t.coach_id, t.created_at as asked_at,
           lead(t.created_at) over (partition by t.coach_id, t.id order by t.seq) as answered_at, t.answers
    from turns t
), timed as (
    select q.coach_id, coalesce(h.open @> q.asked_at, false) as in_hours,
           extract(epoch from q.answered_at - q.asked_at)::float8 as seconds
    from questions q
    left join hours h on h.coach_id = q.coach_id
    where not q.answers and q.asked_at < $4
)
select coach_id, in_hours, count(*) as questions, count(seconds) as answered,
       percentile_cont(0.5) within group (order by seconds) as median_s,
       percentile_cont(0.9) within group (order by seconds) as p90_s
from timed
group by grouping sets ((coach_id, in_hours), (coach_id), (in_hours), ())
"""


@dataclass(frozen=True, slots=True)
class Answering:
    """`median_s` and `p90_s` are of the questions that were answered: half, and nine in ten, took no longer."""

    questions: int
    answered: int
    median_s: int | None
    p90_s: int | None


@dataclass(frozen=True, slots=True)
class ResponseFigures:
    """`in_hours`: of questions that came while the coach could be booked by their hours, as they are set today."""

    all: Answering
    in_hours: Answering
    out_of_hours: Answering


@dataclass(frozen=True, slots=True)
class CoachResponses:
    coach_id: UUID
    coach_name: str
    figures: ResponseFigures


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    timezone: str
    from_date: date
    to_date: date
    total: ResponseFigures
    by_coach: Sequence[CoachResponses]


async def response_times(db: Database, actor: Actor, query: PeriodQuery) -> ResponseTimes:
    """An owner's are of all coaches or of one, a coach's their own. Raises Invalid. Four queries."""
    async with db.connection() as connection:
        scope = await report_scope(connection, actor, query)
        span = scope.spans(query)[0]
        first, end = span.instants(scope.zone)
        openings = await find_openings(connection, scope.practice_id, [c.id for c in scope.coaches], since=first)
        hours = await asyncio.to_thread(lambda: list(_hours(openings, first, end)))
        rows = await connection.fetch(
            SUM_RESPONSE_TIMES, scope.practice_id, scope.coach_id, first, end, *_columns(hours)
        )
    found = {(row["coach_id"], row["in_hours"]): row for row in rows}
    return ResponseTimes(
        timezone=scope.zone.key,
        from_date=span.first,
        to_date=span.end,
        total=_figures(found, None),
        by_coach=_by_coach(found, scope),
    )


def _hours(openings: Mapping[UUID, Opening], first: datetime, end: datetime) -> Iterator[OpenHours]:
    for coach_id, opening in openings.items():
        for since, until in open_intervals(opening, first, end):
            yield coach_id, since, until


def _columns(hours: Sequence[OpenHours]) -> tuple[list[UUID], list[datetime], list[datetime]]:
    return [h[0] for h in hours], [h[1] for h in hours], [h[2] for h in hours]


def _by_coach(found: Mapping[tuple[UUID | None, bool | None], Row], scope: ReportScope) -> list[CoachResponses]:
    asked = [coach for coach in scope.coaches if (coach.id, None) in found]
    return [CoachResponses(coach.id, coach.name, _figures(found, coach.id)) for coach in asked]


def _figures(found: Mapping[tuple[UUID | None, bool | None], Row], coach_id: UUID | None) -> ResponseFigures:
    return ResponseFigures(*(_answering(found.get((coach_id, when))) for when in (None, True, False)))


def _answering(row: Row | None) -> Answering:
    if row is None:
        return Answering(0, 0, None, None)
    times = (None if row[name] is None else round(row[name]) for name in ("median_s", "p90_s"))
    return Answering(row["questions"], row["answered"], *times)
