"""/api/v1/conversations/{conversation_id}/mute and …/archive"""

from wellio.chat.conversation_settings import (
    ConversationSettings,
    Mute,
    archive_conversation,
    mute_conversation,
    unmute_conversation,
)
from wellio.handlers.conversations import ONE as CONVERSATION
from wellio.handlers.routes import Call, NoInput, Route


async def put_conversation_mute(call: Call[Mute, NoInput]) -> ConversationSettings:
    """Mute a conversation for the caller, until a time or until it is unmuted."""
    services = call.services
    return await mute_conversation(services.outbox, services.live, call.actor, call.ids["conversation_id"], call.body)


async def delete_conversation_mute(call: Call[NoInput, NoInput]) -> ConversationSettings:
    """Unmute a conversation for the caller."""
    services = call.services
    return await unmute_conversation(services.outbox, services.live, call.actor, call.ids["conversation_id"])


async def put_conversation_archive(call: Call[NoInput, NoInput]) -> ConversationSettings:
    """Leave a conversation out of the caller's list until its next message."""
    return await _archive(call, archived=True)


async def delete_conversation_archive(call: Call[NoInput, NoInput]) -> ConversationSettings:
    """Have a conversation in the caller's list again."""
    return await _archive(call, archived=False)


async def _archive(call: Call[NoInput, NoInput], *, archived: bool) -> ConversationSettings:
    services, conversation_id = call.services, call.ids["conversation_id"]
    return await archive_conversation(services.outbox, services.live, call.actor, conversation_id, archived=archived)


MUTE, ARCHIVE = f"{CONVERSATION}/mute", f"{CONVERSATION}/archive"
ROUTES = (
    Route(
        method="PUT", path=MUTE, handler=put_conversation_mute, tag="conversations",
        body=Mute, answer=ConversationSettings,
    ),
    Route(
        method="DELETE", path=MUTE, handler=delete_conversation_mute, tag="conversations", answer=ConversationSettings
    ),
    Route(
        method="PUT", path=ARCHIVE, handler=put_conversation_archive, tag="conversations", answer=ConversationSettings
    ),
    Route(
        method="DELETE", path=ARCHIVE, handler=delete_conversation_archive, tag="conversations",
        answer=ConversationSettings,
    ),
)  # fmt: skip
