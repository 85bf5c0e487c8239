"""/api/v1/clients"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.client_changes import (
    BulkChange,
    BulkChanged,
    ClientChanges,
    archive_client,
    change_client,
    change_clients,
    restore_client,
)
from wellio.practice.client_lists import ClientFilters, ClientQuery, Facets, count_facets, list_clients
from wellio.practice.clients import Client, NewClient, create_client, get_client


async def list_clients_page(call: Call[NoInput, ClientQuery]) -> Page[Client]:
    """The clients whom the caller may see, filtered and sorted."""
    return await list_clients(call.services.db, call.actor, call.query)


async def post_client(call: Call[NewClient, NoInput]) -> Client:
    """Add a client. A coach's new client is assigned to that coach."""
    return await create_client(call.services.outbox, call.actor, call.body, once=call.once)


async def get_client_facets(call: Call[NoInput, ClientFilters]) -> Facets:
    """How many clients have each status, tag, coach and risk band, under the same filters as the list."""
    return await count_facets(call.services.db, call.actor, call.query)


async def post_clients_bulk(call: Call[BulkChange, NoInput]) -> BulkChanged:
    """Tag, untag, assign, archive or restore many clients: all of them, or none."""
    return await change_clients(call.services.outbox, call.actor, call.body)


async def get_client_by_id(call: Call[NoInput, NoInput]) -> Client:
    """One client."""
    return await get_client(call.services.db, call.actor, call.ids["client_id"])


async def patch_client(call: Call[ClientChanges, NoInput]) -> Client:
    """Change the named fields of a client."""
    return await change_client(
        call.services.outbox, call.actor, call.ids["client_id"], call.body, if_version=call.if_version
    )


async def delete_client(call: Call[NoInput, NoInput]) -> Client:
    """Archive a client; nothing is deleted."""
    return await archive_client(call.services.outbox, call.actor, call.ids["client_id"], if_version=call.if_version)


async def post_client_archive(call: Call[NoInput, NoInput]) -> Client:
    """Archive a client: they leave the list and keep everything."""
    return await archive_client(call.services.outbox, call.actor, call.ids["client_id"], if_version=call.if_version)


async def post_client_restore(call: Call[NoInput, NoInput]) -> Client:
    """Give an archived client the status back that they had."""
    return await restore_client(call.services.outbox, call.actor, call.ids["client_id"], if_version=call.if_version)


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
    Route(
        method="GET", path=f"{BASE}/facets", handler=get_client_facets, tag="clients", roles=STAFF,
        query=ClientFilters, answer=Facets,
    ),
    Route(
        method="POST", path=f"{BASE}/bulk", handler=post_clients_bulk, tag="clients", roles=STAFF,
        body=BulkChange, answer=BulkChanged,
    ),
    Route(method="GET", path=ONE, handler=get_client_by_id, tag="clients", answer=Client, reads=True),
    Route(
        method="PATCH", path=ONE, handler=patch_client, tag="clients", roles=STAFF,
        body=ClientChanges, answer=Client, errors=(412,),
    ),
    Route(
        method="DELETE", path=ONE, handler=delete_client, tag="clients", roles=STAFF, answer=Client, errors=(412,),
    ),
    Route(
        method="POST", path=f"{ONE}/archive", handler=post_client_archive, tag="clients", roles=STAFF,
        answer=Client, errors=(412,),
    ),
    Route(
        method="POST", path=f"{ONE}/restore", handler=post_client_restore, tag="clients", roles=STAFF,
        answer=Client, errors=(412,),
    ),
)  # fmt: skip
