"""Child processes that end with this one, however it ends."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from wellio.embedded.errors import EmbeddedError
from wellio.embedded.places import Account, last_line

POLL_S = 0.01
STOP_TIMEOUT_S = 30.0
KILL_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1
_ON_LINUX = sys.platform == "linux"
# Nothing of ours, and no PGDATA or PGOPTIONS of somebody's shell, may reach the servers.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class Program:
    """A server's command. `stop` is its signal for an orderly end, `quit` for an immediate one."""

    name: str
    command: Sequence[str]
    stop: signal.Signals
    quit: signal.Signals
    ready: Callable[[int], bool] = field(compare=False)


class Child:
    """A running Program."""

    def __init__(self, program: Program, account: Account | None, log: Path, lock: int) -> None:
        self.program = program
        self._log = log
        self._process = spawn(program.command, account, log, death_signal=program.stop, keep=(lock,))

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self, timeout_s: float) -> None:
        """Raises EmbeddedError when it ends instead, or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not self.program.ready(self.pid):
            if self._process.poll() is not None:
                raise EmbeddedError(
                    f"{self.program.name} does not start: {last_line(self._log)} (its log is {self._log})."
                )
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"{self.program.name} was not ready after {timeout_s:.0f} s: see its log, {self._log}."
                )
            time.sleep(POLL_S)

    def ask_to_stop(self, *, now: bool = False) -> None:
        if self._process.poll() is None:
            self._process.send_signal(self.program.quit if now else self.program.stop)

    def wait_stopped(self) -> None:
        """Waits, and ends it by force when it does not end in time."""
        for timeout_s, force in ((STOP_TIMEOUT_S, self.program.quit), (KILL_TIMEOUT_S, signal.SIGKILL)):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
                return
            self._process.send_signal(force)
        self._process.wait()


class Guard:
    """Ends children when this process ends, where the system does not offer that (macOS).

    A shell waits on a pipe that only this process holds open; the pipe closes when this process is gone.
    """

    def __init__(self, children: Sequence[Child]) -> None:
        kills = "; ".join(f"kill -{child.program.stop.name[3:]} {child.pid}" for child in children)
        waiting, self._held = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", f"read -r _; {kills}"], stdin=waiting, env=ENVIRONMENT, process_group=0
        )
        os.close(waiting)

    def release(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._held)


def guard(children: Sequence[Child]) -> Guard | None:
    return None if _ON_LINUX else Guard(children)


def spawn(
    command: Sequence[str],
    account: Account | None,
    log: Path,
    *,
    death_signal: signal.Signals,
    keep: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Starts `command` with both outputs appended to `log`.

    In a process group of its own, so that Ctrl-C at the terminal reaches the owner alone, who stops it in order. Must
    be called from the main thread: Linux sends the death signal when the thread that started the child ends.
    """
    uid, gid = (account.uid, account.gid) if account else (None, None)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            cwd="/",  # our own may be out of reach for the account
            user=uid,
            group=gid,
            extra_groups=[] if account else None,
            process_group=0,
            pass_fds=keep,
            preexec_fn=_end_with(os.getpid(), death_signal) if _ON_LINUX else None,  # noqa: PLW1509 (runs before any thread of ours)
        )


def run(
    command: Sequence[str], account: Account | None, log: Path, *, lock: int, failure: str, stdin: bytes = b""
) -> None:
    """Runs `command` to its end. Raises EmbeddedError, beginning with `failure`, when it fails."""
    process = spawn(command, account, log, death_signal=signal.SIGKILL, keep=(lock,), stdin=subprocess.PIPE)
    try:
        process.communicate(stdin)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise EmbeddedError(f"{failure}: {last_line(log)} (see {log}).")


def _end_with(owner: int, death_signal: signal.Signals) -> Callable[[], None]:
    """Runs in the child after its change of user, which would clear what this sets."""
    prctl = ctypes.CDLL(None).prctl

    def ask_for_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != owner:  # it ended in between, and no signal will come
            os._exit(1)

    return ask_for_signal
