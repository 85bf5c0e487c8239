"""Servers for the benches: a Wellio of its own, on a PostgreSQL and Redis of its own, in a new folder."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from wellio.accounts.tokens import Tokens  # noqa: E402
from wellio.embedded import start  # noqa: E402
from wellio.ids import uuid7  # noqa: E402

SECRET = "a signing key for the bench: 0123456789 abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Served:
    """`token`: an owner's, of a practice without anything in it."""

    url: str
    database_url: str
    token: str


@contextmanager
def own_server(name: str) -> Iterator[Served]:
    """All of it is gone when the block ends."""
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder(name))
        running = stack.enter_context(start(folder / "data", postgres=True, redis=True)).running
        environment = environment_of(folder, running.database_url or "", running.redis_url or "")
        url = stack.enter_context(serving(environment, [sys.executable, "-m", "wellio"]))
        assert running.database_url
        yield Served(url, running.database_url, asyncio.run(make_token(running.database_url)))


@contextmanager
def own_folder(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"wellio-{name}-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL may run as another user
        yield Path(folder)


def environment_of(folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    return os.environ | {
        "DATABASE_URL": database_url, "REDIS_URL": redis_url, "PORT": "0", "JWT_SECRET": SECRET, "WELLIO_DEMO": "0",
        "LOG_LEVEL": "error", "WELLIO_DATA_DIR": str(folder / "var"), "RATE_LIMIT_SCALE": "1000000",
    }  # fmt: skip


@contextmanager
def serving(environment: dict[str, str], command: list[str]) -> Iterator[str]:
    """Gives the address once it is ready."""
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield next(line for line in process.stdout if line.startswith("ready ")).split()[1]
        finally:
            process.terminate()


async def make_token(database_url: str) -> str:
    connection = await asyncpg.connect(database_url)
    practice, user, session = uuid7(), uuid7(), uuid7()
    await connection.execute("insert into practices (id, name, timezone) values ($1, 'Bench', 'UTC')", practice)
    await connection.execute(
        "insert into users (id, practice_id, role, name, email, password_hash, timezone)"
        " values ($1, $2, 'owner', 'Busy', 'busy@example.org', 'none', 'UTC')", user, practice,
    )  # fmt: skip
    await connection.execute(
        "insert into auth_sessions (id, practice_id, user_id, expires_at) values ($1, $2, $3, now() + '1 day')",
        session, practice, user,
    )  # fmt: skip
    await connection.close()
    return Tokens(SECRET).issue_access(user_id=user, practice_id=practice, session_id=session)
