"""What a job is given to work with, and what it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wellio.db import Database
from wellio.outbox import Outbox
from wellio.practice.upload_files import UploadFiles
from wellio.sealing import Sealer

# What a run did, in figures: {"practices": 3}.
Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Work:
    outbox: Outbox
    sealer: Sealer | None = None  # where nothing sealed is dealt with
    files: UploadFiles | None = None  # where no files are
    told: Callable[[str], None] = lambda _: None  # of its progress, whoever waits for it

    @property
    def db(self) -> Database:
        return self.outbox.db


Function = Callable[[Work], Awaitable[Counts]]
