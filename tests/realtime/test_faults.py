"""What must hold while processes are killed, and Redis or PostgreSQL is away."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.api import Api
from tests.factories import House
from tests.realtime.conftest import Phone, Phones, Process, message, open_conversation, serving
from tests.realtime.faults import OwnRedis, Wellio, link_to, own_redis
from tests.realtime.writers import Reader, Writer
from tests.waiting import eventually
from wellio.config import Config
from wellio.db import Database


@pytest.fixture
async def redis() -> AsyncIterator[OwnRedis]:
    async with own_redis() as made:
        yield made


@pytest.fixture
async def two(config: Config, redis: OwnRedis) -> AsyncIterator[tuple[Process, Process]]:
    """Two Wellios that know of each other."""
    config = replace(config, redis_url=redis.url)
    async with serving(config) as one, serving(config) as other:
        await eventually(lambda: one.realtime._bus.peers and other.realtime._bus.peers)
        yield one, other


@pytest.fixture
async def phones() -> AsyncIterator[Phones]:
    made = Phones("")
    yield made
    await made.close()


async def test_message_crosses_processes_and_nobody_gets_it_twice(
    two: tuple[Process, Process], phones: Phones, house: House, direct: UUID
) -> None:
    one, other = two
    coach = await phones.connect(one.token(house.coach), url=one.url)
    client = await phones.connect(other.token(house.client), url=other.url)
    tablet = await phones.connect(one.token(house.client), url=one.url)
    stranger = await phones.connect(other.token(house.other_client), url=other.url)
    for n in range(20):
        writer = coach if n % 2 else client
        assert (await writer.call("message:send", message(direct, str(n))))["ok"]
    for phone in (coach, client, tablet):
        # What was written on the other process may come a moment after what was written here: clients go by seq.
        messages = sorted(await phone.until("message:new", 20), key=lambda m: int(m["seq"]))
        assert [(m["seq"], m["body"]) for m in messages] == [(n + 1, str(n)) for n in range(20)]
    assert (await coach.call("typing", {"conversation_id": str(direct), "on": True}))["ok"]
    assert await client.first("typing")
    assert stranger.of("message:new") == stranger.of("typing") == []


async def test_without_redis_acks_go_on_and_every_device_converges(
    two: tuple[Process, Process], phones: Phones, house: House, direct: UUID, redis: OwnRedis
) -> None:
    one, other = two
    coach = await phones.connect(one.token(house.coach), url=one.url)
    client = await phones.connect(other.token(house.client), url=other.url)
    reader = Reader(client, direct)
    redis.kill()
    for n in range(1, 11):
        assert (await coach.call("message:send", message(direct)))["data"]["seq"] == n
    await eventually(lambda: converged(reader, 10))
    await redis.start()
    await eventually(lambda: one.realtime._bus.up and other.realtime._bus.up)
    await eventually(lambda: one.realtime._bus.peers and other.realtime._bus.peers)
    assert (await coach.call("message:send", message(direct, "over Redis again")))["ok"]
    await eventually(lambda: [m for m in client.of("message:new") if m["body"] == "over Redis again"])
    await eventually(lambda: converged(reader, 11))


async def converged(reader: Reader, last: int) -> bool:
    return await reader.follow() == list(range(1, last + 1))


async def test_frozen_redis_holds_no_ack_up(
    two: tuple[Process, Process], phones: Phones, house: House, direct: UUID, redis: OwnRedis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    one, other = two
    coach = await phones.connect(one.token(house.coach), url=one.url)
    client = await phones.connect(other.token(house.client), url=other.url)
    reader = Reader(client, direct)
    with monkeypatch.context() as patient:  # before the link is given up
        patient.setattr("wellio.realtime.bus.SILENT_S", 1000.0)
        redis.freeze()
        try:
            assert (await coach.call("message:send", message(direct)))["ok"]
            await eventually(lambda: converged(reader, 1))
        finally:
            redis.thaw()
    await eventually(lambda: one.realtime._bus.reliable and other.realtime._bus.reliable)
    redis.freeze()
    try:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(50):
            assert (await coach.call("message:send", message(direct)))["ok"]
        assert loop.time() - began < 10, "something waited for Redis"
        await eventually(lambda: not other.realtime._bus.up)
        await eventually(lambda: converged(reader, 51))
    finally:
        redis.thaw()
    await eventually(lambda: one.realtime._bus.up and other.realtime._bus.up, within_s=30)
    assert (await coach.call("message:send", message(direct, "thawed")))["ok"]
    await eventually(lambda: converged(reader, 52))


async def test_lost_publications_are_swept_from_the_database(
    two: tuple[Process, Process], phones: Phones, house: House, direct: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last message of a quiet conversation: no gap would ever tell of it."""
    one, other = two
    coach = await phones.connect(one.token(house.coach), url=one.url)
    client = await phones.connect(other.token(house.client), url=other.url)
    reader = Reader(client, direct)
    with monkeypatch.context() as broken:
        broken.setattr("wellio.realtime.bus.MAX_WAITING", 0)
        assert (await coach.call("message:send", message(direct)))["ok"]
    assert client.of("message:new") == []
    await eventually(lambda: converged(reader, 1))


