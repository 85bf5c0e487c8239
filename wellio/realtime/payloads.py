"""What comes in as text: JSON for engineio, and the arguments of an event."""

from typing import Any

import orjson

from wellio.encoding import to_json
from wellio.errors import Invalid, Malformed


class OrjsonForEngine:
    """orjson with the signatures that socketio and engineio call the standard library's json by."""

    @staticmethod
    def dumps(value: Any, **_options: Any) -> str:
        return to_json(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_options: Any) -> Any:
        return orjson.loads(text)


def parse_event(text: str) -> tuple[str, Any]:
    """An event's name and its payload. Raises Malformed and Invalid."""
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Malformed("The event is not valid JSON.", code="MALFORMED_JSON") from None
    name = arguments[0] if arguments else None
    if not isinstance(name, str):
        raise Malformed("An event has a name.")
    if len(arguments) != 2:
        raise Invalid("Send one object with the event.")
    return name, arguments[1]
