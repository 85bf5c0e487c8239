"""Predictions as stored and shown: each client's latest, with its reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wellio.accounts.actors import STAFF, Actor
from wellio.db import Connection, Database, Row
from wellio.encoding import to_json
from wellio.errors import NotFound
from wellio.learning import answers
from wellio.learning.answers import Band, Status
from wellio.learning.next_sessions import NextSession, list_next_sessions
from wellio.learning.risk_history import RiskPoint, list_risk_history
from wellio.pages import Page, PageQuery, page_of

WEIGHT_DIGITS = 4

# Never back in time: a learner that begins again from a snapshot comes by old predictions once more.
# Its history: what moved by an event, what changed band or status, and all that is asked about on Mondays.
UPSERT_PREDICTIONS = """
with moved as (
    select t.practice_id, t.client_id, t.probability, t.band, t.reasons, t.status, t.horizon_days, t.usual,
           t.engagement, t.event_id, to_timestamp(t.as_of) as as_of
    from unnest($1::uuid[], $2::uuid[], $3::double precision[], $4::text[], $5::text[], $6::text[], $7::integer[],
                $8::double precision[], $9::double precision[], $10::double precision[], $11::uuid[])
         t (practice_id, client_id, probability, band, reasons, status, horizon_days, as_of, usual, engagement,
            event_id)
    where exists (select from clients c where c.practice_id = t.practice_id and c.id = t.client_id)
),
stored as (
    insert into predictions as p (practice_id, client_id, probability, band, reasons, status, horizon_days, as_of,
                                  usual_probability, engagement, last_event_id)
    select m.practice_id, m.client_id, m.probability, m.band, m.reasons::jsonb, m.status, m.horizon_days, m.as_of,
           m.usual, m.engagement, m.event_id
    from moved m
    on conflict on constraint predictions_pkey do update
    set probability = excluded.probability, band = excluded.band, reasons = excluded.reasons,
        status = excluded.status, horizon_days = excluded.horizon_days, as_of = excluded.as_of,
        usual_probability = excluded.usual_probability, engagement = excluded.engagement,
        last_event_id = coalesce(excluded.last_event_id, p.last_event_id)
    where p.as_of <= excluded.as_of
    returning client_id, last_event_id
),
kept as (
    insert into prediction_history as h (practice_id, client_id, day, probability, band, status, engagement, as_of,
                                         event_id)
    select m.practice_id, m.client_id, (m.as_of at time zone 'UTC')::date, m.probability, m.band, m.status,
           m.engagement, m.as_of, m.event_id
    from moved m
    join stored s using (client_id)
    left join predictions p on p.practice_id = m.practice_id and p.client_id = m.client_id
    where m.event_id is not null or (p.band, p.status) is distinct from (m.band, m.status)
       or extract(isodow from m.as_of at time zone 'UTC') = 1
    on conflict on constraint prediction_history_pkey do update
    set probability = excluded.probability, band = excluded.band, status = excluded.status,
        engagement = excluded.engagement, as_of = excluded.as_of, event_id = coalesce(excluded.event_id, h.event_id)
)
select client_id, last_event_id from stored
"""

# The band that people saw before, if it was sure.
LIST_BEFORE = """
select c.id as client_id, c.first_name || ' ' || c.last_name as client_name, c.coach_id,
       case when p.status = 'ok' then p.band when p.status is not null then 'unsure' end as was
from unnest($1::uuid[], $2::uuid[]) t (practice_id, client_id)
join clients c on c.practice_id = t.practice_id and c.id = t.client_id
left join predictions p on p.practice_id = t.practice_id and p.client_id = t.client_id
"""

LIST_PREDICTIONS = """
select c.id as client_id, c.first_name || ' ' || c.last_name as client_name, p.probability, p.band, p.reasons,
       p.horizon_days, p.as_of, p.last_event_id, p.status, p.usual_probability, p.engagement
from visible_clients($1, $2, $3) c
join predictions p on p.practice_id = $1 and p.client_id = c.id
where c.status not in ('churned', 'archived')
  and ($4::text is null or p.band = $4)
  and ($5::uuid is null or c.coach_id = $5)
