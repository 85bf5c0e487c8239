"""/api/v1/webhooks"""

from wellio.accounts.actors import Role
from wellio.handlers.routes import Call, NoInput, Route
from wellio.outreach.webhook_deliveries import (
    DeliveryQuery,
    WebhookDelivery,
    WebhookDeliveryDetail,
    get_delivery,
    list_deliveries,
    resend_delivery,
    send_test,
)
from wellio.outreach.webhooks import (
    NewWebhook,
    Webhook,
    WebhookChanges,
    WebhookSecret,
    change_webhook,
    create_webhook,
    delete_webhook,
    get_webhook,
    list_webhooks,
    rotate_secret,
)
from wellio.pages import Page, PageQuery


async def list_webhooks_page(call: Call[NoInput, PageQuery]) -> Page[Webhook]:
    """The practice's webhooks."""
    return await list_webhooks(call.services.db, call.actor, call.query)


async def post_webhook(call: Call[NewWebhook, NoInput]) -> WebhookSecret:
    """Have events told to an address. The secret is shown this once, so there is no Idempotency-Key."""
    services = call.services
    return await create_webhook(services.outbox, services.sealer, call.actor, call.body, rules=services.config.outgoing)


async def get_webhook_by_id(call: Call[NoInput, NoInput]) -> Webhook:
    """One of them."""
    return await get_webhook(call.services.db, call.actor, call.ids["webhook_id"])


async def patch_webhook(call: Call[WebhookChanges, NoInput]) -> Webhook:
    """Change it, turn it off, or on again."""
    return await change_webhook(
        call.services.outbox, call.actor, call.ids["webhook_id"], call.body,
        rules=call.services.config.outgoing, if_version=call.if_version,
    )  # fmt: skip


async def delete_webhook_by_id(call: Call[NoInput, NoInput]) -> None:
    """Delete it with its deliveries."""
    await delete_webhook(call.services.outbox, call.actor, call.ids["webhook_id"])


async def post_webhook_rotate_secret(call: Call[NoInput, NoInput]) -> WebhookSecret:
    """A new secret, shown this once; for 24 hours each delivery is signed with the one before, too."""
    return await rotate_secret(call.services.outbox, call.services.sealer, call.actor, call.ids["webhook_id"])


async def post_webhook_test(call: Call[NoInput, NoInput]) -> WebhookDelivery:
    """Have a `webhook.test` told."""
    return await send_test(call.services.outbox, call.actor, call.ids["webhook_id"], once=call.once)


async def list_webhook_deliveries_page(call: Call[NoInput, DeliveryQuery]) -> Page[WebhookDelivery]:
    """What it was told within the last thirty days, the newest first."""
    return await list_deliveries(call.services.db, call.actor, call.ids["webhook_id"], call.query)


async def get_webhook_delivery(call: Call[NoInput, NoInput]) -> WebhookDeliveryDetail:
    """One delivery: what was sent, and each attempt with its answer."""
    return await get_delivery(call.services.db, call.actor, call.ids["webhook_id"], call.ids["delivery_id"])


async def post_webhook_delivery_resend(call: Call[NoInput, NoInput]) -> WebhookDelivery:
    """Tell it again, under the same `webhook-id`."""
    return await resend_delivery(call.services.outbox, call.actor, call.ids["webhook_id"], call.ids["delivery_id"])


OWNER = frozenset({Role.OWNER})
BASE = "/api/v1/webhooks"
ONE = f"{BASE}/{{webhook_id}}"
DELIVERIES = f"{ONE}/deliveries"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_webhooks_page, tag="webhooks", roles=OWNER, query=PageQuery,
        answer=Page[Webhook],
    ),
    Route(
        method="POST", path=BASE, handler=post_webhook, tag="webhooks", roles=OWNER, body=NewWebhook,
        answer=WebhookSecret, status=201, errors=(409,),
    ),
    Route(method="GET", path=ONE, handler=get_webhook_by_id, tag="webhooks", roles=OWNER, answer=Webhook),
    Route(
        method="PATCH", path=ONE, handler=patch_webhook, tag="webhooks", roles=OWNER, body=WebhookChanges,
        answer=Webhook, errors=(412,),
    ),
    Route(method="DELETE", path=ONE, handler=delete_webhook_by_id, tag="webhooks", roles=OWNER, answer=None),
    Route(
        method="POST", path=f"{ONE}/rotate-secret", handler=post_webhook_rotate_secret, tag="webhooks", roles=OWNER,
        answer=WebhookSecret,
    ),
    Route(
        method="POST", path=f"{ONE}/test", handler=post_webhook_test, tag="webhooks", roles=OWNER,
        answer=WebhookDelivery, status=201, creates=True, errors=(409,),
    ),
    Route(
        method="GET", path=DELIVERIES, handler=list_webhook_deliveries_page, tag="webhooks", roles=OWNER,
        query=DeliveryQuery, answer=Page[WebhookDelivery],
    ),
    Route(
        method="GET", path=f"{DELIVERIES}/{{delivery_id}}", handler=get_webhook_delivery, tag="webhooks", roles=OWNER,
        answer=WebhookDeliveryDetail,
    ),
    Route(
        method="POST", path=f"{DELIVERIES}/{{delivery_id}}/resend", handler=post_webhook_delivery_resend,
        tag="webhooks", roles=OWNER, answer=WebhookDelivery, errors=(409,),
    ),
)  # fmt: skip
