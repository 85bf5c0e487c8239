"""A practice as the learner holds it: its clock, its settings, its clients' rows, its waiting questions."""

import math
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from wellio.learning.clients import ACTIVES, DAY, ENDED, FIRST_MONDAY, LAST, WEEK, WIDTH, new_row
from wellio.learning.engagement import Standing
from wellio.learning.features import Floats, Norms
from wellio.learning.inputs import CLIENT_CREATED, Fact, Tick
from wellio.learning.model import Intercept
from wellio.learning.questions import Queue

OUTAGE = 21 * DAY  # a practice without any fact for longer was not in use: its clients' silence says nothing
MIN_TIME, MAX_TIME = 1.0, 4_102_444_800.0  # 2100: times outside are taken as absent
MIN_HORIZON, MAX_HORIZON = 1.0, 730.0  # days

NOBODY = UUID(int=0)  # whose row is left of a client who was erased

_FADE = 0.999  # of the running norms, per value


class Running:
    """Mean and variance of a stream that slowly forgets, shrunk to a prior: sums that decay with each value."""

    __slots__ = ("square", "total", "weight")

    def __init__(self, weight: float = 0.0, total: float = 0.0, square: float = 0.0) -> None:
        self.weight, self.total, self.square = weight, total, square

    def learn(self, value: float) -> None:
        deviation = value - self.total / self.weight if self.weight else 0.0
        self.weight = _FADE * self.weight + 1.0
        self.total = _FADE * self.total + value
        self.square = _FADE * self.square + deviation * deviation

    def mean(self, prior: float, strength: float) -> float:
        return (self.total + strength * prior) / (self.weight + strength)

    def variance(self, prior: float, strength: float) -> float:
        return (self.square + strength * prior) / (self.weight + strength)

    def sums(self) -> tuple[float, float, float]:
        return self.weight, self.total, self.square


class Practice:
    def __init__(self, id_: UUID, index: int, horizon: float, at_risk: float) -> None:
        self.id = id_
        self.index = index
        self.clock = 0.0  # 0: not started
        self.next_monday = math.inf
        self.last_fact = 0.0
        self.outage_end = 0.0
        self.horizon = horizon  # seconds
        self.at_risk = at_risk  # seconds
        self.intercept = Intercept()
        self.gaps = Running()
        self.amounts = Running()
        self.standing = Standing()
        self.queues: list[Queue] = []
        self.clients: list[UUID] = []
        self.client_ids = bytearray()  # the same, 16 bytes each
        self.rows: dict[int, int] = {}  # by UUID.int: hashing a UUID costs five times as much
        self.state: Floats = np.zeros((8, WIDTH))

    def start(self, t: float) -> None:
        self.clock = self.last_fact = t
        self.next_monday = monday_after(t)

    def is_moved_by(self, item: Fact | Tick, t: float) -> bool:
        """Whether the clock goes to `t`: with every event but a client's entry in the books, and with ticks in use.

        So a practice that was never used, or lies idle, or whose past is being imported and replayed, keeps its own
        time, though its ticks and its new clients carry today's.
        """
        if isinstance(item, Fact):
            return item.kind != CLIENT_CREATED
        return t - self.last_fact <= OUTAGE

    def see(self, t: float) -> None:
        """Note that the practice was in use at `t`."""
        if t - self.last_fact > OUTAGE:
            self.outage_end = t
        self.last_fact = max(self.last_fact, t)

    @property
    def wake(self) -> float:
        """The next moment at which something is to be done by the clock."""
        moment = self.next_monday
        for queue in self.queues:
            moment = min(moment, queue.next_due)
        return moment

    def row_of(self, client: UUID, t: float) -> int:
        row = self.rows.get(client.int)
        return self.add_client(client, new_row(client, t)) if row is None else row

    def add_client(self, client: UUID, state: list[float]) -> int:
        row = len(self.clients)
        if row == len(self.state):
            larger = np.zeros((2 * len(self.state), WIDTH))
            larger[:row] = self.state
            self.state = larger
        self.state[row] = state
        self.clients.append(client)
        self.client_ids += client.bytes
        self.rows[client.int] = row
        return row

    def forget(self, client: UUID) -> int | None:
        """Leaves an empty row, which was the client's; None for one who is not known."""
        row = self.rows.pop(client.int, None)
        if row is None:
            return None
        self.state[row] = 0.0
        self.clients[row] = NOBODY
        self.client_ids[16 * row : 16 * (row + 1)] = NOBODY.bytes
        for queue in self.queues:
            queue.forget(row)
        self.standing.checkpoints = [checkpoint.without(row) for checkpoint in self.standing.checkpoints]
        return row

    def set_clients(self, clients: list[UUID], state: Floats) -> None:
        self.clients = clients
        self.client_ids = bytearray(b"".join([client.bytes for client in clients]))
        self.rows = {client.int: row for row, client in enumerate(clients) if client != NOBODY}
        if len(clients):
            self.state = state.copy()

    def at_risk_rows(self, now: float) -> NDArray[np.int64]:
        """Clients to be asked about weekly: seen at all, not ended since, last active at most `at_risk` ago."""
        last, ended, actives = self.state[: len(self.clients), (LAST, ENDED, ACTIVES)].T
        return np.flatnonzero((actives > 0.0) & (last > ended) & (now - last <= self.at_risk))

    def set_horizon(self, days: float, at_risk_days: float | None) -> None:
        """Absurd settings leave what was."""
        if not MIN_HORIZON <= days <= MAX_HORIZON:
            return
        at_risk = 3.0 * days if at_risk_days is None else at_risk_days
        self.horizon = days * DAY
        self.at_risk = at_risk * DAY if 0.0 < at_risk <= 10 * MAX_HORIZON else 3.0 * self.horizon

    def asking(self) -> Queue:
        """The queue of the present horizon."""
        for queue in self.queues:
            if queue.horizon == self.horizon:
                return queue
        self.queues = [queue for queue in self.queues if len(queue)]
        self.queues.append(Queue(self.horizon))
        return self.queues[-1]

    def earliest(self) -> Queue | None:
        return min(self.queues, key=lambda queue: queue.next_due, default=None)

    def norms(self, gaps: Running, amounts: Running) -> Norms:
        """The practice's own, shrunk to all practices', shrunk to ten days and 50 units of money."""
        log_gap = gaps.mean(math.log(10.0), 5.0)
        variance = gaps.variance(1.0, 5.0)
        return Norms(
            self.gaps.mean(log_gap, 20.0),
            self.gaps.variance(variance, 20.0),
            self.amounts.mean(amounts.mean(math.log1p(50.0), 5.0), 20.0),
        )


def monday_after(t: float) -> float:
    """The first Monday 00:00 UTC after `t`."""
    return FIRST_MONDAY + (math.floor((t - FIRST_MONDAY) / WEEK) + 1) * WEEK
