"""JSON as Wellio writes it everywhere: dataclasses, models, times and UUIDs included."""

from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel


def to_json(value: Any) -> bytes:
    """Raises TypeError for what JSON has no form for."""
    return orjson.dumps(value, default=_encode_other)


def _encode_other(value: Any) -> Any:
    # asyncpg's UUIDs are a subclass, which orjson does not take for one.
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, BaseModel):  # an answer may hold what a body holds: hours of a day
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
