"""Groups under random histories: places are never more than the capacity, nobody has two, and the order is kept."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import House, make_client
from tests.practice.group_scenes import START
from wellio.db import Database
from wellio.errors import Conflict, NotFound
from wellio.ids import uuid7
from wellio.jobs.move_waitlists import move_waitlists
from wellio.jobs.work import Work
from wellio.outbox import Outbox
from wellio.practice.participants import add_participant, remove_participant
from wellio.practice.session_changes import SessionChanges, change_session
from wellio.practice.waitlist import ForClient, accept_offer, join_waitlist, leave_waitlist

PEOPLE = 5
ACTIONS = ("join", "leave", "wait", "unwait", "accept", "expire", "late job", "archive", "return", "grow", "shrink")
HISTORIES = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, PEOPLE - 1)), min_size=4, max_size=16)


@dataclass(frozen=True, slots=True)
class Scene:
    db: Database
    outbox: Outbox
    house: House
    group_id: UUID
    clients: list[UUID]

    async def act(self, action: str, who: int) -> None:
        client_id, coach = self.clients[who], self.house.coach
        new = ForClient(client_id=client_id)
        match action:
            case "join":
                await add_participant(self.outbox, coach, self.group_id, new)
            case "leave":
                await remove_participant(self.outbox, coach, self.group_id, client_id)
            case "wait":
                await join_waitlist(self.outbox, coach, self.group_id, new)
            case "unwait":
                await leave_waitlist(self.outbox, coach, self.group_id, client_id)
            case "accept":
                await accept_offer(self.outbox, coach, self.group_id, new)
            case "expire":
                await self._pass_offer(client_id)
            case "late job":
                await move_waitlists(Work(self.outbox))
            case "archive" | "return":
                status = "archived" if action == "archive" else "active"
                await self.db.execute("update clients set status = $2 where id = $1", client_id, status)
            case "grow" | "shrink":
                await self._resize(1 if action == "grow" else -1)

    async def _pass_offer(self, client_id: UUID) -> None:
        sql = "update waitlist_entries set offer_expires_at = $2 where client_id = $1 and status = 'offered'"
        await self.db.execute(sql, client_id, datetime.now(UTC) - timedelta(seconds=1))

    async def _resize(self, by: int) -> None:
        capacity = await self.db.fetchval("select capacity from sessions where id = $1", self.group_id)
        await change_session(
            self.outbox, self.house.coach, self.group_id, SessionChanges(capacity=max(1, capacity + by))
        )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=HISTORIES, policy=st.sampled_from(["offer", "auto"]), capacity=st.integers(1, 2))
async def test_places_hold_under_any_history(
    db: Database, outbox: Outbox, house: House, history: list[tuple[str, int]], policy: str, capacity: int
) -> None:
    scene = await make_scene(db, outbox, house, policy, capacity)
    for action, who in history:
        before = await queue_of(scene)
        try:
            await scene.act(action, who)
        except (Conflict, NotFound):
            assert await queue_of(scene) == before  # refused whole
        await check_places(scene)
        await check_order(scene, before)


async def make_scene(db: Database, outbox: Outbox, house: House, policy: str, capacity: int) -> Scene:
    group_id = uuid7()
    async with db.transaction() as connection:
        # The one before it, which took the coach's time.
        await connection.execute("update sessions set status = 'cancelled_by_coach'")
        await connection.execute(
            "insert into booking_policies (practice_id, waitlist) values ($1, $2)"
            " on conflict (practice_id) do update set waitlist = excluded.waitlist",
            house.practice.id, policy,
        )  # fmt: skip
        await connection.execute(
            "insert into sessions (id, practice_id, coach_id, kind, capacity, starts_at, ends_at, timezone, currency)"
            " values ($1, $2, $3, 'group', $4, $5, $6, 'UTC', 'EUR')",
            group_id, house.practice.id, house.coach.user_id, capacity, START, START + timedelta(hours=1),
        )  # fmt: skip
        clients = [await make_client(connection, house.practice, coach=house.coach) for _ in range(PEOPLE)]
    return Scene(db, outbox, house, group_id, clients)


async def queue_of(scene: Scene) -> list[asyncpg.Record]:
    return await scene.db.fetch(
        "select w.client_id, w.status, w.offer_expires_at, c.status <> 'archived' as eligible from waitlist_entries w"
        " join clients c on c.id = w.client_id"
        " where w.session_id = $1 and w.status in ('waiting', 'offered') order by w.joined_at, w.id",
        scene.group_id,
    )


async def check_places(scene: Scene) -> None:
    booked = [
        row["client_id"]
        for row in await scene.db.fetch(
            "select client_id from session_participants where session_id = $1 and status = 'booked'", scene.group_id
        )
    ]
    queue = await queue_of(scene)
    offered = [row["client_id"] for row in queue if row["status"] == "offered"]
    capacity = await scene.db.fetchval("select capacity from sessions where id = $1", scene.group_id)
    assert len(booked) + len(offered) <= capacity
    waiting = [row["client_id"] for row in queue]
    assert len({*booked, *waiting}) == len(booked) + len(waiting), "somebody is there twice"


async def check_order(scene: Scene, before: list[asyncpg.Record]) -> None:
    """Whoever got an offer was the first of those who could; the others stay as they are."""
    after = await queue_of(scene)
    was: dict[UUID, Any] = {row["client_id"]: row for row in before}
    still = [row["client_id"] for row in after if row["client_id"] in was]
    assert still == [row["client_id"] for row in before if row["client_id"] in still], "the order changed"
    new_offers = {r["client_id"] for r in after if r["status"] == "offered"} - {
        r["client_id"] for r in before if r["status"] == "offered"
    }
    for row in after:
        if new_offers and row["status"] == "waiting" and row["eligible"]:
            behind = [r["client_id"] for r in after[: after.index(row)]]
            assert new_offers <= set(behind), "an offer passed somebody by"
    for row in after:
        old = was.get(row["client_id"])
        if old and old["status"] == row["status"] == "offered":
            assert old["offer_expires_at"] == row["offer_expires_at"]
