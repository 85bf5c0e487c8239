"""/api/v1/conversations"""

from uuid import UUID

from wellio.accounts.actors import STAFF
from wellio.chat.conversations import (
    Conversation,
    ConversationChanges,
    ConversationQuery,
    change_conversation,
    get_conversation,
)
from wellio.chat.drafts import OwnConversation, get_own_conversation, list_own_conversations
from wellio.chat.history import MessageQuery, list_messages
from wellio.chat.openings import NewConversation, open_conversation
from wellio.chat.receipts import (
    DeliveredUpTo,
    DeliveryState,
    ReadState,
    ReadUpTo,
    mark_conversation_delivered,
    mark_read,
)
from wellio.chat.values import Message
from wellio.handlers.routes import Call, NoInput, Reply, Route
from wellio.pages import Page


async def list_conversations_page(call: Call[NoInput, ConversationQuery]) -> Page[OwnConversation]:
    """The caller's conversations, the most recently active first."""
    return await list_own_conversations(call.services.db, call.services.sealer, call.actor, call.query)


async def post_conversation(call: Call[NewConversation, NoInput]) -> Reply:
    """Open a conversation. The direct one that two people have already is returned, with 200."""
    services = call.services
    opened = await open_conversation(services.outbox, services.live, call.actor, call.body, once=call.once)
    return Reply(opened.conversation, 201 if opened.created else 200)


async def _conversation_again(call: Call[NewConversation, NoInput], conversation_id: UUID) -> Conversation:
    return await get_conversation(call.services.db, call.actor, conversation_id)


async def get_conversation_by_id(call: Call[NoInput, NoInput]) -> OwnConversation:
    """One conversation."""
    services = call.services
    return await get_own_conversation(services.db, services.sealer, call.actor, call.ids["conversation_id"])


async def patch_conversation(call: Call[ConversationChanges, NoInput]) -> Conversation:
    """Change a group's title, or its slow mode."""
    return await change_conversation(
        call.services.outbox,
        call.services.live,
        call.actor,
        call.ids["conversation_id"],
        call.body,
        if_version=call.if_version,
    )


async def list_messages_page(call: Call[NoInput, MessageQuery]) -> Page[Message]:
    """A conversation's messages, newest first.

    By page or below before_seq; or oldest first above after_seq. With a cursor, limit is the page's length.
    """
    return await list_messages(call.services.db, call.actor, call.ids["conversation_id"], call.query)


async def post_conversation_read(call: Call[ReadUpTo, NoInput]) -> ReadState:
    """Mark a conversation as read up to a seq. It never moves back."""
    return await mark_read(call.services.db, call.services.live, call.actor, call.ids["conversation_id"], call.body)


async def post_conversation_delivered(call: Call[DeliveredUpTo, NoInput]) -> DeliveryState:
    """Tell that a device has a conversation up to a seq. It never moves back."""
    services, conversation_id = call.services, call.ids["conversation_id"]
    return await mark_conversation_delivered(services.db, services.live, call.actor, conversation_id, call.body)


BASE = "/api/v1/conversations"
ONE = f"{BASE}/{{conversation_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_conversations_page, tag="conversations",
        query=ConversationQuery, answer=Page[OwnConversation], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_conversation, tag="conversations",
        body=NewConversation, answer=Conversation, status=201, creates=True, again=_conversation_again,
    ),
    Route(
        method="GET", path=ONE, handler=get_conversation_by_id, tag="conversations", answer=OwnConversation, reads=True,
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_conversation, tag="conversations", roles=STAFF,
        body=ConversationChanges, answer=Conversation, errors=(412,),
    ),
    Route(
        method="GET", path=f"{ONE}/messages", handler=list_messages_page, tag="conversations",
        query=MessageQuery, answer=Page[Message], reads=True,
    ),
    Route(
        method="POST", path=f"{ONE}/read", handler=post_conversation_read, tag="conversations",
        body=ReadUpTo, answer=ReadState,
    ),
    Route(
        method="POST", path=f"{ONE}/delivered", handler=post_conversation_delivered, tag="conversations",
        body=DeliveredUpTo, answer=DeliveryState,
    ),
)  # fmt: skip
