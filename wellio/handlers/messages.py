"""/api/v1/messages"""

from uuid import UUID, uuid4, uuid5

from wellio.chat.history import get_message
from wellio.chat.message_changes import MessageEdit, delete_message, edit_message
from wellio.chat.reactions import one_emoji, set_reaction
from wellio.chat.receipts import UnreadCount, count_unread
from wellio.chat.stars import list_starred, set_star
from wellio.chat.values import Message, NewMessage, Words
from wellio.errors import Invalid
from wellio.handlers.routes import Call, NoInput, Reply, Route
from wellio.pages import Page, PageQuery

# Names derived from Idempotency-Keys; any constant UUID would do.
KEYS = UUID("7b0cf0c4-6b3e-5f0e-9f5c-1d0f4e1a2b3c")


class PostedMessage(Words):
    """`client_message_id`: your own name for the message; sent again, it is the same message."""

    conversation_id: UUID
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


async def _message_again(call: Call[PostedMessage, NoInput], message_id: UUID) -> Message:
    return await get_message(call.services.db, call.actor, message_id)


async def get_message_by_id(call: Call[NoInput, NoInput]) -> Message:
    """One message."""
    return await get_message(call.services.db, call.actor, call.ids["message_id"])


async def get_unread_count(call: Call[NoInput, NoInput]) -> UnreadCount:
    """How many messages of others the caller has not read, over all conversations."""
    return await count_unread(call.services.db, call.actor)


async def patch_message(call: Call[MessageEdit, NoInput]) -> Message:
    """Edit a message of one's own. The same words again change nothing."""
    services = call.services
    return (await edit_message(services.outbox, services.live, call.actor, call.ids["message_id"], call.body)).message


async def delete_message_by_id(call: Call[NoInput, NoInput]) -> Message:
    """Delete a message: one's own, or as an admin of the group. Its place stays, and nothing of what it held."""
    services = call.services
    return (await delete_message(services.outbox, services.live, call.actor, call.ids["message_id"])).message


async def put_reaction(call: Call[NoInput, NoInput]) -> Message:
    """React to a message with an emoji. What is set already stays as it is."""
    return await _react(call, on=True)


async def delete_reaction(call: Call[NoInput, NoInput]) -> Message:
    """Take a reaction back."""
    return await _react(call, on=False)


async def _react(call: Call[NoInput, NoInput], *, on: bool) -> Message:
    services, message_id = call.services, call.ids["message_id"]
    try:
        emoji = one_emoji(call.words["emoji"])
    except ValueError as error:
        raise Invalid.field("emoji", f"{error}".capitalize() + ".") from None
    return (await set_reaction(services.outbox, services.live, call.actor, message_id, emoji, on=on)).message


async def list_starred_page(call: Call[NoInput, PageQuery]) -> Page[Message]:
    """Messages that the caller has starred, the last first. Nobody else sees which."""
    return await list_starred(call.services.db, call.actor, call.query)


async def put_star(call: Call[NoInput, NoInput]) -> Message:
    """Star a message, for oneself."""
    services = call.services
    return await set_star(services.outbox, services.live, call.actor, call.ids["message_id"], on=True)


async def delete_star(call: Call[NoInput, NoInput]) -> Message:
    """Take one's star off a message."""
    services = call.services
    return await set_star(services.outbox, services.live, call.actor, call.ids["message_id"], on=False)


BASE = "/api/v1/messages"
ONE = f"{BASE}/{{message_id}}"
REACTION = f"{ONE}/reactions/{{emoji}}"
ROUTES = (
    Route(
        method="POST", path=BASE, handler=post_message, tag="messages",
        body=PostedMessage, answer=Message, status=201, creates=True, again=_message_again, errors=(404,),
        limit="messages",
    ),
    Route(method="GET", path=f"{BASE}/unread-count", handler=get_unread_count, tag="messages", answer=UnreadCount),
    Route(
        method="GET", path=f"{BASE}/starred", handler=list_starred_page, tag="messages",
        query=PageQuery, answer=Page[Message], reads=True,
    ),
    Route(method="PUT", path=f"{ONE}/star", handler=put_star, tag="messages", answer=Message, errors=(409,)),
    Route(method="DELETE", path=f"{ONE}/star", handler=delete_star, tag="messages", answer=Message),
    Route(method="GET", path=ONE, handler=get_message_by_id, tag="messages", answer=Message, reads=True),
    Route(
        method="PATCH", path=ONE, handler=patch_message, tag="messages",
        body=MessageEdit, answer=Message, errors=(409,),
    ),
    Route(method="DELETE", path=ONE, handler=delete_message_by_id, tag="messages", answer=Message),
    Route(method="PUT", path=REACTION, handler=put_reaction, tag="messages", answer=Message, errors=(409,)),
    Route(method="DELETE", path=REACTION, handler=delete_reaction, tag="messages", answer=Message),
)  # fmt: skip
