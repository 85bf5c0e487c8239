"""Exports: whose rows, as what files, from one moment, and never more than the connections there are."""

import csv
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID
from xml.etree import ElementTree
from zipfile import ZipFile

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.api import Api
from tests.factories import House, make_client, make_house
from tests.handlers.test_analytics import attend
from tests.handlers.test_analytics_reports import DAY, pay
from tests.waiting import eventually
from wellio.accounts.actors import Actor
from wellio.db import Database, open_database
from wellio.errors import Unavailable
from wellio.handlers.routes import Stream, _streamed
from wellio.practice import exports as exporting
from wellio.practice.export_datasets import DatasetName
from wellio.practice.export_formats import FormatName, neutral
from wellio.practice.exports import ExportQuery, Exports, export

PATH = "/api/v1/analytics/export"
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
EVIL = ["=1+1", "+SUM(A1)", "-2", "@x", "\tx", " =x", "＝x", "'=x", "a;=b", 'say "hi"', "Ada", "'tis"]  # fmt: skip


def original(cell: str) -> str:
    """What an import makes of a cell of ours."""
    return cell[1:] if cell.startswith("'") and neutral(cell[1:]) == cell else cell


def cells_of(workbook: bytes) -> list[list[str | None]]:
    """The first sheet, by the letter and number of each cell; formulas would have an `f` of their own."""
    with ZipFile(io.BytesIO(workbook)) as archive:
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    assert not list(sheet.iter(f"{MAIN}f"))
    rows = []
    for row in sheet.iter(f"{MAIN}row"):
        found = {ord(c.get("r", "A")[0]) - ord("A"): "".join(c.itertext()) for c in row.iter(f"{MAIN}c")}
        rows.append([found.get(place) for place in range(max(found) + 1)])
    return rows


async def download(api: Api, actor: Actor, dataset: str, form: str = "jsonl", **query: str) -> bytes:
    answer = await api.get(PATH, actor, params={"dataset": dataset, "format": form, **query})
    assert answer.status == 200, answer.raw
    assert f'filename="{dataset}-' in answer.headers["Content-Disposition"]
    return answer.raw


async def rows(api: Api, actor: Actor, dataset: str, **query: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await download(api, actor, dataset, **query)).splitlines()]


@pytest.fixture
async def exports(database_url: str) -> AsyncIterator[Exports]:
    db = await open_database(database_url, min_size=0, max_size=exporting.AT_ONCE)
    yield Exports(db)
    await db.close()


async def test_text_is_no_formula_in_any_file_and_numbers_are_numbers(api: Api, house: House) -> None:
    for name in EVIL:
        await make_client(api.db, house.practice, coach=house.coach, first_name=name)
    await pay(api.db, house.client_id, 9000, DAY)
    await pay(api.db, house.client_id, 2500, DAY + timedelta(hours=1), kind="refund")
    text = (await download(api, house.owner, "clients", "csv")).decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    assert not [
        cell for row in table for cell in row.values() if cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "＝"))
    ]
    assert {original(row["first_name"]) for row in table} >= set(EVIL)
    assert '"a;=b"' in text
    sheet = cells_of(await download(api, house.owner, "clients", "xlsx"))
    assert sheet[0] == list(table[0])
    assert {row[1] for row in sheet} >= set(EVIL)
    assert {row["first_name"] for row in await rows(api, house.owner, "clients")} >= set(EVIL)
    payments = await download(api, house.owner, "payments", "csv")
    assert payments.startswith(b"\xef\xbb\xbf")
    assert b'"refund",2500,-2500,"EUR","2026-03-10T09:00:00Z"' in payments
    money = cells_of(await download(api, house.coach, "payments", "xlsx"))
    assert [row[5] for row in money[1:]] == ["9000", "-2500"]
    assert cells_of(await download(api, house.other_coach, "payments", "xlsx")) == money[:1]
    assert (await download(api, house.other_coach, "payments", "csv")).count(b"\n") == 1


@given(st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(EVIL).map(lambda text: f"'{text}"))
def test_what_was_made_neutral_can_be_told(text: str) -> None:
    assert original(neutral(text)) == text
    assert not neutral(text).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "＝"))


async def test_nobody_exports_rows_of_another_practice_or_of_a_colleagues_clients(api: Api, house: House) -> None:
    foreign = await make_house(api.db, "Other practice")
    for each in (house, foreign):
        for client_id, coach in ((each.client_id, each.coach), (each.other_client_id, each.other_coach)):
            await attend(api.db, each, DAY, client_id=client_id, coach=coach)
            await pay(api.db, client_id, 100, DAY)
            await api.db.execute(
                "insert into charges (id, practice_id, client_id, kind, amount_minor, currency, charged_at)"
                " values (gen_random_uuid(), $1, $2, 'other', 1, 'EUR', $3)", each.practice.id, client_id, DAY,
            )  # fmt: skip
            await api.db.execute(
                "insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)"
                " values ($1, $2, 0.5, 'medium', 'ok', 30, now())", each.practice.id, client_id,
            )  # fmt: skip

    def ids(each: House, *, others: bool) -> set[str]:
        mine = {each.client_id, each.coach.user_id}
        return {str(i) for i in ((mine | {each.other_client_id, each.other_coach.user_id}) if others else mine)}

    everybody = ids(house, others=True) | ids(foreign, others=True)
    for dataset in get_args(DatasetName):
        for actor, own in (
            (house.owner, ids(house, others=True)), (house.coach, ids(house, others=False)),
            (foreign.owner, ids(foreign, others=True)),
        ):  # fmt: skip
            raw = (await download(api, actor, dataset)).decode()
            assert {i for i in everybody if i in raw} <= own, (dataset, actor.role)
            assert len(raw.splitlines()) >= (2 if actor.role == "owner" else 1), (dataset, actor.role)
    assert (await api.get(PATH, house.client, params={"dataset": "clients"})).status == 403


