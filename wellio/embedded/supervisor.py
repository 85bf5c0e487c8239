"""Starts and stops the embedded servers of one data folder."""

import atexit
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from wellio.embedded import postgres as pg
from wellio.embedded import redis as rd
from wellio.embedded.errors import EmbeddedError
from wellio.embedded.locks import (
    LOCK_FILES,
    FolderBusyError,
    Locks,
    Running,
    read_run_file,
    remove_run_file,
    write_run_file,
)
from wellio.embedded.places import Places, arrange, open_log, prepare_data_dir, server_account
from wellio.embedded.processes import Child, guard

# Recovery after a crash reads the whole log since the last checkpoint.
READY_TIMEOUT_S = 120.0
ATTACH_TIMEOUT_S = 60.0


class Embedded:
    """The running servers of one data folder. They stop with `stop`, at exit, or when this process is killed."""

    def __init__(self, locks: Locks, places: Places, *, throwaway: bool) -> None:
        self._locks, self._places, self._throwaway = locks, places, throwaway
        self._children: list[Child] = []
        self._pid = os.getpid()
        self._stopped = False

    def _launch(self, *, postgres: bool, redis: bool) -> None:
        """Redis starts while PostgreSQL does; then both are waited for."""
        remove_run_file(self._places.data)
        if redis:
            self._start_child(rd.program(self._places, throwaway=self._throwaway))
        if postgres:
            self._start_child(pg.program(self._places, self._locks.servers, throwaway=self._throwaway))
        self._guard = guard(self._children)
        for child in self._children:
            child.wait_ready(READY_TIMEOUT_S)
