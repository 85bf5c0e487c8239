"""The learner is calculation alone: what it imports can neither wait, nor look at a clock, nor roll dice."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "wellio" / "learning"
PURE = (
    "answers",
    "attendance",
    "attendance_features",
    "attendance_rows",
    "churn",
    "clients",
    "container",
    "counting",
    "engagement",
    "ensemble",
    "features",
    "forecast",
    "forecast_clients",
    "forecast_level",
    "frozen",
    "hazard",
    "inputs",
    "metrics",
    "model",
    "practices",
    "predicting",
    "questions",
    "reasons",
    "scheduling",
    "usual_days",
)
IMPURE = {"asyncio", "asyncpg", "aiohttp", "time", "datetime", "random", "secrets", "os", "pickle", "threading"}


@pytest.mark.parametrize("module", PURE)
def test_imports_only_what_cannot_surprise(module: str) -> None:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not {name.split(".")[0] for name in names} & IMPURE
    ours = {name.removeprefix("wellio.learning.") for name in names if name.startswith("wellio")}
    assert ours <= {*PURE, "wellio.learning"}


def test_starts_without_the_heavy_parts_of_river() -> None:
    script = "import sys, wellio.learning.churn; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parents[1], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "river.base" in loaded
    assert not {"river.preprocessing", "river.optim", "scipy", "pandas", "sklearn"} & loaded
