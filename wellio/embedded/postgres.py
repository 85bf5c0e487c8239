"""The embedded PostgreSQL: its cluster, its settings, its command."""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from wellio.embedded.binaries import PostgresBinaries, find_postgres
from wellio.embedded.errors import EmbeddedError
from wellio.embedded.places import Places, open_log, private_dir
from wellio.embedded.processes import Program, run

NAME = "wellio"  # of the role and of the database
# The builtin locale provider, which needs nothing of the system, came with 17.
BUILTIN_LOCALE_SINCE = 17

SETTINGS = {
    "cluster_name": NAME,
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # What people write about their health must not get into a log: no parameter, no DETAIL with a row's values.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "log_min_duration_statement": "250ms",
}
# Speed for data that nobody will miss.
THROWAWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",  # it would be at work in every database that a test makes
    "max_connections": "400",  # a pool for each of the tests' processes
}


def program(places: Places, lock: int, *, throwaway: bool) -> Program:
    """Makes the cluster when there is none yet. Raises EmbeddedError."""
    majors = _majors(places.servers)
    binaries = find_postgres(places.account, majors=majors)
    if majors and binaries.major not in majors:
        raise _other_major(places.servers, majors, binaries)
    cluster = places.servers / f"pg{binaries.major}"
    if cluster.exists():
        private_dir(cluster, places.account)
        _forget_reused_pid(cluster)
    else:
        _make_cluster(binaries, cluster, places, lock, throwaway=throwaway)
    settings = SETTINGS | {"unix_socket_directories": str(places.sockets)} | (THROWAWAY_SETTINGS if throwaway else {})
    return Program(
        name="PostgreSQL",
        command=[
            str(binaries.folder / "postgres"),
            "-D",
            str(cluster),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        stop=signal.SIGINT,  # its "fast" shutdown: clients are cut off, everything is written out
        quit=signal.SIGQUIT,
        ready=lambda pid: _is_ready(cluster, pid),
    )


def url(places: Places) -> str:
    return f"postgresql://{NAME}@/{NAME}?host={places.sockets}"


def _majors(servers: Path) -> set[int]:
    """Of which PostgreSQL versions there is data."""
    return {int(name) for folder in servers.glob("pg*") if (name := folder.name.removeprefix("pg")).isdigit()}


def _other_major(servers: Path, majors: set[int], binaries: PostgresBinaries) -> EmbeddedError:
    """A cluster belongs to one major version; another version would silently begin with an empty one beside it."""
    return EmbeddedError(
        f"The data in {servers} is of PostgreSQL {max(majors)} and the one that runs here is {binaries.major}: "
        f"install PostgreSQL {max(majors)}, or set WELLIO_DATA_DIR to another folder."
    )


def _make_cluster(binaries: PostgresBinaries, cluster: Path, places: Places, lock: int, *, throwaway: bool) -> None:
    """Makes it under another name first, so that a cluster that exists is a complete one."""
    new = cluster.with_name(f"{cluster.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    private_dir(new, places.account)
    log = open_log(places.logs, "postgres")
    initdb = [
        str(binaries.folder / "initdb"),
        f"--pgdata={new}",
        f"--username={NAME}",
        "--auth-local=trust",  # the socket's folder is private
        "--auth-host=reject",
        "--encoding=UTF8",
        "--data-checksums",
        "--no-instructions",
        *_locale(binaries.major),
        *(["--no-sync"] if throwaway else []),
    ]
    run(initdb, places.account, log, lock=lock, failure=f"The PostgreSQL data folder {new} cannot be made")
    _create_database(binaries, new, places, lock)
    new.rename(cluster)


def _locale(major: int) -> list[str]:
    if major < BUILTIN_LOCALE_SINCE:
        return ["--locale=C.UTF-8"]
    # macOS has no C.UTF-8 of its own; collation is the builtin provider's on both.
    system = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
    return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--locale={system}"]


def _create_database(binaries: PostgresBinaries, cluster: Path, places: Places, lock: int) -> None:
    """In single-user mode: no server has to be up, and no other program has to be there."""
    log = open_log(places.logs, "postgres")
    command = [str(binaries.folder / "postgres"), "--single", "-D", str(cluster), "-c", "exit_on_error=on", "postgres"]
    run(
        command,
        places.account,
        log,
        lock=lock,
        stdin=f"create database {NAME}\n".encode(),
        failure=f"The database {NAME} cannot be made",
    )


def _is_ready(cluster: Path, pid: int) -> bool:
    """Reads what pg_ctl reads: postmaster.pid has the process id in line 1 and its state in line 8."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _forget_reused_pid(cluster: Path) -> None:
    """Removes a stale postmaster.pid whose process id is another program's by now: PostgreSQL would not start."""
    pid_file = cluster / "postmaster.pid"
    with suppress(OSError, IndexError, ValueError):
        pid = int(pid_file.read_text().splitlines()[0])
        os.kill(pid, 0)
        if Path(f"/proc/{pid}/comm").read_text().strip() != "postgres":
            pid_file.unlink()
