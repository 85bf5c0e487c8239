"""/api/v1/auth/invitations"""

from wellio.accounts.actors import STAFF
from wellio.accounts.auth_sessions import Login
from wellio.accounts.invitations import (
    Acceptance,
    Invitation,
    NewInvitation,
    Offer,
    accept_invitation,
    create_invitation,
    list_invitations,
    preview_invitation,
    resend_invitation,
    revoke_invitation,
)
from wellio.handlers.addresses import TokenBody
from wellio.handlers.auth import api_session
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery


async def post_invitation(call: Call[NewInvitation, NoInput]) -> Invitation:
    """Invite a coach or owner (as owner), or a client to their log-in; the link is mailed."""
    return await create_invitation(call.services.outbox, call.actor, call.body, once=call.once)


async def list_invitations_page(call: Call[NoInput, PageQuery]) -> Page[Invitation]:
    """The invitations of the practice; for a coach, those they sent. The newest first."""
    return await list_invitations(call.services.db, call.actor, call.query)


async def post_invitation_resend(call: Call[NoInput, NoInput]) -> Invitation:
    """Send a new link, for seven days more; the one before ends."""
    return await resend_invitation(call.services.outbox, call.actor, call.ids["invitation_id"])


async def delete_invitation(call: Call[NoInput, NoInput]) -> None:
    """Withdraw an invitation; its link serves no more."""
    await revoke_invitation(call.services.outbox, call.actor, call.ids["invitation_id"])


async def post_invitation_preview(call: Call[TokenBody, NoInput]) -> Offer:
    """What an invitation's link invites to."""
    return await preview_invitation(call.services.db, call.body.token)


async def post_invitation_accept(call: Call[Acceptance, NoInput]) -> Login:
    """Accept an invitation: choose name and password, and be signed in."""
    services = call.services
    opens = api_session(services, call.request)
    return await accept_invitation(services.outbox, services.passwords, opens, call.body)


BASE = "/api/v1/auth/invitations"
ONE = f"{BASE}/{{invitation_id}}"
# Tag and scope of API keys are those of users: bin/create-user invites with one.
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_invitations_page, tag="users", roles=STAFF,
        query=PageQuery, answer=Page[Invitation], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_invitation, tag="users", roles=STAFF,
        body=NewInvitation, answer=Invitation, status=201, creates=True, limit="invitations",
    ),
    Route(
        method="POST", path=f"{ONE}/resend", handler=post_invitation_resend, tag="users", roles=STAFF,
        answer=Invitation, errors=(409,), limit="invitations",
    ),
    Route(
        method="DELETE", path=ONE, handler=delete_invitation, tag="users", roles=STAFF,
        answer=None, errors=(409,),
    ),
    Route(
        method="POST", path=f"{BASE}/preview", handler=post_invitation_preview, tag="auth", roles=None,
        body=TokenBody, answer=Offer,
    ),
    Route(
        method="POST", path=f"{BASE}/accept", handler=post_invitation_accept, tag="auth", roles=None,
        body=Acceptance, answer=Login, status=201, errors=(409,),
    ),
)  # fmt: skip
