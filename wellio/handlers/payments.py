"""/api/v1/payments"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.payments import NewPayment, Payment, PaymentQuery, get_payment, list_payments, record_payment


async def list_payments_page(call: Call[NoInput, PaymentQuery]) -> Page[Payment]:
    """The ledger lines that the caller may see, newest first."""
    return await list_payments(call.services.db, call.actor, call.query)


async def post_payment(call: Call[NewPayment, NoInput]) -> Payment:
    """Record a payment or a refund. Lines are never changed: a correction is a line of its own."""
    return await record_payment(call.services.outbox, call.actor, call.body, once=call.once)


async def get_payment_by_id(call: Call[NoInput, NoInput]) -> Payment:
    """One ledger line."""
    return await get_payment(call.services.db, call.actor, call.ids["payment_id"])


BASE = "/api/v1/payments"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_payments_page, tag="payments",
        query=PaymentQuery, answer=Page[Payment], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_payment, tag="payments", roles=STAFF,
        body=NewPayment, answer=Payment, status=201, creates=True,
    ),
    Route(
        method="GET", path=f"{BASE}/{{payment_id}}", handler=get_payment_by_id, tag="payments",
        answer=Payment, reads=True,
    ),
)  # fmt: skip
