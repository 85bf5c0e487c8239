"""Messages: one order for everybody, once however often sent, errors that are acked, and what is read."""

import argparse
import asyncio
import random
from collections.abc import Sequence
from typing import Any

from chat_checks.scene import Scene, message, until
from wellio.accounts.actors import Actor
from wellio.realtime.events import INCOMING

ROUNDS = 20
COUNT_UNREAD = """
select count(*) from messages m
join conversation_members me on me.conversation_id = m.conversation_id and me.user_id = $2
where m.conversation_id = $1 and m.seq > me.last_read_seq and m.sender_id <> $2 and m.deleted_at is null
"""


async def order(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """Four people write into one group at once, each waiting for their acks, two on each process."""
    house = scene.house
    people = (house.owner, house.coach, house.client, house.other_coach)
    group = await scene.open(house.owner, *people[1:])
    names = [f"{actor.name} {n}" for n, actor in enumerate(people)]
    for n, (name, actor) in enumerate(zip(names, people, strict=True)):
        await scene.connect(name, actor, n % 2)
    each = options.messages // len(people)
    asked = [(name, scene.js.send(name, group, f"{name}/{n}")) for n in range(each) for name in names]
    for name, ack in asked:
        assert (await scene.answer(name, ack))["ok"]
    await scene.converged(group, *names)
    logs = [[(e["seq"], e["body"]) for e in scene.applied(name, group)] for name in names]
    assert all(log == logs[0] for log in logs), "they do not all have the same order"
    for name in names:
        own = [body for _, body in logs[0] if body.startswith(f"{name}/")]
        assert own == [f"{name}/{n}" for n in range(each)], "a sender's own order was not kept"
    return {"messages": len(logs[0]), "clients": len(names)}


async def pipelining(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """Two people send all they have without waiting for an ack, on different processes, into one conversation."""
    house = scene.house
    direct = await scene.open(house.coach, house.client)
    senders: Sequence[tuple[str, Actor]] = (("coach", house.coach), ("client", house.client))
    each = options.messages // 2
    for door, (name, actor) in enumerate(senders):
        await scene.connect(name, actor, door)
    for name, _ in senders:
        items = [message(direct, f"{name}/{n}") for n in range(each)]
        scene.js.command("burst", client=name, event="message:send", items=items, ack="b")
    for name, actor in senders:
        acks = [await scene.answer(name, f"b{n}") for n in range(each)]
        assert all(ack["ok"] for ack in acks), next(ack for ack in acks if not ack["ok"])
        seqs = [ack["data"]["seq"] for ack in acks]
        assert seqs == sorted(seqs), f"{name}'s messages passed each other"
        rows = await scene.db.fetch("select body from messages where sender_id = $1 order by seq", actor.user_id)
        assert [row["body"] for row in rows] == [f"{name}/{n}" for n in range(each)], "stored out of order"
    await scene.converged(direct, "coach", "client")
    return {"messages": 2 * each}


async def once(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """Eight devices of a user and two REST calls send the same client_message_id in one moment, on both processes."""
    house = scene.house
    direct = await scene.open(house.coach, house.client)
    devices = [f"device {n}" for n in range(8)]
    for n, name in enumerate(devices):
        await scene.connect(name, house.coach, n % 2)
    await scene.connect("client", house.client, 1)
    for n in range(ROUNDS):
        sent = message(direct, f"once {n}")
        asked = [(name, scene.ask(name, "message:send", sent)) for name in devices]
        rest = [asyncio.create_task(scene.rest("POST", "/messages", house.coach, process=p, json=sent)) for p in (0, 1)]
        acks = [await scene.answer(name, ack) for name, ack in asked]
        answers = [await each for each in rest]
        assert all(ack["ok"] for ack in acks), acks
        told = [ack["data"] for ack in acks] + [data for _, data in answers]
        assert all(each == told[0] for each in told), "not all were told the same"
        new = sum(not ack["duplicate"] for ack in acks) + sum(status == 201 for status, _ in answers)
        assert new == 1, f"{new} were told that theirs is the first"
        assert told[0]["seq"] == n + 1, "a repeat took a seq"
    stored = await scene.db.fetchval("select count(*) from messages where conversation_id = $1", direct)
    assert stored == ROUNDS, f"{stored} messages are stored"
    await scene.converged(direct, "client", *devices)
    return {"rounds": ROUNDS, "at_once": len(devices) + 2, "stored": stored}


# ---------------------------------------------------------------- errors

NOBODYS = "018f0000-0000-7000-8000-000000000000"
WRONG: Sequence[Any] = (
    None, 7, "text", [], [[]], {}, {"unknown": 1}, {"conversation_id": NOBODYS}, {"message_id": NOBODYS},
    {"conversation_id": 7, "message_id": 7, "body": 7, "seq": -1, "on": "yes", "emoji": "no", "status": "x"},
    {"conversation_id": NOBODYS, "client_message_id": NOBODYS, "body": "x" * 8001},
    {"conversation_id": NOBODYS, "client_message_id": NOBODYS, "body": "\ud83d"},
    {"items": [{"conversation_id": NOBODYS, "seq": 1}] * 101}, {"cursors": {"x": 1}}, {"user_ids": ["x"]},
    {"token": "rubbish"}, {"ids": ["x"]},
)  # fmt: skip


async def acks(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """Every event with everything that it does not take, unknown ones, and what is none of one's business."""
    house = scene.house
    direct = await scene.open(house.coach, house.client)
    for name, actor, door in (("coach", house.coach, 0), ("stranger", house.other_client, 1)):
        await scene.connect(name, actor, door)
    said = await scene.say("coach", direct, "private")
    codes: dict[str, int] = {}
    for event in (*INCOMING, "no:such", "message"):
        asked = [scene.ask("coach", event, payload) for payload in WRONG]
        for payload, name in zip(WRONG, asked, strict=True):
            ack = await scene.answer("coach", name)
            assert not ack["ok"], f"{event} took {str(payload)[:100]}"
            code = ack["error"]["code"]
            assert code != "INTERNAL", f"{event} with {str(payload)[:100]}"
            codes[code] = codes.get(code, 0) + 1
    for event, payload in (
        ("message:send", message(direct)),
        ("message:edit", {"message_id": said["id"], "body": "mine"}),
        ("message:delete", {"message_id": said["id"]}),
        ("reaction:set", {"message_id": said["id"], "emoji": "👍", "on": True}),
        ("message:read", {"conversation_id": str(direct), "seq": 1}),
        ("typing", {"conversation_id": str(direct), "on": True}),
    ):
        ack = await scene.call("stranger", event, payload)
        assert (ack["ok"], ack.get("error", {}).get("code")) == (False, "NOT_FOUND"), f"{event} of a stranger: {ack}"
    assert (await scene.call("stranger", "chat:sync", {"cursors": {str(direct): 0}}))["conversations"] == []
    assert (await scene.say("coach", direct, "still here"))["seq"] == 2, "something was stored"
    assert scene.applied("stranger", direct) == [], "something leaked"
    return {"acked": sum(codes.values()), "codes": codes}


# ---------------------------------------------------------------- read state


async def reads(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """A client reads on two devices on different processes, in any order, while the coach writes and deletes."""
    house = scene.house
    direct, chance = await scene.open(house.coach, house.client), random.Random(5)
    for name, actor, door in (
        ("coach", house.coach, 0), ("phone", house.client, 0), ("tablet", house.client, 1),
    ):  # fmt: skip
        await scene.connect(name, actor, door)
    said: list[str] = []
    furthest = 0
    for _ in range(60):
        for _ in range(chance.randrange(3)):
            said.append((await scene.say("coach", direct, f"{len(said)}"))["id"])
        if said and chance.random() < 0.2:
            await scene.call("coach", "message:delete", {"message_id": chance.choice(said)})
        seq = chance.randrange(0, await scene.head(direct) + 5)
        furthest = max(furthest, min(seq, await scene.head(direct)))
        device = chance.choice(("phone", "tablet"))
        ack = await scene.call(device, "message:read", {"conversation_id": str(direct), "seq": seq})
        unread = await scene.db.fetchval(COUNT_UNREAD, direct, house.client.user_id)
        found = (ack["last_read_seq"], ack["unread"])
        assert found == (furthest, unread), f"told {found}, but it is {(furthest, unread)}"
    client = str(house.client.user_id)
    for name in ("coach", "tablet", "phone"):
        await until(lambda name=name: _read_up_to(scene, name, client) == furthest)
    await scene.say("coach", direct, "one more")
    for process in scene.processes:
        process.kill()
        await process.start()
    ready = await scene.connect("new phone", house.client, 1)
    unread = await scene.db.fetchval(COUNT_UNREAD, direct, house.client.user_id)
    assert ready["unread"] == unread, f"session:ready says {ready['unread']} unread, there are {unread}"
    return {"reads": 60, "furthest": furthest, "unread_at_the_end": unread}


def _read_up_to(scene: Scene, name: str, user_id: str) -> int:
    """As far as a client was told that a member has read."""
    receipts = []
    for receipt in scene.js.events(name, "receipt"):
        receipts += [r["read_seq"] for r in (*receipt.get("others", ()), receipt) if r["user_id"] == user_id]
    return max(receipts, default=0)
