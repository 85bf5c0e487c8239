"""Errors as HTTP answers, all in one form: `{"error": {"code", "message", "details"}}`."""

import math

import orjson
from aiohttp import web
from pydantic import ValidationError

from wellio import errors
from wellio.errors import FieldError, Invalid, WellioError

STATUS: dict[type[WellioError], int] = {
    errors.Malformed: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.Invalid: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}

# aiohttp's own refusals: unknown routes, methods, oversized bodies, expectations.
CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE", 417: "EXPECTATION_FAILED"}
MESSAGES = {
    404: "There is nothing at this address.",
    405: "This address does not take that method; see the Allow header.",
    413: "The body is too large; 1 MiB is the most.",
}
# Nobody reads more, and whoever sends 20,000 unknown fields is not sent 20,000 sentences.
MAX_FIELD_ERRORS = 50
CONTENT_TYPE = "application/json; charset=utf-8"


def error_bytes(code: str, message: str, details: dict[str, object] | None = None) -> bytes:
    return orjson.dumps({"error": {"code": code, "message": message, "details": details or {}}})


def error_response(error: WellioError) -> web.Response:
    response = _response(STATUS[type(error)], error.code, error.message, error.details)
    if isinstance(error, errors.TooMany | errors.Unavailable):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def http_error_response(error: web.HTTPException) -> web.Response:
    """aiohttp's exception in our form; redirects pass through their own response."""
    message = MESSAGES.get(error.status, error.reason)
    response = _response(error.status, CODES.get(error.status, "BAD_REQUEST"), message)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def internal_error_response() -> web.Response:
    return _response(500, "INTERNAL", "Internal error. It was logged under this request's X-Request-ID.")


def malformed_http_response(status: int) -> web.Response:
    """For requests that never became one: broken framing, header limits."""
    return _response(status, "MALFORMED_HTTP", "The request is not well-formed HTTP, or its headers are too large.")


def invalid(error: ValidationError, *, at: str = "") -> Invalid:
    """Pydantic's complaints as ours: a path and a sentence each, never the value."""
    fields = [
        FieldError(".".join([at, *map(str, e["loc"])] if at else map(str, e["loc"])), _sentence(e["type"], e["msg"]))
        for e in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FIELD_ERRORS]
    ]
    return Invalid(fields=fields)


def _sentence(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "Unknown field."
    if kind == "missing":
        return "Is required."
    return message.removeprefix("Value error, ")[:1].upper() + message.removeprefix("Value error, ")[1:] + "."


def _response(status: int, code: str, message: str, details: dict[str, object] | None = None) -> web.Response:
    return web.Response(status=status, body=error_bytes(code, message, details), headers={"Content-Type": CONTENT_TYPE})
