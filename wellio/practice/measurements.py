"""Measurements of a client: weight, body fat, and whatever else a practice measures.

Each kind is stored in one unit, so that a series can be drawn and compared, beside what was entered. Clients read and
record their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from wellio.accounts.actors import Actor, Role
from wellio.db import Connection, Database, Row
from wellio.errors import Forbidden, Invalid, NotFound
from wellio.events import EventType
from wellio.idempotency import Once
from wellio.ids import uuid7
from wellio.outbox import Outbox
from wellio.pages import Page, PageQuery, page_of
from wellio.practice.clients import event_about, get_client, touch_clients
from wellio.values import Input, Moment, Name, Quantity

Kind = Literal["weight", "body_fat", "custom"]
CLOCK_SKEW = timedelta(minutes=5)
# International pound, exact since 1959.
KG_PER_LB = Decimal("0.45359237")
# A milligram of a person, and room for four decimals of a pound.
STORED_DIGITS = Decimal("0.000001")

LIST_MEASUREMENTS = """
select m.id, m.client_id, m.kind, m.name, m.value, m.unit, m.entered_value, m.entered_unit, m.measured_at,
       m.recorded_by, m.created_at
from measurements m
where m.practice_id = $1 and m.client_id = $2
  and ($3::text is null or m.kind = $3)
  and ($4::text is null or m.name = $4)
  and ($5::timestamptz is null or m.measured_at >= $5)
  and ($6::timestamptz is null or m.measured_at < $6)
order by m.measured_at desc, m.id desc
limit $7 offset $8
"""

COUNT_MEASUREMENTS = """
select count(*)
from measurements m
where m.practice_id = $1 and m.client_id = $2
  and ($3::text is null or m.kind = $3)
  and ($4::text is null or m.name = $4)
  and ($5::timestamptz is null or m.measured_at >= $5)
  and ($6::timestamptz is null or m.measured_at < $6)
