"""/api/v1/mentions"""

from wellio.chat.mentions import list_mentions
from wellio.chat.values import Message
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery


async def list_mentions_page(call: Call[NoInput, PageQuery]) -> Page[Message]:
    """Messages that mention the caller, the newest first."""
    return await list_mentions(call.services.db, call.actor, call.query)


ROUTES = (
    Route(
        method="GET", path="/api/v1/mentions", handler=list_mentions_page, tag="messages",
        query=PageQuery, answer=Page[Message], reads=True,
    ),
)  # fmt: skip
