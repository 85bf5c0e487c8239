"""Things to break: a Redis of one's own, a link to PostgreSQL that can be cut, a Wellio that can be killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.conftest import SECRET
from tests.waiting import eventually
from wellio.embedded.binaries import find_redis

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class OwnRedis:
    """A Redis that a test may kill, freeze and start again on the same port."""

    def __init__(self) -> None:
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}"

    async def start(self) -> None:
        command = [str(find_redis(None)), "--port", str(self._port), "--save", "", "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        async with Redis.from_url(self.url) as client:
            await eventually(lambda: answers(client))

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    async def flush(self) -> None:
        async with Redis.from_url(self.url) as client:
            await client.flushall()


async def answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except RedisError:
        return False


@asynccontextmanager
async def own_redis() -> AsyncIterator[OwnRedis]:
    redis = OwnRedis()
    await redis.start()
    try:
        yield redis
    finally:
        redis.kill()


class Link:
    """A way to PostgreSQL that can be cut and mended."""

    def __init__(self, database_url: str) -> None:
        self._target = urlsplit(database_url)
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._port = free_port()
        user = self._target.username or "wellio"
        self.url = f"postgresql://{user}@127.0.0.1:{self._port}{self._target.path}?sslmode=disable"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """Every connection breaks at once, and none can be made."""
        assert self._server
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        folder = parse_qs(self._target.query).get("host", [""])[0]
        port = self._target.port or 5432
        if folder.startswith("/"):
            far_reader, far_writer = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        else:
            far_reader, far_writer = await asyncio.open_connection(self._target.hostname, port)
        ends = {writer, far_writer}
        self._ends |= ends
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._ends -= ends


class Balancer:
    """A port in front of Wellio's processes, or of Redis. Its links can be cut, and new ones refused until a process is
    named again. `swallows`: the next thing with this in it that comes from there is lost."""

    def __init__(self) -> None:
        self.swallows: bytes | None = None
        self._port = free_port()
        self._to: int | None = None
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.url = f"http://127.0.0.1:{self._port}"
        self.redis_url = f"redis://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    def lead_to(self, url: str) -> None:
        """From now on."""
        self._to = urlsplit(url).port

    async def cut(self) -> None:
        """Without a goodbye, and nobody gets through any more."""
        self._to = None
        for end in self._ends:
            end.transport.abort()
        await eventually(lambda: not self._ends)

    async def stop(self) -> None:
        await self.cut()
        assert self._server
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._to is None:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:  # nobody there
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer, self._passes))
        self._ends -= ends

    def _passes(self, data: bytes) -> bool:
        if self.swallows is None or self.swallows not in data:
            return True
        self.swallows = None
        return False


@asynccontextmanager
async def balancer() -> AsyncIterator[Balancer]:
    made = Balancer()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: Callable[[bytes], bool] = bool
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            if passes(data):
                writer.write(data)
                await writer.drain()
    with suppress(OSError):
        writer.close()


@asynccontextmanager
async def link_to(database_url: str) -> AsyncIterator[Link]:
    link = Link(database_url)
    await link.mend()
    try:
        yield link
    finally:
        await link.cut()


class Wellio:
    """Wellio as an operating system process, on the same port each time it is started."""

    def __init__(self, database_url: str, redis_url: str, data_dir: Path, *, rate_limit_scale: float = 10_000) -> None:
        self._port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self._environment = os.environ | {
            "DATABASE_URL": database_url, "REDIS_URL": redis_url, "JWT_SECRET": SECRET, "PORT": str(self._port),
            "WELLIO_DEMO": "0", "WELLIO_DATA_DIR": str(data_dir), "LOG_LEVEL": "error",
            "RATE_LIMIT_SCALE": str(rate_limit_scale),
        }  # fmt: skip
        self.url = f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        command = [sys.executable, "-m", "wellio"]
        self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, text=True)
        ready = await asyncio.to_thread(self._process.stdout.readline)  # type: ignore[union-attr]
        assert ready.startswith("ready "), ready

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        """As the operating system kills: without a word."""
        assert self._process
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    async def drain(self) -> None:
        """As a deploy ends it; returns when it has ended."""
        assert self._process
        self._process.terminate()
        await asyncio.to_thread(self._process.wait)
