"""What people confide to Wellio stays out of its logs, its errors and its metrics, whatever goes wrong."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from tests.api import Answer, Api
from tests.conftest import ADMIN_URL, SECRET
from tests.owner import as_owner
from tests.test_authorization import Scene, scene
from tests.waiting import eventually
from wellio.accounts.tokens import Tokens
from wellio.db import Database
from wellio.handlers.routes import NoInput, Route
from wellio.handlers.table import ROUTES

__all__ = ["scene"]

ROOT = Path(__file__).parent.parent
CANARY = "cnry7f3a"
# Of a kind of their own: no id, time or port looks like them.
NUMBER = 987_654_321_012
WORDS = (CANARY, str(NUMBER))


@asynccontextmanager
async def logged(
    database_url: str, redis_url: str, folder: Path, db: Database, level: str
) -> AsyncIterator[tuple[Api, Path]]:
    """Wellio as a process of its own, and the file with all that it says."""
    log = folder / "log"
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "JWT_SECRET": SECRET,
        "PORT": "0",
        "WELLIO_DEMO": "0",
        "WELLIO_DATA_DIR": str(folder),
        "LOG_LEVEL": level,
        "RATE_LIMIT_SCALE": "10000",
    }
    command = [sys.executable, "-m", "wellio"]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=file, text=True) as process,
    ):
        try:
            assert process.stdout
            ready = await asyncio.to_thread(process.stdout.readline)
            async with aiohttp.ClientSession() as session:
                yield Api(session, ready.split()[1], Tokens(SECRET), db), log
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)


def canaries_for(route: Route, base: dict[str, Any]) -> list[Any]:
    """Bodies that hold canaries: the valid one with them where texts may be free, and wrong ones."""
    names = list(route.body.model_fields)
    free = {name: f"{CANARY} {name}" for name in ("goals", "note", "body", "title", "name", "first_name", "last_name")}
    return [
        base | {name: text for name, text in free.items() if name in names},
        base | {name: f"{CANARY}@example.org" if "email" in name else f"{CANARY} {name}" for name in names},
        base | dict.fromkeys(names, NUMBER),
        base | {"unknown": CANARY},
        [CANARY],
    ]


async def drive(api: Api, scene: Scene) -> list[Answer]:
    """Every operation with canaries wherever a caller can put some."""
    answers = []
    headers = {
        "Cookie": f"wellio_session={CANARY}; wellio_visit={CANARY}",
        "User-Agent": CANARY,
        "X-Forwarded-For": CANARY,
    }
    for route in ROUTES:
        path = route.path.format(
            emoji="👍", **{name: scene.ids.get(name, scene.house.client_id) for name in route.id_names}
        )
        actor = None if route.roles is None else scene.house.coach
        bodies = canaries_for(route, scene.body(route, 0) or {}) if route.body is not NoInput else [None]
        for body in bodies:
            if route.name in ("post_password", "post_logout", "post_logout_all") and actor:
                actor = scene.house.other_coach  # ends sessions: not the one that goes on
            answers.append(await api.call(route.method, path, actor, json=body, headers=headers))
        answers.append(await api.call(route.method, f"{path}?q={CANARY}&unknown={CANARY}", actor, headers=headers))
        answers.append(
            await api.call(
                route.method, path, headers=headers | {"Authorization": f"Bearer {CANARY}.{CANARY}.{CANARY}"}
            )
        )
        answers.append(await api.call(route.method, f"{path}/{CANARY}", actor, headers=headers))
        answers.append(
            await api.call(
                route.method,
                path,
                actor,
                data=CANARY.encode() + b"\xff{",
                headers=headers | {"Content-Type": "application/json"},
            )
        )
    for path in (
        "/",
        "/sign-in",
        f"/{CANARY}",
        f"/socket.io/?EIO=4&transport=polling&sid={CANARY}",
        f"/reset-password?token={CANARY}",
    ):
        answers.append(await api.get(path, headers=headers))
        answers.append(
            await api.call("POST", path, data={"email": CANARY, "password": CANARY, "token": CANARY}, headers=headers)
        )
    return answers


async def force_errors(api: Api, scene: Scene, database_url: str) -> list[Answer]:
    """A broken table, a statement that takes too long, and a database that is gone, with canaries under way."""
    owner, answers = scene.house.owner, []
    client = {"first_name": CANARY, "last_name": CANARY, "goals": CANARY}
    await as_owner(api.db, "alter table clients rename column goals to goals_gone")
    answers += [
        await api.post("/api/v1/clients", owner, json=client),
        await api.get(f"/api/v1/clients?q={CANARY}", owner),
    ]
    await as_owner(api.db, "alter table clients rename column goals_gone to goals")
    await as_owner(api.db, "alter table clients add constraint no_canaries check (goals not like 'cnry%') not valid")
    answers.append(await api.post("/api/v1/clients", owner, json=client))
    name = urlsplit(database_url).path.removeprefix("/")
    admin = await asyncpg.connect(ADMIN_URL)
    try:
        await admin.execute(f'alter database "{name}" with allow_connections false')
        await admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
            name,
        )
        answers.append(await api.post("/api/v1/clients", owner, json=client))
        answers.append(
            await api.post("/api/v1/auth/login", json={"email": f"{CANARY}@example.org", "password": CANARY})
        )
    finally:
        await admin.execute(f'alter database "{name}" with allow_connections true')
        await admin.close()
    assert {answer.status for answer in answers} >= {500, 503}
    return answers


@pytest.mark.parametrize("level", ["debug", "info"])
async def test_nothing_confided_is_logged_or_told(
    database_url: str, redis_url: str, tmp_path: Path, db: Database, scene: Scene, level: str
) -> None:
    async with logged(database_url, redis_url, tmp_path, db, level) as (api, log):
        answers = await drive(api, scene)
        answers += await force_errors(api, scene, database_url)
        metrics = (await api.get("/metrics")).raw.decode()
        await eventually(lambda: len(log.read_text().splitlines()) > len(ROUTES))
    assert {answer.status for answer in answers} >= {200, 201, 400, 401, 404, 422}
    lines = log.read_text().splitlines()
    assert [line for line in lines if any(word in line for word in WORDS)] == []
    assert not any(word in metrics for word in WORDS)
    for answer in answers:
        if answer.status >= 400:
            assert not any(word.encode() in answer.raw for word in WORDS), (answer.status, answer.raw[:300])
    requests = [record for record in map(json.loads, lines) if record["message"] == "request"]
    assert requests
    assert all(set(record) <= KNOWN for record in requests)
    assert not any("?" in record["route"] for record in requests)


KNOWN = {"time", "level", "logger", "message", "method", "route", "status", "ms", "user_id", "request_id"}


async def test_database_server_logs_no_values(db: Database) -> None:
    """The embedded one; operators of their own are told in docs/operating.md."""
    settings = {row["name"]: row["setting"] for row in await db.fetch("select name, setting from pg_settings")}
    assert settings["log_parameter_max_length"] == "0"
    assert settings["log_parameter_max_length_on_error"] == "0"
    assert settings["log_error_verbosity"] == "terse"
