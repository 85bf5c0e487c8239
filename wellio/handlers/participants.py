"""/api/v1/sessions/{group_id}/participants"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery
from wellio.practice.groups import GroupParticipant
from wellio.practice.participants import (
    ParticipantChanges,
    add_participant,
    list_participants,
    mark_participant,
    remove_participant,
)
from wellio.practice.waitlist import ForClient


async def list_participants_page(call: Call[NoInput, PageQuery]) -> Page[GroupParticipant]:
    """Who takes part in a group, and who gave up their place."""
    return await list_participants(call.services.db, call.actor, call.ids["group_id"], call.query)


async def post_participant(call: Call[ForClient, NoInput]) -> GroupParticipant:
    """Take a place in a group; staff for a client of theirs. 409 SESSION_FULL when none is left."""
    return await add_participant(call.services.outbox, call.actor, call.ids["group_id"], call.body, once=call.once)


async def patch_participant(call: Call[ParticipantChanges, NoInput]) -> GroupParticipant:
    """Mark a participant as attended or missed, after the start, or take that back."""
    return await mark_participant(
        call.services.outbox, call.actor, call.ids["group_id"], call.ids["client_id"], call.body
    )


async def delete_participant(call: Call[NoInput, NoInput]) -> GroupParticipant:
    """Give up a place: clients their own by the cancellation policy, staff anybody's."""
    return await remove_participant(call.services.outbox, call.actor, call.ids["group_id"], call.ids["client_id"])


BASE = "/api/v1/sessions/{group_id}/participants"
ONE = f"{BASE}/{{client_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_participants_page, tag="sessions", roles=STAFF, query=PageQuery,
        answer=Page[GroupParticipant], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_participant, tag="sessions", body=ForClient,
        answer=GroupParticipant, status=201, creates=True, errors=(409,),
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_participant, tag="sessions", roles=STAFF, body=ParticipantChanges,
        answer=GroupParticipant, errors=(409,),
    ),
    Route(
        method="DELETE", path=ONE, handler=delete_participant, tag="sessions", answer=GroupParticipant, errors=(409,),
    ),
)  # fmt: skip
