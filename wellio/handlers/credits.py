"""/api/v1/credits"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.credits import (
    CreditBalance,
    CreditEntry,
    CreditQuery,
    NewCredits,
    change_credits,
    get_credit_balance,
    list_credit_entries,
)


async def list_credits_page(call: Call[NoInput, CreditQuery]) -> Page[CreditEntry]:
    """The ledger of credits, the newest entries first."""
    return await list_credit_entries(call.services.db, call.actor, call.query)


async def post_credits(call: Call[NewCredits, NoInput]) -> CreditBalance:
    """Give a client credits, or take some away; answers what they then have."""
    return await change_credits(call.services.outbox, call.actor, call.body, once=call.once)


async def get_credits_of_client(call: Call[NoInput, NoInput]) -> CreditBalance:
    """What a client can use today, in the order in which it will be used."""
    return await get_credit_balance(call.services.db, call.actor, call.ids["client_id"])


BASE = "/api/v1/credits"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_credits_page, tag="credits", query=CreditQuery,
        answer=Page[CreditEntry], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_credits, tag="credits", roles=STAFF, body=NewCredits,
        answer=CreditBalance, status=201, creates=True, errors=(409,),
    ),
    Route(
        method="GET", path="/api/v1/clients/{client_id}/credits", handler=get_credits_of_client, tag="credits",
        answer=CreditBalance, reads=True,
    ),
)  # fmt: skip
