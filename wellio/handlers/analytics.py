"""/api/v1/analytics"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.practice.analytics import Summary, SummaryQuery, analytics_summary


async def get_analytics_summary(call: Call[NoInput, SummaryQuery]) -> Summary:
    """How the practice did in a period and in the one before, in all and by coach; a coach's own figures."""
    return await analytics_summary(call.services.db, call.actor, call.query)


ROUTES = (
    Route(
        method="GET", path="/api/v1/analytics/summary", handler=get_analytics_summary, tag="analytics", roles=STAFF,
        query=SummaryQuery, answer=Summary,
    ),
)  # fmt: skip
