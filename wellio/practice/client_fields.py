"""Fields that a practice has thought up for its clients, and what may stand in them (`custom` of a client).

A practice that has defined none keeps in `custom` whatever it likes. From the first definition on, what is written is
held to them; values that stood there before stay until they are changed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Database, Row
from wellio.errors import FieldError, Invalid, NotFound, PreconditionFailed
from wellio.events import Event, EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox, Transaction
from wellio.pages import Page, PageQuery, fetch_page
from wellio.values import Flag, Input, Name, changed_values

FieldType = Literal["text", "number", "date", "choice", "boolean"]
MAX_FIELDS = 100
MAX_OPTIONS = 100
MAX_TEXT = 2000
OWNERS = frozenset({Role.OWNER})
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

LIST_FIELDS = """
select id, key, label, type, options, required, position, version, created_at
from client_fields
where practice_id = $1
order by position, key
limit $2 offset $3
"""

COUNT_FIELDS = "select count(*) from client_fields where practice_id = $1"

GET_FIELD = """
select id, key, label, type, options, required, position, version, created_at
from client_fields
where practice_id = $1 and id = $2
"""

# The practice's row: definitions of one practice are made one after another, so that they can be counted.
LOCK_PRACTICE = "select id from practices where id = $1 for no key update"

LOCK_FIELD = "select id from client_fields where practice_id = $1 and id = $2 for update"

INSERT_FIELD = """
insert into client_fields (id, practice_id, key, label, type, options, required, position)
values ($1, $2, $3, $4, $5, $6, $7, $8)
"""

UPDATE_FIELD = """
update client_fields
set label = $3, options = $4, required = $5, position = $6, version = version + 1
where practice_id = $1 and id = $2
"""

DELETE_FIELD = "delete from client_fields where practice_id = $1 and id = $2"


def _distinct(options: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(options)) < len(options):
        raise ValueError("must not name anything twice")
    return options


Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$"), Field(examples=["allergies"])]
Options = Annotated[tuple[Name, ...], Field(max_length=MAX_OPTIONS), AfterValidator(_distinct)]
Position = Annotated[int, Field(ge=0, le=10_000, strict=True)]


class NewClientField(Input):
    """`key`: the name in `custom`. `options`: of a choice. Neither key nor type can be changed later."""

    key: Key
    label: Name
    type: FieldType
    options: Options = ()
    required: Flag = False
    position: Position = 0


class ClientFieldChanges(Input):
    """Only the named fields change. What clients have in the field already stays."""

    label: Name | None = None
    options: Options | None = None
    required: Flag | None = None
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class ClientField:
    id: UUID
    key: str
    label: str
    type: FieldType
    options: Sequence[str]
    required: bool
    position: int
    version: int
    created_at: datetime


async def list_client_fields(db: Database, actor: Actor, query: PageQuery) -> Page[ClientField]:
    """Those of the practice, in their order."""
    return await fetch_page(db, query, LIST_FIELDS, COUNT_FIELDS, (actor.practice_id,), _field)


async def create_client_field(
    outbox: Outbox, actor: Actor, new: NewClientField, *, once: Once | None = None
) -> ClientField:
    """Raises Invalid, and Conflict for a key that is taken."""
    actor.must_be(OWNERS)
    _check_options(new.type, new.options)
    field_id = uuid7()
    async with outbox.transaction(once) as tx:
        await tx.connection.execute(LOCK_PRACTICE, actor.practice_id)
        if await tx.connection.fetchval(COUNT_FIELDS, actor.practice_id) >= MAX_FIELDS:
            raise Invalid(f"A practice has at most {MAX_FIELDS} fields of its own; delete one first.")
        await tx.connection.execute(
            INSERT_FIELD, field_id, actor.practice_id, new.key, new.label, new.type, new.options, new.required,
            new.position,
        )  # fmt: skip
        _record(tx, actor, field_id, "added")
        return await tx.answer(await _get(tx.connection, actor.practice_id, field_id))


async def change_client_field(
    outbox: Outbox, actor: Actor, field_id: UUID, changes: ClientFieldChanges, *, if_version: int | None = None
) -> ClientField:
    """Raises NotFound, Invalid and PreconditionFailed."""
    actor.must_be(OWNERS)
    values = changed_values(changes)
    async with outbox.transaction() as tx:
        await tx.connection.execute(LOCK_FIELD, actor.practice_id, field_id)
        before = await _get(tx.connection, actor.practice_id, field_id)
        if if_version is not None and if_version != before.version:
            raise PreconditionFailed("The field was changed since you read it; read it again.")
        after = [values.get(name, getattr(before, name)) for name in ("label", "options", "required", "position")]
        _check_options(before.type, after[1])
        await tx.connection.execute(UPDATE_FIELD, actor.practice_id, field_id, *after)
        _record(tx, actor, field_id, "changed")
        return await _get(tx.connection, actor.practice_id, field_id)


async def delete_client_field(outbox: Outbox, actor: Actor, field_id: UUID) -> None:
    """The definition alone: what clients have in the field stays. Raises NotFound."""
    actor.must_be(OWNERS)
    async with outbox.transaction() as tx:
        if await tx.connection.execute(DELETE_FIELD, actor.practice_id, field_id) == "DELETE 0":
            raise NotFound("No such field.")
        _record(tx, actor, field_id, "deleted")


async def check_custom(
    connection: Connection, practice_id: UUID, custom: Mapping[str, Any], *, before: Mapping[str, Any] | None = None
) -> None:
    """`custom` as it shall be, for a client who has `before`. Raises Invalid with a path for each value."""
    fields = [_field(row) for row in await connection.fetch(LIST_FIELDS, practice_id, MAX_FIELDS, 0)]
    if fields and (wrong := faults_in(custom, fields, before or {})):
        raise Invalid(fields=wrong)


def faults_in(custom: Mapping[str, Any], fields: Sequence[ClientField], before: Mapping[str, Any]) -> list[FieldError]:
    by_key = {field.key: field for field in fields}
    faults = [
        FieldError(f"custom.{field.key}", f"{field.label} is required.")
        for field in fields
        if field.required and custom.get(field.key) is None
    ]
    for key, value in custom.items():
        if value is None or (key in before and before[key] == value):
            continue
        if key not in by_key:
            faults.append(FieldError(f"custom.{key[:50]}", "The practice has no such field."))
        elif fault := _fault(by_key[key], value):
            faults.append(FieldError(f"custom.{key}", fault))
    return faults


def _fault(field: ClientField, value: Any) -> str | None:
    """What is wrong with a value, if anything is."""
    match field.type:
        case "text":
            fits, wanted = isinstance(value, str) and len(value) <= MAX_TEXT, f"text of at most {MAX_TEXT} characters"
        case "number":
            fits, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
        case "boolean":
            fits, wanted = isinstance(value, bool), "true or false"
        case "choice":
            fits, wanted = value in field.options, f"one of {', '.join(field.options)}"
        case "date":
            fits, wanted = _is_day(value), "a date, such as 2026-05-06"
    return None if fits else f"Must be {wanted}."


def _is_day(value: Any) -> bool:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _check_options(kind: FieldType, options: Sequence[str]) -> None:
    if (kind == "choice") != bool(options):
        raise Invalid.field("options", "A choice needs at least one option, and nothing else has any.")


async def _get(connection: Connection, practice_id: UUID, field_id: UUID) -> ClientField:
    row = await connection.fetchrow(GET_FIELD, practice_id, field_id)
    if row is None:
        raise NotFound("No such field.")
    return _field(row)


def _record(tx: Transaction, actor: Actor, field_id: UUID, how: str) -> None:
    tx.record(
        Event(
            type=EventType.CLIENT_FIELD_CHANGED,
            practice_id=actor.practice_id,
            actor_id=actor.user_id,
            subject_id=field_id,
            payload={"how": how},
        )
    )


def _field(row: Row) -> ClientField:
    return ClientField(**dict(row))
