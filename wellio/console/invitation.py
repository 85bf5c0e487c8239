"""/invitation: where the link in an invitation leads; whoever accepts is signed in."""

from collections.abc import Mapping

from aiohttp import web
from pydantic import ValidationError

from wellio.accounts.invitations import Acceptance, accept_invitation, preview_invitation
from wellio.console.forms import REFUSALS, Errors, read_checked_form, told, visitor_page
from wellio.console.sign_in import ZONES, console_session, let_in
from wellio.errors import Invalid
from wellio.services import SERVICES


async def get_invitation(request: web.Request) -> web.StreamResponse:
    return await _page(request, {"token": request.query.get("token", "")})


async def post_invitation(request: web.Request) -> web.StreamResponse:
    form = await read_checked_form(request, signed_in=False)
    services = request.app[SERVICES]
    try:
        acceptance = Acceptance.model_validate(form)
        cookie = await accept_invitation(services.outbox, services.passwords, console_session(request), acceptance)
    except REFUSALS as error:
        errors, status = told(request, error)
        return await _page(request, form, errors=errors, status=status)
    return await let_in(request, cookie)


async def _page(
    request: web.Request, form: Mapping[str, str], *, errors: Errors | None = None, status: int = 200
) -> web.Response:
    """The form; without it when the link is none (any more)."""
    link = form.get("token", "")
    try:
        offer = await preview_invitation(request.app[SERVICES].db, link)
    except (Invalid, ValidationError) as error:
        offer = None
        errors, status = told(request, error)
    context = {
        "offer": offer,
        "link": link,
        "values": {"name": "", "timezone": "", **form},
        "zones": ZONES,
        "errors": errors or {},
    }
    return visitor_page(request, "invitation.html", context, status=status, secret=True)
