"""/account: who one is, one's password, and the devices one is signed in on."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wellio.accounts.actors import Actor
from wellio.accounts.addresses import resend_verification
from wellio.accounts.password_changes import PasswordChange, change_password
from wellio.accounts.profiles import ProfileChanges, change_profile, get_profile
from wellio.console.cookies import require_actor
from wellio.console.forms import REFUSALS, Errors, done, member_page, read_checked_form, told
from wellio.console.sign_in import ZONES
from wellio.errors import Forbidden
from wellio.services import SERVICES

HERE = "/account"


async def get_account(request: web.Request) -> web.StreamResponse:
    return await _account_page(request, await require_actor(request))


async def post_profile(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    form = await read_checked_form(request, signed_in=True)
    try:
        changes = ProfileChanges.model_validate({name: form.get(name, "") for name in ("name", "timezone")})
        await change_profile(request.app[SERVICES].outbox, actor, changes)
    except REFUSALS as error:
        return await _refused(request, actor, "profile", form, error)
    return done(HERE, "profile")


async def post_address(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    form = await read_checked_form(request, signed_in=True)
    try:
        changes = ProfileChanges.model_validate({"email": form.get("email", "")})
        user = await change_profile(request.app[SERVICES].outbox, actor, changes)
    except REFUSALS as error:
        return await _refused(request, actor, "address", form, error)
    return done(HERE, "address" if user.pending_email else "address-kept")


async def post_verification(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    await read_checked_form(request, signed_in=True)
    await resend_verification(request.app[SERVICES].outbox, actor)
    return done(HERE, "verification")


async def post_password(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    form = await read_checked_form(request, signed_in=True)
    services = request.app[SERVICES]
    try:
        change = PasswordChange.model_validate(form)
        await change_password(services.outbox, services.passwords, services.limits, actor, change)
    except REFUSALS as error:
        return await _refused(request, actor, "password", {}, error)
    return done(HERE, "password")


async def _refused(
    request: web.Request, actor: Actor, part: str, form: Mapping[str, str], error: Exception
) -> web.Response:
    """The page again, with what was typed and what is wrong with it; or first the page that asks who it is."""
    if isinstance(error, Forbidden) and error.code == "REAUTH_REQUIRED":
        raise web.HTTPSeeOther(f"/confirm?next={HERE}")
    errors, status = told(error)
    return await _account_page(request, actor, values=form, errors={part: errors}, status=status)


async def _account_page(
    request: web.Request,
    actor: Actor,
    *,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, Errors] | None = None,
    status: int = 200,
) -> web.Response:
    user = await get_profile(request.app[SERVICES].db, actor)
    context: dict[str, Any] = {
        "user": user,
        "values": {"name": user.name, "timezone": user.timezone, "email": "", **(values or {})},
        "zones": sorted({*ZONES, user.timezone}),
        "errors_of": errors or {},
    }
    return await member_page(request, actor, "account.html", context, status=status)
