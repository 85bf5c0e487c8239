"""The guard itself can fail."""

import asyncio
import time

import pytest

from tests import loop_guard
from wellio.config import development_secret


async def test_guard_sees_product_code_that_blocks(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_guard, "PRODUCT", __file__)
    with pytest.raises(AssertionError, match=r"time\.sleep"):
        nap_while_guarded()


def nap_while_guarded() -> None:
    with loop_guard.nothing_blocks():
        time.sleep(0)


async def test_guard_sees_a_task_that_is_left() -> None:
    before = loop_guard.open_tasks()
    task = asyncio.create_task(asyncio.Event().wait())
    assert loop_guard.open_tasks() - before == {task}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert loop_guard.open_tasks() == before


def test_development_secret_is_made_once_and_private(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "data"
    first = development_secret(folder)
    assert development_secret(folder) == first
    assert len(first) > 60
    assert (folder / "jwt_secret").stat().st_mode & 0o777 == 0o600
