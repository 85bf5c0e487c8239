"""A client's prediction as it is told: what it was on their usual day, and how it went over time."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.factories import House, make_house
from wellio.db import Database
from wellio.errors import NotFound
from wellio.events import Event, EventType
from wellio.jobs.clean_up import clean_up
from wellio.jobs.work import Work
from wellio.learning import answers
from wellio.learning.answers import Outcome, band_of
from wellio.learning.predictions import Moved, get_prediction, get_prediction_over_time, upsert_predictions
from wellio.learning.snapshots import insert_outcomes
from wellio.outbox import Outbox

ON_THE_SIXTH = datetime(2026, 1, 6, 9, 30, tzinfo=UTC)


async def store(
    db: Database, house: House, probability: float, *, day: int = 1, usual: float | None = None,
    event_id: UUID | None = None,
) -> None:  # fmt: skip
    prediction = answers.Prediction(
        house.practice.id, house.client_id, probability, band_of(probability), "ok", (), 30.0,
        datetime(2026, 1, day, 12, tzinfo=UTC).timestamp(), usual, 40.0,
    )  # fmt: skip
    async with db.transaction() as connection:
        await upsert_predictions(connection, [Moved(prediction, event_id, present=True)], [True])


async def test_history_is_a_point_a_day_with_what_moved_it(db: Database, house: House) -> None:
    """A Monday (5 January 2026) is kept though only time has passed; another such day is when the band changes."""
    login, payment = events = [
        Event(type=kind, practice_id=house.practice.id, client_id=house.client_id, occurred_at=ON_THE_SIXTH)
        for kind in (EventType.USER_LOGGED_IN, EventType.PAYMENT_RECORDED)
    ]
    async with Outbox(db).transaction() as tx:
        tx.record(*events)
    for day, probability, event in ((4, 0.2, None), (5, 0.3, None), (6, 0.1, login.id), (6, 0.12, payment.id),
                                    (7, 0.13, None), (8, 0.4, None)):  # fmt: skip
        await store(db, house, probability, day=day, event_id=event)
    told = (await get_prediction_over_time(db, house.coach, house.client_id)).history
    assert [(p.as_of.day, p.probability, p.band, p.event_type) for p in told] == [
        (4, 0.2, "low", None), (5, 0.3, "low", None), (6, 0.12, "low", "PaymentRecorded"), (8, 0.4, "medium", None),
    ]  # fmt: skip
    outcome = Outcome(
        practice=house.practice.id, client=house.client_id, asked_at=ON_THE_SIXTH.timestamp(),
        due_at=ON_THE_SIXTH.timestamp() + 30 * 86_400, kind="event", probability=0.9, rule=0.35, shown=False,
        churned=False,
    )  # fmt: skip
    async with db.transaction() as connection:
        await insert_outcomes(connection, [outcome, outcome._replace(asked_at=outcome.asked_at - 86_400)], after=0)
        await connection.execute("delete from prediction_history where day <> '2026-01-05'")
    told = (await get_prediction_over_time(db, house.coach, house.client_id)).history
    assert [(p.as_of.day, p.probability, p.event_type) for p in told] == [(5, 0.3, None), (6, 0.35, "PaymentRecorded")]
    for stranger in (house.other_coach, (await make_house(db, "Other")).owner):
        with pytest.raises(NotFound):
            await get_prediction_over_time(db, stranger, house.client_id)
    assert (await clean_up(Work(Outbox(db))))["prediction_history"] == 0
    await db.execute("update prediction_history set day = current_date - 401")
    assert (await clean_up(Work(Outbox(db))))["prediction_history"] == 1


@pytest.mark.parametrize(("usual", "now", "text"), [(0.3, 0.7, "on their usual day 30%, now 70%"), (0.701, 0.702, None),
                                                    (0.8, 0.7, None), (None, 0.7, None)])  # fmt: skip
async def test_counterfactual_is_told_where_being_late_raises_the_risk(
    db: Database, house: House, usual: float | None, now: float, text: str | None
) -> None:
    await store(db, house, now, usual=usual)
    told = (await get_prediction(db, house.coach, house.client_id)).counterfactual
    assert (told and told.text) == text
