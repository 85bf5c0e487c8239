"""/api/v1/sessions/{group_id}/waitlist"""

from wellio.accounts.actors import STAFF, Role
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery
from wellio.practice.groups import GroupParticipant
from wellio.practice.waitlist import (
    ForClient,
    WaitlistEntry,
    accept_offer,
    join_waitlist,
    leave_waitlist,
    list_waitlist,
)


async def list_waitlist_page(call: Call[NoInput, PageQuery]) -> Page[WaitlistEntry]:
    """Who waits for a place, in order; a client sees their own entry, with its position."""
    return await list_waitlist(call.services.db, call.actor, call.ids["group_id"], call.query)


async def post_waitlist_entry(call: Call[ForClient, NoInput]) -> WaitlistEntry:
    """Wait for a place in a full group. 409 PLACES_LEFT while there is one to book."""
    return await join_waitlist(call.services.outbox, call.actor, call.ids["group_id"], call.body, once=call.once)


async def post_waitlist_acceptance(call: Call[ForClient, NoInput]) -> GroupParticipant:
    """Take the place that was offered. 409 NO_OFFER when there is no offer, or it has passed."""
    return await accept_offer(call.services.outbox, call.actor, call.ids["group_id"], call.body, once=call.once)


async def delete_own_waitlist_entry(call: Call[NoInput, NoInput]) -> None:
    """Wait no more, or decline the place that was offered."""
    await leave_waitlist(call.services.outbox, call.actor, call.ids["group_id"])


async def delete_waitlist_entry(call: Call[NoInput, NoInput]) -> None:
    """Take a client off the waitlist."""
    await leave_waitlist(call.services.outbox, call.actor, call.ids["group_id"], call.ids["client_id"])


BASE = "/api/v1/sessions/{group_id}/waitlist"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_waitlist_page, tag="sessions", query=PageQuery,
        answer=Page[WaitlistEntry], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_waitlist_entry, tag="sessions", body=ForClient, answer=WaitlistEntry,
        status=201, creates=True, errors=(409,),
    ),
    Route(
        method="DELETE", path=BASE, handler=delete_own_waitlist_entry, tag="sessions", roles=frozenset({Role.CLIENT}),
        answer=None,
    ),
    Route(
        method="POST", path=f"{BASE}/accept", handler=post_waitlist_acceptance, tag="sessions", body=ForClient,
        answer=GroupParticipant, status=201, creates=True, errors=(409,),
    ),
    Route(
        method="DELETE", path=f"{BASE}/{{client_id}}", handler=delete_waitlist_entry, tag="sessions", roles=STAFF,
        answer=None,
    ),
)  # fmt: skip
