"""What a report is asked for, and of whom: a period of the practice's calendar, and one coach's part or all.

An owner sees all coaches or one, a coach themself; what is counted "of a coach" are sessions of theirs, and of clients,
payments and charges those of the clients whom they have today.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from wellio.accounts.actors import STAFF, Actor, Role
from wellio.accounts.practices import get_practice
from wellio.db import Connection
from wellio.errors import Invalid
from wellio.pages import PageQuery
from wellio.practice.summary import PeriodName, Span, ahead_of, preceded, spans_of
from wellio.practice.wall_clock import local_date
from wellio.values import Input

MAX_DAYS = 400
DEFAULT_PERIOD: PeriodName = "this_month"
FIRST_DAY, LAST_DAY = date(1990, 1, 1), date(2190, 1, 1)

LIST_COACHES = """
select u.id, u.name
from users u
where u.practice_id = $1 and u.role in ('owner', 'coach') and ($2::uuid is null or u.id = $2)
order by u.name, u.id
"""


class CoachQuery(Input):
    """Without `coach_id` of all whom one may see."""

    coach_id: UUID | None = None


class PeriodQuery(CoachQuery):
    """A named `period`, or the dates `from` (inclusive) and `to` (exclusive) of the practice's calendar."""

    period: PeriodName | None = None
    from_: date | None = Field(default=None, alias="from")
    to: date | None = None


class PeriodPageQuery(PeriodQuery, PageQuery):
    """The same, page by page."""


class CoachPageQuery(CoachQuery, PageQuery):
    """Of all time, page by page."""


@dataclass(frozen=True, slots=True)
class Coach:
    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class ReportScope:
    """`coach_id`: whose, or None for all. `coaches` are those that it takes in; `today` is the practice's."""

    practice_id: UUID
    coach_id: UUID | None
    coaches: tuple[Coach, ...]
    zone: ZoneInfo
    currency: str
    today: date

    def spans(self, query: PeriodQuery) -> tuple[Span, Span, Span]:
        """The period and the two before it. Raises Invalid."""
        return _spans(query, self.today)

    def ahead(self, query: PeriodQuery) -> Span | None:
        """What is still to come of the period, or else follows it; None more than a year ahead. Raises Invalid."""
        period = query.period if query.from_ else query.period or DEFAULT_PERIOD
        return ahead_of(period, self.spans(query)[0], self.today)

    def bounds(self, query: PeriodQuery) -> tuple[datetime, datetime]:
        """The instants of the period, half-open. Raises Invalid."""
        return self.spans(query)[0].instants(self.zone)


async def report_scope(
    connection: Connection, actor: Actor, query: CoachQuery, *, now: datetime | None = None
) -> ReportScope:
    """Two queries. Raises Forbidden, and Invalid for a coach that is not the actor's to see."""
    actor.must_be(STAFF)
    coach_id = coach_of(actor, query.coach_id)
    practice = await get_practice(connection, actor.practice_id)
    zone = await asyncio.to_thread(ZoneInfo, practice.timezone)
    coaches = await connection.fetch(LIST_COACHES, actor.practice_id, coach_id)
    if not coaches:
        raise Invalid.field("query.coach_id", "No such coach in this practice.")
    return ReportScope(
        practice_id=actor.practice_id,
        coach_id=coach_id,
        coaches=tuple(Coach(row["id"], row["name"]) for row in coaches),
        zone=zone,
        currency=practice.currency,
        today=local_date(zone, now or datetime.now(UTC)),
    )


def coach_of(actor: Actor, coach_id: UUID | None) -> UUID | None:
    """Of an owner whom they name, or None for all; of a coach themself. Raises Invalid."""
    if actor.role is Role.OWNER:
        return coach_id
    if coach_id not in (None, actor.user_id):
        raise Invalid.field("query.coach_id", "No such coach in this practice.")
    return actor.user_id


def _spans(query: PeriodQuery, today: date) -> tuple[Span, Span, Span]:
    if query.from_ is None and query.to is None:
        return spans_of(query.period or DEFAULT_PERIOD, today)
    if query.period is not None:
        raise Invalid.field("query.period", "Give either a period, or from and to.")
    if query.from_ is None or query.to is None:
        raise Invalid.field("query.to" if query.to is None else "query.from", "Give both from and to.")
    if not FIRST_DAY <= query.from_ < query.to <= LAST_DAY:
        raise Invalid.field("query.to", f"Must be later than from, and both between {FIRST_DAY} and {LAST_DAY}.")
    if (query.to - query.from_).days > MAX_DAYS:
        raise Invalid.field("query.to", f"Must be at most {MAX_DAYS} days after from.")
    return preceded(Span(query.from_, query.to))
