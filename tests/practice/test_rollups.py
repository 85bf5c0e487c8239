"""Roll-ups are what a recount gives: after any history, whether they are up to date or not."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.factories import House, make_client, make_house
from tests.owner import as_owner
from wellio.db import Database
from wellio.errors import Unavailable
from wellio.ids import uuid7
from wellio.jobs.roll_up_days import rebuild_rollups, roll_up_days
from wellio.jobs.work import Work
from wellio.outbox import Outbox
from wellio.practice.rollups import DAYS_AT_ONCE

# Days of 23 and of 25 hours in several of the zones, quarters of an hour off UTC, and a midnight that comes twice.
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "America/Havana", "Pacific/Auckland", "UTC")
BEGIN = datetime(2026, 3, 25, tzinfo=UTC)
FIRST, UNTIL = date(2026, 3, 1), date(2026, 12, 31)
STATUSES = ("scheduled", "in_progress", "completed", "no_show", "cancelled", "late_cancelled", "cancelled_by_coach")
BOOKED = ("scheduled", "in_progress", "completed", "no_show")
COUNTS = (
    "total", "open", "completed", "no_show", "cancelled", "late_cancelled", "cancelled_by_coach", "booked_seconds",
    "attended", "missed", "late", "new_clients",
)  # fmt: skip

Figures = dict[tuple[date, UUID | None], dict[str, Any]]
Revenue = dict[tuple[date, UUID | None, str], tuple[int, int]]


async def recounted(db: Database, practice_id: UUID) -> tuple[Figures, Revenue]:
    """From every row there is, by Python's own clock."""
    zone = ZoneInfo(await db.fetchval("select timezone from practices where id = $1", practice_id))
    figures: Figures = defaultdict(lambda: dict.fromkeys(COUNTS, 0) | {"attended_by": set()})
    for s in await db.fetch("select * from sessions where practice_id = $1 and status <> 'held'", practice_id):
        day = figures[s["starts_at"].astimezone(zone).date(), s["coach_id"]]
        day["total"] += 1
        day["open" if s["status"] in ("scheduled", "in_progress") else s["status"]] += 1
        day["booked_seconds"] += (s["ends_at"] - s["starts_at"]).total_seconds() * (s["status"] in BOOKED)
    places = (
        "select s.coach_id, s.starts_at as at, p.* from session_participants p join sessions s on s.id = session_id"
    )
    for p in await db.fetch(f"{places} where p.practice_id = $1", practice_id):
        name = {"attended": "attended", "no_show": "missed", "late_cancelled": "late"}.get(p["status"])
        if name:
            day = figures[p["at"].astimezone(zone).date(), p["coach_id"]]
            day[name] += 1
            day["attended_by"] |= {p["client_id"]} if name == "attended" else set()
    revenue: Revenue = {}
    coach_of = {}
    for c in await db.fetch("select * from clients where practice_id = $1", practice_id):
        coach_of[c["id"]] = c["coach_id"]
        figures[c["created_at"].astimezone(zone).date(), c["coach_id"]]["new_clients"] += 1
    for p in await db.fetch("select * from payments where practice_id = $1", practice_id):
        key = (p["paid_at"].astimezone(zone).date(), coach_of[p["client_id"]], p["currency"])
        paid, refunded = revenue.get(key, (0, 0))
        is_refund = p["kind"] in ("refund", "refund_void")
        revenue[key] = (paid, refunded - p["net_minor"]) if is_refund else (paid + p["net_minor"], refunded)
    return dict(figures), revenue


async def read(db: Database, practice_id: UUID, *, rolled: bool = False) -> tuple[Figures, Revenue]:
    """As readers of analytics get it; `rolled`: what the tables alone hold."""
    zone = await db.fetchval("select timezone from practices where id = $1", practice_id)
    parameters = [practice_id] if rolled else [practice_id, zone, date(2026, 1, 1), date(2027, 6, 1)]
    tables = ("daily_figures where practice_id = $1", "daily_revenue where practice_id = $1")
    functions = ("daily_between($1, $2, $3, $4)", "daily_revenue_between($1, $2, $3, $4)")
    days, revenue = tables if rolled else functions
    return (
        {
            (row["day"], row["coach_id"]): {n: int(row[n]) for n in COUNTS} | {"attended_by": set(row["attended_by"])}
            for row in await db.fetch(f"select * from {days}", *parameters)
        },
        {
            (row["day"], row["coach_id"], row["currency"]): (row["paid_minor"], row["refunded_minor"])
            for row in await db.fetch(f"select * from {revenue}", *parameters)
        },
    )


