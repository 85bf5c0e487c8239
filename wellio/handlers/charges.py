"""/api/v1/charges"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.charges import (
    Charge,
    ChargeQuery,
    NewCharge,
    Voiding,
    add_charge,
    get_charge,
    list_charges,
    void_charge,
)


async def list_charges_page(call: Call[NoInput, ChargeQuery]) -> Page[Charge]:
    """What clients were charged, the newest first."""
    return await list_charges(call.services.db, call.actor, call.query)


async def post_charge(call: Call[NewCharge, NoInput]) -> Charge:
    """Charge a client by hand; subscriptions, packages and sessions charge themselves."""
    return await add_charge(call.services.outbox, call.actor, call.body, once=call.once)


async def get_charge_by_id(call: Call[NoInput, NoInput]) -> Charge:
    """One charge."""
    return await get_charge(call.services.db, call.actor, call.ids["charge_id"])


async def post_charge_void(call: Call[Voiding, NoInput]) -> Charge:
    """Take a charge back by the opposite entry, which is the answer."""
    return await void_charge(call.services.outbox, call.actor, call.ids["charge_id"], call.body, once=call.once)


BASE = "/api/v1/charges"
ONE = f"{BASE}/{{charge_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_charges_page, tag="payments", query=ChargeQuery, answer=Page[Charge],
        reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_charge, tag="payments", roles=STAFF, body=NewCharge, answer=Charge,
        status=201, creates=True,
    ),
    Route(method="GET", path=ONE, handler=get_charge_by_id, tag="payments", answer=Charge, reads=True),
    Route(
        method="POST", path=f"{ONE}/void", handler=post_charge_void, tag="payments", roles=STAFF, body=Voiding,
        answer=Charge, status=201, creates=True, errors=(409,),
    ),
)  # fmt: skip
