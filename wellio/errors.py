"""What can go wrong that is not a bug.

Each carries a sentence for a person. `handlers/errors.py` maps them to HTTP statuses and
`realtime/errors.py` to socket acks; any other exception is a bug and is told as "Internal error".
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


class WellioError(Exception):
    """Base of the errors that a caller may be shown."""

    code = "ERROR"

    def __init__(self, message: str, *, code: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.details = dict(details or {})


@dataclass(frozen=True, slots=True)
class FieldError:
    """`path` is dotted as in the body: `tags.2`, `starts_at`; of a query it begins with `query.`"""

    path: str
    message: str


class Malformed(WellioError):
    """The request can't be read at all."""

    code = "MALFORMED"


class Invalid(WellioError):
    """The request was read, and a field of it can't be accepted."""

    code = "VALIDATION_FAILED"

    def __init__(
        self, message: str = "Some fields are not valid.", *, fields: Sequence[FieldError] = (), code: str | None = None
    ) -> None:
        super().__init__(message, code=code, details={"fields": [asdict(f) for f in fields]} if fields else None)

    @classmethod
    def field(cls, path: str, message: str) -> "Invalid":
        return cls(fields=[FieldError(path, message)])

    def of_query(self) -> "Invalid":
        """The same, said of a query's fields rather than of a body's."""
        fields = [FieldError(f"query.{field['path']}", field["message"]) for field in self.details.get("fields", ())]
        return Invalid(self.message, fields=fields, code=self.code)


class Unauthorized(WellioError):
    code = "UNAUTHORIZED"


class Forbidden(WellioError):
    code = "FORBIDDEN"


class NotFound(WellioError):
    """Also for what exists in another practice: the two answers are the same bytes."""

    code = "NOT_FOUND"


class Conflict(WellioError):
    code = "CONFLICT"


class PreconditionFailed(WellioError):
    """`If-Match` named another version than the stored one."""

    code = "VERSION_MISMATCH"


class TooLarge(WellioError):
    code = "TOO_LARGE"


class UnsupportedMedia(WellioError):
    code = "UNSUPPORTED_MEDIA_TYPE"


class TooMany(WellioError):
    """`retry_after_s`: when to try again."""

    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after_s: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Unavailable(WellioError):
    """Something Wellio needs is away for the moment; nothing was changed."""

    code = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float = 2.0, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class StartupError(Exception):
    """Wellio can't start; the sentence says why and what to do. Printed alone, without a traceback."""
