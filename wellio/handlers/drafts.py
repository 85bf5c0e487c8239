"""/api/v1/conversations/{conversation_id}/draft"""

from wellio.chat.drafts import Draft, NewDraft, delete_draft, save_draft
from wellio.handlers.conversations import ONE as CONVERSATION
from wellio.handlers.routes import Call, NoInput, Route


async def put_conversation_draft(call: Call[NewDraft, NoInput]) -> Draft:
    """Keep what the caller has begun to write in a conversation, in place of what was kept before."""
    services, conversation_id = call.services, call.ids["conversation_id"]
    return await save_draft(services.db, services.live, services.sealer, call.actor, conversation_id, call.body)


async def delete_conversation_draft(call: Call[NoInput, NoInput]) -> None:
    """Throw the caller's draft in a conversation away."""
    await delete_draft(call.services.db, call.services.live, call.actor, call.ids["conversation_id"])


DRAFT = f"{CONVERSATION}/draft"
ROUTES = (
    Route(
        method="PUT", path=DRAFT, handler=put_conversation_draft, tag="conversations", body=NewDraft, answer=Draft
    ),
    Route(method="DELETE", path=DRAFT, handler=delete_conversation_draft, tag="conversations", answer=None),
)  # fmt: skip
