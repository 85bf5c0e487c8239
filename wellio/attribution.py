"""Who is behind what happens: set once where a request, a form or a command comes in, read where it is recorded."""

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """`operation` is the operation's id in OpenAPI, or a command's name. `subject_id` is the last id of the address."""

    operation: str
    practice_id: UUID | None = None
    user_id: UUID | None = None
    role: str | None = None
    session_id: UUID | None = None
    api_key_id: UUID | None = None
    request_id: str = ""
    address: str = ""
    subject_id: UUID | None = None


ATTRIBUTION: ContextVar[Attribution | None] = ContextVar("attribution", default=None)
