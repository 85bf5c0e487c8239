"""/api/v1/home"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.practice.home import HomeSummary, home_summary


async def get_home_summary(call: Call[NoInput, NoInput]) -> HomeSummary:
    """Today at a glance, as far as the caller may see: figures, sessions, unread messages, revenue."""
    return await home_summary(call.services.db, call.actor)


ROUTES = (
    Route(
        method="GET", path="/api/v1/home/summary", handler=get_home_summary, tag="home",
        answer=HomeSummary, reads=True,
    ),
)  # fmt: skip
