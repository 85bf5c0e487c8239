"""/api/v1/analytics"""

from datetime import UTC, datetime

from wellio.accounts.actors import STAFF
from wellio.audit import Outcome
from wellio.handlers.routes import Call, NoInput, Route, Stream
from wellio.learning.optimal_scheduling import OptimalQuery, OptimalScheduling, recommend_slots
from wellio.pages import Page
from wellio.practice.analytics import Summary, analytics_summary
from wellio.practice.attendance_hours import AttendanceHours, attendance_hours
from wellio.practice.export_formats import MEDIA
from wellio.practice.exports import ExportQuery, export
from wellio.practice.lifetime_values import (
    CohortValueQuery,
    CohortValues,
    LifetimeValue,
    cohort_values,
    list_lifetime_values,
)
from wellio.practice.onboarding_funnel import OnboardingFunnel, onboarding_funnel
from wellio.practice.report_scope import CoachPageQuery, PeriodPageQuery, PeriodQuery
from wellio.practice.response_times import ResponseTimes, response_times
from wellio.practice.retention import CohortQuery, Retention, retention
from wellio.practice.revenue_figures import (
    ClientRevenue,
    RevenueByCoach,
    RevenueByPlan,
    list_revenue_by_client,
    revenue_by_coach,
    revenue_by_plan,
)
from wellio.practice.revenue_forecasts import RevenueForecast, RevenueForecastQuery, forecast_revenue


async def get_analytics_summary(call: Call[NoInput, PeriodQuery]) -> Summary:
    """How the practice did in a period and in the one before, by coach too, and what to expect; a coach's own."""
    return await analytics_summary(call.services.db, call.actor, call.query, call.services.forecasts)


async def get_attendance_hours(call: Call[NoInput, PeriodQuery]) -> AttendanceHours:
    """Attendance and no-shows by weekday and hour."""
    return await attendance_hours(call.services.db, call.actor, call.query)


async def get_retention(call: Call[NoInput, CohortQuery]) -> Retention:
    """Cohorts by month of the first session or of the entry, and how many of each still attend, month by month."""
    return await retention(call.services.db, call.actor, call.query)


async def list_client_revenue_page(call: Call[NoInput, PeriodPageQuery]) -> Page[ClientRevenue]:
    """What each client paid in a period, the highest first."""
    return await list_revenue_by_client(call.services.db, call.actor, call.query)


async def get_coach_revenue(call: Call[NoInput, PeriodQuery]) -> RevenueByCoach:
    """What the clients of each coach paid in a period."""
    return await revenue_by_coach(call.services.db, call.actor, call.query)


async def get_plan_revenue(call: Call[NoInput, PeriodQuery]) -> RevenueByPlan:
    """What was charged in a period for each plan and package, for sessions and by hand."""
    return await revenue_by_plan(call.services.db, call.actor, call.query)


async def list_lifetime_values_page(call: Call[NoInput, CoachPageQuery]) -> Page[LifetimeValue]:
    """What each client has paid since they came, the highest first."""
    return await list_lifetime_values(call.services.db, call.actor, call.query)


async def get_cohort_values(call: Call[NoInput, CohortValueQuery]) -> CohortValues:
    """What the clients of each month of entry have paid, month by month since."""
    return await cohort_values(call.services.db, call.actor, call.query)


async def get_response_times(call: Call[NoInput, PeriodQuery]) -> ResponseTimes:
    """How long clients waited for a coach's answer, in and out of the coach's hours."""
    return await response_times(call.services.db, call.actor, call.query)


async def get_onboarding_funnel(call: Call[NoInput, PeriodQuery]) -> OnboardingFunnel:
    """How far the clients came who were added in a period."""
    return await onboarding_funnel(call.services.db, call.actor, call.query)


async def get_revenue_forecast(call: Call[NoInput, RevenueForecastQuery]) -> RevenueForecast:
    """What will be paid in the months or weeks ahead, between which bounds, and what it is made up of."""
    return await forecast_revenue(call.services.db, call.actor, call.query)


async def get_analytics_export(call: Call[NoInput, ExportQuery]) -> Stream:
    """A dataset as a file: CSV, JSON Lines or an Excel workbook, streamed."""
    query = call.query
    call.services.audit.note(Outcome.READ, dataset=query.dataset, format=query.format)
    name = f"{query.dataset}-{datetime.now(UTC):%Y-%m-%d}.{query.format}"
    return Stream(export(call.services.exports, call.actor, query), name, MEDIA[query.format])


async def get_optimal_scheduling(call: Call[NoInput, OptimalQuery]) -> OptimalScheduling:
    """The bookable times at which the client most likely comes, the best first, each with why."""
    return await recommend_slots(call.services.db, call.actor, call.query)


BASE = "/api/v1/analytics"
ROUTES = (
    Route(
        method="GET", path=f"{BASE}/summary", handler=get_analytics_summary, tag="analytics", roles=STAFF,
        query=PeriodQuery, answer=Summary,
    ),
    Route(
        method="GET", path=f"{BASE}/export", handler=get_analytics_export, tag="analytics", roles=STAFF,
        query=ExportQuery, answer=Stream, media=",".join(MEDIA.values()), limit="exports", fresh=True, api_keys=False,
    ),
    Route(
        method="GET", path=f"{BASE}/attendance", handler=get_attendance_hours, tag="analytics", roles=STAFF,
        query=PeriodQuery, answer=AttendanceHours,
    ),
    Route(
        method="GET", path=f"{BASE}/retention", handler=get_retention, tag="analytics", roles=STAFF,
        query=CohortQuery, answer=Retention,
    ),
    Route(
        method="GET", path=f"{BASE}/revenue/clients", handler=list_client_revenue_page, tag="analytics",
        roles=STAFF, query=PeriodPageQuery, answer=Page[ClientRevenue], reads=True,
    ),
    Route(
        method="GET", path=f"{BASE}/revenue/coaches", handler=get_coach_revenue, tag="analytics", roles=STAFF,
        query=PeriodQuery, answer=RevenueByCoach,
    ),
    Route(
        method="GET", path=f"{BASE}/revenue/plans", handler=get_plan_revenue, tag="analytics", roles=STAFF,
        query=PeriodQuery, answer=RevenueByPlan,
    ),
    Route(
        method="GET", path=f"{BASE}/lifetime-values", handler=list_lifetime_values_page, tag="analytics",
        roles=STAFF, query=CoachPageQuery, answer=Page[LifetimeValue], reads=True,
    ),
    Route(
        method="GET", path=f"{BASE}/lifetime-values/cohorts", handler=get_cohort_values, tag="analytics",
        roles=STAFF, query=CohortValueQuery, answer=CohortValues,
    ),
    Route(
        method="GET", path=f"{BASE}/response-times", handler=get_response_times, tag="analytics", roles=STAFF,
        query=PeriodQuery, answer=ResponseTimes,
    ),
    Route(
        method="GET", path=f"{BASE}/onboarding", handler=get_onboarding_funnel, tag="analytics", roles=STAFF,
        query=PeriodQuery, answer=OnboardingFunnel,
    ),
    Route(
        method="GET", path=f"{BASE}/revenue-forecast", handler=get_revenue_forecast, tag="analytics",
        roles=STAFF, query=RevenueForecastQuery, answer=RevenueForecast,
    ),
    Route(
        method="GET", path=f"{BASE}/optimal-scheduling", handler=get_optimal_scheduling, tag="analytics", roles=STAFF,
        query=OptimalQuery, answer=OptimalScheduling, reads=True,
    ),
)  # fmt: skip
