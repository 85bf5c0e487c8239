"""What a job is given to work with, and what it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wellio.db import Database
from wellio.outbox import Outbox

# What a run did, in figures: {"practices": 3}.
Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Work:
    outbox: Outbox

    @property
    def db(self) -> Database:
        return self.outbox.db


Function = Callable[[Work], Awaitable[Counts]]