order by p.probability desc, p.client_id
limit $6 offset $7
"""

COUNT_PREDICTIONS = """
select count(*)
from visible_clients($1, $2, $3) c
join predictions p on p.practice_id = $1 and p.client_id = c.id
where c.status not in ('churned', 'archived')
  and ($4::text is null or p.band = $4)
  and ($5::uuid is null or c.coach_id = $5)
"""

GET_PREDICTION = """
select c.id as client_id, c.first_name || ' ' || c.last_name as client_name, p.probability, p.band,
       coalesce(p.reasons, '[]') as reasons, coalesce(p.horizon_days, r.churn_horizon_days) as horizon_days,
       p.as_of, p.last_event_id, coalesce(p.status, 'not_enough_history') as status, p.usual_probability, p.engagement
from visible_clients($1, $2, $3) c
join practices r on r.id = c.practice_id
left join predictions p on p.practice_id = $1 and p.client_id = c.id
where c.id = $4
"""


class PredictionQuery(PageQuery):
    band: Band | None = None
    coach_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """`weight` is in log-odds: how much it moves the prediction, up when positive."""

    code: str
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What was predicted on the client's usual day, the last on which the silence was nothing unusual."""

    probability: float
    text: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """P(the client shows no activity in the next `horizon_days`), as known at `as_of`.

    With status not_enough_history the probability is the simple rule's, from the silence alone; all that may be null
    is so for a client whom the learner has not met. `counterfactual` is null also for one who is not late, by their own
    rhythm, or whose risk did not rise by it. `engagement`: the rank within the practice, 0 to 100. `context` puts
    `next_session_at` into words: the learner knows of no session to come, so no reason takes it into account.
    """

    client_id: UUID
    client_name: str
    probability: float | None
    band: Band | None
    reasons: Sequence[Reason]
    counterfactual: Counterfactual | None
    engagement: float | None
    horizon_days: int
    as_of: datetime | None
    last_event_id: UUID | None
    status: Status
    next_session_at: datetime | None
    context: str | None


@dataclass(frozen=True, slots=True)
class ClientPrediction(Prediction):
    """`history`: the oldest first, a point a day at most."""

    history: Sequence[RiskPoint]


