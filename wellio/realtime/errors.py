"""Errors as acks: `{"ok": false, "error": {code, message, details?, retry_after_ms?}}`."""

from typing import Any

from pydantic import ValidationError

from wellio.errors import FieldError, Invalid, TooMany, Unavailable, WellioError

INTERNAL = {"ok": False, "error": {"code": "INTERNAL", "message": "Internal error. It was logged."}}


def refusal(error: WellioError) -> dict[str, Any]:
    return {"ok": False, "error": error_body(error)}


def error_body(error: WellioError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    if isinstance(error, TooMany | Unavailable):
        body["retry_after_ms"] = int(error.retry_after_s * 1000)
    return body


def invalid(error: ValidationError) -> Invalid:
    """Pydantic's complaints as ours: a path and a sentence each, never the value."""
    return Invalid(
        fields=[
            FieldError(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))
            for e in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    )
