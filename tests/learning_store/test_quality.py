"""How good predictions were is told of those asked since a moment, by kind."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.api import Api
from tests.factories import House, make_house
from tests.waiting import eventually
from wellio.db import Database
from wellio.learning import metrics, quality
from wellio.learning.answers import Outcome
from wellio.learning.quality import score_predictions, warm_up
from wellio.learning.snapshots import insert_outcomes

START = datetime(2024, 1, 1, tzinfo=UTC)


async def make_outcomes(
    db: Database, house: House, count: int, start: datetime = START
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.05, 0.95, count)
    y = rng.uniform(size=count) < p
    outcomes = [
        Outcome(
            practice=house.practice.id,
            client=house.client_id,
            asked_at=(start + timedelta(days=i)).timestamp(),
            due_at=(start + timedelta(days=i + 30)).timestamp(),
            kind="weekly",
            probability=float(p[i]),
            rule=0.5,
            shown=True,
            churned=bool(y[i]),
        )
        for i in range(count)
    ]
    async with db.transaction() as connection:
        await insert_outcomes(connection, outcomes, after=0)
    return p, y


async def test_figures_are_those_of_the_outcomes(db: Database, house: House) -> None:
    p, y = await make_outcomes(db, house, 200)
    (weekly,) = await score_predictions(db, house.practice.id, since=START + timedelta(days=50))
    p, y = p[50:], y[50:]
    assert (weekly.kind, weekly.n) == ("weekly", 150)
    assert weekly.base_rate == y.mean()
    assert weekly.auc == metrics.auc(p, y)
    assert weekly.log_loss == metrics.log_loss(p, y)
    assert weekly.ece == metrics.ece(p, y)
    assert weekly.rule_auc == 0.5
    assert sum(part.n for part in weekly.calibration) == 150


async def test_owner_is_shown_what_people_saw_week_by_week(
    api: Api, db: Database, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/v1/analytics/model-quality"
    # A learner that begins takes out what none of its snapshots knows of.
    await eventually(lambda: db.fetchval("select count(*) from consumers where name = 'learner'"))
    assert (await api.get(path, house.owner)).data["kinds"] == []
    now = datetime.now(UTC)
    monday = (now - timedelta(days=now.weekday(), weeks=30)).replace(hour=0, minute=0, second=0, microsecond=0)
    p, y = await make_outcomes(db, house, 70, start=monday)
    await db.execute("update prediction_outcomes set status = 'not_enough_history' where seq > 63")
    told = (await api.get(f"{path}?weeks=40", house.owner)).data
    (weekly,) = told["kinds"]
    assert (told["horizon_days"], told["sampled"], weekly["kind"], weekly["n"]) == (30, 1.0, "weekly", 63)
    assert [week["n"] for week in weekly["weeks"]] == [7] * 9
    assert datetime.fromisoformat(weekly["weeks"][1]["monday"]) == monday + timedelta(weeks=1)
    assert weekly["weeks"][1]["log_loss"] == pytest.approx(metrics.log_loss(p[7:14], y[7:14]))
    assert sum(part["n"] for part in weekly["calibration"]) == 63
    assert (await api.get(f"{path}?weeks=9", house.owner)).data["kinds"] == []
    monkeypatch.setattr(quality, "MOST", 20)
    sample = (await api.get(f"{path}?weeks=40", house.owner)).data
    assert (sample["sampled"], sample["kinds"][0]["n"]) == (0.25, 15)
    assert (await api.get(path, (await make_house(db, "Other")).owner)).data["kinds"] == []
    for stranger in (house.coach, house.client):
        assert (await api.get(path, stranger)).status == 403


async def test_practice_without_outcomes_has_no_figures(db: Database, house: House) -> None:
    assert await score_predictions(db, house.practice.id, since=START) == []


def test_warm_up_is_two_horizons_and_four_weeks() -> None:
    assert warm_up(45) == timedelta(days=118)
