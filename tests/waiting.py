"""Waiting for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], *, within_s: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, within_s: float = ...) -> T: ...
async def eventually(check: Callable[[], Any], *, within_s: float = 15.0) -> Any:
    """The first truthy value of `check`; fails with its last value when there is none in time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        result = check()
        value = await result if isinstance(result, Awaitable) else result
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"still {value!r} after {within_s} s")
        await asyncio.sleep(0.01)
