"""/api/v1/auth/api-keys: keys for scripts and integrations."""

from wellio.accounts.actors import STAFF
from wellio.accounts.api_keys import (
    ApiKey,
    ApiKeyQuery,
    ApiKeySecret,
    NewApiKey,
    create_api_key,
    list_api_keys,
    revoke_api_key,
)
from wellio.handlers.routes import SCOPES, Call, NoInput, Route
from wellio.pages import Page


async def list_api_keys_page(call: Call[NoInput, ApiKeyQuery]) -> Page[ApiKey]:
    """Your API keys; for an owner those of the practice."""
    return await list_api_keys(call.services.db, call.actor, call.query)


async def post_api_key(call: Call[NewApiKey, NoInput]) -> ApiKeySecret:
    """Make an API key. It is shown this once, so a repeat makes another: there is no Idempotency-Key."""
    return await create_api_key(call.services.outbox, call.actor, call.body, known=call.request.app[SCOPES])


async def delete_api_key(call: Call[NoInput, NoInput]) -> None:
    """Revoke an API key; it stops working at once. An owner may revoke those of the practice."""
    await revoke_api_key(call.services.outbox, call.actor, call.ids["api_key_id"])


BASE = "/api/v1/auth/api-keys"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_api_keys_page, tag="auth", roles=STAFF, api_keys=False,
        query=ApiKeyQuery, answer=Page[ApiKey],
    ),
    Route(
        method="POST", path=BASE, handler=post_api_key, tag="auth", roles=STAFF, api_keys=False, fresh=True,
        limit="api_keys", body=NewApiKey, answer=ApiKeySecret, status=201, errors=(409,),
    ),
    Route(
        method="DELETE", path=f"{BASE}/{{api_key_id}}", handler=delete_api_key, tag="auth", roles=STAFF,
        api_keys=False, answer=None,
    ),
)  # fmt: skip
