"""The outlook: what the models let expect of the days ahead, beside the figures of the summary.

A forecast of a large practice takes some 200 ms: it is kept for KEEP, so that the summary is as quick as without it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID

from wellio.db import Connection
from wellio.learning.expected_attendance import ExpectedAttendance, expected_attendance
from wellio.practice.report_scope import ReportScope
from wellio.practice.revenue_forecasts import forecast_span
from wellio.practice.summary import Span

KEEP = timedelta(minutes=10)
KEPT_FORECASTS = 10_000

# As those whom GET /predictions/churn lists. $2: a coach's, or null for all.
COUNT_RISKS = """
select count(*) as foretold, count(*) filter (where p.band = 'high') as at_risk
from clients c
join predictions p on p.practice_id = c.practice_id and p.client_id = c.id and p.status = 'ok'
where c.practice_id = $1 and ($2::uuid is null or c.coach_id = $2) and c.status not in ('churned', 'archived')
"""


@dataclass(frozen=True, slots=True)
class ExpectedRevenue:
    """What will be paid, net of refunds, as in the revenue forecast, as it was worked out at `as_of`: amounts are null
    with not_enough_history, and `message` says what lacks."""

    status: Literal["ok", "not_enough_history"]
    message: str
    currency: str
    point_minor: int | None
    low_80_minor: int | None
    high_80_minor: int | None
    as_of: datetime


@dataclass(frozen=True, slots=True)
class ExpectedChurn:
    """`at_risk`: clients whose risk is in the high band today, of the `foretold`; null where nobody is."""

    status: Literal["ok", "not_enough_history"]
    foretold: int
    at_risk: int | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Of the days of the practice from `from_date` to `to_date` (exclusive); `attendance` of sessions not yet over."""

    from_date: date
    to_date: date
    attendance: ExpectedAttendance
    revenue: ExpectedRevenue
    churn: ExpectedChurn


# Whose: practice, coach or None for all; and which days.
_Key = tuple[UUID, UUID | None, str, Span]


class Forecasts:
    """Revenue forecasts of spans of days, each kept for a while."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, ExpectedRevenue] = OrderedDict()

    async def of(self, connection: Connection, scope: ReportScope, span: Span, now: datetime) -> ExpectedRevenue:
        """At most KEEP old. Six queries if there is none."""
        key = scope.practice_id, scope.coach_id, scope.currency, span
        kept = self._kept.get(key)
        if kept is None or not timedelta(0) <= now - kept.as_of < KEEP:
            kept = self._kept[key] = await _expected_revenue(connection, scope, span, now)
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT_FORECASTS:
                self._kept.popitem(last=False)
        return kept


async def outlook(
    connection: Connection, scope: ReportScope, span: Span | None, forecasts: Forecasts, now: datetime
) -> Outlook | None:
    """Of the scope's coach or of all. Two queries, and the forecast's. None without a span."""
    if span is None:
        return None
    first, end = span.instants(scope.zone)
    return Outlook(
        from_date=span.first,
        to_date=span.end,
        attendance=await expected_attendance(connection, scope.practice_id, scope.coach_id, first, end, now),
        revenue=await forecasts.of(connection, scope, span, now),
        churn=await _expected_churn(connection, scope),
    )


async def _expected_revenue(connection: Connection, scope: ReportScope, span: Span, now: datetime) -> ExpectedRevenue:
    found = await forecast_span(connection, scope, span)
    last = found.periods[-1] if found.periods else None
    return ExpectedRevenue(
        status=found.status,
        message=found.message,
        currency=found.currency,
        point_minor=last.point_minor if last else None,
        low_80_minor=last.low_80_minor if last else None,
        high_80_minor=last.high_80_minor if last else None,
        as_of=now,
    )


async def _expected_churn(connection: Connection, scope: ReportScope) -> ExpectedChurn:
    row = await connection.fetchrow(COUNT_RISKS, scope.practice_id, scope.coach_id)
    assert row is not None  # an aggregate
    if not row["foretold"]:
        return ExpectedChurn("not_enough_history", 0, None)
    return ExpectedChurn("ok", row["foretold"], row["at_risk"])
