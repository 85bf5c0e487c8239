"""/api/v1/package-purchases"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.package_purchases import (
    NewPurchase,
    Purchase,
    PurchaseQuery,
    buy_package,
    get_purchase,
    list_purchases,
)


async def list_package_purchases_page(call: Call[NoInput, PurchaseQuery]) -> Page[Purchase]:
    """Packages that clients have bought, with what is left of them, the newest first."""
    return await list_purchases(call.services.db, call.actor, call.query)


async def post_package_purchase(call: Call[NewPurchase, NoInput]) -> Purchase:
    """Sell a package to a client: charges its price and grants its credits."""
    return await buy_package(call.services.outbox, call.actor, call.body, once=call.once)


async def get_package_purchase_by_id(call: Call[NoInput, NoInput]) -> Purchase:
    """One purchase."""
    return await get_purchase(call.services.db, call.actor, call.ids["purchase_id"])


BASE = "/api/v1/package-purchases"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_package_purchases_page, tag="packages", query=PurchaseQuery,
        answer=Page[Purchase], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_package_purchase, tag="packages", roles=STAFF, body=NewPurchase,
        answer=Purchase, status=201, creates=True,
    ),
    Route(
        method="GET", path=f"{BASE}/{{purchase_id}}", handler=get_package_purchase_by_id, tag="packages",
        answer=Purchase, reads=True,
    ),
)  # fmt: skip
