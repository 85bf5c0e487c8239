"""/api/v1/session-series"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.practice.series import Series, get_series


async def get_session_series(call: Call[NoInput, NoInput]) -> Series:
    """A series: its rule, and those of its sessions that the caller may see."""
    return await get_series(call.services.db, call.actor, call.ids["series_id"])


ROUTES = (
    Route(
        method="GET", path="/api/v1/session-series/{series_id}", handler=get_session_series, tag="sessions",
        answer=Series, reads=True,
    ),
)  # fmt: skip
