"""Coming back: what was missed comes once and in order, on any process, after any restart."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from chat_checks.scene import Scene, seconds_until, until
from tests.realtime.writers import shown_by


async def missed(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """By chat:sync: of a client that takes no offsets and was away, and of one that is new."""
    direct = await _begin(scene, recovery=False)
    await scene.doors[1].cut()
    entries = await _happen(scene, direct, options.messages)
    syncs = len(scene.js.told("client", "sync"))
    scene.doors[1].lead_to(scene.processes[0].url)
    took_s = await seconds_until(lambda: _has_all(scene, direct, "client"), within_s=60)
    assert not scene.js.told("client", "connect")[-1]["recovered"]
    syncs = len(scene.js.told("client", "sync")) - syncs
    assert syncs, "nothing was asked for: this tried something else"
    await scene.connect("tablet", scene.house.client, 0, recovery=False)
    await _same(scene, direct, "client", "tablet", "coach")
    return {"missed_entries": entries, "back_s": took_s, "syncs": syncs}


async def returns(scene: Scene, options: argparse.Namespace) -> dict[str, Any]:
    """By connection state recovery: on the other process, and after all of them were killed and started again."""
    direct = await _begin(scene)
    figures: dict[str, Any] = {}
    for name, restart in (("on the other process", False), ("after a restart", True)):
        await scene.doors[1].cut()
        entries = await _happen(scene, direct, options.messages // 2)
        if restart:
            for process in scene.processes:
                process.kill()
                await process.start()
        times, syncs = len(scene.js.told("client", "connect")), len(scene.js.told("client", "sync"))
        scene.doors[1].lead_to(scene.processes[0].url)
        took_s = await seconds_until(lambda: _has_all(scene, direct, "client"), within_s=60)
        await until(lambda times=times: len(scene.js.told("client", "connect")) > times)
        assert scene.js.told("client", "connect")[-1]["recovered"], f"{name}: socket.recovered is false"
        assert len(scene.js.told("client", "sync")) == syncs, f"{name}: it had to ask"
        pushed = [e["data"]["seq"] for e in scene.js.lines if _is_pushed(e, direct)]
        assert len(pushed) == len(set(pushed)), f"{name}: something came twice"
        figures[name] = {"missed_entries": entries, "back_s": took_s}
        await until(lambda: scene.js.told("coach", "connect"))
        scene.doors[0].lead_to(scene.processes[0].url)
    await _same(scene, direct, "client", "coach")
    return figures


def _is_pushed(line: Mapping[str, Any], conversation_id: UUID) -> bool:
    data: Any = line.get("data")
    return (
        line.get("client") == "client"
        and line.get("event") in ("message:new", "message:updated", "message:deleted", "reaction:changed")
        and data["conversation_id"] == str(conversation_id)
    )


async def _begin(scene: Scene, **auth: Any) -> UUID:
    house = scene.house
    direct = await scene.open(house.coach, house.client)
    await scene.connect("coach", house.coach, 0)
    await scene.connect("client", house.client, 1, **auth)
    for n in range(5):
        await scene.say("coach", direct, f"before {n}")
    await scene.converged(direct, "client")
    return direct


async def _happen(scene: Scene, direct: UUID, messages: int) -> int:
    """Messages, and to every eighth of them an edit, a reaction, a reaction taken back, or a deletion. How many."""
    head = await scene.head(direct)
    ids = [(await scene.say("coach", direct, f"while away {n}"))["id"] for n in range(messages)]
    for n, message_id in enumerate(ids[::8]):
        of_message = {"message_id": message_id}
        changes: Sequence[tuple[str, dict[str, Any]]] = (
            ("message:edit", {**of_message, "body": f"edited {n}"}),
            ("reaction:set", {**of_message, "emoji": "👍", "on": True}),
            ("reaction:set", {**of_message, "emoji": "👍", "on": False}),
            ("message:delete", of_message),
        )
        for event, payload in changes[: n % 4 + 1]:
            ack = await scene.call("coach", event, payload)
            assert ack["ok"], ack
    return await scene.head(direct) - head


async def _has_all(scene: Scene, direct: UUID, client: str) -> bool:
    return len(scene.applied(client, direct)) >= await scene.head(direct)


async def _same(scene: Scene, direct: UUID, *clients: str) -> None:
    """What each client has made of the log is what the database holds."""
    await scene.converged(direct, *clients)
    stored: dict[str, Any] = {}
    page: list[dict[str, Any]] = [{"seq": 0}]
    while page:
        path = f"/conversations/{direct}/messages?limit=200&after_seq={page[-1]['seq']}"
        status, found = await scene.rest("GET", path, scene.house.coach)
        assert status == 200, found
        page = found
        stored |= {m["id"]: (m["body"], bool(m["deleted_at"]), m["reactions"]) for m in page}
    for client in clients:
        made = shown_by(scene.applied(client, direct))
        assert made == stored, f"{client} shows something else than there is"
