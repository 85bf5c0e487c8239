"""Structured logs on standard error: one JSON object a line, or a short text line for a terminal.

Messages are constant words; what varies goes into fields. Nobody logs bodies, query strings, tokens or
what a person wrote.
"""

import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["exception"] = _stack(record)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={_printable(value)}" for name, value in _fields(record).items())
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # noqa: DTZ006 - for the eye, local
        line = f"{time} {record.levelname.lower():7} {_printable(record.getMessage())} {fields}".rstrip()
        return f"{line}\n{_stack(record)}" if record.exc_info else line


def set_up_logging(level: str, *, json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They tell of each job run, poll and packet; ours are enough.
    for noisy in ("apscheduler", "asyncio", "socketio", "engineio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if (request_id := REQUEST_ID.get()) is not None:
        fields["request_id"] = request_id
    return fields


def _stack(record: logging.LogRecord) -> str:
    """Where it happened and the exception's class; its words only when they are Python's own.

    PostgreSQL puts the offending values into its messages, and those may be health data.
    """
    assert record.exc_info
    kind, error, trace = record.exc_info
    if kind is None:
        return ""
    frames = "".join(traceback.format_tb(trace))
    words = "" if kind.__module__.startswith(("asyncpg", "pydantic")) else f": {error}"
    return f"{frames}{kind.__module__}.{kind.__qualname__}{words}"


def _printable(value: object) -> str:
    # repr escapes line breaks and terminal codes, so that no value can forge a line.
    text = str(value)
    return text if text.isprintable() else repr(text)
