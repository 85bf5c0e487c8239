"""How good a practice's predictions were: those made along the way, held against what came to pass."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wellio.accounts.actors import Actor, Role
from wellio.accounts.practices import get_practice
from wellio.db import Connection, Database
from wellio.learning import metrics
from wellio.learning.clients import FIRST_MONDAY, WEEK
from wellio.learning.metrics import CalibrationBin
from wellio.values import Input

OWNERS = frozenset({Role.OWNER})

# More outcomes than this are sampled evenly: figures of a hundred thousand are sure to the third digit.
MOST = 100_000

MAX_WEEKS = 104
# Outcomes older than that are asked about by nobody: the longest time that can be looked at, and the week it begins in.
KEEP_DAYS = 7 * (MAX_WEEKS + 1)

# So many of a practice's at once. What the client's history shows ($3 days before their last, risk_history.py) stays,
# and so does what a learner may have to take out again that goes on from the oldest snapshot.
DELETE_OLD_OUTCOMES = """
delete from prediction_outcomes
where seq in (
    select o.seq
    from prediction_outcomes o
    join practices p on p.id = o.practice_id
    where o.practice_id = $1 and o.asked_at < now() - make_interval(days => $2 + p.churn_horizon_days)
      and o.seq <= (select min(s.outcomes) from learner_snapshots s)
      and exists (
          select from prediction_outcomes n
          where n.practice_id = $1 and n.client_id = o.client_id
            and n.asked_at > o.asked_at + make_interval(days => $3))
    limit $4)
"""

COUNT_OUTCOMES = "select count(*) from prediction_outcomes where practice_id = $1 and asked_at >= $2"

# One value for all: eight bytes a figure, so that no row becomes an object. $4: of all or of those that people saw.
GET_OUTCOMES = """
select string_agg(
           float8send(case when kind = 'weekly' then 1 else 0 end)
           || float8send(extract(epoch from asked_at)::double precision)
           || float8send(probability) || float8send(rule) || float8send(churned::integer), ''::bytea order by seq)
from prediction_outcomes
where practice_id = $1 and asked_at >= $2 and seq % $3::bigint = 0 and (status = 'ok' or $4)
"""


class QualityQuery(Input):
    weeks: Annotated[int, Field(ge=1, le=MAX_WEEKS)] = 26


@dataclass(frozen=True, slots=True)
class WeekQuality:
    """Of the questions asked in the week from `monday` (UTC) on. `auc` is null where all outcomes are the same."""

    monday: datetime
    n: int
    base_rate: float
    auc: float | None
    log_loss: float
    ece: float
    rule_log_loss: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Of the questions of one kind: `weekly`, asked of everybody each Monday, or `event`, after what a client did.

    `auc` and the like are null where all outcomes are the same; `weekly_auc` is the mean of each week's own. `rule_…`
    are the simple rule's, which knows the silence alone. `calibration`: fifteen bins of equal mass.
    """

    kind: str
    n: int
    base_rate: float
    auc: float | None
    weekly_auc: float | None
    log_loss: float
    ece: float
    rule_auc: float | None
    rule_log_loss: float
    calibration: Sequence[CalibrationBin]
    weeks: Sequence[WeekQuality]


@dataclass(frozen=True, slots=True)
class ModelQuality:
    """Of the predictions that people saw and whose time is up, asked from `since` on.

    `sampled`: the share of them that was looked at, 1 unless there are very many.
    """

    horizon_days: int
    since: datetime
    sampled: float
    kinds: Sequence[Quality]


def warm_up(horizon_days: int) -> timedelta:
    """What is asked so soon after a practice's first event is not scored: nothing could be known yet."""
    return timedelta(days=2 * horizon_days + 28)


async def score_predictions(db: Database, practice_id: UUID, *, since: datetime) -> list[Quality]:
    """Of the questions asked from `since` on whose time is up, by kind; kinds without any are left out."""
    async with db.connection() as connection:
        outcomes, _ = await _read(connection, practice_id, since, also_unseen=True)
    return await asyncio.to_thread(_score, outcomes)


async def get_model_quality(db: Database, actor: Actor, query: QualityQuery) -> ModelQuality:
    """Raises Forbidden for all but owners."""
    actor.must_be(OWNERS)
    async with db.connection() as connection:
        practice = await get_practice(connection, actor.practice_id)
        since = _monday(datetime.now(UTC).timestamp()) - timedelta(days=practice.churn_horizon_days, weeks=query.weeks)
        outcomes, step = await _read(connection, actor.practice_id, since, also_unseen=False)
    return ModelQuality(practice.churn_horizon_days, since, 1 / step, await asyncio.to_thread(_score, outcomes))


async def _read(
    connection: Connection, practice_id: UUID, since: datetime, *, also_unseen: bool
) -> tuple[NDArray[np.float64], int]:
    """Outcomes [n, 5], each `step`-th of them, and the step."""
    count = await connection.fetchval(COUNT_OUTCOMES, practice_id, since)
    step = max(1, math.ceil(count / MOST))
    packed = await connection.fetchval(GET_OUTCOMES, practice_id, since, step, also_unseen)
    return np.frombuffer(packed or b"", ">f8").astype(float).reshape(-1, 5), step


def _score(outcomes: NDArray[np.float64]) -> list[Quality]:
    kinds = (("weekly", 1.0), ("event", 0.0))
    each = [(kind, outcomes[outcomes[:, 0] == code]) for kind, code in kinds]
    return [_of_kind(kind, some) for kind, some in each if len(some)]


def _of_kind(kind: str, outcomes: NDArray[np.float64]) -> Quality:
    _, asked_at, p, rule, y = outcomes.T
    churned = y > 0.0
    weeks = ((asked_at - FIRST_MONDAY) // WEEK).astype(np.int64)
    return Quality(
        kind=kind,
        n=len(p),
        base_rate=float(y.mean()),
        auc=_known(metrics.auc(p, churned)),
        weekly_auc=_known(metrics.mean_group_auc(p, churned, weeks)),
        log_loss=metrics.log_loss(p, churned),
        ece=metrics.ece(p, churned),
        rule_auc=_known(metrics.auc(rule, churned)),
        rule_log_loss=metrics.log_loss(rule, churned),
        calibration=metrics.calibration(p, churned),
        weeks=[_of_week(outcomes[weeks == week]) for week in np.unique(weeks)],
    )


def _of_week(outcomes: NDArray[np.float64]) -> WeekQuality:
    _, asked_at, p, rule, y = outcomes.T
    churned = y > 0.0
    return WeekQuality(
        monday=_monday(float(asked_at[0])),
        n=len(p),
        base_rate=float(y.mean()),
        auc=_known(metrics.auc(p, churned)),
        log_loss=metrics.log_loss(p, churned),
        ece=metrics.ece(p, churned),
        rule_log_loss=metrics.log_loss(rule, churned),
    )


def _monday(t: float) -> datetime:
    return datetime.fromtimestamp(FIRST_MONDAY + (t - FIRST_MONDAY) // WEEK * WEEK, UTC)


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure
