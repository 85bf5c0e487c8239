"""The buckets of rate limits that all processes share, in Redis.

All buckets of a request, and all requests that come while one answer is on its way, go in one call of one small
script: one flight at a time, as messages are stored. What nobody waits for goes with the next, or is gathered for a
moment. Redis may be away or hang: an answer is waited for for a moment only, and then it is left alone for some
seconds, in which nobody waits.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from wellio.tasks import end_tasks

log = logging.getLogger(__name__)

PATIENCE_S = 0.1
GATHER_S = 0.02
REST_S = 5.0
MAX_KEYS_A_FLIGHT = 500

# Each group is taken whole or not at all. A key holds the microsecond at which its bucket is full, by Redis's clock,
# and goes away then. It returns how long each bucket takes to be full, with the group's cost.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local levels, argument, last = {}, 0, 0
while argument < #ARGV do
  local cost, count = tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 2])
  local refused, first = false, last + 1
  argument, last = argument + 2, last + count
  for key = first, last do
    local interval, room = tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 2])
    argument = argument + 2
    local full_at = tonumber(redis.call('GET', KEYS[key]) or '0')
    levels[key] = math.max(0, math.max(0, full_at - now) + cost * interval)
    refused = refused or (cost > 0 and levels[key] > room)
  end
  if cost ~= 0 and not refused then
    for key = first, last do
      if levels[key] > 0 then
        local full_at = string.format('%.0f', now + levels[key])
        redis.call('SET', KEYS[key], full_at, 'PX', math.ceil(levels[key] / 1000))
      else
        redis.call('DEL', KEYS[key])
      end
    end
  end
end
return levels
"""
SCRIPT_SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Move:
    """One bucket: a token costs `interval_us`, and `room_us` is what the bucket holds."""

    key: str
    interval_us: int
    room_us: int


@dataclass(frozen=True, slots=True)
class Group:
    """Buckets that a token each is taken from (`cost` 1), or given back to (-1), together."""

    moves: tuple[Move, ...]
    cost: int

    def refused_by(self, levels: Sequence[int]) -> bool:
        return self.cost > 0 and any(level > move.room_us for level, move in zip(levels, self.moves, strict=True))


@dataclass(frozen=True, slots=True)
class _Waiting:
    """`resolve` is told the levels, or None when Redis does not say. `awaited`: somebody goes on only then."""

    group: Group
    resolve: Callable[[Sequence[int] | None], None]
    awaited: bool


class SharedBuckets:
    """`namespace` keeps installations on the same Redis apart."""

    def __init__(self, redis: Redis, namespace: str, *, patience_s: float = PATIENCE_S) -> None:
        self._redis = redis
        self._patience_s = patience_s
        self._prefix = f"wellio:{namespace}:limit:"
        self._waiting: list[_Waiting] = []
        self._flight: asyncio.Task[None] | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._away = False
        self._again_at = 0.0

    async def run(self, group: Group) -> Sequence[int] | None:
        """How long each bucket takes to be full, in microseconds; None when Redis does not say."""
        if not self._usable():
            return None
        levels: asyncio.Future[Sequence[int] | None] = asyncio.get_running_loop().create_future()

        def resolve(answer: Sequence[int] | None) -> None:
            if not levels.done():  # whoever waited may have gone
                levels.set_result(answer)

        self._waiting.append(_Waiting(group, resolve, awaited=True))
        self._depart()
        return await levels

    def tell(self, group: Group, then: Callable[[Sequence[int]], None]) -> None:
        """The same without waiting; `then` gets the answer, if there is one."""

        def resolve(answer: Sequence[int] | None) -> None:
            if answer is not None:
                then(answer)

        if self._usable():
            self._waiting.append(_Waiting(group, resolve, awaited=False))
            self._gather()

    def _gather(self) -> None:
        if self._flight is None and self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._depart)

    def _depart(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._flight is None and self._waiting:
            self._flight = asyncio.create_task(self._fly(), name="rate limits")

    async def stop(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
            self._resolve_all()
        if self._flight is not None:
            await end_tasks([self._flight])

    def _usable(self) -> bool:
        """While Redis is away, one request in `REST_S` looks whether it is back; the others do without."""
        if not self._away:
            return True
        now = asyncio.get_running_loop().time()
        if now < self._again_at:
            return False
        self._again_at = now + REST_S
        return True

    async def _fly(self) -> None:
        passengers: list[_Waiting] = []
        try:
            while not passengers or any(waiting.awaited for waiting in self._waiting):
                passengers = self._board()
                answer = await self._ask([waiting.group for waiting in passengers])
                levels = iter(answer or ())
                for waiting in passengers:
                    waiting.resolve([next(levels) for _ in waiting.group.moves] if answer else None)
                if self._away:
                    self._resolve_all()
        except BaseException:
            for waiting in passengers:
                waiting.resolve(None)
            self._resolve_all()
            raise
        finally:
            self._flight = None
        if self._waiting:
            self._gather()

    def _board(self) -> list[_Waiting]:
        seats = MAX_KEYS_A_FLIGHT
        passengers = []
        while self._waiting and (seats := seats - len(self._waiting[0].group.moves)) >= 0:
            passengers.append(self._waiting.pop(0))
        return passengers

    def _resolve_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.resolve(None)

    async def _ask(self, groups: list[Group]) -> list[int] | None:
        keys = [self._prefix + move.key for group in groups for move in group.moves]
        try:
            async with asyncio.timeout(self._patience_s):
                answer = await self._evaluate(keys, _arguments(groups))
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return None
        if self._away:
            log.info("rate limits are shared again")
            self._away = False
        return answer

    async def _evaluate(self, keys: list[str], arguments: list[int]) -> list[int]:
        try:
            answer: list[int] = await self._redis.evalsha(SCRIPT_SHA, len(keys), *keys, *arguments)
        except NoScriptError:
            answer = await self._redis.eval(SCRIPT, len(keys), *keys, *arguments)
        return answer

    def _lost(self, error: Exception) -> None:
        if not self._away:
            log.warning("Redis is away: each process limits alone", extra={"error": type(error).__name__})
        self._away = True
        self._again_at = asyncio.get_running_loop().time() + REST_S


def _arguments(groups: list[Group]) -> list[int]:
    arguments: list[int] = []
    for group in groups:
        arguments += (group.cost, len(group.moves))
        for move in group.moves:
            arguments += (move.interval_us, move.room_us)
    return arguments
