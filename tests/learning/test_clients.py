"""What a client's row remembers of each fact."""

import math

import pytest

from tests.learning.histories import START, client, context, visit
from wellio.learning import clients as c
from wellio.learning.clients import DAY, new_row, observe
from wellio.learning.inputs import Fact


def row_after(*facts: Fact) -> list[float]:
    row = new_row(client(0), facts[0].t)
    for fact in facts:
        observe(row, fact, fact.t)
    return row


def at(days: float) -> float:
    return START + days * DAY


def test_two_events_of_one_visit_make_no_gap() -> None:
    row = row_after(visit(at(0)), visit(at(0.4)), visit(at(0.49)))
    assert row[c.ACTIVES] == 3.0
    assert row[c.VISITS] == 1.0
    assert row[c.GAP_WEIGHT] == 0.0
    assert row[c.LAST] == at(0.49)


def test_a_visit_lasts_twelve_hours_from_its_start_however_often_they_write() -> None:
    row = row_after(*[visit(at(0.4 * i)) for i in range(4)])
    assert row[c.VISITS] == 2.0
    assert row[c.LAST_GAP] == pytest.approx(0.8)


def test_the_typical_gap_is_an_average_that_forgets() -> None:
    row = row_after(visit(at(0)), visit(at(7)), visit(at(21)))
    weight = c.GAP_DECAY + 1.0
    assert row[c.GAP_WEIGHT] == pytest.approx(weight)
    assert row[c.GAP_SUM] / weight == pytest.approx((c.GAP_DECAY * math.log(7) + math.log(14)) / weight)
    assert row[c.GAP_SQUARE] == pytest.approx(math.log(2) ** 2)


def test_counts_halve_with_their_half_lives() -> None:
    row = row_after(visit(at(0)), context(at(90), "refund"))
    assert row[c.RECENT_90] == pytest.approx(0.5)
    assert row[c.RECENT_30] == pytest.approx(0.125)
    assert row[c.RECENT_7] == pytest.approx(0.5 ** (90 / 7))
    assert row[c.OTHERS] == pytest.approx(0.125)


def test_context_is_no_visit() -> None:
    row = row_after(visit(at(0)), context(at(5), "session_missed"), context(at(6), "message_sent"))
    assert (row[c.ACTIVES], row[c.LAST]) == (1.0, at(0))
    assert row[c.MISSED] == pytest.approx(0.5 ** (1 / 90))
    assert row[c.UNANSWERED] == 1.0


def test_miss_that_is_undone_leaves_the_row_as_if_it_had_never_been() -> None:
    """Whenever it is taken back, and one of two alone."""
    others = [visit(at(0)), context(at(3), "session_missed"), visit(at(20), kind="session_attended")]
    miss, undone = context(at(5), "session_missed"), context(at(5), "miss_undone")
    expected = row_after(*others, visit(at(40)))
    for at_once in (True, False):
        facts = [*others[:2], miss, *([undone] if at_once else []), others[2], *([] if at_once else [undone])]
        assert row_after(*facts, visit(at(40))) == pytest.approx(expected, rel=1e-12)
    assert row_after(visit(at(0)), miss, undone)[c.MISSED] == 0.0


def test_messages_wait_until_the_other_side_writes() -> None:
    row = row_after(*[context(at(i), "message_sent") for i in range(3)])
    assert (row[c.UNANSWERED], row[c.WAITING]) == (3.0, 0.0)
    observe(row, visit(at(4), kind="message_sent"), at(4))
    assert (row[c.UNANSWERED], row[c.WAITING]) == (0.0, 1.0)
    observe(row, context(at(5), "message_sent"), at(5))
    assert (row[c.UNANSWERED], row[c.WAITING]) == (1.0, 0.0)


def test_a_late_fact_counts_at_its_age_and_makes_no_gap() -> None:
    row = row_after(visit(at(0)), visit(at(60)))
    late = observe(row, visit(at(30)), at(30))
    assert late is None
    assert row[c.LAST] == at(60)
    assert row[c.UPDATED] == at(60)
    assert row[c.VISITS] == 2.0
    assert row[c.OTHERS] == pytest.approx(0.25 + 1.0 + 0.5)


def test_a_late_report_of_a_missed_session_counts_at_its_age() -> None:
    row = row_after(visit(at(0)), visit(at(90)))
    observe(row, context(at(0), "session_missed"), at(0))
    assert row[c.MISSED] == pytest.approx(0.5)


def test_tenure_starts_with_the_oldest_fact() -> None:
    row = row_after(context(at(10), "client_created"), visit(at(3)))
    assert row[c.FIRST] == at(3)
    assert row[c.LAST] == at(3)


def test_amounts_are_averaged_on_a_log_scale() -> None:
    row = row_after(visit(at(0), amount=100.0), visit(at(7), amount=50.0), visit(at(14)))
    assert row[c.AMOUNT_WEIGHT] == pytest.approx(1.8)
    assert row[c.AMOUNT_SUM] == pytest.approx(0.8 * math.log1p(100) + math.log1p(50))
    assert row[c.LAST_AMOUNT] == math.log1p(50)


def test_late_payments_are_remembered() -> None:
    row = row_after(visit(at(0), kind="payment", amount=10.0, late_days=9.0))
    assert row[c.LATE_SUM] / row[c.LATE_WEIGHT] == pytest.approx(math.log(10))
    observe(row, visit(at(1), kind="payment", amount=10.0, late_days=-5.0), at(1))
    assert row[c.LATE_SUM] / row[c.LATE_WEIGHT] == pytest.approx(0.8 * math.log(10) / 1.8)


@pytest.mark.parametrize("absurd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_absent(absurd: float) -> None:
    row = row_after(visit(at(0), kind="payment", amount=absurd, late_days=absurd))
    assert row[c.AMOUNT_WEIGHT] == 0.0
    assert row[c.LATE_WEIGHT] == 0.0
    assert all(map(math.isfinite, row))


def test_the_order_of_a_client_is_in_the_unit_interval_and_its_own() -> None:
    orders = [new_row(client(n), START)[c.ORDER] for n in range(1000)]
    assert len(set(orders)) == 1000
    assert all(0.0 <= order < 1.0 for order in orders)
    assert sum(orders) / 1000 == pytest.approx(0.5, abs=0.05)
    assert orders != sorted(orders)
