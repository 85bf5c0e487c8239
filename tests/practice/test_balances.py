"""For whatever history: the balance is what a naive recount says, and nothing falls below zero."""

from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import House, make_client
from wellio.db import Database
from wellio.errors import Conflict
from wellio.outbox import Outbox
from wellio.practice.balances import LedgerQuery, get_balance, list_ledger
from wellio.practice.charges import NewCharge, Voiding, add_charge, void_charge
from wellio.practice.credits import NewCredits, change_credits, get_credit_balance
from wellio.practice.payments import NewPayment, NewRefund, record_payment, refund_payment, void_payment

CURRENCIES = ("EUR", "USD")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["charge", "pay", "refund", "void_charge", "void_line", "credits", "credits_away"]),
        st.integers(1, 50),
        st.sampled_from(CURRENCIES),
        st.integers(0, 30),
    ),
    max_size=14,
)


class Recount:
    """The naive model: what stands, line by line."""

    def __init__(self) -> None:
        self.charges: dict[UUID, tuple[str, int]] = {}
        self.payments: dict[UUID, tuple[str, int]] = {}
        self.refunds: dict[UUID, tuple[UUID, int]] = {}
        self.credits = 0

    def left(self, payment: UUID) -> int:
        return self.payments[payment][1] - sum(minor for of, minor in self.refunds.values() if of == payment)

    def balance(self, currency: str) -> int:
        return (
            sum(minor for c, minor in self.charges.values() if c == currency)
            - sum(minor for c, minor in self.payments.values() if c == currency)
            + sum(minor for of, minor in self.refunds.values() if self.payments[of][0] == currency)
        )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_balance_is_what_a_naive_recount_says(
    db: Database, house: House, steps: list[tuple[str, int, str, int]]
) -> None:
    client_id = await make_client(db, house.practice, coach=house.coach)
    outbox, model = Outbox(db), Recount()
    for kind, minor, currency, pick in steps:
        await _do(outbox, house, client_id, model, (kind, minor, currency, pick))
    shown = {b.currency: b.balance_minor for b in (await get_balance(db, house.coach, client_id)).balances}
    assert {c: shown.get(c, 0) for c in CURRENCIES} == {c: model.balance(c) for c in CURRENCIES}
    assert (await get_credit_balance(db, house.coach, client_id)).left == model.credits
    entries = (await list_ledger(db, house.coach, client_id, LedgerQuery(page_size=100))).items
    for currency in CURRENCIES:
        of = [entry for entry in entries if entry.currency == currency]
        assert sum(entry.amount_minor for entry in of) == model.balance(currency)
        assert not of or of[0].balance_minor == model.balance(currency)


async def _do(outbox: Outbox, house: House, client_id: UUID, model: Recount, step: tuple[str, int, str, int]) -> None:
    """One step; what the model says can't be, must be refused."""
    kind, minor, currency, pick = step
    actor = house.coach
    if kind == "charge":
        charge = await add_charge(outbox, actor, NewCharge(client_id=client_id, amount_minor=minor, currency=currency))
        model.charges[charge.id] = (currency, minor)
    elif kind == "pay":
        new = NewPayment(client_id=client_id, amount_minor=minor, currency=currency)
        model.payments[(await record_payment(outbox, actor, new)).id] = (currency, minor)
    elif kind == "refund" and model.payments:
        payment = list(model.payments)[pick % len(model.payments)]
        fits = minor <= model.left(payment)
        try:
            refund = await refund_payment(outbox, actor, payment, NewRefund(amount_minor=minor))
            assert fits
            model.refunds[refund.id] = (payment, minor)
        except Conflict:
            assert not fits
    elif kind == "void_charge" and model.charges:
        charge_id = list(model.charges)[pick % len(model.charges)]
        await void_charge(outbox, actor, charge_id, Voiding())
        del model.charges[charge_id]
    elif kind == "void_line" and model.payments:
        await _void_line(outbox, house, model, pick)
    elif kind == "credits":
        await change_credits(outbox, actor, NewCredits(client_id=client_id, amount=minor))
        model.credits += minor
    elif kind == "credits_away":
        try:
            await change_credits(outbox, actor, NewCredits(client_id=client_id, amount=-minor))
            model.credits -= minor
            assert model.credits >= 0
        except Conflict:
            assert minor > model.credits


async def _void_line(outbox: Outbox, house: House, model: Recount, pick: int) -> None:
    lines = [*model.payments, *model.refunds]
    line = lines[pick % len(lines)]
    refunded = line in model.payments and model.left(line) < model.payments[line][1]
    try:
        await void_payment(outbox, house.coach, line, "")
        assert not refunded
        model.payments.pop(line, None)
        model.refunds.pop(line, None)
    except Conflict:
        assert refunded
