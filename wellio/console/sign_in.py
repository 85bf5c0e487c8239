"""Signing in and out, and registering a practice, with plain forms."""

import math
from collections.abc import Mapping
from typing import Any
from zoneinfo import available_timezones

from aiohttp import web
from pydantic import ValidationError

from wellio.accounts.auth_sessions import authenticate, check_password, log_out, open_console_session
from wellio.accounts.practices import Registration, register_practice
from wellio.accounts.users import User
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
    form = await read_form(request)
    check_form(request, form.pop(FORM_FIELD, ""), signed_in=False)
    services = request.app[SERVICES]
    try:
        body = LoginBody.model_validate(form)
        user = await check_password(
            services.db,
            services.passwords,
            services.limits,
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
    return await _signed_in(request, user)


async def get_register(request: web.Request) -> web.StreamResponse:
    return _register_page(request, values=EMPTY_REGISTRATION, errors={})


async def post_register(request: web.Request) -> web.StreamResponse:
    form = await read_form(request)
    check_form(request, form.pop(FORM_FIELD, ""), signed_in=False)
    values = {**EMPTY_REGISTRATION, **form}
    try:
        user = await _register(request, form)
    except ValidationError as error:
        return _register_page(request, values=values, errors=_by_field(invalid(error)), status=422)
    except (Invalid, Conflict) as error:
        return _register_page(request, values=values, errors=_by_field(error), status=STATUS[type(error)])
    return await _signed_in(request, user)


async def post_sign_out(request: web.Request) -> web.StreamResponse:
    actor = await require_actor(request)
    form = await read_form(request)
    check_form(request, form.get(FORM_FIELD, ""), signed_in=True)
    await log_out(request.app[SERVICES].outbox, actor)
    response = redirect("/sign-in")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    end_session(request, response)
    return response


async def _register(request: web.Request, form: Mapping[str, str]) -> User:
    """The owner of the new practice. The API session that registering opens is not needed here, and is ended."""
    services = request.app[SERVICES]
    registration = Registration.model_validate(form)
    login = await register_practice(
        services.outbox,
        services.passwords,
        services.tokens,
        services.limits,
        registration,
        device=device_of(request),
    )
    await log_out(services.outbox, await authenticate(services.db, services.tokens.verify_access(login.access_token)))
    return login.user


async def _signed_in(request: web.Request, user: User) -> web.StreamResponse:
    """A new cookie at each sign-in; a session that this browser had before ends."""
    services = request.app[SERVICES]
    before = await actor_of(request)
    if before is not None:
        await log_out(services.outbox, before)
    cookie = await open_console_session(services.outbox, services.tokens, user, device_of(request))
    response = redirect(HOME)
    start_session(request, response, cookie)
    return response


def _sign_in_page(request: web.Request, *, email: str, errors: Errors, status: int = 200) -> web.Response:
    return _form_page(request, "sign_in.html", {"email": email, "errors": errors}, status)


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
