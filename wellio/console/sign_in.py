"""Signing in and out, and registering a practice, with plain forms."""

import math
from collections.abc import Mapping
from typing import Any
from zoneinfo import available_timezones

from aiohttp import web
from pydantic import ValidationError

from wellio.accounts.auth_sessions import OpenSession, log_out, open_console_session
from wellio.accounts.log_ins import SecondStep, finish_log_in, log_in
from wellio.accounts.practices import Registration, register_practice
from wellio.audit import Outcome
from wellio.console.cookies import (
    FORM_FIELD,
    actor_of,
    check_form,
    end_session,
    require_actor,
    start_session,
)
from wellio.console.forms import visitor_page
from wellio.console.pages import read_form, redirect
from wellio.errors import Conflict, Invalid, TooMany, Unauthorized, WellioError
from wellio.handlers.auth import LoginBody, device_of
from wellio.handlers.callers import address_of
from wellio.handlers.errors import STATUS, invalid
from wellio.handlers.mfa import VerifyBody
from wellio.services import SERVICES

HOME = "/"
EMPTY_REGISTRATION = {"practice_name": "", "name": "", "email": "", "timezone": "", "currency": "EUR"}
# Places where people live: without the aliases that name no region, and the offsets of Etc/.
REGIONS = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
ZONES = ("UTC", *sorted(zone for zone in available_timezones() if zone.startswith(REGIONS)))

Errors = Mapping[str, str]


async def get_sign_in(request: web.Request) -> web.StreamResponse:
    if await actor_of(request) is not None:
        return redirect(HOME)
    return _sign_in_page(request, email="", errors={})


async def post_sign_in(request: web.Request) -> web.StreamResponse:
    """The password; who has a second factor gets the page that asks for its code."""
    form = await read_form(request)
    check_form(request, form.pop(FORM_FIELD, ""), signed_in=False)
    services = request.app[SERVICES]
    try:
        body = LoginBody.model_validate(form)
        signed_in = await log_in(
            services.outbox,
            services.passwords,
            services.limits,
            console_session(request),
            email=body.email,
            password=body.password,
            address=address_of(request),
        )
    except ValidationError as error:
        return _sign_in_page(request, email=form.get("email", ""), errors=_by_field(invalid(error)), status=422)
    except Unauthorized as error:
        services.audit.note(Outcome.DENIED, code=error.code)
        return _sign_in_page(request, email=body.email, errors={"password": error.message}, status=422)
    except TooMany as error:
        response = _sign_in_page(request, email=body.email, errors={"password": error.message}, status=429)
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        return response
    if isinstance(signed_in, SecondStep):
        return _code_page(request, mfa_token=signed_in.mfa_token)
    return await let_in(request, signed_in)


async def get_sign_in_code(request: web.Request) -> web.StreamResponse:
    """What was reloaded, or bookmarked: the first step comes first."""
    return redirect("/sign-in")


async def post_sign_in_code(request: web.Request) -> web.StreamResponse:
    form = await read_form(request)
    check_form(request, form.pop(FORM_FIELD, ""), signed_in=False)
    services, mfa_token = request.app[SERVICES], form.get("mfa_token", "")
    try:
        body = VerifyBody.model_validate(form)
        opens = console_session(request)
        cookie = await finish_log_in(services.outbox, services.sealer, opens, mfa_token=body.mfa_token, code=body.code)
    except ValidationError as error:
        return _code_page(request, mfa_token=mfa_token, errors=_by_field(invalid(error)), status=422)
    except Unauthorized as error:
        services.audit.note(Outcome.DENIED, code=error.code)
        if error.code == "MFA_TOKEN_INVALID":
            return _sign_in_page(request, email="", errors={"form": error.message}, status=422)
        return _code_page(request, mfa_token=mfa_token, errors={"code": error.message}, status=422)
    except TooMany as error:
        response = _code_page(request, mfa_token=mfa_token, errors={"code": error.message}, status=429)
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
        return response
    return await let_in(request, cookie)


async def get_register(request: web.Request) -> web.StreamResponse:
    return _register_page(request, values=EMPTY_REGISTRATION, errors={})


async def post_register(request: web.Request) -> web.StreamResponse:
    form = await read_form(request)
    check_form(request, form.pop(FORM_FIELD, ""), signed_in=False)
    values = {**EMPTY_REGISTRATION, **form}
    try:
        cookie = await _register(request, form)
    except ValidationError as error:
        return _register_page(request, values=values, errors=_by_field(invalid(error)), status=422)
    except (Invalid, Conflict) as error:
        return _register_page(request, values=values, errors=_by_field(error), status=STATUS[type(error)])
    return await let_in(request, cookie)


async def post_sign_out(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    form = await read_form(request)
    check_form(request, form.get(FORM_FIELD, ""), signed_in=True)
    await log_out(request.app[SERVICES].outbox, actor)
    response = redirect("/sign-in")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    end_session(request, response)
    return response


async def _register(request: web.Request, form: Mapping[str, str]) -> str:
    """Signs the owner of the new practice in; gives the cookie's value."""
    services = request.app[SERVICES]
    registration = Registration.model_validate(form)
    return await register_practice(
        services.outbox,
        services.passwords,
        services.limits,
        console_session(request),
        registration,
        address=address_of(request),
    )


def console_session(request: web.Request) -> OpenSession[str]:
    """How a log-in ends here: with a cookie."""
    tokens, device = request.app[SERVICES].tokens, device_of(request)
    return lambda tx, user: open_console_session(tx, tokens, user, device)


async def let_in(request: web.Request, cookie: str) -> web.StreamResponse:
    """A new cookie at each sign-in; a session that this browser had before ends."""
    before = await actor_of(request)
    if before is not None:
        await log_out(request.app[SERVICES].outbox, before)
    response = redirect(HOME)
    start_session(request, response, cookie)
    return response


def _sign_in_page(request: web.Request, *, email: str, errors: Errors, status: int = 200) -> web.Response:
    return _form_page(request, "sign_in.html", {"email": email, "errors": errors}, status)


def _code_page(
    request: web.Request, *, mfa_token: str, errors: Errors | None = None, status: int = 200
) -> web.Response:
    return _form_page(request, "sign_in_code.html", {"mfa_token": mfa_token, "errors": errors or {}}, status)


def _register_page(
    request: web.Request, *, values: Mapping[str, str], errors: Errors, status: int = 200
) -> web.Response:
    return _form_page(request, "register.html", {"values": values, "errors": errors, "zones": ZONES}, status)


def _form_page(request: web.Request, name: str, context: dict[str, Any], status: int) -> web.Response:
    return visitor_page(request, name, context, status=status)


def _by_field(error: WellioError) -> Errors:
    """The sentence for each field; for an error of no field, one for the whole form."""
    fields = error.details.get("fields")
    return {field["path"]: field["message"] for field in fields} if fields else {"form": error.message}
