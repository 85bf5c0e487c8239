"""/api/v1/subscriptions"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.subscriptions import (
    NewSubscription,
    Subscription,
    SubscriptionChanges,
    SubscriptionQuery,
    change_subscription,
    get_subscription,
    list_subscriptions,
    start_subscription,
)


async def list_subscriptions_page(call: Call[NoInput, SubscriptionQuery]) -> Page[Subscription]:
    """Subscriptions of the clients whom the caller may see, the newest first."""
    return await list_subscriptions(call.services.db, call.actor, call.query)


async def post_subscription(call: Call[NewSubscription, NoInput]) -> Subscription:
    """Subscribe a client to a plan; what has begun by today is charged at once."""
    return await start_subscription(call.services.outbox, call.actor, call.body, once=call.once)


async def get_subscription_by_id(call: Call[NoInput, NoInput]) -> Subscription:
    """One subscription."""
    return await get_subscription(call.services.db, call.actor, call.ids["subscription_id"])


async def patch_subscription(call: Call[SubscriptionChanges, NoInput]) -> Subscription:
    """Pause it, go on with it, or cancel it for good."""
    return await change_subscription(
        call.services.outbox, call.actor, call.ids["subscription_id"], call.body, if_version=call.if_version
    )


BASE = "/api/v1/subscriptions"
ONE = f"{BASE}/{{subscription_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_subscriptions_page, tag="subscriptions", query=SubscriptionQuery,
        answer=Page[Subscription], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_subscription, tag="subscriptions", roles=STAFF, body=NewSubscription,
        answer=Subscription, status=201, creates=True, errors=(409,),
    ),
    Route(
        method="GET", path=ONE, handler=get_subscription_by_id, tag="subscriptions", answer=Subscription, reads=True
    ),
    Route(
        method="PATCH", path=ONE, handler=patch_subscription, tag="subscriptions", roles=STAFF,
        body=SubscriptionChanges, answer=Subscription, errors=(409, 412),
    ),
)  # fmt: skip
