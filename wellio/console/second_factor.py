"""/account/second-factor: setting up an authenticator app, keeping the recovery codes, and turning it off."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from wellio.accounts.actors import Actor
from wellio.accounts.second_factors import confirm, enrol, get_second_factor, renew_recovery_codes, turn_off
from wellio.console.cookies import require_actor
from wellio.console.forms import done, member_page, read_checked_form, told
from wellio.console.step_up import require_fresh
from wellio.errors import Invalid, TooMany
from wellio.handlers.mfa import CodeBody
from wellio.services import SERVICES

HERE = "/account/second-factor"


async def get_second_factor_page(request: web.Request) -> web.StreamResponse:
    return await _page(request, await require_actor(request), {})


async def post_enrol(request: web.Request) -> web.StreamResponse:
    """The QR code: shown once, with the form that confirms it."""
    actor = await _proven(request)
    services = request.app[SERVICES]
    return await _page(request, actor, {"enrolment": await enrol(services.outbox, services.sealer, actor)})


async def post_first_code(request: web.Request) -> web.StreamResponse:
    """Turns it on; the recovery codes are shown once."""
    actor = await require_actor(request)
    form = await read_checked_form(request, signed_in=True)
    services = request.app[SERVICES]
    try:
        code = CodeBody.model_validate(form).code
        codes = await confirm(services.outbox, services.sealer, actor, code)
    except (ValidationError, Invalid, TooMany) as error:
        errors, status = told(request, error)
        return await _page(request, actor, {"confirming": True, "errors": errors}, status=status)
    return await _page(request, actor, {"codes": codes.recovery_codes})


async def post_recovery_codes(request: web.Request) -> web.StreamResponse:
    actor = await _proven(request)
    codes = await renew_recovery_codes(request.app[SERVICES].outbox, actor)
    return await _page(request, actor, {"codes": codes.recovery_codes})


async def post_turn_off(request: web.Request) -> web.StreamResponse:
    actor = await _proven(request)
    await turn_off(request.app[SERVICES].outbox, actor)
    return done("/account", "second-factor-off")


async def _proven(request: web.Request) -> Actor:
    """Who sent a form of ours, and has proved lately who they are."""
    actor = await require_actor(request)
    await read_checked_form(request, signed_in=True)
    require_fresh(actor, HERE)
    return actor


async def _page(request: web.Request, actor: Actor, context: Mapping[str, Any], *, status: int = 200) -> web.Response:
    factor = await get_second_factor(request.app[SERVICES].db, actor)
    shown = {"factor": factor, "enrolment": None, "confirming": False, "codes": (), **context}
    return await member_page(request, actor, "second_factor.html", shown, status=status)
