"""A file's events as the learner's facts."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from wellio.learning.inputs import Fact
from wellio.practice.history_files import Damaged, HistoryError, Survey, open_history, survey
from wellio.practice.history_lines import ACTIVE_TYPES, CONTEXT_TYPES, BadLine, Entry, Kind, LineParser, kinds_of

PRACTICE = UUID(int=1)
# Amounts are compared within a file only; made-up histories may lie ahead.
CURRENCY, LATEST = "EUR", datetime(2099, 1, 1, tzinfo=UTC)


def read_facts(
    path: Path, active: Sequence[str], *, modulus: int, remainder: int, bad_line: Callable[[int, str], None]
) -> list[Fact]:
    """In order of time, then of the file. Raises HistoryError for a file, or a part of it, without events."""
    found = survey(path)
    if found.damaged_at is not None:
        raise HistoryError(f"The file is damaged at line {found.damaged_at:,} ({found.damage}): get a sound copy.")
    parser = LineParser(found.columns, _kinds(found, active), CURRENCY, LATEST)
    facts = []
    with open_history(path) as reader:
        lines = iter(reader)
        next(lines)
        try:
            for line in lines:
                try:
                    entry = parser.parse(line)
                except BadLine as bad:
                    bad_line(line.number, str(bad))
                else:
                    facts += [] if entry is None else _taken(entry, modulus, remainder)
        except Damaged as damaged:
            raise HistoryError(f"The file is damaged at line {damaged.line:,} ({damaged}).") from damaged
    if not any(fact.active for fact in facts):
        raise HistoryError("No active event is left to ask about: see the bad lines, --active and --modulus.")
    return sorted(facts, key=lambda fact: fact.t)


def _kinds(found: Survey, active: Sequence[str]) -> dict[str, Kind]:
    if not active:
        kinds = kinds_of()
        unknown = [name for name in found.types if name not in kinds]
        if unknown:
            listed = ", ".join(f"{name!a}" for name in unknown[:20])
            raise HistoryError(f"Types unknown to Wellio: {listed}. Name those that clients do with --active.")
        return kinds
    missing = [name for name in active if name not in found.types]
    if missing:
        has = ", ".join(f"{name!a}" for name in list(found.types)[:20])
        raise HistoryError(f"The file has no events of type {', '.join(map(ascii, missing))}; it has {has}.")
    return {name: _kind(name, active=name in active) for name in found.types}


def _kind(name: str, *, active: bool) -> Kind:
    """A type keeps its meaning only where it is used as meant: a message that is context is not a client's."""
    known = (ACTIVE_TYPES if active else CONTEXT_TYPES).get(name)
    return Kind(known or f"type {name}", active)


def _taken(entry: Entry, modulus: int, remainder: int) -> list[Fact]:
    digest = hashlib.blake2b(entry.client_ref.encode(), digest_size=16).digest()
    if int.from_bytes(digest) % modulus != remainder:
        return []
    kind, amount = entry.kind, entry.amount_minor / 100.0
    return [Fact(PRACTICE, UUID(bytes=digest), entry.at.timestamp(), kind.name, kind.active, amount)]
