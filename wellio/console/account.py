"""/account: who one is, one's password, and the devices one is signed in on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from wellio.accounts.actors import Actor
from wellio.accounts.addresses import resend_verification
from wellio.accounts.devices import list_devices, log_out_everywhere, revoke_device
from wellio.accounts.password_changes import PasswordChange, change_password
from wellio.accounts.profiles import ProfileChanges, change_profile, get_profile
from wellio.console.cookies import require_actor
from wellio.console.forms import REFUSALS, Errors, done, id_in, member_page, read_checked_form, told
from wellio.console.sign_in import ZONES
from wellio.errors import Forbidden
from wellio.pages import PageQuery
from wellio.practice.home import load_zone
from wellio.services import SERVICES

HERE = "/account"
SHOWN = 100


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


async def post_device_sign_out(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    await read_checked_form(request, signed_in=True)
    await revoke_device(request.app[SERVICES].outbox, actor, id_in(request, "device_id"))
    return done(HERE, "device")


async def post_sign_out_everywhere(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    await read_checked_form(request, signed_in=True)
    await log_out_everywhere(request.app[SERVICES].outbox, actor)
    return done("/sign-in", "everywhere")


async def _refused(
    request: web.Request, actor: Actor, part: str, form: Mapping[str, str], error: Exception
) -> web.Response:
    """The page again, with what was typed and what is wrong with it; or first the page that asks who it is."""
    if isinstance(error, Forbidden) and error.code == "REAUTH_REQUIRED":
        raise web.HTTPSeeOther(f"/confirm?next={HERE}")
    errors, status = told(request, error)
    return await _account_page(request, actor, values=form, errors={part: errors}, status=status)


async def _account_page(
    request: web.Request,
    actor: Actor,
    *,
    values: Mapping[str, str] | None = None,
    errors: Mapping[str, Errors] | None = None,
    status: int = 200,
) -> web.Response:
    db = request.app[SERVICES].db
    user = await get_profile(db, actor)
    zone = await load_zone(user.timezone)
    context: dict[str, Any] = {
        "user": user,
        "devices": await list_devices(db, actor, PageQuery(page_size=SHOWN)),
        "zone": zone,
        "today": datetime.now(zone).date(),
        "values": {"name": user.name, "timezone": user.timezone, "email": "", **(values or {})},
        "zones": sorted({*ZONES, user.timezone}),
        "errors_of": errors or {},
    }
    return await member_page(request, actor, "account.html", context, status=status)
