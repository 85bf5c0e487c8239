"""/api/v1/oversight"""

from wellio.chat.oversight import (
    OWNERS,
    OverseenConversation,
    OverseenQuery,
    Oversight,
    OversightChanges,
    change_oversight,
    get_oversight,
    list_overseen,
    oversee_conversation,
)
from wellio.chat.values import Message
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery


async def get_message_oversight(call: Call[NoInput, NoInput]) -> Oversight:
    """Which conversations owners may read that they are not in."""
    return await get_oversight(call.services.db, call.actor)


async def patch_message_oversight(call: Call[OversightChanges, NoInput]) -> Oversight:
    """Change it; everybody can see which policy holds."""
    return await change_oversight(call.services.outbox, call.actor, call.body)


async def list_overseen_page(call: Call[NoInput, PageQuery]) -> Page[OverseenConversation]:
    """The conversations that the policy lets owners read."""
    return await list_overseen(call.services.db, call.actor, call.query)


async def list_overseen_messages_page(call: Call[NoInput, OverseenQuery]) -> Page[Message]:
    """A conversation's messages; the reading and its reason are recorded."""
    return await oversee_conversation(call.services.outbox, call.actor, call.ids["conversation_id"], call.query)


BASE = "/api/v1/oversight"
ROUTES = (
    Route(method="GET", path=BASE, handler=get_message_oversight, tag="oversight", answer=Oversight),
    Route(
        method="PATCH", path=BASE, handler=patch_message_oversight, tag="oversight", roles=OWNERS,
        body=OversightChanges, answer=Oversight,
    ),
    Route(
        method="GET", path=f"{BASE}/conversations", handler=list_overseen_page, tag="oversight", roles=OWNERS,
        query=PageQuery, answer=Page[OverseenConversation], reads=True,
    ),
    Route(
        method="GET", path=f"{BASE}/conversations/{{conversation_id}}/messages", handler=list_overseen_messages_page,
        tag="oversight", roles=OWNERS, query=OverseenQuery, answer=Page[Message], reads=True,
    ),
)  # fmt: skip
