"""Who may stay connected, and who is seen to be: expiry, revocation, removal; presence through crashes."""

import argparse
import asyncio
import time
from datetime import timedelta
from typing import Any

from chat_checks.scene import Scene, seconds_until, until
from tests.factories import sign_in
from wellio.accounts.actors import Actor

LIFE_S = 6.0
# What the specification promises, and what a busy machine may add.
REVOKED_WITHIN_S, OFFLINE_WITHIN_S, SLACK_S = 2.0, 30.0, 1.5


async def sessions(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """A token that expires and one that is refreshed in band; log-out, suspension and removal on the other process."""
    return {
        "expiry": await _expiry(scene),
        "revoked_s": await _revocations(scene),
        "removal": await _removal(scene),
    }


async def _expiry(scene: Scene) -> dict[str, Any]:
    house, life = scene.house, timedelta(seconds=LIFE_S)
    expires_at = time.time() + LIFE_S
    for name, actor in (("expires", house.coach), ("refreshes", house.owner)):
        await scene.connect(name, actor, 1, token=scene.token(actor, ttl=life))
        await until(lambda name=name: scene.js.events(name, "auth:expiring"))
    assert (await scene.call("refreshes", "auth:refresh", {"token": scene.token(house.owner)}))["ok"]
    await until(lambda: scene.js.told("expires", "disconnect"), within_s=LIFE_S + 10)
    late_s = time.time() - expires_at
    assert -1.5 < late_s < REVOKED_WITHIN_S + SLACK_S, f"closed {late_s:.1f} s after its token expired"
    (refused,) = (await until(lambda: scene.js.told("expires", "connect_error")))[:1]
    assert refused["data"]["code"] == "TOKEN_EXPIRED", refused
    assert (await scene.call("refreshes", "chat:sync", {"cursors": {}}))["ok"]
    assert not scene.js.told("refreshes", "disconnect"), "it was refreshed, and closed all the same"
    return {"closed_after_expiry_s": round(late_s, 2)}


async def _revocations(scene: Scene) -> dict[str, float]:
    """With Redis and without: each on the process that the device is not on."""
    house, took = scene.house, {}
    for way in ("log-out", "suspension", "log-out without Redis"):
        if way.endswith("without Redis"):
            scene.redis.kill()
        coach = await sign_in(scene.db, house.other_coach)
        await scene.connect(way, coach, 1)
        await scene.connect(f"{way} bystander", house.owner, 1)
        began = time.perf_counter()
        if way == "suspension":
            body = {"status": "suspended"}
            assert (await scene.rest("PATCH", f"/users/{coach.user_id}", house.owner, json=body))[0] == 200
        else:
            assert (await scene.rest("POST", "/auth/logout", coach))[0] == 200
        await until(lambda way=way: scene.js.told(way, "disconnect"), within_s=20)
        took[way] = round(time.perf_counter() - began, 2)
        assert took[way] < REVOKED_WITHIN_S + SLACK_S, f"{way}: closed after {took[way]} s"
        assert scene.js.events(way, "auth:revoked") == [{"code": "SESSION_ENDED"}], f"{way}: was not told"
        assert not scene.js.told(f"{way} bystander", "disconnect")
        await scene.db.execute("update users set status = 'active' where id = $1", coach.user_id)
    await scene.redis.start()
    return took


async def _removal(scene: Scene) -> dict[str, Any]:
    """Removed on one process, gone on the other: nothing more is told, nothing more is taken."""
    house = scene.house
    group = await scene.open(house.coach, house.client, house.owner)
    await scene.connect("remover", house.coach, 0)
    await scene.connect("removed", house.client, 1)
    await scene.say("remover", group, "all of us")
    await until(lambda: scene.applied("removed", group))
    status, _ = await scene.rest("DELETE", f"/conversations/{group}/members/{house.client.user_id}", house.coach)
    assert status < 300, status
    took_s = await seconds_until(
        lambda: scene.js.events("removed", "member:changed"), within_s=REVOKED_WITHIN_S + SLACK_S
    )
    for n in range(5):
        await scene.say("remover", group, f"without them {n}")
    ack = await scene.call("removed", "chat:sync", {"cursors": {str(group): 0}})
    assert ack["conversations"] == [], "who was removed reads on"
    bodies = [m["body"] for m in scene.js.events("removed", "message:new") if m["conversation_id"] == str(group)]
    # What was before may have come by a sync: Redis is just back.
    assert set(bodies) <= {"all of us"}, f"who was removed was told {bodies}"
    return {"told_s": took_s}


# ---------------------------------------------------------------- presence


async def presence(scene: Scene, _options: argparse.Namespace) -> dict[str, Any]:
    """Two clients are on the second process, one of them on the first as well; their coaches look on from the first."""
    house = scene.house
    for name, actor in (("coach", house.coach), ("other coach", house.other_coach)):
        await scene.connect(name, actor, 0)
    for name, actor, door in (
        ("phone", house.client, 1), ("tablet", house.client, 0), ("other phone", house.other_client, 1),
    ):  # fmt: skip
        await scene.connect(name, actor, door)
    watched = {"coach": house.client, "other coach": house.other_client}
    for coach, client in watched.items():
        await until(lambda coach=coach, client=client: _told(scene, coach, client)[-1:] == ["online"])
    # A link that breaks, and a client that is back at once: nobody is told.
    scene.js.command("cut", client="other phone")
    await until(lambda: len(scene.js.events("other phone", "session:ready")) == 2)
    scene.doors[1].lead_to("http://127.0.0.1:1")
    scene.processes[1].kill()
    offline_s = await seconds_until(
        lambda: _told(scene, "other coach", house.other_client)[-1:] == ["offline"], within_s=OFFLINE_WITHIN_S + SLACK_S
    )
    assert "offline" not in _told(scene, "other coach", house.other_client)[:-1], "a reconnect was told as offline"
    await asyncio.sleep(1)  # the other's offline would have come with it
    assert "offline" not in _told(scene, "coach", house.client), "offline, though a device is left"
    asked = {"user_ids": [str(house.other_client.user_id), str(house.client.user_id)]}
    (entry, _) = (await scene.call("other coach", "presence:get", asked))["users"]
    assert entry["status"] == "offline", entry
    assert entry.get("last_seen"), "nobody knows when they were last there"
    await scene.processes[1].start()
    scene.doors[1].lead_to(scene.processes[1].url)
    online_s = await seconds_until(
        lambda: _told(scene, "other coach", house.other_client)[-1:] == ["online"], within_s=20
    )
    return {"offline_after_kill_s": offline_s, "online_again_s": online_s}


def _told(scene: Scene, viewer: str, actor: Actor) -> list[str]:
    """What a client was told of a person, session:ready included."""
    statuses = []
    for line in scene.js.lines:
        if line.get("client") == viewer and line.get("event") in ("presence", "session:ready"):
            data = line["data"]
            users = data["users"] if line["event"] == "presence" else data["presence"]
            statuses += [user["status"] for user in users if user["user_id"] == str(actor.user_id)]
    return statuses
