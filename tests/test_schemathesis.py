"""A bounded dose of Schemathesis in each test run; `bench/fuzz.py --requests 20000` is the full one."""

import asyncio
import subprocess

import pytest

from tests.api import Api
from tests.factories import House
from tests.fuzzing import ROLES, command


@pytest.mark.parametrize("role", ROLES)
async def test_no_input_makes_an_error_or_an_answer_that_is_not_documented(api: Api, house: House, role: str) -> None:
    token = None if role == "anonymous" else api.token(getattr(house, role))
    run = command(api.url, token, seed=1, examples=2, phases="examples,fuzzing,stateful", workers=1)
    done = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:]