@dataclass
class History:
    """What may happen in a practice, at random; every session at a time of its own."""

    db: Database
    house: House
    chance: random.Random
    sessions: list[UUID] = field(default_factory=list)
    hours: int = 0
    done: Counter[str] = field(default_factory=Counter)

    def moment(self) -> datetime:
        """At most days after BEGIN, or in the autumn, where clocks change the other way."""
        autumn = self.chance.choice([0, 0, 212])
        return BEGIN + timedelta(days=autumn + self.chance.randrange(12), minutes=self.chance.randrange(1440))

    def slot(self) -> datetime:
        self.hours += 2
        return BEGIN + timedelta(hours=self.hours % 288, days=self.hours // 288 * 212)

    def coach(self) -> UUID:
        return self.chance.choice([self.house.coach, self.house.other_coach]).user_id

    async def step(self) -> None:
        steps: list[Callable[[], Awaitable[None]]] = [
            self.book, self.book, self.book_group, self.become, self.become, self.become, self.mark, self.move,
            self.delete, self.pay, self.pay, self.enter, self.assign,
        ]  # fmt: skip
        step = self.chance.choice(steps)
        self.done[step.__name__] += 1
        await step()

    async def book(self) -> None:
        at = self.slot()
        await self.db.execute(
            "insert into sessions (id, practice_id, coach_id, client_id, status, starts_at, ends_at, timezone,"
            " currency) values ($1, $2, $3, $4, $5, $6, $7, 'UTC', 'EUR')",
            session_id := uuid7(), self.house.practice.id, self.coach(), self.house.client_id,
            self.chance.choice([*STATUSES, "held"]), at, at + timedelta(minutes=self.chance.choice([30, 50, 90])),
        )  # fmt: skip
        self.sessions.append(session_id)

    async def book_group(self) -> None:
        at = self.slot()
        async with self.db.transaction() as connection:
            await connection.execute(
                "insert into sessions (id, practice_id, coach_id, kind, capacity, starts_at, ends_at, timezone,"
                " currency) values ($1, $2, $3, 'group', 9, $4, $5, 'UTC', 'EUR')",
                session_id := uuid7(), self.house.practice.id, self.coach(), at, at + timedelta(hours=1),
            )  # fmt: skip
            for client_id in (self.house.client_id, self.house.other_client_id):
                await connection.execute(
                    "insert into session_participants (practice_id, session_id, client_id, status, starts_at, ends_at,"
                    " session_open) values ($1, $2, $3, $4, $5, $6, true)",
                    self.house.practice.id, session_id, client_id,
                    self.chance.choice(["booked", "attended", "no_show"]), at, at + timedelta(hours=1),
                )  # fmt: skip
        self.sessions.append(session_id)

    async def become(self) -> None:
        """Cancelled, missed, or booked again: also long after."""
        await self.change("status = $2", self.chance.choice(STATUSES))

    async def mark(self) -> None:
        """One participant, by themself."""
        if self.sessions:
            await self.db.execute(
                "update session_participants set status = $2 where session_id = $1 and client_id = $3",
                self.chance.choice(self.sessions), self.chance.choice(["attended", "no_show", "cancelled"]),
                self.house.client_id,
            )  # fmt: skip

    async def move(self) -> None:
        """To another day, and half of the time to another coach."""
        await self.change("starts_at = $2::timestamptz, ends_at = $2::timestamptz + interval '1 hour'", self.slot())
        if self.chance.random() < 0.5:
            await self.change("coach_id = $2", self.coach())

    async def change(self, what: str, value: Any) -> None:
        if self.sessions:
            await self.db.execute(f"update sessions set {what} where id = $1", self.chance.choice(self.sessions), value)

    async def delete(self) -> None:
        if self.sessions:
            gone = self.sessions.pop(self.chance.randrange(len(self.sessions)))
            await self.db.execute("delete from sessions where id = $1", gone)

    async def pay(self) -> None:
        await self.db.execute(
            "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)"
            " values (gen_random_uuid(), $1, $2, $3, $4, $5, $6)",
            self.house.practice.id, self.chance.choice([self.house.client_id, self.house.other_client_id]),
            self.chance.choice(["payment", "payment", "refund"]), self.chance.randrange(1, 9999),
            self.chance.choice(["EUR", "USD"]), self.moment(),
        )  # fmt: skip

    async def enter(self) -> None:
        client_id = await make_client(self.db, self.house.practice)
        await self.db.execute("update clients set created_at = $2 where id = $1", client_id, self.moment())

    async def assign(self) -> None:
        await self.db.execute(
            "update clients set coach_id = $2 where id = $1", self.house.client_id,
            self.chance.choice([self.coach(), None]),
        )  # fmt: skip


@pytest.mark.parametrize("seed", [random.randrange(10**6) for _ in range(2)], ids=["one", "other"])
async def test_roll_ups_are_equal_to_a_recount_after_any_history(db: Database, outbox: Outbox, seed: int) -> None:
    houses = [await make_house(db), await make_house(db, "Other practice")]
    await db.execute("update clients set created_at = $1", BEGIN)
    chance, work = random.Random(seed), Work(outbox)
    histories = [History(db, house, chance) for house in houses]
    for turn in range(60):
        for history in histories:
            await history.step()
        if turn % 7 == 0:
            await roll_up_days(work)
        if turn % 20 == 10:
            zone = chance.choice(ZONES)
            await db.execute("update practices set timezone = $2 where id = $1", houses[0].practice.id, zone)
        if turn % 5 == 0:
            for house in houses:
                assert await read(db, house.practice.id) == await recounted(db, house.practice.id), (seed, turn)
    await roll_up_days(work)
    for house in houses:
        assert await read(db, house.practice.id, rolled=True) == await recounted(db, house.practice.id), seed
    assert await db.fetchval("select count(*) from rollup_changes") == 0
    assert await roll_up_days(work) == {"practices": 0, "days": 0}


async def test_changes_while_days_are_rolled_up_by_two_at_once_are_not_lost(
    db: Database, outbox: Outbox, house: House
) -> None:
    await db.execute("update clients set created_at = $1", BEGIN)
    histories = [History(db, house, random.Random(n), hours=n * 72) for n in range(3)]

    async def change(history: History) -> None:
        for _ in range(20):
            await history.pay()
            await history.enter()
            await history.become()

    for history in histories:
        await history.book()
    await asyncio.gather(*map(change, histories), *(roll_up_days(Work(outbox)) for _ in range(8)))
    assert await read(db, house.practice.id) == await recounted(db, house.practice.id)
    await roll_up_days(Work(outbox))
    assert await read(db, house.practice.id, rolled=True) == await recounted(db, house.practice.id)


async def test_rebuilding_mends_what_is_wrong_and_tells_of_its_progress(
    db: Database, outbox: Outbox, house: House
) -> None:
    history = History(db, house, random.Random(1))
    for _ in range(20):
        await history.step()
    await roll_up_days(Work(outbox))
    await db.execute("update daily_figures set total = total + 1, day = day + 1")
    told: list[str] = []
    counts = await rebuild_rollups(Work(outbox, told=told.append))
    assert await read(db, house.practice.id, rolled=True) == await recounted(db, house.practice.id)
    assert counts["days"] > 0
    assert told[-1] == f"practice 1 of 1: {counts['days']} days"


# As the server does with a statement that takes too long: one that counts more days than these is cancelled.
CANCEL_WHAT_COUNTS_TOO_MUCH = """
create function cancel_what_counts_too_much() returns trigger language plpgsql as $$
begin
    if (select count(distinct day) from counted) > {most} then
        raise exception 'canceling statement due to statement timeout' using errcode = 'query_canceled';
    end if;
    return null;
end $$;
create trigger cancel_what_counts_too_much after insert on daily_figures
    referencing new table as counted for each statement execute function cancel_what_counts_too_much();
"""


async def test_days_too_full_for_a_statements_time_are_counted_fewer_at_once(
    db: Database, outbox: Outbox, house: House
) -> None:
    fewer = DAYS_AT_ONCE // 4
    await as_owner(db, CANCEL_WHAT_COUNTS_TOO_MUCH.format(most=fewer))
    await db.execute("update clients set created_at = $1", BEGIN)
    await db.execute(
        "insert into sessions (id, practice_id, coach_id, client_id, starts_at, ends_at, timezone, currency)"
        " select gen_random_uuid(), $1, $2, $3, t, t + interval '1 hour', 'UTC', 'EUR'"
        " from generate_series($4::timestamptz, $4::timestamptz + interval '29 days', interval '1 day') t",
        house.practice.id, house.coach.user_id, house.client_id, BEGIN,
    )  # fmt: skip
    await db.execute("delete from rollup_changes")  # of the day on which the clients were made
    told: list[str] = []
    assert await rebuild_rollups(Work(outbox, told=told.append)) == {"practices": 1, "days": 30}
    assert list(dict.fromkeys(told)) == [f"practice 1 of 1: {days} days" for days in range(fewer, 31, fewer)]
    assert await read(db, house.practice.id, rolled=True) == await recounted(db, house.practice.id)


async def test_day_too_full_for_a_statements_time_is_told_and_counted_by_who_reads(
    db: Database, outbox: Outbox, house: House
) -> None:
    history = History(db, house, random.Random(3))
    for _ in range(10):
        await history.book()
    await as_owner(db, CANCEL_WHAT_COUNTS_TOO_MUCH.format(most=0))
    with pytest.raises(Unavailable):
        await roll_up_days(Work(outbox))
    assert await read(db, house.practice.id) == await recounted(db, house.practice.id)