async def test_presence_crosses_processes_and_a_dead_one_takes_its_people_along(
    two: tuple[Process, Process], phones: Phones, house: House, direct: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    client = await phones.connect(other.token(house.client), url=other.url)
    coach = await phones.connect(one.token(house.coach), url=one.url)

    client_id = str(house.client.user_id)

    def told() -> list[str]:
        entries = [user for push in coach.of("presence") for user in push["users"]]
        return [entry["status"] for entry in entries if entry["user_id"] == client_id]

    asked = {"user_ids": [client_id, str(house.other_client.user_id)]}
    answer = await eventually(lambda: online(coach, asked))
    assert answer["users"] == [
        {"user_id": client_id, "status": "online"},
        {"user_id": str(house.other_client.user_id), "status": "offline"},
    ]
    await client.call("presence:set", {"status": "dnd"})
    await eventually(lambda: told()[-1:] == ["dnd"])
    await other.realtime._bus.stop()  # as a process is cut off that was killed or hangs
    with monkeypatch.context() as impatient:
        impatient.setattr("wellio.realtime.bus.DEAD_S", 0.0)
        await eventually(lambda: told()[-1:] == ["offline"])
    await other.realtime._bus.start()
    await eventually(lambda: told()[-1:] == ["dnd"])


async def online(phone: Phone, asked: dict[str, list[str]]) -> Any:
    answer = await phone.call("presence:get", asked)
    return answer if answer["users"][0]["status"] == "online" else None


async def test_without_redis_presence_is_the_last_known_and_says_so(
    two: tuple[Process, Process], phones: Phones, house: House, direct: UUID, redis: OwnRedis
) -> None:
    one, other = two
    await phones.connect(other.token(house.client), url=other.url)
    coach = await phones.connect(one.token(house.coach), url=one.url)
    asked = {"user_ids": [str(house.client.user_id)]}
    await eventually(lambda: online(coach, asked))
    redis.kill()
    await eventually(lambda: not one.realtime._bus.up)
    assert (await coach.call("presence:get", asked))["users"][0] == {
        "user_id": str(house.client.user_id), "status": "online", "stale": True,
    }  # fmt: skip


async def test_without_postgresql_sends_are_refused_clearly_and_nothing_is_lost(
    config: Config, db: Database, database_url: str, house: House, direct: UUID, phones: Phones
) -> None:
    async with link_to(database_url) as link, serving(replace(config, database_url=link.url)) as process:
        writers = [
            Writer(process.url, process.token(actor), direct, actor.name) for actor in (house.coach, house.client)
        ]
        writing = asyncio.gather(*(writer.write(60) for writer in writers))
        for _ in range(3):
            goal = min(len(w.acked) for w in writers) + 10
            await eventually(lambda goal=goal: min(len(w.acked) for w in writers) >= goal)  # type: ignore[misc]
            await link.cut()
            refused = sum(len(w.refused) for w in writers)
            await eventually(lambda refused=refused: sum(len(w.refused) for w in writers) > refused)  # type: ignore[misc]
            await link.mend()
        await writing
        assert {code for w in writers for code in w.refused} == {"UNAVAILABLE"}
        phone = await phones.connect(process.token(house.coach), url=process.url)
        reader = Reader(phone, direct)
        await eventually(lambda: converged(reader, 120))
    await check_history(db, writers)


async def check_history(db: Database, writers: list[Writer]) -> None:
    """Every acked message is there exactly once, under the seq that was acked, and in its writer's order."""
    rows = await db.fetch("select conversation_id, seq, sender_id, body from messages order by conversation_id, seq")
    for conversation_id in {writer.conversation_id for writer in writers}:
        here = [row for row in rows if row["conversation_id"] == conversation_id]
        assert [row["seq"] for row in here] == list(range(1, len(here) + 1)), "seq has holes"
        bodies = [row["body"] for row in here]
        assert len(bodies) == len(set(bodies)), "a message is there twice"
        stored = {row["body"]: row["seq"] for row in here}
        for writer in (w for w in writers if w.conversation_id == conversation_id):
            lost = [body for body, seq in writer.acked if stored.get(body) != seq]
            assert not lost, f"acked and lost: {lost}"
            order = [body for body in bodies if body.startswith(f"{writer.name} ")]
            assert order == [f"{writer.name} {n}" for n in range(len(order))], "out of order"
    events = await db.fetchval("select count(*) from events where type = 'MessageSent'")
    log = await db.fetchval("select count(*) from conversation_events")
    assert events == log == len(rows)


@pytest.mark.slow
async def test_killed_process_loses_no_acked_message(
    api: Api, db: Database, database_url: str, redis_url: str, house: House, tmp_path: Path
) -> None:
    """Three kills while a thousand messages are acked."""
    direct = await open_conversation(db, house.coach, house.client)
    group = await open_conversation(db, house.owner, house.coach, house.other_coach)
    wellio = Wellio(database_url, redis_url, tmp_path)
    writers = [
        Writer(wellio.url, api.token(actor), conversation, f"{actor.name} {conversation}")
        for actor, conversation in (
            (house.coach, direct), (house.client, direct), (house.owner, group), (house.coach, group),
            (house.other_coach, group),
        )
    ]  # fmt: skip
    await wellio.start()
    try:
        writing = asyncio.gather(*(writer.write(200) for writer in writers))
        for kill in range(1, 4):
            goal = kill * 220 + random.randrange(60)
            await eventually(lambda goal=goal: sum(len(w.acked) for w in writers) >= goal, within_s=60)  # type: ignore[misc]
            wellio.kill()
            await wellio.start()
        await asyncio.wait_for(writing, 60)
    finally:
        wellio.kill()
    assert sum(len(w.acked) for w in writers) == 1000
    await check_history(db, writers)
