"""/api/v1/availability/{coach_id}/calendars"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery
from wellio.practice.external_calendars import (
    ExternalCalendar,
    NewExternalCalendar,
    add_calendar,
    list_calendars,
    refresh_calendar,
    remove_calendar,
)


async def list_external_calendars(call: Call[NoInput, PageQuery]) -> Page[ExternalCalendar]:
    """The coach's calendars elsewhere, and whether they can be read."""
    return await list_calendars(call.services.db, call.actor, call.ids["coach_id"], call.query)


async def post_external_calendar(call: Call[NewExternalCalendar, NoInput]) -> ExternalCalendar:
    """Add a calendar: at its busy times nobody can book. It is read within seconds."""
    services = call.services
    return await add_calendar(
        services.outbox, services.sealer, call.actor, call.ids["coach_id"], call.body,
        rules=services.config.outgoing, once=call.once,
    )  # fmt: skip


async def delete_external_calendar(call: Call[NoInput, NoInput]) -> None:
    """Remove it, with its busy times."""
    await remove_calendar(call.services.outbox, call.actor, call.ids["coach_id"], call.ids["calendar_id"])


async def post_external_calendar_refresh(call: Call[NoInput, NoInput]) -> ExternalCalendar:
    """Have it read now."""
    return await refresh_calendar(call.services.outbox, call.actor, call.ids["coach_id"], call.ids["calendar_id"])


BASE = "/api/v1/availability/{coach_id}/calendars"
ONE = f"{BASE}/{{calendar_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_external_calendars, tag="availability", roles=STAFF, query=PageQuery,
        answer=Page[ExternalCalendar],
    ),
    Route(
        method="POST", path=BASE, handler=post_external_calendar, tag="availability", roles=STAFF,
        body=NewExternalCalendar, answer=ExternalCalendar, status=201, creates=True, errors=(409,),
    ),
    Route(method="DELETE", path=ONE, handler=delete_external_calendar, tag="availability", roles=STAFF, answer=None),
    Route(
        method="POST", path=f"{ONE}/refresh", handler=post_external_calendar_refresh, tag="availability", roles=STAFF,
        answer=ExternalCalendar,
    ),
)  # fmt: skip
