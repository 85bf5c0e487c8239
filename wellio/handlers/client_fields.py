"""/api/v1/client-fields"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page, PageQuery
from wellio.practice.client_fields import (
    OWNERS,
    ClientField,
    ClientFieldChanges,
    NewClientField,
    change_client_field,
    create_client_field,
    delete_client_field,
    list_client_fields,
)


async def list_client_fields_page(call: Call[NoInput, PageQuery]) -> Page[ClientField]:
    """The fields that the practice has defined for `custom` of its clients."""
    return await list_client_fields(call.services.db, call.actor, call.query)


async def post_client_field(call: Call[NewClientField, NoInput]) -> ClientField:
    """Define one."""
    return await create_client_field(call.services.outbox, call.actor, call.body, once=call.once)


async def patch_client_field(call: Call[ClientFieldChanges, NoInput]) -> ClientField:
    """Change it; what clients have in it stays."""
    return await change_client_field(
        call.services.outbox, call.actor, call.ids["field_id"], call.body, if_version=call.if_version
    )


async def delete_client_field_by_id(call: Call[NoInput, NoInput]) -> None:
    """Delete the definition; what clients have in it stays."""
    await delete_client_field(call.services.outbox, call.actor, call.ids["field_id"])


BASE = "/api/v1/client-fields"
ONE = f"{BASE}/{{field_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_client_fields_page, tag="client-fields", query=PageQuery,
        answer=Page[ClientField],
    ),
    Route(
        method="POST", path=BASE, handler=post_client_field, tag="client-fields", roles=OWNERS, body=NewClientField,
        answer=ClientField, status=201, creates=True,
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_client_field, tag="client-fields", roles=OWNERS,
        body=ClientFieldChanges, answer=ClientField, errors=(412,),
    ),
    Route(
        method="DELETE", path=ONE, handler=delete_client_field_by_id, tag="client-fields", roles=OWNERS, answer=None,
    ),
)  # fmt: skip
