"""/team: the people of the practice and the invitations that are open; for owners, who may what."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aiohttp import web

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.invitations import (
    NewInvitation,
    create_invitation,
    list_invitable_clients,
    list_invitations,
    resend_invitation,
    revoke_invitation,
)
from wellio.accounts.members import MemberChanges, MemberQuery, change_member, list_members, sign_out_member
from wellio.accounts.profiles import get_profile
from wellio.console.cookies import require_actor
from wellio.console.forms import REFUSALS, Errors, done, id_in, member_page, read_checked_form, told
from wellio.console.pages import note_read
from wellio.console.step_up import require_fresh
from wellio.pages import PageQuery
from wellio.practice.home import load_zone
from wellio.services import SERVICES

HERE = "/team"
SHOWN = 100
OPEN = ("waiting", "expired")


async def get_team(request: web.Request) -> web.StreamResponse:
    return await _page(request, await _staff(request))


async def post_invite(request: web.Request) -> web.StreamResponse:
    """A coach or owner by address; a client by who they are, to the address that is known unless another is given."""
    actor = await _staff(request)
    form = await read_checked_form(request, signed_in=True)
    services = request.app[SERVICES]
    part = "client" if "client_id" in form else "staff"
    try:
        if part == "client":
            form["role"] = "client"
            form["email"] = form.get("email") or await _known_address(request, actor, form["client_id"])
        await create_invitation(services.outbox, actor, NewInvitation.model_validate(form))
    except REFUSALS as error:
        errors, status = told(request, error)
        return await _page(request, actor, values={part: form}, errors={part: errors}, status=status)
    return done(HERE, "invited")


async def post_invitation_resend(request: web.Request) -> web.StreamResponse:
    actor, invitation_id = await _about(request, "invitation_id")
    await resend_invitation(request.app[SERVICES].outbox, actor, invitation_id)
    return done(HERE, "invited")


async def post_invitation_withdraw(request: web.Request) -> web.StreamResponse:
    actor, invitation_id = await _about(request, "invitation_id")
    await revoke_invitation(request.app[SERVICES].outbox, actor, invitation_id)
    return done(HERE, "withdrawn")


async def post_member(request: web.Request) -> web.StreamResponse:
    """Another role, suspended, or active again."""
    actor = await _staff(request)
    form = await read_checked_form(request, signed_in=True)
    require_fresh(actor, HERE)
    try:
        changes = MemberChanges.model_validate(form)
        await change_member(request.app[SERVICES].outbox, actor, id_in(request, "user_id"), changes)
    except REFUSALS as error:
        errors, status = told(request, error)
        return await _page(request, actor, errors={"people": errors}, status=status)
    return done(HERE, "member")


async def post_member_sign_out(request: web.Request) -> web.StreamResponse:
    actor, user_id = await _about(request, "user_id")
    await sign_out_member(request.app[SERVICES].outbox, actor, user_id)
    return done(HERE, "member-signed-out")


async def _staff(request: web.Request) -> Actor:
    actor = await require_actor(request)
    actor.must_be(STAFF)
    return actor


async def _about(request: web.Request, name: str) -> tuple[Actor, UUID]:
    """Who sent a form of ours, and whom or what its address names."""
    actor = await _staff(request)
    await read_checked_form(request, signed_in=True)
    return actor, id_in(request, name)


async def _known_address(request: web.Request, actor: Actor, client_id: str) -> str:
    clients = await list_invitable_clients(request.app[SERVICES].db, actor)
    return next((client.email for client in clients if str(client.id) == client_id), "")


async def _page(
    request: web.Request,
    actor: Actor,
    *,
    values: Mapping[str, Mapping[str, str]] | None = None,
    errors: Mapping[str, Errors] | None = None,
    status: int = 200,
) -> web.Response:
    db = request.app[SERVICES].db
    members = await list_members(db, actor, MemberQuery(page_size=SHOWN))
    invitations = await list_invitations(db, actor, PageQuery(page_size=SHOWN))
    note_read(request, members.items, invitations.items)
    empty = {"email": "", "role": "coach", "client_id": ""}
    profile = await get_profile(db, actor)
    context: dict[str, Any] = {
        "zone": await load_zone(profile.timezone),
        "members": members,
        "invitations": [invitation for invitation in invitations.items if invitation.status in OPEN],
        "clients": await list_invitable_clients(db, actor),
        "values_of": {part: {**empty, **(values or {}).get(part, {})} for part in ("staff", "client")},
        "errors_of": errors or {},
    }
    return await member_page(request, actor, "team.html", context, status=status)
