"""Where the links in mails lead, and where one asks for them: a new password, a confirmed address.

A link only opens a page; the button on it does what it is for. Programs that look into mails follow links, and would
use them up.
"""

from aiohttp import web

from wellio.accounts.addresses import verify_address
from wellio.accounts.password_changes import NewPassword, ResetRequest, request_reset, reset_password
from wellio.console.cookies import actor_of
from wellio.console.forms import REFUSALS, Errors, done, read_checked_form, told, visitor_page
from wellio.handlers.callers import address_of
from wellio.services import SERVICES


async def get_forgot_password(request: web.Request) -> web.StreamResponse:
    return visitor_page(request, "forgot_password.html", {"email": ""})


async def post_forgot_password(request: web.Request) -> web.StreamResponse:
    """The same page whether or not anybody has the address."""
    form = await read_checked_form(request, signed_in=False)
    services = request.app[SERVICES]
    try:
        asked = ResetRequest.model_validate(form)
        await request_reset(services.outbox, services.limits, asked, address=address_of(request))
    except REFUSALS as error:
        errors, status = told(request, error)
        context = {"email": form.get("email", ""), "errors": errors}
        return visitor_page(request, "forgot_password.html", context, status=status)
    return visitor_page(request, "link_sent.html", {"email": asked.email, "mailbox": services.mailbox is not None})


async def get_reset_password(request: web.Request) -> web.StreamResponse:
    return _reset_page(request, link=request.query.get("token", ""))


async def post_reset_password(request: web.Request) -> web.StreamResponse:
    form = await read_checked_form(request, signed_in=False)
    services = request.app[SERVICES]
    try:
        await reset_password(services.outbox, services.passwords, services.limits, NewPassword.model_validate(form))
    except REFUSALS as error:
        errors, status = told(request, error)
        return _reset_page(request, link=form.get("token", ""), errors=errors, status=status)
    return done("/sign-in", "password-reset")


async def get_verify_email(request: web.Request) -> web.StreamResponse:
    return _verify_page(request, link=request.query.get("token", ""))


async def post_verify_email(request: web.Request) -> web.StreamResponse:
    form = await read_checked_form(request, signed_in=False)
    try:
        await verify_address(request.app[SERVICES].outbox, form.get("token", ""))
    except REFUSALS as error:
        errors, status = told(request, error)
        return _verify_page(request, link="", errors=errors, status=status)
    signed_in = await actor_of(request) is not None
    return done("/account" if signed_in else "/sign-in", "address-verified")


def _reset_page(request: web.Request, *, link: str, errors: Errors | None = None, status: int = 200) -> web.Response:
    context = {"link": link, "errors": errors or {}}
    return visitor_page(request, "reset_password.html", context, status=status, secret=True)


def _verify_page(request: web.Request, *, link: str, errors: Errors | None = None, status: int = 200) -> web.Response:
    return visitor_page(
        request, "verify_email.html", {"link": link, "errors": errors or {}}, status=status, secret=True
    )
