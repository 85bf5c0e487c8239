"""The learner's whole state as arrays: copied quickly between two facts, encoded at leisure in a thread."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import numpy as np

from wellio.learning.clients import COLUMNS, STATE_VERSION, WIDTH
from wellio.learning.container import Array, SnapshotVersion, pieces, unpack
from wellio.learning.engagement import COUNT as MIX
from wellio.learning.engagement import PARTS, Checkpoint, Engagement
from wellio.learning.ensemble import Ensemble
from wellio.learning.features import FEATURES
from wellio.learning.practices import Practice, Running
from wellio.learning.questions import QUESTION, Batch, Queue, empty_batch

_FLOAT, _INT, _BYTE = np.dtype("<f8"), np.dtype("<i8"), np.dtype("u1")
DTYPES: dict[str, np.dtype[Any]] = {
    "mean": _FLOAT,
    "variance": _FLOAT,
    "weights": _FLOAT,
    "squares": _FLOAT,
    "hazard_mean": _FLOAT,
    "hazard_variance": _FLOAT,
    "hazard_weights": _FLOAT,  # [m]
    "hazard_information": _FLOAT,  # [m, m]
    "hazard": _FLOAT,  # [4]
    "counting_logs": _FLOAT,  # [4]
    "counting_information": _FLOAT,  # [4, 4]
    "counting": _FLOAT,  # [2]
    "losses": _FLOAT,  # [3]
    "engagement_sums": _FLOAT,  # [m + 1, m + 1]
    "engagement_weights": _FLOAT,  # [m]
    "norms": _FLOAT,  # [2, 3]: gaps, amounts
    "practice_ids": _BYTE,  # [p, 16]
    "practices": _FLOAT,  # [p, 15], see _practice_floats
    "practice_clients": _INT,  # [p]: how many of `clients` are whose, in order
    "client_ids": _BYTE,  # [n, 16]
    "clients": _FLOAT,  # [n, WIDTH]
    "queue_practices": _INT,  # [q]: index of the practice
    "queue_lengths": _INT,  # [q]
    "queue_horizons": _FLOAT,  # [q], seconds
    "questions": QUESTION,
    "features": np.dtype("<f2"),  # [questions, COUNT]
    "back": np.dtype("<f4"),  # [questions]
    "mark_counts": _INT,  # [p]
    "marks": _FLOAT,
    "checkpoints": _INT,  # [k, 2]: index of the practice, clients
    "checkpoint_times": _FLOAT,  # [k]
    "checkpoint_rows": _INT,
    "checkpoint_visits": _FLOAT,
    "checkpoint_mixes": np.dtype("<f4"),  # [clients, m]
}
_PRACTICE_FLOATS = 15
_LAYOUT = {
    "columns": list(COLUMNS),
    "features": [list(feature) for feature in FEATURES],
    "engagement": list(PARTS),
    "state": STATE_VERSION,
}


class Freezable(Protocol):
    """What of a learner is its state."""

    facts: int
    labels: int
    horizon_days: float
    at_risk_days: float
    model: Ensemble
    engagement: Engagement
    gaps: Running
    amounts: Running
    centre: float
    practices: list[Practice]

    def add_practice(self, id_: UUID) -> Practice: ...


@dataclass(frozen=True, slots=True)
class Frozen:
    """A copy of a learner's state, safe to encode in a thread while the learner goes on."""

    header: dict[str, Any]
    arrays: dict[str, list[Array]]

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The snapshot in pieces, for a compressor: joining 100 MB would hold the interpreter for a while."""
        return pieces({**self.header, "layout": _LAYOUT}, self.arrays)

    def encode(self) -> bytes:
        return b"".join(self.pieces())


def freeze(learner: Freezable) -> Frozen:
    practices = learner.practices
    queues = [(practice.index, queue) for practice in practices for queue in practice.queues]
    # Written questions never change, so views of them will do, but of what is noted of returns.
    waiting = [empty_batch(0), *[part for _, queue in queues for part in queue.parts()]]
    header = {
        "facts": learner.facts,
        "labels": learner.labels,
        "examples": learner.model.n,
        "horizon_days": learner.horizon_days,
        "at_risk_days": learner.at_risk_days,
        "centre": learner.centre,
    }
    arrays = {
        **{name: [array.copy()] for name, array in learner.model.arrays().items()},
        "engagement_sums": [learner.engagement.sums.copy()],
        "engagement_weights": [learner.engagement.weights.copy()],
        "norms": [np.array([learner.gaps.sums(), learner.amounts.sums()])],
        "practice_ids": [_ids(b"".join([practice.id.bytes for practice in practices]))],
        "practices": [np.array([_practice_floats(p) for p in practices]).reshape(-1, _PRACTICE_FLOATS)],
        "practice_clients": [np.array([len(practice.clients) for practice in practices], _INT)],
        "client_ids": [_ids(b"".join([bytes(practice.client_ids) for practice in practices]))],
        "clients": [np.zeros((0, WIDTH)), *[p.state[: len(p.clients)].copy() for p in practices]],
        "queue_practices": [np.array([index for index, _ in queues], _INT)],
        "queue_lengths": [np.array([len(queue) for _, queue in queues], _INT)],
        "queue_horizons": [np.array([queue.horizon for _, queue in queues], _FLOAT)],
        "questions": [part.questions for part in waiting],
        "features": [part.x for part in waiting],
        "back": [part.back.copy() for part in waiting],
        **_standings(practices),
    }
    return Frozen(header, {name: arrays[name] for name in DTYPES})


def _standings(practices: list[Practice]) -> dict[str, list[Array]]:
    """Checkpoints never change, so the arrays themselves will do."""
    taken = [(practice.index, checkpoint) for practice in practices for checkpoint in practice.standing.checkpoints]
    return {
        "mark_counts": [np.array([len(practice.standing.marks) for practice in practices], _INT)],
        "marks": [np.array([mark for practice in practices for mark in practice.standing.marks], _FLOAT)],
        "checkpoints": [np.array([(index, len(each.rows)) for index, each in taken], _INT).reshape(-1, 2)],
        "checkpoint_times": [np.array([each.t for _, each in taken], _FLOAT)],
        "checkpoint_rows": [np.zeros(0, _INT), *[each.rows for _, each in taken]],
        "checkpoint_visits": [np.zeros(0, _FLOAT), *[each.visits for _, each in taken]],
        "checkpoint_mixes": [np.zeros((0, MIX), np.float32), *[each.mixes for _, each in taken]],
    }


def restore(learner: Freezable, data: bytes) -> None:
    """Fill a new learner. Raises SnapshotDamaged, SnapshotVersion."""
    header, arrays = unpack(data, DTYPES)
    if header["layout"] != _LAYOUT:
        raise SnapshotVersion("Another layout of the state")
    learner.facts, learner.labels = header["facts"], header["labels"]
    learner.horizon_days, learner.at_risk_days = header["horizon_days"], header["at_risk_days"]
    learner.centre = header["centre"]
    learner.model.restore(header["examples"], arrays)
    learner.gaps, learner.amounts = (Running(*sums) for sums in arrays["norms"].tolist())
    _restore_practices(learner, arrays)
    _restore_queues(learner, arrays)
    learner.engagement.sums, learner.engagement.weights = arrays["engagement_sums"], arrays["engagement_weights"]
    _restore_standings(learner, arrays)


def _restore_practices(learner: Freezable, arrays: dict[str, Array]) -> None:
    ids = _uuids(arrays["client_ids"])
    start = 0
    counts = arrays["practice_clients"].tolist()
    for id_, floats, count in zip(_uuids(arrays["practice_ids"]), arrays["practices"].tolist(), counts, strict=True):
        practice = learner.add_practice(id_)
        _set_practice_floats(practice, floats)
        practice.set_clients(ids[start : start + count], arrays["clients"][start : start + count])
        start += count


def _restore_queues(learner: Freezable, arrays: dict[str, Array]) -> None:
    start = 0
    waiting = Batch(arrays["questions"], arrays["features"], arrays["back"])
    columns = (arrays["queue_practices"], arrays["queue_lengths"], arrays["queue_horizons"])
    for index, length, horizon in zip(*(column.tolist() for column in columns), strict=True):
        queue = Queue(horizon)
        queue.append(waiting.part(start, start + length))
        learner.practices[index].queues.append(queue)
        start += length


def _restore_standings(learner: Freezable, arrays: dict[str, Array]) -> None:
    marks, start = arrays["marks"].tolist(), 0
    for practice, count in zip(learner.practices, arrays["mark_counts"].tolist(), strict=True):
        practice.standing.marks = marks[start : start + count]
        start += count
    start = 0
    for (index, count), t in zip(arrays["checkpoints"].tolist(), arrays["checkpoint_times"].tolist(), strict=True):
        columns = (arrays[f"checkpoint_{name}"][start : start + count] for name in ("rows", "visits", "mixes"))
        learner.practices[index].standing.checkpoints.append(Checkpoint(t, *columns))
        start += count


def _practice_floats(practice: Practice) -> tuple[float, ...]:
    return (
        practice.clock,
        practice.next_monday,
        practice.last_fact,
        practice.outage_end,
        practice.horizon,
        practice.at_risk,
        practice.intercept.value,
        practice.intercept.information,
        *practice.gaps.sums(),
        *practice.amounts.sums(),
        practice.standing.ranked_at,
    )


def _set_practice_floats(practice: Practice, floats: list[float]) -> None:
    practice.clock, practice.next_monday, practice.last_fact, practice.outage_end = floats[:4]
    practice.horizon, practice.at_risk = floats[4:6]
    practice.intercept.value, practice.intercept.information = floats[6:8]
    practice.gaps, practice.amounts = Running(*floats[8:11]), Running(*floats[11:14])
    practice.standing.ranked_at = floats[14]


def _ids(joined: bytes) -> Array:
    return np.frombuffer(joined, np.uint8).reshape(-1, 16)


def _uuids(ids: Array) -> list[UUID]:
    joined = ids.tobytes()
    return [UUID(bytes=joined[i : i + 16]) for i in range(0, len(joined), 16)]
