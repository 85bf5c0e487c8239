"""/api/v1/clients"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.clients import (
    Client,
    ClientChanges,
    ClientQuery,
    NewClient,
    change_client,
    create_client,
    get_client,
    list_clients,
)


async def list_clients_page(call: Call[NoInput, ClientQuery]) -> Page[Client]:
    """The clients whom the caller may see, filtered and sorted."""
    return await list_clients(call.services.db, call.actor, call.query)


async def post_client(call: Call[NewClient, NoInput]) -> Client:
    """Add a client. A coach's new client is assigned to that coach."""
    return await create_client(call.services.outbox, call.actor, call.body, once=call.once)


async def get_client_by_id(call: Call[NoInput, NoInput]) -> Client:
    """One client."""
    return await get_client(call.services.db, call.actor, call.ids["client_id"])


async def patch_client(call: Call[ClientChanges, NoInput]) -> Client:
    """Change the named fields of a client."""
    return await change_client(
        call.services.outbox, call.actor, call.ids["client_id"], call.body, if_version=call.if_version
    )


BASE = "/api/v1/clients"
ONE = f"{BASE}/{{client_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_clients_page, tag="clients",
        query=ClientQuery, answer=Page[Client], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_client, tag="clients", roles=STAFF,
        body=NewClient, answer=Client, status=201, creates=True,
    ),
    Route(method="GET", path=ONE, handler=get_client_by_id, tag="clients", answer=Client, reads=True),
    Route(
        method="PATCH", path=ONE, handler=patch_client, tag="clients", roles=STAFF,
        body=ClientChanges, answer=Client, errors=(412,),
    ),
)  # fmt: skip
