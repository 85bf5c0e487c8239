"""Whose data an answer shows: the clients and people named in it, found by what its types call them."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any
from uuid import UUID

from wellio.audit import MAX_CLIENTS, Shown
from wellio.pages import Page
from wellio.practice.clients import Client

PEOPLE = ("user_id", "sender_id")


def shown_by(data: Any) -> Shown:
    """Of an answer, page or list: at most MAX_CLIENTS of each."""
    client_ids: dict[UUID, None] = {}
    user_ids: dict[UUID, None] = {}
    for name, value in _ids_in(data):
        (client_ids if name == "client_id" else user_ids)[value] = None
    count = len(data.items) if isinstance(data, Page) else None
    return Shown(list(client_ids)[:MAX_CLIENTS], list(user_ids)[:MAX_CLIENTS], count)


def _ids_in(data: Any) -> Iterator[tuple[str, UUID]]:
    if isinstance(data, list | tuple):
        for item in data:
            yield from _ids_in(item)
    elif is_dataclass(data):
        for name, meaning in _places(data.__class__):
            value = getattr(data, name)
            if meaning is None:
                yield from _ids_in(value)
            elif value is not None:
                yield meaning, value


@cache
def _places(kind: type) -> Sequence[tuple[str, str | None]]:
    """Its fields that name somebody, with what they name; with None those that hold things which may."""
    if kind is Client:
        return (("id", "client_id"),)
    found: list[tuple[str, str | None]] = []
    for each in fields(kind):
        if each.name == "client_id":
            found.append((each.name, "client_id"))
        elif each.name in PEOPLE:
            found.append((each.name, "user_id"))
        elif not _plain(each.type):
            found.append((each.name, None))
    return tuple(found)


def _plain(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, str | int | float | bool | UUID)
