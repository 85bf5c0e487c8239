"""/api/v1/messages"""

from uuid import UUID, uuid4, uuid5

from wellio.chat.history import get_message
from wellio.chat.receipts import UnreadCount, count_unread
from wellio.chat.values import Body, Message, NewMessage
from wellio.handlers.routes import Call, NoInput, Reply, Route
from wellio.values import Input

# Names derived from Idempotency-Keys; any constant UUID would do.
KEYS = UUID("7b0cf0c4-6b3e-5f0e-9f5c-1d0f4e1a2b3c")


class PostedMessage(Input):
    """`client_message_id`: your own name for the message; sent again, it is the same message."""

    conversation_id: UUID
    body: Body
    client_message_id: UUID | None = None
    reply_to: UUID | None = None


async def post_message(call: Call[PostedMessage, NoInput]) -> Reply:
    """Send a message. A repeat of the same client_message_id is answered with 200 and the first message."""
    new = NewMessage(**call.body.model_dump() | {"client_message_id": _name(call)})
    sent = await call.services.messages.send(call.actor, new, once=call.once)
    return Reply(sent.message, 200 if sent.duplicate else 201)


def _name(call: Call[PostedMessage, NoInput]) -> UUID:
    """What the message is known by: given, made from the Idempotency-Key, or random."""
    if call.body.client_message_id is not None:
        return call.body.client_message_id
    return uuid5(KEYS, f"{call.once.user_id}/{call.once.key}") if call.once else uuid4()


async def get_message_by_id(call: Call[NoInput, NoInput]) -> Message:
    """One message."""
    return await get_message(call.services.db, call.actor, call.ids["message_id"])


async def get_unread_count(call: Call[NoInput, NoInput]) -> UnreadCount:
    """How many messages of others the caller has not read, over all conversations."""
    return await count_unread(call.services.db, call.actor)


BASE = "/api/v1/messages"
ROUTES = (
    Route(
        method="POST", path=BASE, handler=post_message, tag="messages",
        body=PostedMessage, answer=Message, status=201, creates=True, errors=(404,),
    ),
    Route(method="GET", path=f"{BASE}/unread-count", handler=get_unread_count, tag="messages", answer=UnreadCount),
    Route(
        method="GET", path=f"{BASE}/{{message_id}}", handler=get_message_by_id, tag="messages",
        answer=Message, reads=True,
    ),
)  # fmt: skip
