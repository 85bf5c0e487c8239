"""/api/v1/packages"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.packages import (
    NewPackage,
    Package,
    PackageChanges,
    PackageQuery,
    change_package,
    create_package,
    get_package,
    list_packages,
)
from wellio.practice.plans import OWNERS


async def list_packages_page(call: Call[NoInput, PackageQuery]) -> Page[Package]:
    """What clients can buy."""
    return await list_packages(call.services.db, call.actor, call.query)


async def post_package(call: Call[NewPackage, NoInput]) -> Package:
    """Offer a number of sessions together."""
    return await create_package(call.services.outbox, call.actor, call.body, once=call.once)


async def get_package_by_id(call: Call[NoInput, NoInput]) -> Package:
    """One package."""
    return await get_package(call.services.db, call.actor, call.ids["package_id"])


async def patch_package(call: Call[PackageChanges, NoInput]) -> Package:
    """Change or archive it; what was bought stays as it is."""
    return await change_package(
        call.services.outbox, call.actor, call.ids["package_id"], call.body, if_version=call.if_version
    )


BASE = "/api/v1/packages"
ONE = f"{BASE}/{{package_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_packages_page, tag="packages", query=PackageQuery, answer=Page[Package]
    ),
    Route(
        method="POST", path=BASE, handler=post_package, tag="packages", roles=OWNERS, body=NewPackage, answer=Package,
        status=201, creates=True,
    ),
    Route(method="GET", path=ONE, handler=get_package_by_id, tag="packages", answer=Package),
    Route(
        method="PATCH", path=ONE, handler=patch_package, tag="packages", roles=OWNERS, body=PackageChanges,
        answer=Package, errors=(412,),
    ),
)  # fmt: skip
