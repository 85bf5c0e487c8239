"""/api/v1/sessions/open: the groups to come."""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery
from wellio.practice.groups import OpenGroup, list_open_groups


async def list_open_groups_page(call: Call[NoInput, PageQuery]) -> Page[OpenGroup]:
    """The groups to come, with their places: a client's of their coach, staff's those they see."""
    return await list_open_groups(call.services.db, call.actor, call.query)


ROUTES = (
    Route(
        method="GET", path="/api/v1/sessions/open", handler=list_open_groups_page, tag="sessions", query=PageQuery,
        answer=Page[OpenGroup],
    ),
)  # fmt: skip
