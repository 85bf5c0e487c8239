"""How good predictions were is told of those asked since a moment, by kind."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.factories import House
from wellio.db import Database
from wellio.learning import metrics, quality
from wellio.learning.answers import Outcome
from wellio.learning.quality import score_predictions, warm_up
from wellio.learning.snapshots import insert_outcomes

START = datetime(2024, 1, 1, tzinfo=UTC)


async def make_outcomes(db: Database, house: House, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.05, 0.95, count)
    y = rng.uniform(size=count) < p
    outcomes = [
        Outcome(
            practice=house.practice.id,
            client=house.client_id,
            asked_at=(START + timedelta(days=i)).timestamp(),
            due_at=(START + timedelta(days=i + 30)).timestamp(),
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


async def test_figures_are_those_of_the_outcomes(db: Database, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "AT_ONCE", 7)
    p, y = await make_outcomes(db, house, 200)
    (weekly,) = await score_predictions(db, house.practice.id, since=START + timedelta(days=50))
    p, y = p[50:], y[50:]
    assert (weekly.kind, weekly.n) == ("weekly", 150)
    assert weekly.base_rate == y.mean()
    assert weekly.auc == metrics.auc(p, y)
    assert weekly.log_loss == metrics.log_loss(p, y)
    assert weekly.ece == metrics.ece(p, y)
    assert weekly.rule_auc == 0.5
    assert sum(part.n for part in weekly.bins) == 150


async def test_practice_without_outcomes_has_no_figures(db: Database, house: House) -> None:
    assert await score_predictions(db, house.practice.id, since=START) == []


def test_warm_up_is_two_horizons_and_four_weeks() -> None:
    assert warm_up(45) == timedelta(days=118)
