"""Who is online, as those see it who share a conversation or a coaching relation with them.

A person is online while any device of theirs is, on any process. Each process tells the others whom it has, and is
believed for as long as it is heard of (`Bus`): so a killed process takes its people with it. Going offline is told
after a grace, so that a reconnect or a deploy does not flap.

When people were last there is stored as they come and go, for many at once, and now and then of all who are here: so a
killed process leaves it a minute old at most. What others may not see does not move it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from wellio.accounts.actors import Actor
from wellio.accounts.last_seen import list_last_seen, move_last_seen
from wellio.chat.acquaintances import list_acquaintances, list_acquainted
from wellio.db import Connection, Database
from wellio.errors import Unavailable
from wellio.realtime.devices import Devices
from wellio.realtime.fanout import Fanout, encode_event
from wellio.tasks import end_tasks, wait_within

log = logging.getLogger(__name__)

Status = Literal["online", "away", "dnd", "invisible"]
OFFLINE = "offline"
# Of several devices or processes, the first of these counts.
RANK: Sequence[Status] = ("invisible", "dnd", "online", "away")

GRACE_S = 10.0
COALESCE_S = 0.25
# Below a minute by more than it takes to write.
STORE_EVERY_S = 50.0


class Presence:
    """`publish` tells the other processes; `stale` says that they can't be heard at the moment."""

    def __init__(
        self,
        db: Database,
        devices: Devices,
        fanout: Fanout,
        publish: Callable[..., None],
        stale: Callable[[], bool],
        *,
        grace_s: float = GRACE_S,
    ) -> None:
        self._db, self._devices, self._fanout = db, devices, fanout
        self._publish, self._stale, self._grace_s = publish, stale, grace_s
        self._here: dict[UUID, Status] = {}
        self._elsewhere: dict[str, dict[UUID, Status]] = {}
        self._practices: dict[UUID, UUID] = {}
        self._people: dict[UUID, set[UUID]] = {}  # of each practice
        self._told: dict[UUID, str] = {}
        self._changed: dict[UUID, float] = {}  # when each may be told of, by the loop's clock
        self._seen: dict[UUID, tuple[UUID, float]] = {}  # practice, and when (the loop's clock): not stored yet
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="presence")

    async def stop(self) -> None:
        if self._task is not None:
            await end_tasks([self._task])
        self._mark_all()
        await self._store_seen()

    # ------------------------------------------------ what happens

    def joined(self, actor: Actor) -> None:
        """A device of theirs is here; perhaps not the first."""
        if actor.user_id not in self._here:
            self.set_status(actor, "online")

    def left(self, actor: Actor) -> None:
        visible = self._now(actor.user_id) != OFFLINE
        if self._devices.count_of(actor.user_id) == 0 and self._here.pop(actor.user_id, None) is not None:
            if visible:
                self._mark(actor.user_id, actor.practice_id)
            self._publish("presence", people={str(actor.user_id): (actor.practice_id, None)})
            self._note(actor.user_id, actor.practice_id)

    def set_status(self, actor: Actor, status: Status) -> None:
        visible = self._now(actor.user_id) != OFFLINE
        self._here[actor.user_id] = status
        if visible or self._now(actor.user_id) != OFFLINE:
            self._mark(actor.user_id, actor.practice_id)
        self._publish("presence", people={str(actor.user_id): (actor.practice_id, status)})
        self._note(actor.user_id, actor.practice_id)

    def announce(self) -> None:
        """Tells the other processes of everybody who is here: one is new, or something was lost."""
        people = {str(u): (self._practices[u], status) for u, status in self._here.items()}
        self._publish("presence", people=people, complete=True)

    def take(self, process: str, header: dict[str, Any]) -> None:
        """What another process tells of its people."""
        known = self._elsewhere.setdefault(process, {})
        told = {UUID(name): (UUID(practice_id), status) for name, (practice_id, status) in header["people"].items()}
        if header.get("complete"):
            told |= {u: (self._practices[u], None) for u in known if u not in told}
        for user_id, (practice_id, status) in told.items():
            if status is None:
                known.pop(user_id, None)
            else:
                known[user_id] = status
            self._note(user_id, practice_id)

    def process_died(self, process: str) -> None:
        """Its lease was longer than any grace: its people are offline now."""
        for user_id in self._elsewhere.pop(process, {}):
            self._note(user_id, self._practices[user_id], grace=False)

    def _note(self, user_id: UUID, practice_id: UUID, *, grace: bool = True) -> None:
        self._practices[user_id] = practice_id
        self._people.setdefault(practice_id, set()).add(user_id)
        now = asyncio.get_running_loop().time()
        wait_s = self._grace_s if grace and not self._statuses(user_id) else 0.0
        self._changed[user_id] = now + wait_s
        self._woken.set()

    def _mark(self, user_id: UUID, practice_id: UUID) -> None:
        """They are there now, or were until now, as others see it."""
        self._seen[user_id] = practice_id, asyncio.get_running_loop().time()

    def _mark_all(self) -> None:
        for user_id in self._here:
            if self._now(user_id) != OFFLINE:
                self._mark(user_id, self._practices[user_id])

    # ------------------------------------------------ what people see

    def seen(self, user_id: UUID) -> str:
        """The status as others see it. Someone who just left is still online, for a while."""
        if user_id in self._changed and not self._statuses(user_id):
            return self._told.get(user_id, OFFLINE)
        return self._now(user_id)

    async def look_up(self, actor: Actor, user_ids: Sequence[UUID]) -> list[dict[str, Any]]:
        """Strangers are offline, as those are who do not exist."""
        acquainted = await self._acquainted(actor, user_ids)
        seen = {user_id: self.seen(user_id) if user_id in acquainted else OFFLINE for user_id in user_ids}
        offline = [u for u, status in seen.items() if status == OFFLINE and u in acquainted]
        last_seen = await list_last_seen(self._db, [(actor.practice_id, u) for u in offline])
        return [self._entry(user_id, seen[user_id], last_seen.get(user_id)) for user_id in user_ids]

    async def list_online(self, db: Connection, actor: Actor) -> list[dict[str, Any]]:
        """The actor's acquaintances who are not offline."""
        acquainted = await list_acquainted(db, actor.practice_id, actor.user_id)
        present = self._people.get(actor.practice_id, set())
        seen = ((user_id, self.seen(user_id)) for user_id in acquainted if user_id in present)
        return [self._entry(user_id, status) for user_id, status in seen if status != OFFLINE]

    async def _acquainted(self, actor: Actor, user_ids: Iterable[UUID]) -> set[UUID]:
        people = [(actor.practice_id, user_id) for user_id in user_ids if user_id != actor.user_id]
        found = await list_acquaintances(self._db, people, [actor.user_id]) if people else {}
        return {actor.user_id, *found.get(actor.user_id, ())}

    def _entry(self, user_id: UUID, status: str, last_seen: datetime | None = None) -> dict[str, Any]:
        entry: dict[str, Any] = {"user_id": user_id, "status": status}
        if last_seen is not None:
            entry["last_seen"] = last_seen
        return {**entry, "stale": True} if self._stale() else entry

    def _statuses(self, user_id: UUID) -> list[Status]:
        """One for each process that has them."""
        statuses = [self._here[user_id]] if user_id in self._here else []
        for people in self._elsewhere.values():
            if user_id in people:
                statuses.append(people[user_id])
        return statuses

    def _now(self, user_id: UUID) -> str:
        status = min(self._statuses(user_id), key=RANK.index, default=OFFLINE)
        return OFFLINE if status == "invisible" else status

    # ------------------------------------------------ telling

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        store_all_at = loop.time() + STORE_EVERY_S
        while True:
            await wait_within(self._woken, max(0.0, store_all_at - loop.time()))
            await asyncio.sleep(COALESCE_S)
            if loop.time() >= store_all_at:
                store_all_at = loop.time() + STORE_EVERY_S
                self._mark_all()
            due = [user_id for user_id, at in self._changed.items() if at <= loop.time()]
            if len(due) == len(self._changed):
                self._woken.clear()
            try:
                await self._store_seen()
                await self._tell(due)
            except Unavailable:
                continue
            except Exception:
                log.exception("presence failed")
                self._settle({user_id: self._now(user_id) for user_id in due})

    async def _store_seen(self) -> None:
        """What can't be stored is kept for the next time, with its age."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        now = asyncio.get_running_loop().time()
        try:
            await move_last_seen(self._db, [(practice_id, u, now - at) for u, (practice_id, at) in seen.items()])
        except BaseException as error:
            self._seen = seen | self._seen
            if not isinstance(error, Unavailable):
                raise

    async def _tell(self, user_ids: Sequence[UUID]) -> None:
        """Tells each acquaintance who is connected here, in one packet, what is new to them."""
        new = {u: self._now(u) for u in user_ids}
        moved = {u: status for u, status in new.items() if status != self._told.get(u, OFFLINE)}
        viewers = [user_id for _, user_id in self._devices.people()]
        audience = {}
        if moved and viewers:
            people = [(self._practices[u], u) for u in moved]
            audience = await list_acquaintances(self._db, people, viewers)
        offline = [(self._practices[u], u) for u, status in moved.items() if status == OFFLINE and audience]
        last_seen = await list_last_seen(self._db, offline)
        alike: dict[frozenset[UUID], list[UUID]] = {}  # those of one group see the same, and get one packet
        for viewer, seen in audience.items():
            alike.setdefault(frozenset(seen), []).append(viewer)
        for seen_by_all, all_alike in alike.items():
            packet = encode_event(
                "presence", {"users": [self._entry(u, moved[u], last_seen.get(u)) for u in seen_by_all]}
            )
            self._fanout.deliver(all_alike, packet, event="presence", ephemeral=True)
        self._settle(new)

    def _settle(self, told: dict[UUID, str]) -> None:
        """What was told is known; who is offline and told of is forgotten."""
        for user_id, status in told.items():
            self._told[user_id] = status
            if self._now(user_id) == status:
                self._changed.pop(user_id, None)
            if status == OFFLINE and user_id not in self._changed and not self._statuses(user_id):
                self._forget(user_id)

    def _forget(self, user_id: UUID) -> None:
        self._told.pop(user_id)
        practice_id = self._practices.pop(user_id)
        self._people[practice_id].discard(user_id)
        if not self._people[practice_id]:
            del self._people[practice_id]