@dataclass(frozen=True, slots=True)
class Moved:
    """A prediction to store. `event_id`: the client's last event, if the prediction moved by one.

    `present`: whether it moved by what happens now, rather than by a past that is replayed.
    """

    prediction: answers.Prediction
    event_id: UUID | None
    present: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A prediction that was stored. `was`: the band before; unsure for one without enough history, None for none."""

    practice_id: UUID
    coach_id: UUID | None
    was: str | None
    prediction: Prediction

    @property
    def rose(self) -> bool:
        """Whether the client is now, and was not before, known to be at high risk."""
        now = self.prediction.band if self.prediction.status == "ok" else "unsure"
        return now == "high" and self.was is not None and self.was != "high"


async def list_predictions(db: Database, actor: Actor, query: PredictionQuery) -> Page[Prediction]:
    """By risk, the highest first. Clients who have left, and those whom the learner has not met, are left out."""
    actor.must_be(STAFF)
    filters = (*actor.scope, query.band, query.coach_id)
    async with db.connection() as connection:
        rows = await connection.fetch(LIST_PREDICTIONS, *filters, query.page_size, query.offset)
        total = await connection.fetchval(COUNT_PREDICTIONS, *filters)
        following = await _next_sessions(connection, actor, rows)
    return page_of([_prediction(row, following) for row in rows], query=query, total=total)


async def get_prediction(db: Database | Connection, actor: Actor, client_id: UUID) -> Prediction:
    """Raises NotFound for a client whom the actor does not see. One without a prediction has status
    not_enough_history and no probability."""
    actor.must_be(STAFF)
    row = await db.fetchrow(GET_PREDICTION, *actor.scope, client_id)
    if row is None:
        raise NotFound("No such client.")
    return _prediction(row, await _next_sessions(db, actor, [row]))


async def _next_sessions(db: Database | Connection, actor: Actor, rows: Sequence[Row]) -> dict[UUID, NextSession]:
    return await list_next_sessions(db, [actor.practice_id] * len(rows), [row["client_id"] for row in rows])


async def get_prediction_over_time(db: Database, actor: Actor, client_id: UUID) -> ClientPrediction:
    """Raises NotFound as `get_prediction`."""
    async with db.connection() as connection:
        now = await get_prediction(connection, actor, client_id)
        history = await list_risk_history(connection, actor.practice_id, client_id)
    return ClientPrediction(**{each.name: getattr(now, each.name) for each in fields(now)}, history=history)


async def upsert_predictions(connection: Connection, moved: Sequence[Moved], told: Sequence[bool]) -> list[Change]:
    """Stores the last prediction of each client, in one statement; returns what has changed of those `told`."""
    chosen = [m.prediction for m, is_told in zip(moved, told, strict=True) if is_told]
    before = await _list_before(connection, chosen)
    moved = sorted(moved, key=lambda m: m.prediction.client)  # a new band locks the client: one order for everyone
    predictions = [m.prediction for m in moved]
    columns: list[list[Any]] = [
        [p.practice for p in predictions],
        [p.client for p in predictions],
        [p.probability for p in predictions],
        [p.band for p in predictions],
        [to_json([_stored(r) for r in p.reasons]).decode() for p in predictions],
        [p.status for p in predictions],
        [round(p.horizon_days) for p in predictions],
        [p.as_of for p in predictions],
        [p.usual for p in predictions],
        [p.engagement for p in predictions],
        [m.event_id for m in moved],
    ]
    rows = await connection.fetch(UPSERT_PREDICTIONS, *columns)
    if not chosen:
        return []
    event_ids = {row["client_id"]: row["last_event_id"] for row in rows}
    following = await list_next_sessions(connection, [p.practice for p in chosen], [p.client for p in chosen])
    return [
        _change(p, before[p.client], event_ids[p.client], following.get(p.client))
        for p in chosen
        if p.client in event_ids
    ]


async def _list_before(connection: Connection, predictions: Sequence[answers.Prediction]) -> dict[UUID, Row]:
    if not predictions:
        return {}
    rows = await connection.fetch(LIST_BEFORE, [p.practice for p in predictions], [p.client for p in predictions])
    return {row["client_id"]: row for row in rows}


def _change(
    prediction: answers.Prediction, before: Row, event_id: UUID | None, following: NextSession | None
) -> Change:
    shown = Prediction(
        client_id=prediction.client,
        client_name=before["client_name"],
        probability=prediction.probability,
        band=prediction.band,
        reasons=[Reason(**_stored(reason)) for reason in prediction.reasons],
        counterfactual=_counterfactual(prediction.usual, prediction.probability),
        engagement=prediction.engagement,
        horizon_days=round(prediction.horizon_days),
        as_of=datetime.fromtimestamp(prediction.as_of, UTC),
        last_event_id=event_id,
        status=prediction.status,
        next_session_at=following.starts_at if following else None,
        context=following.text if following else None,
    )
    return Change(prediction.practice, before["coach_id"], before["was"], shown)


def _stored(reason: answers.Reason) -> dict[str, Any]:
    return {"code": reason.code, "text": reason.text, "weight": round(reason.weight, WEIGHT_DIGITS)}


def _prediction(row: Row, next_sessions: Mapping[UUID, NextSession]) -> Prediction:
    following = next_sessions.get(row["client_id"])
    return Prediction(
        client_id=row["client_id"],
        client_name=row["client_name"],
        probability=row["probability"],
        band=row["band"],
        reasons=[Reason(**reason) for reason in row["reasons"]],
        counterfactual=_counterfactual(row["usual_probability"], row["probability"]),
        engagement=row["engagement"],
        horizon_days=row["horizon_days"],
        as_of=row["as_of"],
        last_event_id=row["last_event_id"],
        status=row["status"],
        next_session_at=following.starts_at if following else None,
        context=following.text if following else None,
    )


def _counterfactual(usual: float | None, now: float | None) -> Counterfactual | None:
    """None where being late has not raised the risk, to the percent that is shown."""
    if usual is None or now is None or usual > now or _percent(usual) == _percent(now):
        return None
    return Counterfactual(usual, f"on their usual day {_percent(usual)}, now {_percent(now)}")


def _percent(probability: float) -> str:
    """Nothing is certain, nor said to be."""
    return f"{min(max(probability, 0.01), 0.99):.0%}"
