#!/usr/bin/env python3
"""How many messages a second chat takes, and how long an ack takes: busy clients send, wait for the ack, send again.

    .venv/bin/python bench/chat.py                         own server, PostgreSQL (fsync on) and Redis in a new folder
    DATABASE_URL=… REDIS_URL=… .venv/bin/python bench/chat.py     own server on these; adds a practice to the database
    .venv/bin/python bench/chat.py --url http://… --login me@example.org:password --login …

Prints one JSON object. With `--url` each log-in's first conversation is written to; `--pid` is then whose CPU is told.
"""

import argparse
import asyncio
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from wellio.accounts.tokens import Tokens  # noqa: E402
from wellio.embedded import start  # noqa: E402
from wellio.ids import uuid7  # noqa: E402


@dataclass(frozen=True, slots=True)
class Member:
    """Who sends, and where to."""

    token: str
    conversation_id: str


@dataclass(slots=True)
class Client:
    """One busy device on a raw WebSocket. `acks_s`: how long each ack took."""

    websocket: aiohttp.ClientWebSocketResponse
    member: Member
    body: str
    rate: float  # messages a second at most; 0 for as many as it can
    acks_s: list[float] = field(default_factory=list)
    pushed: int = 0
    failed: list[Any] = field(default_factory=list)

    async def run(self, until: float) -> None:
        number = 0
        while time.perf_counter() < until:
            number += 1
            message = {
                "conversation_id": self.member.conversation_id,
                "client_message_id": str(uuid4()),
                "body": self.body,
            }
            sent = time.perf_counter()
            await self.websocket.send_str(f"42{number}" + json.dumps(["message:send", message]))
            ack = await self._until(f"43{number}[")
            self.acks_s.append(time.perf_counter() - sent)
            if '"ok":true' not in ack:
                self.failed.append(ack[:300])
            if self.rate:  # at random, so that clients do not march in step
                await asyncio.sleep(max(0.0, random.uniform(0.5, 1.5) / self.rate - (time.perf_counter() - sent)))

    async def _until(self, start: str) -> str:
        while True:
            frame: str = await self.websocket.receive_str()
            if frame.startswith(start):
                return frame
            if frame == "2":
                await self.websocket.send_str("3")
            self.pushed += frame.startswith('42["message:new"')


async def connect(session: aiohttp.ClientSession, url: str, member: Member, body: str, rate: float) -> Client:
    websocket = await session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket", compress=0, max_msg_size=0)
    client = Client(websocket, member, body, rate)
    await client._until("0{")
    await websocket.send_str("40" + json.dumps({"token": member.token}))
    await client._until('42["session:ready"')
    return client


async def measure(
    url: str, members: Sequence[Member], options: argparse.Namespace, pids: Sequence[int]
) -> dict[str, Any]:
    """`pids`: the server's, then PostgreSQL's, as far as they are known."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        clients = [await connect(session, url, member, "x" * options.chars, options.rate) for member in members]
        await asyncio.gather(*(c.run(time.perf_counter() + options.warm_up) for c in clients))
        for client in clients:
            client.acks_s.clear()
            client.pushed = 0
        server, others = cpu_s(pids[:1]), cpu_s(pids[1:])
        own, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(c.run(began + options.seconds) for c in clients))
        took = time.perf_counter() - began
        load = {
            "server": (cpu_s(pids[:1]) - server) / took if pids else None,
            "database": (cpu_s(pids[1:]) - others) / took if pids[1:] else None,
            "clients": (time.process_time() - own) / took,
        }
        return figures(clients, took, load)


def figures(clients: Sequence[Client], took_s: float, load: dict[str, float | None]) -> dict[str, Any]:
    acks = sorted(s for client in clients for s in client.acks_s)
    server = load["server"]
    return {
        "clients": len(clients),
        "seconds": round(took_s, 1),
        "messages_per_s": round(len(acks) / took_s),
        "ack_p50_ms": round(acks[len(acks) // 2] * 1000, 1),
        "ack_p99_ms": round(acks[len(acks) * 99 // 100] * 1000, 1),
        "ack_max_ms": round(acks[-1] * 1000, 1),
        "deliveries": sum(client.pushed for client in clients),
        "cpu": {name: round(share, 2) for name, share in load.items() if share is not None},
        "server_us_per_message": round(server * took_s / len(acks) * 1e6) if server else None,
        "failed": sum(len(client.failed) for client in clients),
        "first_failure": next((f for client in clients for f in client.failed), None),
    }


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds of processes and their children."""
    total = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            try:
                times = one.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
    return total


# ---------------------------------------------------------------- a server of our own


