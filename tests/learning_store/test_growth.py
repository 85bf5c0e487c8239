"""What is learnt from grows for ever; what is kept of it does not, and nothing that is shown goes with it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.factories import House
from wellio.db import Database
from wellio.jobs.clean_up import clean_up
from wellio.jobs.work import Work
from wellio.learning.answers import Outcome
from wellio.learning.predictions import get_prediction_over_time
from wellio.learning.quality import KEEP_DAYS, QualityQuery, get_model_quality
from wellio.learning.snapshots import insert_outcomes
from wellio.outbox import Outbox

HORIZON = 30  # days, of the house


def outcome(house: House, client_id: UUID, days_ago: int) -> Outcome:
    asked = datetime.now(UTC) - timedelta(days=days_ago)
    return Outcome(
        practice=house.practice.id, client=client_id, asked_at=asked.timestamp(),
        due_at=(asked + timedelta(days=HORIZON)).timestamp(), kind="weekly", probability=0.3, rule=0.4, shown=True,
        churned=days_ago % 2 == 0,
    )  # fmt: skip


async def test_old_outcomes_go_but_those_that_are_shown_or_may_be_learnt_again(db: Database, house: House) -> None:
    shown = KEEP_DAYS + HORIZON - 1
    mine = [1000, shown + 2, shown, 100, 10]
    of_the_past = [2500, 2350, 2000]  # brought in; its history is that of the last 400 days it had
    outcomes = [outcome(house, house.client_id, days) for days in mine]
    outcomes += [outcome(house, house.other_client_id, days) for days in of_the_past]
    outcomes.append(outcome(house, house.client_id, 1001))  # since the oldest snapshot
    async with db.transaction() as connection:
        await insert_outcomes(connection, outcomes, after=0)

    async def told() -> list[object]:
        histories = [
            (await get_prediction_over_time(db, house.owner, client_id)).history
            for client_id in (house.client_id, house.other_client_id)
        ]
        return [histories, (await get_model_quality(db, house.owner, QualityQuery(weeks=104))).kinds]

    before = await told()
    work = Work(Outbox(db))
    assert (await clean_up(work))["prediction_outcomes"] == 0  # without a snapshot all may be learnt again
    for count in (len(outcomes), len(outcomes) - 1):
        await db.execute(
            "insert into learner_snapshots (xid, position, events, outcomes, state) values (1, 1, 1, $1, '')", count
        )
    assert (await clean_up(work, at_once=1))["prediction_outcomes"] == 3
    left = await db.fetch("select seq from prediction_outcomes order by seq")
    assert [row["seq"] for row in left] == [3, 4, 5, 7, 8, 9]
    assert await told() == before
    assert (await clean_up(work))["prediction_outcomes"] == 0
