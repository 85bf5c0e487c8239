"""/api/v1/clients/{client_id}/timeline"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.practice.timeline import Timeline, TimelineQuery, read_timeline


async def get_timeline(call: Call[NoInput, TimelineQuery]) -> Timeline:
    """What happened with a client, newest first."""
    return await read_timeline(call.services.db, call.actor, call.ids["client_id"], call.query)


ROUTES = (
    Route(
        method="GET", path="/api/v1/clients/{client_id}/timeline", handler=get_timeline, tag="clients",
        query=TimelineQuery, answer=Timeline, reads=True,
    ),
)  # fmt: skip