@contextmanager
def own_server(stack: ExitStack) -> Iterator[tuple[str, str, str, list[int]]]:
    """Its address, database, signing secret, and the pids of server and PostgreSQL (none for a given database)."""
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wellio-bench-")))
    folder.chmod(0o711)
    pids = []
    if not (database_url and redis_url):
        running = stack.enter_context(start(folder / "data", postgres=not database_url, redis=not redis_url)).running
        if not database_url:
            pids = [p.pid for p in psutil.Process().children(recursive=True) if p.name() == "postgres"][:1]
        database_url, redis_url = database_url or running.database_url, redis_url or running.redis_url
    secret = secrets.token_urlsafe(48)
    environment = os.environ | {
        "DATABASE_URL": database_url or "", "REDIS_URL": redis_url or "", "JWT_SECRET": secret, "PORT": "0",
        "WELLIO_DEMO": "0", "WELLIO_DATA_DIR": str(folder / "var"), "LOG_LEVEL": "warning",
        "RATE_LIMIT_SCALE": "10000",
    }  # fmt: skip
    command = [sys.executable, "-m", "wellio"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if line.startswith("ready "))
            yield line.split()[1], database_url or "", secret, [process.pid, *pids]
        finally:
            process.terminate()


async def make_members(database_url: str, secret: str, options: argparse.Namespace) -> list[Member]:
    """A practice whose clients each talk with one of its coaches; or all of them in one group."""
    connection = await asyncpg.connect(database_url)
    tokens, practice = Tokens(secret), uuid7()
    await connection.execute("insert into practices (id, name, timezone) values ($1, 'Bench', 'UTC')", practice)
    coaches = [await make_user(connection, practice, "coach") for _ in range(5)]
    groups = [uuid7() for _ in range(1 if options.group else options.clients)]
    for number, group in enumerate(groups):
        coach = coaches[number % 5]
        await connection.execute(
            "insert into conversations (id, practice_id, kind, created_by) values ($1, $2, $3, $4)",
            group, practice, "group" if options.group else "direct", coach[0],
        )  # fmt: skip
        await join(connection, practice, group, coach[0])
    members = []
    for number in range(options.clients):
        user_id, session_id = await make_user(connection, practice, "client")
        await connection.execute(
            "insert into clients (id, practice_id, coach_id, user_id, first_name, last_name, timezone)"
            " values ($1, $2, $3, $4, 'Busy', 'Client', 'UTC')",
            uuid7(), practice, coaches[number % 5][0], user_id,
        )  # fmt: skip
        group = groups[number % len(groups)]
        await join(connection, practice, group, user_id)
        token = tokens.issue_access(user_id=user_id, practice_id=practice, session_id=session_id)
        members.append(Member(token, str(group)))
    await connection.close()
    return members


async def make_user(connection: Any, practice: UUID, role: str) -> tuple[UUID, UUID]:
    user_id, session_id = uuid7(), uuid7()
    await connection.execute(
        "insert into users (id, practice_id, role, name, email, password_hash, timezone)"
        " values ($1, $2, $3, 'Busy', $4, 'none', 'UTC')",
        user_id, practice, role, f"{user_id}@example.org",
    )  # fmt: skip
    await connection.execute(
        "insert into auth_sessions (id, practice_id, user_id, expires_at) values ($1, $2, $3, $4)",
        session_id, practice, user_id, datetime.now(UTC) + timedelta(days=1),
    )  # fmt: skip
    return user_id, session_id


async def join(connection: Any, practice: UUID, group: UUID, user_id: UUID) -> None:
    await connection.execute(
        "insert into conversation_members (practice_id, conversation_id, user_id) values ($1, $2, $3)",
        practice, group, user_id,
    )  # fmt: skip


# ---------------------------------------------------------------- a running server


async def log_in(url: str, logins: Sequence[str], count: int) -> list[Member]:
    members = []
    async with aiohttp.ClientSession() as session:
        for login in logins:
            email, _, password = login.partition(":")
            async with session.post(f"{url}/api/v1/auth/login", json={"email": email, "password": password}) as answer:
                token = (await answer.json())["data"]["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(f"{url}/api/v1/conversations", headers=headers) as answer:
                members.append(Member(token, (await answer.json())["data"][0]["id"]))
    return [members[number % len(members)] for number in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running server; needs --login")
    parser.add_argument("--login", action="append", default=[], help="email:password")
    parser.add_argument("--pid", type=int, help="of the running server")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second of each client; 0: as fast as acked")
    parser.add_argument("--group", action="store_true", help="all clients in one conversation")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=3.0)
    parser.add_argument("--chars", type=int, default=120, help="length of a message")
    options = parser.parse_args()
    with ExitStack() as stack:
        if options.url:
            members = asyncio.run(log_in(options.url, options.login, options.clients))
            result = asyncio.run(measure(options.url, members, options, [options.pid] if options.pid else []))
        else:
            url, database_url, secret, pids = stack.enter_context(own_server(stack))
            members = asyncio.run(make_members(database_url, secret, options))
            result = asyncio.run(measure(url, members, options, pids))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
