"""What every request passes: its id, its log line and metrics, headers, and the form of its failure."""

import logging
import math
import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from wellio.attribution import ATTRIBUTION, Attribution
from wellio.errors import WellioError
from wellio.handlers.callers import address_of
from wellio.handlers.errors import (
    CONTENT_TYPE,
    error_bytes,
    error_response,
    http_error_response,
    internal_error_response,
)
from wellio.handlers.routes import CALLER
from wellio.ids import uuid7
from wellio.limits import STANDINGS
from wellio.logs import REQUEST_ID
from wellio.metrics import Metrics
from wellio.services import SERVICES

log = logging.getLogger(__name__)

REQUEST: web.RequestKey[str] = web.RequestKey("request id", str)
REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._:-]{1,64}")
NO_ROUTE = "(none)"
SOCKET_PATH = "/socket.io/"

API_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": API_CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
    "Permissions-Policy": "geolocation=(), camera=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HSTS = "max-age=63072000; includeSubDomains"

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def edge(request: web.Request, handler: Next) -> web.StreamResponse:
    """Outermost: whatever happens inside, one answer in the right form comes out, and one log line."""
    request[REQUEST] = request_id = _request_id(request)
    started = time.perf_counter()
    token = REQUEST_ID.set(request_id)
    STANDINGS.set([])
    # Until it is known who calls and what for; a connection's requests share their context.
    operation = f"{request.method} {route_of(request)}"
    ATTRIBUTION.set(Attribution(operation=operation, request_id=request_id, address=address_of(request)))
    try:
        response = await _answered(request, handler)
        _observe(request, response.status, time.perf_counter() - started)
        return response
    finally:
        REQUEST_ID.reset(token)


async def _answered(request: web.Request, handler: Next) -> web.StreamResponse:
    try:
        return await handler(request)
    except WellioError as error:
        return error_response(error)
    except web.HTTPException as error:
        return error if error.status < 400 else http_error_response(error)
    except ConnectionError:
        raise  # the caller has gone; there is nobody to answer
    except Exception:
        log.exception("request failed", extra={"method": request.method, "route": route_of(request)})
        return internal_error_response()


def route_of(request: web.Request) -> str:
    """The route's template, so that neither ids nor made-up paths become labels."""
    resource = request.match_info.route.resource
    if resource is None:
        return SOCKET_PATH if request.path.startswith(SOCKET_PATH) else NO_ROUTE
    return resource.canonical


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if REQUEST_ID_FORM.fullmatch(given) else uuid7().hex


def _observe(request: web.Request, status: int, seconds: float) -> None:
    route = route_of(request)
    metrics: Metrics = request.app[SERVICES].metrics
    metrics.requests.labels(request.method if request.method in _METHODS else "OTHER", route, status).inc()
    if route != SOCKET_PATH:  # a socket's request lasts as long as the socket
        metrics.request_seconds.labels(request.method if request.method in _METHODS else "OTHER", route).observe(
            seconds
        )
    fields = {"method": request.method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
    if user_id := request.get(CALLER):
        fields["user_id"] = str(user_id)
    log.log(logging.DEBUG if request.path.startswith(QUIET) else logging.INFO, "request", extra=fields)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = ("/health", "/metrics", "/static/", SOCKET_PATH)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, whoever made it; pages and files set their own policy first."""
    if isinstance(response, web.HTTPException) and response.status >= 400:
        # raised before any middleware: an expectation that is not 100-continue
        response.body = body = error_bytes("EXPECTATION_FAILED", "The only expectation that is met is 100-continue.")
        response.headers.update({"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body))})
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.app[SERVICES].config.production:
        response.headers.setdefault("Strict-Transport-Security", HSTS)
    response.headers["X-Request-ID"] = request.get(REQUEST, "")
    _add_rate_limits(response)
    response.headers.pop("Server", None)


def _add_rate_limits(response: web.StreamResponse) -> None:
    """The bucket that is nearest to refusing, and what all of them hold (draft-ietf-httpapi-ratelimit-headers-06)."""
    standings = STANDINGS.get()
    if not standings:
        return
    nearest = min(standings, key=lambda standing: (-standing.retry_after_s, standing.remaining))
    response.headers["RateLimit-Limit"] = str(nearest.count)
    response.headers["RateLimit-Remaining"] = str(nearest.remaining)
    response.headers["RateLimit-Reset"] = str(math.ceil(nearest.full_in_s))
    response.headers["RateLimit-Policy"] = ", ".join(f"{s.count};w={s.limit.per_s}" for s in standings)
