"""Calendars elsewhere are fetched, read and kept; what can't be read opens nothing (scheduling.md 29)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from tests.factories import House
from tests.practice.ics import calendar_of
from wellio.db import Database
from wellio.guarded_http import UNREACHABLE, open_guarded_http
from wellio.metrics import Metrics
from wellio.outbox import Outbox
from wellio.outgoing import OutgoingRules
from wellio.pages import PageQuery
from wellio.practice.calendar_fetcher import CalendarFetcher
from wellio.practice.external_calendars import (
    ExternalCalendar,
    NewExternalCalendar,
    add_calendar,
    list_calendars,
    remove_calendar,
)
from wellio.sealing import Sealer

RULES = OutgoingRules(loopback=True)
SEALER = Sealer({"k1": bytes(32)})
NOON = (datetime.now(UTC) + timedelta(days=5)).replace(hour=12, minute=0, second=0, microsecond=0)


def busy_at(start: datetime) -> str:
    return f"DTSTART:{start:%Y%m%dT%H%M%SZ}\nDTEND:{start + timedelta(hours=1):%Y%m%dT%H%M%SZ}"


@dataclass
class Host:
    """Serves one calendar; `status` when it is out of order."""

    body: bytes = b""
    status: int = 200
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    async def _serve(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": "/calendar.ics"})
        etag = f'"{hash(self.body)}"'
        if self.status == 200 and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.Response(status=self.status, body=self.body, headers={"ETag": etag})

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Host"]:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Host(calendar_of(busy_at(NOON))).open() as host:
        yield host


@pytest.fixture
async def fetcher(db: Database) -> AsyncIterator[CalendarFetcher]:
    async with open_guarded_http(RULES) as call:
        yield CalendarFetcher(db, Metrics(), call=call, sealer=SEALER)


async def add(outbox: Outbox, house: House, url: str) -> ExternalCalendar:
    new = NewExternalCalendar(url=url, name="Private")
    return await add_calendar(outbox, SEALER, house.coach, house.coach.user_id, new, rules=RULES)


async def fetch(fetcher: CalendarFetcher, db: Database) -> None:
    await db.execute("update external_calendars set next_fetch_at = now()")
    while await fetcher.fetch_next():
        pass


async def state(db: Database, house: House) -> tuple[Any, list[datetime]]:
    page = await list_calendars(db, house.coach, house.coach.user_id, PageQuery())
    rows = await db.fetch("select starts_at from external_busy order by starts_at")
    return page.items[0], [row["starts_at"] for row in rows]


async def test_29_calendar_that_can_not_be_read_keeps_what_was_known_and_says_so(
    db: Database, outbox: Outbox, house: House, host: Host, fetcher: CalendarFetcher
) -> None:
    await add(outbox, house, f"{host.url}/calendar.ics")
    await fetch(fetcher, db)
    calendar, busy = await state(db, house)
    assert (calendar.status, calendar.last_error, busy) == ("ok", None, [NOON])
    for status, body, says in (
        (500, host.body, "The answer was 500"),
        (200, b"<html>Sign in</html>", "gives no calendar"),
        (200, host.body[:-40], "breaks off"),
        (200, bytes(6 * 1024 * 1024), "too large"),
    ):
        host.status, host.body = status, body
        await fetch(fetcher, db)
        calendar, busy = await state(db, house)
        assert (calendar.status, busy) == ("stale", [NOON])
        assert says in calendar.last_error
    host.status, host.body = 200, calendar_of(busy_at(NOON + timedelta(hours=3)))
    await fetch(fetcher, db)
    calendar, busy = await state(db, house)
    assert (calendar.status, calendar.last_error, busy) == ("ok", None, [NOON + timedelta(hours=3)])


async def test_calendar_that_could_never_be_read_has_failed_and_is_asked_less_often(
    db: Database, outbox: Outbox, house: House, host: Host, fetcher: CalendarFetcher
) -> None:
    host.status = 404
    await add(outbox, house, f"{host.url}/calendar.ics")
    waits = []
    for _ in range(7):
        await fetch(fetcher, db)
        calendar, _ = await state(db, house)
        waits.append(round((calendar.next_fetch_at - datetime.now(UTC)).total_seconds() / 900))
    assert calendar.status == "failed"
    assert waits == [1, 2, 4, 8, 16, 24, 24]


async def test_what_has_not_changed_is_not_sent_again_and_read_anew_daily(
    db: Database, outbox: Outbox, house: House, host: Host, fetcher: CalendarFetcher
) -> None:
    await add(outbox, house, f"{host.url}/moved")
    await fetch(fetcher, db)
    await db.execute("delete from external_busy")
    await fetch(fetcher, db)
    assert "If-None-Match" in host.asked[-1]
    calendar, busy = await state(db, house)
    assert (calendar.status, busy) == ("ok", [])  # it was not read
    await db.execute("update external_calendars set last_read_at = now() - interval '25 hours'")
    await fetch(fetcher, db)
    assert "If-None-Match" not in host.asked[-1]
    assert (await state(db, house))[1] == [NOON]


async def test_calendar_removed_while_it_is_read_leaves_nothing(
    db: Database, outbox: Outbox, house: House, host: Host, fetcher: CalendarFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar = await add(outbox, house, f"{host.url}/calendar.ics")
    fetch_it = fetcher._fetch

    async def removed_meanwhile(leased: Any) -> Any:
        fetched = await fetch_it(leased)
        await remove_calendar(outbox, house.coach, house.coach.user_id, calendar.id)
        return fetched

    monkeypatch.setattr(fetcher, "_fetch", removed_meanwhile)
    await fetch(fetcher, db)
    assert await db.fetchval("select count(*) from external_busy") == 0


async def test_private_address_is_not_fetched_however_it_came_into_the_row(
    db: Database, outbox: Outbox, house: House, host: Host
) -> None:
    await add(outbox, house, f"{host.url}/calendar.ics")
    async with open_guarded_http(OutgoingRules()) as call:
        await fetch(CalendarFetcher(db, Metrics(), call=call, sealer=SEALER), db)
    assert host.asked == []
    calendar, _ = await state(db, house)
    assert (calendar.status, calendar.last_error) == ("failed", UNREACHABLE)


async def test_address_is_sealed(db: Database, outbox: Outbox, house: House, host: Host) -> None:
    await add(outbox, house, f"{host.url}/private-canary/basic.ics")
    row = await db.fetchrow("select * from external_calendars")
    assert row
    assert b"canary" not in bytes(row["url"])
    assert "canary" not in str(dict(row))
