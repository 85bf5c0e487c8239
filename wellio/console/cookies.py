"""Who a browser is: its session cookie, and the proof that a form was sent from a page of ours.

The session cookie is never seen by scripts. Every form carries a token made from the browser's cookie: the
session's, or before signing in a random one that lives only for that (a signed double submit). Besides, what
a browser itself says of the sender counts: Sec-Fetch-Site must not name another site, nor Origin another host.
"""

from urllib.parse import urlsplit

from aiohttp import web

from wellio.accounts.actors import Actor, attribute_to
from wellio.accounts.auth_sessions import COOKIE_TTL, authenticate_cookie
from wellio.errors import Forbidden
from wellio.handlers.callers import address_of
from wellio.handlers.routes import CALLER
from wellio.limits import ANONYMOUS, USER, WRITES
from wellio.services import SERVICES

VISIT = web.RequestKey("visit", str)
COUNTED = web.RequestKey("counted", bool)
SESSION_COOKIE = "wellio_session"
VISIT_COOKIE = "wellio_visit"
FORM_FIELD = "csrf_token"
FORM_HEADER = "X-CSRF-Token"
OUR_SITES = ("same-origin", "none")  # none: typed, or from a bookmark
EXPIRED = "This page was open for too long, or in another tab you signed in or out. Go back, reload it and try again."


async def actor_of(request: web.Request) -> Actor | None:
    """The signed-in user, as of now."""
    cookie = request.cookies.get(_name(request, SESSION_COOKIE))
    if not cookie:
        return None
    actor = await authenticate_cookie(request.app[SERVICES].db, cookie)
    if actor is not None:
        request[CALLER] = actor.user_id  # for the access log
        attribute_to(actor)
    if COUNTED not in request:
        await _count(request, actor)
    return actor


async def require_actor(request: web.Request) -> Actor:
    """Sends whoever is not signed in to the sign-in page."""
    actor = await actor_of(request)
    if actor is None:
        raise web.HTTPSeeOther("/sign-in")
    return actor


async def count_form(request: web.Request) -> None:
    """Forms of who is not signed in count by address, as the same calls of the API do. Raises TooMany."""
    if request.method == "POST" and not request.cookies.get(_name(request, SESSION_COOKIE)):
        await _count(request, None)


async def _count(request: web.Request, actor: Actor | None) -> None:
    """Once a request, with the user's calls of the API."""
    request[COUNTED] = True
    if actor is None:
        buckets = [ANONYMOUS.of(address_of(request))]
    else:
        buckets = [limit.of(actor.user_id) for limit in (USER, WRITES)[: 1 if request.method == "GET" else 2]]
    await request.app[SERVICES].limits.count(*buckets)


def start_session(request: web.Request, response: web.StreamResponse, cookie: str) -> None:
    """Gives the browser its session; what it had before signing in is worth nothing afterwards."""
    _set(request, response, SESSION_COOKIE, cookie)
    _delete(request, response, VISIT_COOKIE)


def end_session(request: web.Request, response: web.StreamResponse) -> None:
    _delete(request, response, SESSION_COOKIE)


def form_token(request: web.Request, *, signed_in: bool) -> str:
    """The token for a page's forms. Before signing in it makes the visit's cookie, which `keep_visit` sends."""
    tokens = request.app[SERVICES].tokens
    if signed_in:
        return tokens.form_token(request.cookies[_name(request, SESSION_COOKIE)])
    visit = request.cookies.get(_name(request, VISIT_COOKIE)) or request.get(VISIT) or tokens.new_refresh()
    request[VISIT] = visit
    return tokens.form_token(visit)


def keep_visit(request: web.Request, response: web.StreamResponse) -> None:
    if visit := request.get(VISIT):
        _set(request, response, VISIT_COOKIE, visit)


def check_form(request: web.Request, token: str, *, signed_in: bool) -> None:
    """Raises Forbidden for a form that was not sent from one of our pages to this browser."""
    cookie = request.cookies.get(_name(request, SESSION_COOKIE if signed_in else VISIT_COOKIE), "")
    matches = request.app[SERVICES].tokens.is_form_token(cookie, token)
    if not cookie or not matches or not _same_site(request):
        raise Forbidden(EXPIRED, code="FORM_REFUSED")


def _same_site(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    # By host alone: behind a proxy that ends TLS the scheme is http here and https in the browser.
    return site in (None, *OUR_SITES) and (origin is None or urlsplit(origin).netloc == request.host)


def _name(request: web.Request, name: str) -> str:
    # __Host-: only this very host may set it, over TLS, for all paths; a neighbour's subdomain can't plant one.
    return f"__Host-{name}" if request.app[SERVICES].config.production else name


def _set(request: web.Request, response: web.StreamResponse, name: str, value: str) -> None:
    response.set_cookie(
        _name(request, name),
        value,
        max_age=int(COOKIE_TTL.total_seconds()),
        path="/",
        httponly=True,
        samesite="Lax",
        secure=request.app[SERVICES].config.production,
    )


def _delete(request: web.Request, response: web.StreamResponse, name: str) -> None:
    production = request.app[SERVICES].config.production
    response.del_cookie(_name(request, name), path="/", httponly=True, samesite="Lax", secure=production)
