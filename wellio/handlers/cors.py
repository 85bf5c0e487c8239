"""Cross-origin requests: only from the exact origins of CORS_ORIGIN, with bearer tokens and no cookies."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from wellio.services import SERVICES

METHODS = "GET, POST, PUT, PATCH, DELETE"
HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, X-Request-ID"
EXPOSED = (
    "ETag, Idempotent-Replayed, RateLimit-Limit, RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, Retry-After, "
    "X-Request-ID"
)
PREFLIGHT_SECONDS = "600"


@web.middleware
async def cors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers preflights itself; what others may not read, their browser keeps from them."""
    if not request.path.startswith("/api/") or "Origin" not in request.headers:
        return await handler(request)
    allowed = request.headers["Origin"] in request.app[SERVICES].config.cors_origin
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response: web.StreamResponse = web.Response(status=204)
    else:
        response = await handler(request)
    _add_headers(response, request, allowed=allowed)
    return response


def _add_headers(response: web.StreamResponse, request: web.Request, *, allowed: bool) -> None:
    response.headers.add("Vary", "Origin")
    if not allowed:
        return
    response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
    response.headers["Access-Control-Expose-Headers"] = EXPOSED
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = HEADERS
        response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
