"""/api/v1/availability"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.practice.availability import (
    Availability,
    AvailabilityChanges,
    NewOverride,
    NewTimeOff,
    Override,
    TimeOff,
    add_time_off,
    change_availability,
    delete_override,
    delete_time_off,
    get_availability,
    set_override,
)
from wellio.practice.bookable import SlotList, SlotQuery, list_bookable


async def get_slots(call: Call[NoInput, SlotQuery]) -> SlotList:
    """The starts that can be booked at this moment, of one's coach (clients), oneself, or any coach (owners)."""
    return await list_bookable(call.services.db, call.actor, call.query)


async def get_availability_of_coach(call: Call[NoInput, NoInput]) -> Availability:
    """A coach's hours, dates, time off, notice, buffers and limits: one's own, or for owners anybody's."""
    return await get_availability(call.services.db, call.actor, call.ids["coach_id"])


async def patch_availability(call: Call[AvailabilityChanges, NoInput]) -> Availability:
    """Change them. Booked sessions stay as they are."""
    return await change_availability(
        call.services.outbox, call.actor, call.ids["coach_id"], call.body, if_version=call.if_version
    )


async def post_availability_override(call: Call[NewOverride, NoInput]) -> Override:
    """Give one date hours of its own, or none; what it had before is replaced."""
    return await set_override(call.services.outbox, call.actor, call.ids["coach_id"], call.body, once=call.once)


async def delete_availability_override(call: Call[NoInput, NoInput]) -> None:
    """Give the date the week's hours again."""
    await delete_override(call.services.outbox, call.actor, call.ids["coach_id"], call.ids["override_id"])


async def post_time_off(call: Call[NewTimeOff, NoInput]) -> TimeOff:
    """Take time off. Booked sessions stay."""
    return await add_time_off(call.services.outbox, call.actor, call.ids["coach_id"], call.body, once=call.once)


async def delete_time_off_by_id(call: Call[NoInput, NoInput]) -> None:
    """Take it back."""
    await delete_time_off(call.services.outbox, call.actor, call.ids["coach_id"], call.ids["time_off_id"])


BASE = "/api/v1/availability"
ONE = f"{BASE}/{{coach_id}}"
ROUTES = (
    Route(
        method="GET", path=f"{BASE}/slots", handler=get_slots, tag="availability", query=SlotQuery, answer=SlotList,
        errors=(409,),
    ),
    Route(
        method="GET", path=ONE, handler=get_availability_of_coach, tag="availability", roles=STAFF,
        answer=Availability,
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_availability, tag="availability", roles=STAFF,
        body=AvailabilityChanges, answer=Availability, errors=(412,),
    ),
    Route(
        method="POST", path=f"{ONE}/overrides", handler=post_availability_override, tag="availability", roles=STAFF,
        body=NewOverride, answer=Override, status=201, creates=True,
    ),
    Route(
        method="DELETE", path=f"{ONE}/overrides/{{override_id}}", handler=delete_availability_override,
        tag="availability", roles=STAFF, answer=None,
    ),
    Route(
        method="POST", path=f"{ONE}/time-off", handler=post_time_off, tag="availability", roles=STAFF,
        body=NewTimeOff, answer=TimeOff, status=201, creates=True,
    ),
    Route(
        method="DELETE", path=f"{ONE}/time-off/{{time_off_id}}", handler=delete_time_off_by_id, tag="availability",
        roles=STAFF, answer=None,
    ),
)  # fmt: skip
