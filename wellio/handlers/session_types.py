"""/api/v1/session-types"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.session_types import (
    NewSessionType,
    SessionType,
    SessionTypeChanges,
    SessionTypeQuery,
    change_session_type,
    create_session_type,
    get_session_type,
    list_session_types,
)


async def list_session_types_page(call: Call[NoInput, SessionTypeQuery]) -> Page[SessionType]:
    """What can be booked: for a client, with their coach."""
    return await list_session_types(call.services.db, call.actor, call.query)


async def post_session_type(call: Call[NewSessionType, NoInput]) -> SessionType:
    """Offer a kind of session; a coach's are their own, an owner's may be everybody's."""
    return await create_session_type(call.services.outbox, call.actor, call.body, once=call.once)


async def get_session_type_by_id(call: Call[NoInput, NoInput]) -> SessionType:
    """One session type."""
    return await get_session_type(call.services.db, call.actor, call.ids["session_type_id"])


async def patch_session_type(call: Call[SessionTypeChanges, NoInput]) -> SessionType:
    """Change or archive it; what is booked stays as it is."""
    return await change_session_type(
        call.services.outbox, call.actor, call.ids["session_type_id"], call.body, if_version=call.if_version
    )


BASE = "/api/v1/session-types"
ONE = f"{BASE}/{{session_type_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_session_types_page, tag="session-types", query=SessionTypeQuery,
        answer=Page[SessionType],
    ),
    Route(
        method="POST", path=BASE, handler=post_session_type, tag="session-types", roles=STAFF, body=NewSessionType,
        answer=SessionType, status=201, creates=True,
    ),
    Route(method="GET", path=ONE, handler=get_session_type_by_id, tag="session-types", answer=SessionType),
    Route(
        method="PATCH", path=ONE, handler=patch_session_type, tag="session-types", roles=STAFF,
        body=SessionTypeChanges, answer=SessionType, errors=(409, 412),
    ),
)  # fmt: skip
