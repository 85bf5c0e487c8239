"""/api/v1/conversations/{conversation_id}/members"""

from wellio.chat.conversation_members import MemberChanges, NewMembers, add_members, change_member, remove_member
from wellio.chat.conversations import Conversation
from wellio.handlers.conversations import ONE as CONVERSATION
from wellio.handlers.routes import Call, NoInput, Route


async def post_conversation_members(call: Call[NewMembers, NoInput]) -> Conversation:
    """Add people to a group."""
    services = call.services
    return await add_members(services.outbox, services.live, call.actor, call.ids["conversation_id"], call.body)


async def patch_conversation_member(call: Call[MemberChanges, NoInput]) -> Conversation:
    """Make a member an admin of the group, or a member again."""
    ids, services = call.ids, call.services
    return await change_member(
        services.outbox, services.live, call.actor, ids["conversation_id"], ids["user_id"], call.body
    )


async def delete_conversation_member(call: Call[NoInput, NoInput]) -> None:
    """Remove somebody from a group; oneself is leaving it."""
    ids, services = call.ids, call.services
    await remove_member(services.outbox, services.live, call.actor, ids["conversation_id"], ids["user_id"])


BASE = f"{CONVERSATION}/members"
ONE = f"{BASE}/{{user_id}}"
ROUTES = (
    Route(
        method="POST", path=BASE, handler=post_conversation_members, tag="conversations",
        body=NewMembers, answer=Conversation, errors=(409,),
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_conversation_member, tag="conversations",
        body=MemberChanges, answer=Conversation, errors=(409,),
    ),
    Route(
        method="DELETE", path=ONE, handler=delete_conversation_member, tag="conversations",
        answer=None, errors=(409,),
    ),
)  # fmt: skip