async def test_period_is_of_the_practices_calendar_and_daily_figures_are_the_summarys(api: Api, house: House) -> None:
    midnight = datetime(2026, 3, 29, tzinfo=DAY.tzinfo).astimezone(UTC)
    for at in (midnight - timedelta(hours=1), midnight, midnight + timedelta(hours=22), midnight + timedelta(hours=23)):
        await attend(api.db, house, at, minutes=30)
    day = {"from": "2026-03-29", "to": "2026-03-30"}
    assert [s["starts_at"] for s in await rows(api, house.coach, "sessions", **day)] == [
        "2026-03-28T23:00:00Z", "2026-03-29T21:00:00Z",
    ]  # fmt: skip
    figures = await rows(api, house.owner, "daily_figures", **day)
    assert [(f["day"], f["completed"], f["booked_minutes"], f["active_clients"]) for f in figures] == [
        ("2026-03-29", 2, 60, 1)
    ]
    for query, field in (
        ({"from": "2026-03-30", "to": "2026-03-30"}, "query.to"),
        ({"dataset": "notes"}, "query.dataset"),
    ):
        refused = await api.get(PATH, house.owner, params={"dataset": "sessions", **query})
        assert (refused.status, refused.field_paths) == (422, [field])


async def test_export_is_told_in_the_audit_log_and_needs_a_fresh_proof(api: Api, house: House) -> None:
    await download(api, house.coach, "payments", "xlsx")
    query = "select actor_id, outcome, details from audit_log where action = 'get_analytics_export'"
    await eventually(lambda: api.db.fetchval("select count(*) from audit_log where action = 'get_analytics_export'"))
    row = await api.db.fetchrow(query)
    assert row
    assert dict(row) == {
        "actor_id": house.coach.user_id, "outcome": "read", "details": {"dataset": "payments", "format": "xlsx"},
    }  # fmt: skip
    await api.db.execute("update auth_sessions set authenticated_at = now() - interval '11 minutes'")
    refused = await api.get(PATH, house.coach, params={"dataset": "clients"})
    assert (refused.status, refused.code) == (403, "REAUTH_REQUIRED")


@pytest.mark.parametrize("form", get_args(FormatName))
async def test_file_is_of_one_moment_and_a_reader_who_leaves_gives_the_connection_back(
    exports: Exports, db: Database, house: House, monkeypatch: pytest.MonkeyPatch, form: FormatName
) -> None:
    monkeypatch.setattr(exporting, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(exporting, "BYTES_AT_ONCE", 200)
    added = [await make_client(db, house.practice, first_name=f"N{n}") for n in range(5)]

    def begun() -> AsyncGenerator[bytes, None]:
        return export(exports, house.owner, ExportQuery(dataset="clients", format=form))

    first, second, third = begun(), begun(), begun()
    parts = [await anext(first)]
    await anext(second)
    with pytest.raises(Unavailable, match="Other exports"):
        await anext(third)
    await second.aclose()
    assert exports.db.pool.get_idle_size() >= 1
    await make_client(db, house.practice, first_name="Latecomer")
    await db.execute("update clients set first_name = 'Changed' where id = $1", added[-1])
    parts += [part async for part in first]
    whole = b"".join(parts)
    assert len(parts) > 2
    text = str(cells_of(whole)) if form == "xlsx" else whole.decode()
    assert all(f"N{n}" in text for n in range(5))
    assert "Latecomer" not in text
    assert "Changed" not in text
    again = b"".join([part async for part in begun()])
    assert ("Latecomer" in str(cells_of(again))) if form == "xlsx" else b"Latecomer" in again


@asynccontextmanager
async def served(chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await _streamed(request, Stream(chunks, "x.csv", "text/csv"))

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def test_nobody_takes_a_part_for_the_whole_and_who_leaves_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[UUID | str] = []

    async def breaks() -> AsyncGenerator[bytes, None]:
        try:
            yield b"half"
            raise Unavailable("The database has gone.")
        finally:
            closed.append("breaks")

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.append("endless")

    async with aiohttp.ClientSession() as session:
        async with served(breaks()) as port, session.get(f"http://127.0.0.1:{port}/") as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        async with served(endless()) as port:
            async with session.get(f"http://127.0.0.1:{port}/") as answer:
                await answer.content.readexactly(100_000)
                answer.close()
            await eventually(lambda: closed == ["breaks", "endless"])
    assert "an answer broke off" in caplog.text
