"""/api/v1/scheduled-messages, and /api/v1/conversations/{conversation_id}/scheduled-messages"""

from uuid import UUID

from wellio.chat.scheduled_messages import (
    NewScheduledMessage,
    ScheduledMessage,
    ScheduledMessageChanges,
    ScheduledMessageQuery,
    cancel_scheduled_message,
    change_scheduled_message,
    get_scheduled_message,
    list_scheduled_messages,
    schedule_message,
)
from wellio.handlers.conversations import ONE as CONVERSATION
from wellio.handlers.routes import Call, NoInput, Reply, Route
from wellio.pages import Page


async def list_scheduled_messages_page(call: Call[NoInput, ScheduledMessageQuery]) -> Page[ScheduledMessage]:
    """What the caller has scheduled, the next first."""
    return await list_scheduled_messages(call.services.db, call.services.sealer, call.actor, call.query)


async def post_scheduled_message(call: Call[NewScheduledMessage, NoInput]) -> Reply:
    """Write a message now that is sent later. A repeat of the same client_message_id is answered with 200."""
    services, conversation_id = call.services, call.ids["conversation_id"]
    scheduled = await schedule_message(
        services.outbox, services.live, services.sealer, call.actor, conversation_id, call.body, once=call.once
    )
    return Reply(scheduled.message, 201 if scheduled.created else 200)


async def _scheduled_again(call: Call[NewScheduledMessage, NoInput], scheduled_id: UUID) -> ScheduledMessage:
    return await get_scheduled_message(call.services.db, call.services.sealer, call.actor, scheduled_id)


async def get_scheduled_message_by_id(call: Call[NoInput, NoInput]) -> ScheduledMessage:
    """One of the caller's scheduled messages."""
    services = call.services
    return await get_scheduled_message(services.db, services.sealer, call.actor, call.ids["scheduled_message_id"])


async def patch_scheduled_message(call: Call[ScheduledMessageChanges, NoInput]) -> ScheduledMessage:
    """Give it other words or another time. One that failed waits again."""
    services = call.services
    return await change_scheduled_message(
        services.outbox,
        services.live,
        services.sealer,
        call.actor,
        call.ids["scheduled_message_id"],
        call.body,
        if_version=call.if_version,
    )


async def delete_scheduled_message(call: Call[NoInput, NoInput]) -> None:
    """Cancel it."""
    services = call.services
    await cancel_scheduled_message(
        services.outbox, services.live, services.sealer, call.actor, call.ids["scheduled_message_id"]
    )


BASE = "/api/v1/scheduled-messages"
ONE = f"{BASE}/{{scheduled_message_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_scheduled_messages_page, tag="messages",
        query=ScheduledMessageQuery, answer=Page[ScheduledMessage],
    ),
    Route(
        method="POST", path=f"{CONVERSATION}/scheduled-messages", handler=post_scheduled_message, tag="messages",
        body=NewScheduledMessage, answer=ScheduledMessage, status=201, creates=True, again=_scheduled_again,
        errors=(409,),
    ),
    Route(method="GET", path=ONE, handler=get_scheduled_message_by_id, tag="messages", answer=ScheduledMessage),
    Route(
        method="PATCH", path=ONE, handler=patch_scheduled_message, tag="messages",
        body=ScheduledMessageChanges, answer=ScheduledMessage, errors=(409, 412),
    ),
    Route(
        method="DELETE", path=ONE, handler=delete_scheduled_message, tag="messages", answer=None, errors=(409,),
    ),
)  # fmt: skip
