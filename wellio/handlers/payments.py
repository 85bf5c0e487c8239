"""/api/v1/payments"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.pages import Page
from wellio.practice.charges import Voiding
from wellio.practice.payments import (
    NewPayment,
    NewRefund,
    Payment,
    PaymentQuery,
    get_payment,
    list_payments,
    record_payment,
    refund_payment,
    void_payment,
)


async def list_payments_page(call: Call[NoInput, PaymentQuery]) -> Page[Payment]:
    """The ledger lines that the caller may see, newest first."""
    return await list_payments(call.services.db, call.actor, call.query)


async def post_payment(call: Call[NewPayment, NoInput]) -> Payment:
    """Record a payment or a refund. Lines are never changed: a correction is a line of its own."""
    return await record_payment(call.services.outbox, call.actor, call.body, once=call.once)


async def get_payment_by_id(call: Call[NoInput, NoInput]) -> Payment:
    """One ledger line."""
    return await get_payment(call.services.db, call.actor, call.ids["payment_id"])


async def post_refund(call: Call[NewRefund, NoInput]) -> Payment:
    """Give a payment back, all that is left of it or a part; never more than was paid."""
    return await refund_payment(call.services.outbox, call.actor, call.ids["payment_id"], call.body, once=call.once)


async def post_payment_void(call: Call[Voiding, NoInput]) -> Payment:
    """Take back a payment or refund that was recorded in error, by the opposite line, which is the answer."""
    return await void_payment(call.services.outbox, call.actor, call.ids["payment_id"], call.body.note, once=call.once)


BASE = "/api/v1/payments"
ONE = f"{BASE}/{{payment_id}}"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_payments_page, tag="payments",
        query=PaymentQuery, answer=Page[Payment], reads=True,
    ),
    Route(
        method="POST", path=BASE, handler=post_payment, tag="payments", roles=STAFF,
        body=NewPayment, answer=Payment, status=201, creates=True, errors=(409,),
    ),
    Route(
        method="GET", path=ONE, handler=get_payment_by_id, tag="payments",
        answer=Payment, reads=True,
    ),
    Route(
        method="POST", path=f"{ONE}/refunds", handler=post_refund, tag="payments", roles=STAFF, body=NewRefund,
        answer=Payment, status=201, creates=True, errors=(409,),
    ),
    Route(
        method="POST", path=f"{ONE}/void", handler=post_payment_void, tag="payments", roles=STAFF, body=Voiding,
        answer=Payment, status=201, creates=True, errors=(409,),
    ),
)  # fmt: skip
