"""Rate limits: what a bucket holds, in Redis and in the process, and what happens when one of them forgets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.conftest import REDIS_URL
from tests.realtime.faults import own_redis
from tests.waiting import eventually
from wellio import shared_buckets
from wellio.errors import TooMany
from wellio.limits import MAX_KEYS, USER, Bucket, Limit, Limits, _OwnBuckets
from wellio.shared_buckets import Group, Move, SharedBuckets

FIVE = Limit("five", 5, 1800)
HUNDRED = Limit("hundred", 100, 36_000)
THREE = Limit("three", 3, 3600)
BY_ADDRESS = Limit("address", 3, 3600, by_address=True)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def namespace() -> str:
    return f"test_{uuid4().hex}"


def shared_of(redis: Redis, namespace: str) -> SharedBuckets:
    return SharedBuckets(redis, namespace, patience_s=5)  # these machines are slow; Redis is not away


def limits_of(redis: Redis, namespace: str, *, scale: float = 1.0) -> Limits:
    return Limits(shared_of(redis, namespace), secret="secret", scale=scale)


async def allowed(limits: Limits, bucket: Bucket, tries: int) -> int:
    """How many of so many tries at once are let through."""
    taken = await asyncio.gather(*(limits.take(bucket) for _ in range(tries)), return_exceptions=True)
    assert all(one is None or isinstance(one, TooMany) for one in taken), taken
    return taken.count(None)


async def test_of_many_tries_at_once_as_many_pass_as_the_bucket_holds(redis: Redis, namespace: str) -> None:
    limits = limits_of(redis, namespace)
    assert await allowed(limits, FIVE.of("ada"), 200) == 5
    assert await allowed(limits, FIVE.of("grace"), 200) == 5


async def test_refusal_says_when_to_try_again(redis: Redis, namespace: str) -> None:
    limits = limits_of(redis, namespace)
    await allowed(limits, FIVE.of("ada"), 5)
    with pytest.raises(TooMany, match="Try again in 6 minutes") as caught:
        await limits.take(FIVE.of("ada"))
    assert 350 < caught.value.retry_after_s <= 360  # a fifth of half an hour


async def test_what_was_given_back_can_be_taken_again(redis: Redis, namespace: str) -> None:
    limits, bucket = limits_of(redis, namespace), FIVE.of("ada")
    for _ in range(50):
        await limits.take(bucket)
        await limits.give_back(bucket)
    assert await allowed(limits, bucket, 10) == 5
    await limits.give_back(bucket)
    assert await allowed(limits, bucket, 10) == 1


async def test_cleared_bucket_is_full(redis: Redis, namespace: str) -> None:
    limits, bucket = limits_of(redis, namespace), FIVE.of("ada")
    await allowed(limits, bucket, 10)
    await limits.clear(bucket)
    assert await allowed(limits, bucket, 10) == 5


async def test_full_bucket_takes_nothing_back(redis: Redis, namespace: str) -> None:
    limits, bucket = limits_of(redis, namespace), FIVE.of("ada")
    for _ in range(20):
        await limits.give_back(bucket)
    assert await allowed(limits, bucket, 10) == 5


async def test_all_are_taken_or_none(redis: Redis, namespace: str) -> None:
    limits = limits_of(redis, namespace)
    await allowed(limits, THREE.of("x"), 3)
    for _ in range(20):
        with pytest.raises(TooMany):
            await limits.take(FIVE.of("ada"), THREE.of("x"))
    assert await allowed(limits, FIVE.of("ada"), 10) == 5


async def test_peeking_takes_nothing(redis: Redis, namespace: str) -> None:
    limits, bucket = limits_of(redis, namespace), FIVE.of("ada")
    await limits.take(bucket)
    for _ in range(10):
        [standing] = await limits.peek(bucket)
        assert (standing.count, standing.remaining, standing.retry_after_s) == (5, 4, 0)


async def test_processes_share_the_buckets(redis: Redis, namespace: str) -> None:
    processes = [limits_of(redis, namespace) for _ in range(4)]
    counts = await asyncio.gather(*(allowed(process, FIVE.of("ada"), 20) for process in processes))
    assert sum(counts) == 5


async def test_what_is_counted_without_waiting_is_shared(redis: Redis, namespace: str) -> None:
    one, other = limits_of(redis, namespace), limits_of(redis, namespace)
    ada = HUNDRED.of("ada")
    for _ in range(40):
        await one.count(ada)

    async def remaining() -> int:
        return (await other.peek(ada))[0].remaining

    await eventually(lambda: remaining_is(remaining, 60))
    assert sum([await is_counted(other, ada) for _ in range(200)]) == 60


async def remaining_is(remaining: Callable[[], Awaitable[int]], count: int) -> bool:
    return await remaining() == count


async def test_counted_request_learns_from_redis_what_others_have_taken(redis: Redis, namespace: str) -> None:
    one, other = limits_of(redis, namespace), limits_of(redis, namespace)
    await allowed(one, HUNDRED.of("ada"), 100)
    await other.count(HUNDRED.of("ada"))  # let through: this process had counted none

    async def is_refused() -> bool:
        return not await is_counted(other, HUNDRED.of("ada"))

    await eventually(is_refused)


async def is_counted(limits: Limits, bucket: Bucket) -> bool:
    try:
        await limits.count(bucket)
    except TooMany:
        return False
    return True


async def test_restarted_process_is_reminded_by_redis(redis: Redis, namespace: str) -> None:
    await allowed(limits_of(redis, namespace), FIVE.of("ada"), 5)
    assert await allowed(limits_of(redis, namespace), FIVE.of("ada"), 5) == 0


async def test_wiped_redis_leaves_the_process_its_own_count(redis: Redis, namespace: str) -> None:
    limits = limits_of(redis, namespace)
    await allowed(limits, FIVE.of("ada"), 5)
    keys = [key async for key in redis.scan_iter(match=f"wellio:{namespace}:*")]
    assert keys
    await redis.delete(*keys)
    assert await allowed(limits, FIVE.of("ada"), 5) == 0


async def test_script_that_redis_forgot_is_sent_again(redis: Redis, namespace: str) -> None:
    limits = limits_of(redis, namespace)
    await limits.take(FIVE.of("ada"))
    await redis.script_flush()
    assert await allowed(limits_of(redis, namespace), FIVE.of("ada"), 10) == 4


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_without_redis_the_process_limits_alone_and_nobody_waits_twice(namespace: str, fault: str) -> None:
    async with own_redis() as server, Redis.from_url(server.url) as client:
        limits = Limits(SharedBuckets(client, namespace), secret="secret")
        await limits.take(FIVE.of("ada"))
        getattr(server, fault)()
        assert await allowed(limits, FIVE.of("ada"), 200) == 4
        # The circuit is open: no flight takes off, so there is nothing that could be waited for.
        assert await limits._shared.run(Group((Move("k", 1, 1),), 1)) is None
        assert limits._shared._flight is None


async def test_what_nobody_waits_for_flies_together_and_with_who_waits(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with own_redis() as server, Redis.from_url(server.url) as client:
        buckets, group = SharedBuckets(client, namespace), Group((Move("k", 1_000_000, 60_000_000),), 1)
        await buckets.run(group)  # the script is there now

        async def flights() -> int:
            return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])

        before, answers = await flights(), list[int]()
        monkeypatch.setattr(shared_buckets, "GATHER_S", 3600.0)
        for _ in range(20):
            buckets.tell(group, lambda levels: answers.append(levels[0]))
            await client.ping()  # as long as a flight takes
        assert (await flights(), answers) == (before, [])
        await buckets.run(group)
        assert await flights() == before + 1
        assert len(set(answers)) == 20
        monkeypatch.setattr(shared_buckets, "GATHER_S", 0.01)
        buckets.tell(group, lambda levels: answers.append(levels[0]))
        await eventually(lambda: len(answers) == 21)
        await buckets.stop()


async def test_redis_that_comes_back_is_asked_again(namespace: str) -> None:
    async with own_redis() as server, Redis.from_url(server.url) as client:
        limits = Limits(SharedBuckets(client, namespace), secret="secret")
        server.freeze()
        await limits.take(FIVE.of("ada"))
        server.thaw()

        async def counted_there() -> bool:
            limits._shared._again_at = 0  # its rest is over
            await limits.peek(FIVE.of("ada"))
            return not limits._shared._away

        await eventually(counted_there)
        assert await allowed(limits_of(client, namespace), FIVE.of("bob"), 10) == 5


async def test_redis_is_told_no_address(redis: Redis, namespace: str) -> None:
    await limits_of(redis, namespace).take(FIVE.of("ada@example.org"), BY_ADDRESS.of("192.0.2.7"))
    keys = b" ".join([key async for key in redis.scan_iter(match=f"wellio:{namespace}:*")])
    assert b"five" in keys
    assert b"@" not in keys
    assert b"192.0" not in keys


async def test_keys_leave_redis_when_their_bucket_is_full(redis: Redis, namespace: str) -> None:
    await limits_of(redis, namespace).take(FIVE.of("ada"))
    [key] = [key async for key in redis.scan_iter(match=f"wellio:{namespace}:*")]
    assert 0 < await redis.pttl(key) <= 360_000


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_addresses_count_by_customer(one: str, other: str, same: bool) -> None:
    assert (BY_ADDRESS.of(one) == BY_ADDRESS.of(other)) is same


async def test_scale_multiplies(redis: Redis, namespace: str) -> None:
    assert await allowed(limits_of(redis, namespace, scale=4), FIVE.of("ada"), 50) == 20
    assert await allowed(limits_of(redis, namespace, scale=0.01), FIVE.of("bob"), 50) == 1
    assert await allowed(limits_of(redis, namespace, scale=1_000_000), USER.of("eve"), 50) == 50


async def test_addresses_of_this_machine_count_as_several_where_that_is_asked_for(redis: Redis, namespace: str) -> None:
    limits = Limits(shared_of(redis, namespace), secret="secret", local_addresses=20)
    assert await allowed(limits, BY_ADDRESS.of("127.0.0.1"), 100) == 60
    assert await allowed(limits, BY_ADDRESS.of("192.0.2.1"), 100) == 3
    assert await allowed(limits, FIVE.of("127.0.0.1"), 100) == 5


def test_process_forgets_who_was_longest_away() -> None:
    buckets = _OwnBuckets()
    for number in range(MAX_KEYS + 10):
        buckets.run(Group((Move(f"k{number}", 10**9, 10**9),), 1))
    assert len(buckets._full_at) == MAX_KEYS
    assert "k0" not in buckets._full_at
    assert f"k{MAX_KEYS}" in buckets._full_at


@given(st.lists(st.sampled_from([1, -1, 0]), max_size=60))
async def test_redis_and_the_process_count_alike(costs: list[int]) -> None:
    """Whatever is taken and given back: both let the same through. (A bucket that fills in days stands still here.)"""
    own, key = _OwnBuckets(), uuid4().hex
    async with Redis.from_url(REDIS_URL) as redis:
        shared = shared_of(redis, "test")
        for cost in costs:
            group = Group((Move(key, 86_400_000_000, 5 * 86_400_000_000),), cost)
            there = await shared.run(group)
            assert there is not None
            assert group.refused_by(there) == group.refused_by(own.run(group))
