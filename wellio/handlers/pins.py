"""/api/v1/conversations/{conversation_id}/pins"""

from wellio.chat.conversations import Conversation
from wellio.chat.pins import list_pins, set_pin
from wellio.chat.values import Message
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery


async def list_pins_page(call: Call[NoInput, PageQuery]) -> Page[Message]:
    """A conversation's pinned messages, the last pinned first."""
    return await list_pins(call.services.db, call.actor, call.ids["conversation_id"], call.query)


async def put_pin(call: Call[NoInput, NoInput]) -> Conversation:
    """Pin a message for all of the conversation; in a group as its admin, or staff."""
    return await _pin(call, on=True)


async def delete_pin(call: Call[NoInput, NoInput]) -> Conversation:
    """Unpin a message."""
    return await _pin(call, on=False)


async def _pin(call: Call[NoInput, NoInput], *, on: bool) -> Conversation:
    services, ids = call.services, call.ids
    return await set_pin(services.outbox, services.live, call.actor, ids["conversation_id"], ids["message_id"], on=on)


BASE = "/api/v1/conversations/{conversation_id}/pins"
ONE = f"{BASE}/{{message_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_pins_page, tag="conversations",
        query=PageQuery, answer=Page[Message], reads=True,
    ),
    Route(method="PUT", path=ONE, handler=put_pin, tag="conversations", answer=Conversation, errors=(409,)),
    Route(method="DELETE", path=ONE, handler=delete_pin, tag="conversations", answer=Conversation),
)  # fmt: skip
