"""One owner for a data folder: its two locks, and the file that tells other commands where the servers are."""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from wellio.embedded.errors import EmbeddedError

LEFTOVER_TIMEOUT_S = 30.0
RUN_FILE = "run.json"
LOCK_FILES = ("owner.lock", "servers.lock")


@dataclass(frozen=True, slots=True)
class Running:
    """What a client needs. `data_dir` holds the servers' data; the address of a server not asked for is empty."""

    database_url: str
    redis_url: str
    data_dir: Path
    log_dir: Path


class FolderBusyError(EmbeddedError):
    """Another process owns the folder. `pid` is 0 in the moment before that one has said who it is."""

    def __init__(self, data_dir: Path, pid: int) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"Wellio already runs on the data folder {data_dir} ({who}): "
            "stop it, or set WELLIO_DATA_DIR to another folder."
        )
        self.pid = pid


class Locks:
    """`owner` is held by this process alone. `servers` is inherited by every process of the servers.

    So who gets `servers` knows that nothing an earlier owner started is still there, without trusting process ids.
    The system lets go of both when their last holder ends, however it ends.
    """

    def __init__(self, data_dir: Path) -> None:
        owner, servers = (os.open(data_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in LOCK_FILES)
        self._owner, self.servers = owner, servers
        try:
            self._become_owner(data_dir)
            self._wait_for_leftovers(data_dir)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        os.close(self.servers)
        os.close(self._owner)

    def _become_owner(self, data_dir: Path) -> None:
        if not _try_lock(self._owner):
            holder = os.pread(self._owner, 20, 0).strip()
            raise FolderBusyError(data_dir, int(holder) if holder.isdigit() else 0)
        os.ftruncate(self._owner, 0)
        os.pwrite(self._owner, f"{os.getpid()}\n".encode(), 0)

    def _wait_for_leftovers(self, data_dir: Path) -> None:
        """Servers whose owner was killed are stopping: they may have much to write out."""
        deadline = time.monotonic() + LEFTOVER_TIMEOUT_S
        while not _try_lock(self.servers):
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"PostgreSQL or Redis of an earlier run on {data_dir} does not stop: end it (find it with ps -ef)."
                )
            time.sleep(0.02)


def write_run_file(data_dir: Path, running: Running) -> None:
    new = data_dir / f"{RUN_FILE}.new"
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"pid": os.getpid(), **asdict(running)}, file, default=str)
    new.replace(data_dir / RUN_FILE)


def read_run_file(data_dir: Path, owner: int) -> Running | None:
    """What the owner wrote; None while it has not, or when the file is left from an earlier one."""
    try:
        found = json.loads((data_dir / RUN_FILE).read_bytes())
    except FileNotFoundError:
        return None
    if found["pid"] != owner:
        return None
    return Running(found["database_url"], found["redis_url"], Path(found["data_dir"]), Path(found["log_dir"]))


def remove_run_file(data_dir: Path) -> None:
    (data_dir / RUN_FILE).unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
