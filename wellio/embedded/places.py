"""Where the embedded servers keep data, sockets and logs, and as whom they run."""

import hashlib
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from wellio.embedded.errors import EmbeddedError

# Written by root, open to everyone: for what the servers' user cannot reach in a private home folder.
SHARED_DIR = Path("/var/lib/wellio")
LOG_LIMIT_BYTES = 10 * 1024 * 1024
# sockaddr_un holds 104 bytes on macOS and 108 on Linux, the closing zero included.
SOCKET_PATH_LIMIT = 103
LONGEST_SOCKET_NAME = ".s.PGSQL.5432"


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Places:
    """`data` is the folder that was asked for; `servers` is that folder too, or one its `account` can reach."""

    account: Account | None
    data: Path
    servers: Path
    sockets: Path
    logs: Path


def server_account() -> Account | None:
    """Who runs the servers when we are root, which PostgreSQL refuses to be; None means the user we are.

    It is an account every system has, so that none has to be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "PostgreSQL does not run as root and this system has no user 'nobody': "
            "start Wellio as another user, or set DATABASE_URL and REDIS_URL."
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def reachable(path: Path) -> bool:
    """Whether every user may walk to `path` and into it."""
    real = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (real, *real.parents))


def prepare_data_dir(data_dir: Path, account: Account | None) -> Path:
    """Makes the folder, closed to others but for the servers' user passing through. One that exists keeps its mode."""
    data_dir = data_dir.resolve()
    if not data_dir.is_dir():
        data_dir.mkdir(parents=True)
        data_dir.chmod(0o711 if account else 0o700)
    return data_dir


def arrange(data_dir: Path, account: Account | None) -> Places:
    """Makes the folders. Raises EmbeddedError when one cannot be used, and OSError."""
    logs = data_dir / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    return Places(account, data_dir, _servers_dir(data_dir, account), _socket_dir(data_dir, account), logs)


def private_dir(path: Path, account: Account | None) -> Path:
    """A 0700 folder of the servers' user. Raises EmbeddedError when the name is taken by a link or by another user."""
    path.mkdir(mode=0o700, exist_ok=True)
    try:
        # Everything by descriptor: in a shared folder the name could become a link between check and change.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            raise _taken(path, found.st_uid, account) from error
        raise EmbeddedError(f"{path} is a link or not a folder: move it away, or set WELLIO_DATA_DIR.") from error
    try:
        owner = os.fstat(descriptor).st_uid
        wanted = account.uid if account else os.geteuid()
        if owner not in {wanted, os.geteuid()}:
            raise _taken(path, owner, account)
        if account and owner != wanted:
            os.fchown(descriptor, account.uid, account.gid)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    return path


def open_log(logs: Path, name: str) -> Path:
    """The log of one server. One that grew past LOG_LIMIT_BYTES becomes the single old log that is kept."""
    path = logs / f"{name}.log"
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(logs / f"{name}.log.1")
    path.touch(mode=0o600)
    return path


def last_line(log: Path) -> str:
    """What a server said last."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _servers_dir(data_dir: Path, account: Account | None) -> Path:
    """`data_dir`, or a folder in SHARED_DIR when `account` cannot reach it.

    A choice once made is kept, so that a changed mode never hides data.
    """
    if account is None:
        return data_dir
    elsewhere = SHARED_DIR / f"{data_dir.parent.name}-{_short_hash(data_dir)}"
    if elsewhere.is_dir() or reachable(data_dir):
        return elsewhere if elsewhere.is_dir() else data_dir
    for cluster in data_dir.glob("pg[0-9]*"):
        owner = cluster.stat().st_uid
        raise _out_of_reach(data_dir, account) if owner == account.uid else _taken(cluster, owner, account)
    elsewhere.mkdir(parents=True)
    SHARED_DIR.chmod(0o755)
    elsewhere.chmod(0o711)
    return elsewhere


def _socket_dir(data_dir: Path, account: Account | None) -> Path:
    """A private folder with a path short enough for a socket: PostgreSQL trusts whoever reaches its socket."""
    name = f"wellio-{_short_hash(data_dir)}"
    for folder in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 (what is made in it is private and checked)
        fits = len(os.fsencode(folder / name / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_LIMIT
        if fits and (account is None or reachable(folder)):
            return private_dir(folder / name, account)
    raise EmbeddedError("No folder for temporary files is short and open enough for sockets: set TMPDIR=/tmp.")


def _out_of_reach(data_dir: Path, account: Account) -> EmbeddedError:
    return EmbeddedError(
        f"The user '{account.name}', who runs PostgreSQL, can no longer reach its data in {data_dir}: "
        "let others pass through that folder and those above it (chmod o+x), or set WELLIO_DATA_DIR."
    )


def _taken(path: Path, owner: int, account: Account | None) -> EmbeddedError:
    runs_as = _user_name(account.uid if account else os.geteuid())
    return EmbeddedError(
        f"{path} belongs to user {_user_name(owner)}, but the servers run as {runs_as}: "
        "start as the user who made it, move it away, or set WELLIO_DATA_DIR to another folder."
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
