"""/api/v1/clients/{client_id}/measurements"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.measurements import (
    Measurement,
    MeasurementQuery,
    NewMeasurement,
    delete_measurement,
    list_measurements,
    record_measurement,
)


async def list_measurements_page(call: Call[NoInput, MeasurementQuery]) -> Page[Measurement]:
    """A client's measurements, the latest first."""
    return await list_measurements(call.services.db, call.actor, call.ids["client_id"], call.query)


async def post_measurement(call: Call[NewMeasurement, NoInput]) -> Measurement:
    """Record one."""
    return await record_measurement(call.services.outbox, call.actor, call.ids["client_id"], call.body, once=call.once)


async def delete_measurement_by_id(call: Call[NoInput, NoInput]) -> None:
    """Delete a wrong one; clients only what they recorded themselves."""
    ids = call.ids
    await delete_measurement(call.services.outbox, call.actor, ids["client_id"], ids["measurement_id"])


BASE = "/api/v1/clients/{client_id}/measurements"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_measurements_page, tag="measurements", query=MeasurementQuery,
        answer=Page[Measurement], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_measurement, tag="measurements", body=NewMeasurement,
        answer=Measurement, status=201, creates=True,
    ),
    Route(
        method="DELETE", path=f"{BASE}/{{measurement_id}}", handler=delete_measurement_by_id, tag="measurements",
        answer=None,
    ),
)  # fmt: skip
