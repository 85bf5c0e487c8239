"""/api/v1/clients/{client_id}/balance and /ledger"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.balances import Balance, LedgerEntry, LedgerQuery, get_balance, list_ledger


async def get_balance_of_client(call: Call[NoInput, NoInput]) -> Balance:
    """What a client owes (above zero) or has paid ahead (below), by currency."""
    return await get_balance(call.services.db, call.actor, call.ids["client_id"])


async def list_ledger_page(call: Call[NoInput, LedgerQuery]) -> Page[LedgerEntry]:
    """The entries that a client's balance comes of, the newest first, with the balance after each."""
    return await list_ledger(call.services.db, call.actor, call.ids["client_id"], call.query)


BASE = "/api/v1/clients/{client_id}"
ROUTES = (
    Route(
        method="GET", path=f"{BASE}/balance", handler=get_balance_of_client, tag="payments", answer=Balance, reads=True
    ),
    Route(
        method="GET", path=f"{BASE}/ledger", handler=list_ledger_page, tag="payments", query=LedgerQuery,
        answer=Page[LedgerEntry], reads=True,
    ),
)  # fmt: skip
