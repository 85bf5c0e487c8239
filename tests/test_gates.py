"""The house's rules, held: imports point one way, SQL prepares, settings and routes are told of."""

import ast
import importlib
import pkgutil
import re
from dataclasses import fields
from pathlib import Path

import pytest

import wellio
from wellio.config import Config
from wellio.db import Database
from wellio.handlers.openapi import openapi_document
from wellio.handlers.table import ROUTES

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "wellio").rglob("*.py"))

# Who may import whom: a module may import from its own layer and those below.
AREAS = ("accounts", "practice", "chat", "outreach", "learning", "integrations")
ADAPTERS = ("handlers", "console", "realtime", "jobs")
WIRING = ("app", "commands", "subscriptions", "__main__", "demo", "evaluate", "replay", "schema_file")
FRAMEWORKS = {"aiohttp", "aiohttp_jinja2", "socketio", "engineio", "apscheduler"}
SQL_VERBS = re.compile(r"\s*(select|insert|update|delete|with|create table if not exists)\b", re.IGNORECASE)


def imports_of(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def wing_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def layer_of(wing: str) -> int:
    if wing in WIRING:
        return 3
    if wing in ADAPTERS:
        return 2
    return 1 if wing in AREAS else 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    wing = path.relative_to(ROOT / "wellio").parts[0].removesuffix(".py")
    for name in imports_of(path):
        target = wing_of(name) if name.startswith("wellio.") else ""
        if wing in ADAPTERS and target in ADAPTERS:
            allowed = target == wing or (wing == "console" and name.startswith("wellio.handlers."))
            assert allowed, f"{path}: adapters do not import each other ({name})"
        if target and wing not in ("services",):
            assert layer_of(target) <= layer_of(wing), f"{path}: {name} lies above it"
        if wing in AREAS:
            assert name.split(".")[0] not in FRAMEWORKS, f"{path}: an area package imports {name}"
            assert name != "wellio.guarded_http", f"{path}: an area package is given what it calls by"
        if name.split(".")[0] == "apscheduler":
            assert path.name == "schedule.py", f"{path}: APScheduler belongs to jobs/schedule.py"


def all_modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages(wellio.__path__, "wellio.")]
    return [n for n in names if n != "wellio.__main__"]


def sql_constants() -> dict[str, str]:
    found = {}
    for name in all_modules():
        module = importlib.import_module(name)
        for attribute, value in vars(module).items():
            if attribute.isupper() and isinstance(value, str) and SQL_VERBS.match(value):
                found[f"{name}.{attribute}"] = value
    return found


async def test_every_sql_constant_prepares(db: Database) -> None:
    constants = sql_constants()
    assert len(constants) > 40
    async with db.connection() as connection:
        for name, sql in constants.items():
            try:
                await connection.prepare(sql)
            except Exception as error:
                raise AssertionError(f"{name}: {error}") from error


def test_every_setting_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text()
    names = {f.name.upper() for f in fields(Config)}
    prefixed = {"ENV": "WELLIO_ENV", "DATA_DIR": "WELLIO_DATA_DIR", "DEMO": "WELLIO_DEMO"}
    for name in names:
        assert re.search(rf"^{prefixed.get(name, name)}=", example, re.MULTILINE), name


def test_only_config_reads_the_environment() -> None:
    for path in SOURCES:
        # the embedded servers are started with an environment, and read no setting
        if path.name == "config.py" or "embedded" in path.parts:
            continue
        assert "os.environ" not in path.read_text(), path


def test_nothing_waits_by_what_swallows_cancellations() -> None:
    for path in SOURCES:
        assert "asyncio.wait_for(" not in path.read_text(), f"{path}: use wellio.tasks.wait_within or asyncio.timeout"


def test_every_route_is_in_the_openapi_document() -> None:
    document = openapi_document(ROUTES)
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert operation["operationId"] == route.name
        assert operation["summary"], route.name


def test_operation_names_are_unique() -> None:
    names = [route.name for route in ROUTES]
    assert len(names) == len(set(names))


def test_openapi_document_is_valid() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    OpenAPIV31SpecValidator(openapi_document(ROUTES)).validate()


def test_every_route_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in text, f"docs/api.md lacks {route.method} {route.path}"


def test_every_brief_table_exists() -> None:
    schema = (ROOT / "sql" / "schema.sql").read_text()
    for table in ("clients", "sessions", "messages", "conversations", "notifications"):
        assert f"create table public.{table} " in schema.lower()
