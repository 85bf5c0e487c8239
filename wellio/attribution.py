"""Who is behind what happens: set once where a request, a form or a command comes in, read where it is recorded."""

from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """`operation` is the operation's id in OpenAPI, a console page's name, or a command's.

    `subject_id` is the last id of the address, `client_id` the client whom the address names, `fields` the names of
    what a PATCH asks to change.
    """

    operation: str
    practice_id: UUID | None = None
    user_id: UUID | None = None
    role: str | None = None
    session_id: UUID | None = None
    api_key_id: UUID | None = None
    request_id: str = ""
    address: str = ""
    subject_id: UUID | None = None
    client_id: UUID | None = None
    fields: tuple[str, ...] = ()


ATTRIBUTION: ContextVar[Attribution | None] = ContextVar("attribution", default=None)


def attribute(**known: Any) -> None:
    """Adds what has become known since: who signs in, whom a failed log-in was about. Without effect where nothing
    is attributed (jobs, consumers)."""
    attribution = ATTRIBUTION.get()
    if attribution is not None:
        ATTRIBUTION.set(replace(attribution, **known))
