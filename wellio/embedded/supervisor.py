"""Starts and stops the embedded servers of one data folder."""

import atexit
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from wellio.embedded import postgres as postgresql
from wellio.embedded import redis as redis_server
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
from wellio.embedded.processes import Child, Program, guard

READY_TIMEOUT_S = 120.0  # after a crash PostgreSQL first reads its log from the last checkpoint on
ATTACH_TIMEOUT_S = 60.0


class Embedded:
    """The running servers of one data folder. They stop with `stop`, at exit, and when this process is killed."""

    def __init__(self, running: Running, undo: ExitStack) -> None:
        self.running = running
        self._undo = undo
        self._owner = os.getpid()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Waits for an orderly end. May be called again."""
        if os.getpid() == self._owner:  # a fork of this process has no say
            atexit.unregister(self.stop)
            self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(data_dir: Path, *, postgres: bool = True, redis: bool = True, throwaway: bool = False) -> Embedded:
    """Starts the servers asked for and returns when they answer; from the main thread, which must outlive them.

    With `throwaway` they are fast, unsafe, and leave nothing behind. Raises EmbeddedError; as FolderBusyError while
    another process owns the folder.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("embedded servers end with the thread that starts them: start them from the main thread")
    try:
        with ExitStack() as undo:
            running = _start(data_dir, undo, postgres=postgres, redis=redis, throwaway=throwaway)
            return Embedded(running, undo.pop_all())
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        raise EmbeddedError(
            f"The data folder {data_dir} cannot be used ({reason}): "
            "give this user the right to write there, or set WELLIO_DATA_DIR to another folder."
        ) from error


@contextmanager
def attach_or_start(data_dir: Path, *, postgres: bool = True, redis: bool = True) -> Iterator[Running]:
    """The servers of the Wellio process that owns the folder, or else own ones until the end of the block."""
    found = _find_or_start(data_dir, postgres=postgres, redis=redis)
    if isinstance(found, Running):
        yield found
        return
    with found:
        yield found.running


def _find_or_start(data_dir: Path, *, postgres: bool, redis: bool) -> Running | Embedded:
    deadline = time.monotonic() + ATTACH_TIMEOUT_S
    while True:
        try:
            return start(data_dir, postgres=postgres, redis=redis)
        except FolderBusyError as busy:
            running = _read_owner(data_dir, busy.pid)
            if running:
                return _require(running, busy.pid, postgres=postgres, redis=redis)
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)  # the owner is starting, or stopping


def _read_owner(data_dir: Path, pid: int) -> Running | None:
    try:
        return read_run_file(data_dir, pid)
    except OSError as error:
        raise EmbeddedError(
            f"Wellio runs on {data_dir} as another user ({error.strerror}: {error.filename}): run this as that user."
        ) from error


def _require(running: Running, pid: int, *, postgres: bool, redis: bool) -> Running:
    for wanted, url, name in (
        (postgres, running.database_url, "DATABASE_URL"),
        (redis, running.redis_url, "REDIS_URL"),
    ):
        if wanted and not url:
            raise EmbeddedError(
                f"The Wellio that runs here (process {pid}) was given {name}: set the same for this one."
            )
    return running


def _start(data_dir: Path, undo: ExitStack, *, postgres: bool, redis: bool, throwaway: bool) -> Running:
    """What is to be undone at the end goes on `undo` as soon as it is done."""
    account = server_account()
    data_dir = prepare_data_dir(data_dir, account)
    locks = Locks(data_dir)
    undo.callback(locks.release)
    remove_run_file(data_dir)
    places = arrange(data_dir, account)
    if throwaway:
        undo.callback(_remove_all, places)
    undo.callback(shutil.rmtree, places.sockets, ignore_errors=True)
    children: list[Child] = []
    undo.callback(_stop, children, now=throwaway)
    if redis:  # before PostgreSQL, whose first start takes longer
        program = redis_server.program(places, throwaway=throwaway)
        children.append(_launch(program, places, "redis", locks))
    if postgres:
        program = postgresql.program(places, locks.servers, throwaway=throwaway)
        children.append(_launch(program, places, "postgres", locks))
    guarding = guard(children)
    if guarding:
        undo.callback(guarding.release)
    for child in children:
        child.wait_ready(READY_TIMEOUT_S)
    running = Running(
        database_url=postgresql.url(places) if postgres else "",
        redis_url=redis_server.url(places) if redis else "",
        data_dir=places.servers,
        log_dir=places.logs,
    )
    write_run_file(data_dir, running)
    undo.callback(remove_run_file, data_dir)
    return running


def _launch(program: Program, places: Places, log: str, locks: Locks) -> Child:
    return Child(program, places.account, open_log(places.logs, log), locks.servers)


def _stop(children: Sequence[Child], *, now: bool) -> None:
    for child in children:
        child.ask_to_stop(now=now)
    for child in children:
        child.wait_stopped()


def _remove_all(places: Places) -> None:
    """Removes what this package made in a throw-away folder, and the folder when nothing else is in it."""
    for folder in (places.logs, places.servers / "redis", *places.servers.glob("pg[0-9]*")):
        shutil.rmtree(folder, ignore_errors=True)
    for name in LOCK_FILES:
        (places.data / name).unlink(missing_ok=True)
    for folder in (places.servers, places.data):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
