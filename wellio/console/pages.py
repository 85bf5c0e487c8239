"""What every page has: its policy, its failure in words, and the one way of rendering it."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp_jinja2
import jinja2
from aiohttp import web

from wellio.audit import Outcome
from wellio.console.cookies import FORM_FIELD, count_form, keep_visit
from wellio.console.formats import FILTERS
from wellio.console.static import asset
from wellio.errors import (
    Forbidden,
    Malformed,
    NotFound,
    TooLarge,
    TooMany,
    Unavailable,
    UnsupportedMedia,
    WellioError,
)
from wellio.handlers.errors import STATUS
from wellio.handlers.shown import shown_by
from wellio.services import SERVICES

TEMPLATES = Path(__file__).parent / "templates"
MAX_FORM_BYTES, MAX_FORM_FIELDS = 65_536, 40
VIEW_TIMEOUT_S = 30.0

# Forms send their Origin under same-origin; under the API's no-referrer browsers would send "null".
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

View = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _environment() -> jinja2.Environment:
    """With every template compiled now, not in the middle of somebody's request."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(asset=asset, FORM_FIELD=FORM_FIELD)
    for name in environment.list_templates():
        environment.get_template(name)
    return environment


ENVIRONMENT = _environment()


def add_templates(app: web.Application) -> None:
    app[aiohttp_jinja2.APP_KEY] = ENVIRONMENT


def render(request: web.Request, name: str, context: Mapping[str, Any], *, status: int = 200) -> web.Response:
    response = aiohttp_jinja2.render_template(name, request, context, status=status)
    response.headers.update(PAGE_HEADERS)
    keep_visit(request, response)
    return response


def redirect(address: str) -> web.Response:
    """To be read there with GET, whatever was sent here."""
    return web.Response(status=303, headers={"Location": address})


def told_in_html(view: View) -> View:
    """Failures that a person may read become a page; bugs go on to the edge."""

    @wraps(view)
    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(VIEW_TIMEOUT_S):
                await count_form(request)
                return await view(request)
        except web.HTTPSeeOther as elsewhere:
            return redirect(str(elsewhere.location))
        except TimeoutError:
            return _failure(request, Unavailable("This took too long and was given up. Try again shortly."))
        except WellioError as error:
            if isinstance(error, Forbidden | NotFound):
                request.app[SERVICES].audit.note(Outcome.DENIED, code=error.code)
            return _failure(request, error)

    return serve


def note_read(request: web.Request, *shown: Any) -> None:
    """For every page that shows people's data: whose it was goes into the audit log."""
    request.app[SERVICES].audit.note(Outcome.READ, shown_by(shown))


def _failure(request: web.Request, error: WellioError) -> web.Response:
    response = render(request, "error.html", {"message": error.message}, status=STATUS[type(error)])
    if isinstance(error, Unavailable | TooMany):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return response


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a posted form. Raises UnsupportedMedia, TooLarge and Malformed."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise UnsupportedMedia("Send the form as application/x-www-form-urlencoded.")
    try:
        async with asyncio.timeout(request.app[SERVICES].http.body_s):
            raw = await request.read()
    except TimeoutError:
        raise Malformed("The form did not arrive in time.", code="BODY_TIMEOUT") from None
    if len(raw) > MAX_FORM_BYTES:
        raise TooLarge("This form is too large.")
    try:
        text = raw.decode()
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS))
    except ValueError:
        raise Malformed("This form can't be read.") from None
