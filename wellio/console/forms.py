"""What forms have in common: reading them, telling what is wrong beside its field, and saying that it is done."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError

from wellio.accounts.actors import STAFF, Actor
from wellio.accounts.practices import get_practice
from wellio.audit import Outcome
from wellio.console.cookies import FORM_FIELD, check_form, form_token
from wellio.console.pages import read_form, redirect, render
from wellio.errors import Conflict, Forbidden, Invalid, NotFound, TooMany, Unauthorized, WellioError
from wellio.handlers.errors import STATUS, invalid
from wellio.services import SERVICES

Errors = Mapping[str, str]

# What a form may be refused for and shown again; anything else is a page of its own.
REFUSALS = (ValidationError, Invalid, Conflict, Forbidden, NotFound, Unauthorized, TooMany)

# What was done, told once on the page that comes next. Fixed words: an address can't make a page say anything else.
NOTICES = {
    "password-reset": "Your new password is set. Sign in with it.",
    "address-verified": "Your e-mail address is confirmed.",
    "confirmed": "Thank you. For ten minutes you can change what is well guarded.",
    "profile": "Saved.",
    "address": "We sent a link to the new address. It takes the place of the old one once you open it.",
    "address-kept": "Your e-mail address stays as it is.",
    "verification": "The link is on its way.",
    "password": "Your password is changed, and your other devices are signed out.",
    "device": "That device is signed out.",
    "everywhere": "You are signed out everywhere.",
    "second-factor-off": "Signing in takes your password alone again.",
    "invited": "The invitation is on its way.",
    "withdrawn": "The invitation is withdrawn.",
    "member": "Saved. They were signed out everywhere.",
    "member-signed-out": "They are signed out everywhere.",
}


async def read_checked_form(request: web.Request, *, signed_in: bool) -> dict[str, str]:
    """The fields, without the token. Raises Forbidden for a form that is not from our page."""
    form = await read_form(request)
    check_form(request, form.pop(FORM_FIELD, ""), signed_in=signed_in)
    return form


def told(request: web.Request, error: Exception) -> tuple[Errors, int]:
    """The sentence for each field, or `form` for what is of no field; and the status. Denials are recorded."""
    known = invalid(error) if isinstance(error, ValidationError) else error
    assert isinstance(known, WellioError)
    if isinstance(known, Forbidden | NotFound | Unauthorized):
        request.app[SERVICES].audit.note(Outcome.DENIED, code=known.code)
    fields = known.details.get("fields")
    by_field = {field["path"]: field["message"] for field in fields} if fields else {"form": known.message}
    # Signing in is not what is missing, and a browser must not ask for it.
    return by_field, 422 if isinstance(known, Unauthorized) else STATUS[type(known)]


def id_in(request: web.Request, name: str) -> UUID:
    """Of the address. Raises NotFound."""
    try:
        return UUID(request.match_info[name])
    except ValueError:
        raise NotFound("There is nothing at this address.") from None


def done(path: str, notice: str) -> web.Response:
    return redirect(f"{path}?notice={notice}")


def visitor_page(
    request: web.Request, name: str, context: Mapping[str, Any], *, status: int = 200, secret: bool = False
) -> web.Response:
    """A page for whoever comes. `secret`: its own address holds a link's token."""
    values = {"errors": {}, "notice": _notice(request), "token": form_token(request, signed_in=False), **context}
    response = render(request, name, values, status=status)
    if secret:
        # The forms still tell their origin, and nobody is told the address, not even by the next page of ours.
        response.headers["Referrer-Policy"] = "strict-origin"
    return response


async def member_page(
    request: web.Request, actor: Actor, name: str, context: Mapping[str, Any], *, status: int = 200
) -> web.Response:
    """A page for who is signed in, with the head that all of them have."""
    practice = await get_practice(request.app[SERVICES].db, actor.practice_id)
    values = {
        "actor": actor,
        "staff": actor.role in STAFF,
        "practice_name": practice.name,
        "now": datetime.now(UTC),
        "here": request.path,
        "errors": {},
        "notice": _notice(request),
        "token": form_token(request, signed_in=True),
        **context,
    }
    return render(request, name, values, status=status)


def _notice(request: web.Request) -> str:
    return NOTICES.get(request.query.get("notice", ""), "")
