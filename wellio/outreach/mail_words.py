"""What mails are made of: the queued row, what its templates are filled with, and how names and times are told."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wellio.practice.calendars import CalendarEvent, Method

MOST_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A row of `mails` that is being sent. `attempts` counts this one."""

    id: UUID
    practice_id: UUID | None
    user_id: UUID | None
    kind: str
    recipient: str
    data: Mapping[str, Any]
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a mail says to calendar programs. REQUEST and CANCEL tell of one session; PUBLISH of many (RFC 5546)."""

    method: Method
    events: Sequence[CalendarEvent]
    organizer: str


@dataclass(frozen=True, slots=True)
class Filled:
    """What the templates of a kind are filled with."""

    subject: str
    values: Mapping[str, Any]
    calendar: Invitation | None = None


def told_time(time: datetime, zone: str) -> str:
    """`22 November 2026, 14:05 (Europe/Berlin)`"""
    local = time.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%B %Y, %H:%M} ({zone})"


def told_name(name: str) -> str:
    """A name that somebody chose, as a mail may show it: on one line, of bounded length, and not a link.

    Mail programs make links of what looks like one; `Free money at evil.example` is a name that anybody can give
    their practice before they invite strangers.
    """
    line = one_line(name)
    if len(line) > MOST_NAME_CHARS:
        line = line[: MOST_NAME_CHARS - 1] + "…"
    # A word joiner shows as nothing, and ends what could be an address.
    return re.sub(r"(?<=[.:@])(?=\S)", "\N{WORD JOINER}", line.replace("://", ": "))


def one_line(text: str) -> str:
    """Without line breaks and other control characters: none can begin another header (CVE-2024-6923)."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