"""

GET_MEASUREMENT = """
select id, client_id, kind, name, value, unit, entered_value, entered_unit, measured_at, recorded_by, created_at
from measurements
where practice_id = $1 and client_id = $2 and id = $3
"""

INSERT_MEASUREMENT = """
insert into measurements (id, practice_id, client_id, kind, name, value, unit, entered_value, entered_unit,
                          measured_at, recorded_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""

DELETE_MEASUREMENT = "delete from measurements where practice_id = $1 and id = $2"


@dataclass(frozen=True, slots=True)
class Scale:
    """The unit a kind is stored in, how many of it one of each unit is, and what a person can't weigh or be."""

    unit: str
    per_unit: Mapping[str, Decimal]
    above: Decimal
    at_most: Decimal


SCALES: Mapping[str, Scale] = {
    "weight": Scale("kg", {"kg": Decimal(1), "lb": KG_PER_LB}, Decimal(0), Decimal(1000)),
    "body_fat": Scale("%", {"%": Decimal(1)}, Decimal(0), Decimal(100)),
}

Unit = Annotated[Name, StringConstraints(max_length=20), Field(examples=["kg", "lb", "%", "cm"])]


class NewMeasurement(Input):
    """`unit`: kg or lb of a weight, % of body fat, any of a custom one, which also has a `name`, such as Waist."""

    kind: Kind
    value: Quantity
    unit: Unit
    name: Annotated[Name, StringConstraints(max_length=100)] | None = None
    measured_at: Moment | None = None


class MeasurementQuery(PageQuery):
    """`from` and `to` bound `measured_at`: from inclusive, to exclusive. `name`: of a custom kind."""

    kind: Kind | None = None
    name: Name | None = None
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """`value` in `unit`, the same for every measurement of a kind; beside it what was entered."""

    id: UUID
    client_id: UUID
    kind: Kind
    name: str
    value: float
    unit: str
    entered_value: float
    entered_unit: str
    measured_at: datetime
    recorded_by: UUID
    created_at: datetime


async def list_measurements(db: Database, actor: Actor, client_id: UUID, query: MeasurementQuery) -> Page[Measurement]:
    """The latest first. Raises NotFound."""
    filters = (actor.practice_id, client_id, query.kind, query.name, query.from_, query.to)
    async with db.connection() as connection:
        await get_client(connection, actor, client_id)
        rows = await connection.fetch(LIST_MEASUREMENTS, *filters, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_MEASUREMENTS, *filters)
    return page_of([_measurement(row) for row in rows], query=query, total=total)


async def record_measurement(
    outbox: Outbox, actor: Actor, client_id: UUID, new: NewMeasurement, *, once: Once | None = None
) -> Measurement:
    """Raises NotFound, Invalid."""
    entered = Decimal(repr(new.value))
    value, unit = in_stored_unit(new.kind, entered, new.unit)
    _check_name(new)
    now = datetime.now(UTC)
    measured_at = new.measured_at or now
    if measured_at > now + CLOCK_SKEW:
        raise Invalid.field("measured_at", "Must not be in the future.")
    measurement_id = uuid7()
    async with outbox.transaction(once) as tx:
        await get_client(tx.connection, actor, client_id)
        await tx.connection.execute(
            INSERT_MEASUREMENT, measurement_id, actor.practice_id, client_id, new.kind, new.name or "", value, unit,
            entered, new.unit, measured_at, actor.user_id,
        )  # fmt: skip
        if actor.role is Role.CLIENT:
            await touch_clients(tx.connection, actor.practice_id, {client_id: now})
        payload = {"kind": new.kind, "by": actor.role.value}
        tx.record(event_about(EventType.MEASUREMENT_RECORDED, actor, client_id, measurement_id, **payload))
        return await tx.answer(await _get(tx.connection, actor, client_id, measurement_id))


async def delete_measurement(outbox: Outbox, actor: Actor, client_id: UUID, measurement_id: UUID) -> None:
    """A wrong one. Clients delete what they recorded themselves. Raises NotFound, Forbidden."""
    async with outbox.transaction() as tx:
        try:
            await get_client(tx.connection, actor, client_id)
        except NotFound:
            raise NotFound("No such measurement.") from None
        measurement = await _get(tx.connection, actor, client_id, measurement_id)
        if actor.role is Role.CLIENT and measurement.recorded_by != actor.user_id:
            raise Forbidden("You can delete what you recorded yourself; ask your coach about the rest.")
        await tx.connection.execute(DELETE_MEASUREMENT, actor.practice_id, measurement_id)
        payload = {"kind": measurement.kind, "by": actor.role.value}
        tx.record(event_about(EventType.MEASUREMENT_DELETED, actor, client_id, measurement_id, **payload))


def in_stored_unit(kind: Kind, value: Decimal, unit: str) -> tuple[Decimal, str]:
    """`value` in the unit of its kind, to six decimals. A custom one stays as it is. Raises Invalid."""
    scale = SCALES.get(kind)
    if scale is None:
        return value, unit
    if unit not in scale.per_unit:
        raise Invalid.field("unit", f"Must be {' or '.join(scale.per_unit)}.")
    stored = (value * scale.per_unit[unit]).quantize(STORED_DIGITS, ROUND_HALF_EVEN)
    if not scale.above < stored <= scale.at_most:
        raise Invalid.field("value", f"Must be more than {scale.above} and at most {scale.at_most} {scale.unit}.")
    return stored, scale.unit


def _check_name(new: NewMeasurement) -> None:
    if (new.kind == "custom") != (new.name is not None):
        raise Invalid.field("name", "A custom measurement needs a name, and no other has one.")


async def _get(connection: Connection, actor: Actor, client_id: UUID, measurement_id: UUID) -> Measurement:
    row = await connection.fetchrow(GET_MEASUREMENT, actor.practice_id, client_id, measurement_id)
    if row is None:
        raise NotFound("No such measurement.")
    return _measurement(row)


def _measurement(row: Row) -> Measurement:
    values: dict[str, Any] = dict(row)
    return Measurement(**values | {name: float(values[name]) for name in ("value", "entered_value")})
