"""Lists run a fixed number of queries, however long they are."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, get_origin
from uuid import UUID

import aiohttp
import asyncpg
import pytest

import wellio.db
from tests.api import Api
from tests.conftest import SECRET
from tests.factories import House, make_client, make_user, sign_in
from tests.handlers.booking import book, days_ahead, open_all_day
from wellio.accounts.actors import Role
from wellio.accounts.tokens import Tokens
from wellio.app import running
from wellio.config import Config
from wellio.db import Database
from wellio.handlers.routes import Route
from wellio.handlers.table import ROUTES
from wellio.ids import uuid7
from wellio.learning.optimal_scheduling import OptimalQuery, recommend_slots
from wellio.logs import REQUEST_ID
from wellio.pages import Page
from wellio.practice.analytics import analytics_summary
from wellio.practice.home import home_summary
from wellio.practice.outlook import Forecasts
from wellio.practice.report_scope import PeriodQuery

# What the pool does when a connection is given back, and the driver when one that is new meets a type.
POOL = re.compile(r"unlisten|reset all|^select 1$|typeinfo_tree|set_config\('jit'", re.IGNORECASE)
LISTS = [route for route in ROUTES if get_origin(route.answer) is Page and not route.id_names]


async def fill(db: Database, house: House, count: int) -> None:
    """`count` more of everything that lists show."""
    for i in range(count):
        client_id = await make_client(db, house.practice, coach=house.coach, first_name=f"N{i}")
        await db.execute(
            "insert into sessions (id, practice_id, coach_id, client_id, starts_at, ends_at, timezone, currency)"
            " values ($1, $2, $3, $4, timestamptz '2031-01-01' + make_interval(hours => $5::int),"
            " timestamptz '2031-01-01' + make_interval(hours => $5::int + 1), 'UTC', 'EUR')",
            uuid7(), house.practice.id, house.coach.user_id, client_id, i,
        )  # fmt: skip
        await db.execute(
            "insert into sessions (id, practice_id, coach_id, kind, capacity, starts_at, ends_at, timezone, currency)"
            " values ($1, $2, $3, 'group', 5, timestamptz '2032-01-01' + make_interval(hours => $4::int),"
            " timestamptz '2032-01-01' + make_interval(hours => $4::int + 1), 'UTC', 'EUR')",
            uuid7(), house.practice.id, house.coach.user_id, i,
        )  # fmt: skip
        await db.execute(
            "insert into payments (id, practice_id, client_id, kind, amount_minor, currency, paid_at)"
            " values ($1, $2, $3, 'payment', 100, 'EUR', now())",
            uuid7(), house.practice.id, client_id,
        )  # fmt: skip
        await db.execute(
            "insert into predictions (practice_id, client_id, probability, band, status, horizon_days, as_of)"
            " values ($1, $2, 0.5, 'medium', 'ok', 30, now())",
            house.practice.id, client_id,
        )  # fmt: skip
        await db.execute(
            "insert into audit_log (id, practice_id, action, outcome) values ($1, $2, 'a', 'done')",
            uuid7(), house.practice.id,
        )  # fmt: skip
        await db.execute(
            "insert into client_fields (id, practice_id, key, label, type) values ($1, $2, $3, 'N', 'text')",
            field_id := uuid7(), house.practice.id, f"n{field_id.hex[-12:]}",
        )  # fmt: skip
        for person in (house.coach, house.owner):
            await db.execute(
                "insert into notifications (id, practice_id, user_id, kind, title, event_id)"
                " values ($1, $2, $3, 'k', 'N', $4)",
                uuid7(), house.practice.id, person.user_id, uuid7(),
            )  # fmt: skip
        await sign_in(db, house.coach)
        person = await make_user(db, house.practice, Role.COACH, f"Coach {i}")
        await schedule(db, house)
        await db.execute(
            "insert into user_blocks (practice_id, user_id, blocked_id) values ($1, $2, $3)",
            house.practice.id, house.coach.user_id, person.user_id,
        )  # fmt: skip
        await db.execute(
            "insert into invitations (id, practice_id, email, role, client_id, invited_by, expires_at)"
            " values ($1, $2, 'a@example.org', 'client', $3, $4, now())",
            uuid7(), house.practice.id, client_id, house.coach.user_id,
        )  # fmt: skip
        await db.execute(
            "insert into api_keys (id, practice_id, user_id, name, prefix, key_hash, scopes)"
            " values ($1, $2, $3, 'N', 'wk_n', $4, '{all:read}')",
            uuid7(), house.practice.id, house.coach.user_id, uuid7().bytes,
        )  # fmt: skip
        await db.execute(
            "insert into session_types (id, practice_id, name, duration_minutes, currency)"
            " values ($1, $2, 'N', 60, 'EUR')",
            uuid7(), house.practice.id,
        )  # fmt: skip
        await db.execute(
            "insert into webhooks (id, practice_id, url, secret) values ($1, $2, 'https://hooks.example.org/', 'x')",
            uuid7(), house.practice.id,
        )  # fmt: skip
        await db.execute(
            "insert into calendar_feeds (id, practice_id, user_id, token_hash) values ($1, $2, $3, $4)",
            uuid7(), house.practice.id, house.coach.user_id, uuid7().bytes,
        )  # fmt: skip
        await fill_accounts(db, house, client_id)
        conversation_id, message_id = uuid7(), uuid7()
        await db.execute(
            "insert into conversations (id, practice_id, kind, created_by) values ($1, $2, 'group', $3)",
            conversation_id, house.practice.id, house.coach.user_id,
        )  # fmt: skip
        for actor in (house.coach, house.client):
            await db.execute(
                "insert into conversation_members (practice_id, conversation_id, user_id) values ($1, $2, $3)",
                house.practice.id, conversation_id, actor.user_id,
            )  # fmt: skip
        await db.execute(
            "insert into messages (id, practice_id, conversation_id, seq, sender_id, client_message_id, body,"
            " created_at) values ($1, $2, $3, 1, $4, $1, 'x', now())",
            message_id, house.practice.id, conversation_id, house.client.user_id,
        )  # fmt: skip
        for table, columns in (("message_mentions", "user_id, seq"), ("starred_messages", "user_id, starred_at")):
            value = "1" if table == "message_mentions" else "now()"
            await db.execute(
                f"insert into {table} (practice_id, conversation_id, message_id, {columns})"
                f" values ($1, $2, $3, $4, {value})",
                house.practice.id, conversation_id, message_id, house.coach.user_id,
            )  # fmt: skip


async def schedule(db: Database, house: House) -> None:
    """A message that the coach has scheduled in a conversation of their own, and one that was reported."""
    conversation_id, scheduled_id = uuid7(), uuid7()
    await db.execute(
        "insert into conversations (id, practice_id, kind, created_by) values ($1, $2, 'group', $3)",
        conversation_id, house.practice.id, house.coach.user_id,
    )  # fmt: skip
    await db.execute(
        "insert into scheduled_messages (id, practice_id, conversation_id, sender_id, client_message_id, send_at,"
        " due_at) values ($1, $2, $3, $4, $1, now() + interval '30 days', now() + interval '30 days')",
        scheduled_id, house.practice.id, conversation_id, house.coach.user_id,
    )  # fmt: skip
    message_id = uuid7()
    await db.execute(
        "insert into messages (id, practice_id, conversation_id, seq, sender_id, client_message_id, body, created_at)"
        " values ($1, $2, $3, 1, $4, $1, 'N', now())",
        message_id, house.practice.id, conversation_id, house.coach.user_id,
    )  # fmt: skip
    await db.execute(
        "insert into message_reports"
        " (id, practice_id, conversation_id, message_id, sender_id, reporter_id, reason, body)"
        " values ($1, $2, $3, $4, $5, $5, 'spam', 'x')",
        uuid7(), house.practice.id, conversation_id, message_id, house.coach.user_id,
    )  # fmt: skip


async def fill_accounts(db: Database, house: House, client_id: UUID) -> None:
    """A subscription, and a purchase with its charge and credits."""
    practice_id = house.practice.id
    plan_id, package_id, purchase_id, charge_id, lot_id = (uuid7() for _ in range(5))
    await db.execute(
        "insert into plans (id, practice_id, name, price_minor, currency, interval)"
        " values ($1, $2, 'N', 1, 'EUR', 'month')",
        plan_id, practice_id,
    )  # fmt: skip
    await db.execute(
        "insert into subscriptions (id, practice_id, client_id, plan_id, starts_on, price_minor, currency, interval,"
        " next_period_on) values ($1, $2, $3, $4, '2031-01-31', 1, 'EUR', 'month', '2031-01-31')",
        uuid7(), practice_id, client_id, plan_id,
    )  # fmt: skip
    await db.execute(
        "insert into packages (id, practice_id, name, credits, price_minor, currency)"
        " values ($1, $2, 'N', 1, 1, 'EUR')",
        package_id, practice_id,
    )  # fmt: skip
    await db.execute(
        "insert into package_purchases (id, practice_id, client_id, package_id, credits, price_minor, currency,"
        " purchased_at) values ($1, $2, $3, $4, 1, 1, 'EUR', now())",
        purchase_id, practice_id, client_id, package_id,
    )  # fmt: skip
    await db.execute(
        "insert into charges (id, practice_id, client_id, kind, amount_minor, currency, charged_at, purchase_id)"
        " values ($1, $2, $3, 'package', 1, 'EUR', now(), $4)",
        charge_id, practice_id, client_id, purchase_id,
    )  # fmt: skip
    await db.execute(
        "insert into credit_lots (id, practice_id, client_id, charge_id) values ($1, $2, $3, $4)",
        lot_id, practice_id, client_id, charge_id,
    )  # fmt: skip
    await db.execute(
        "insert into credit_entries (id, practice_id, client_id, lot_id, amount, reason)"
        " values ($1, $2, $3, $4, 1, 'purchase')",
        uuid7(), practice_id, client_id, lot_id,
    )  # fmt: skip


def _listen(monkeypatch: pytest.MonkeyPatch, *, of_requests: bool = False) -> list[str]:
    """The queries of all connections from now on; `of_requests`: without what runs in the background meanwhile."""
    queries: list[str] = []
    prepare = wellio.db._prepare_connection

    def note(record: asyncpg.connection.LoggedQuery) -> None:
        if not POOL.search(record.query) and not (of_requests and REQUEST_ID.get() is None):
            queries.append(record.query)

    async def prepare_and_listen(connection: Any) -> None:
        await prepare(connection)
        connection.add_query_logger(note)

    monkeypatch.setattr(wellio.db, "_prepare_connection", prepare_and_listen)
    return queries


@pytest.mark.parametrize("route", LISTS, ids=lambda r: r.name)
async def test_list_runs_as_many_queries_for_many_rows_as_for_few(
    config: Config, db: Database, house: House, monkeypatch: pytest.MonkeyPatch, route: Route
) -> None:
    queries = _listen(monkeypatch, of_requests=True)
    async with running(config) as (host, port), aiohttp.ClientSession() as session:
        viewer = house.coach if route.roles and Role.COACH in route.roles else house.owner
        api = Api(session, f"http://{host}:{port}", Tokens(SECRET), db)

        async def asked() -> tuple[list[str], Any]:
            queries.clear()
            page = (await api.get(f"{route.path}?page_size=100", viewer)).data
            return list(queries), page

        await asked()  # the first also asks who the caller is
        await fill(db, house, 1)
        few_queries, few = await asked()
        await fill_more(db, house)
        many_queries, many = await asked()
    assert len(many) > len(few) >= 1
    assert 1 <= len(few_queries) <= 6
    assert Counter(many_queries) == Counter(few_queries)


async def fill_more(db: Database, house: House) -> None:
    await db.execute(
        "update sessions set starts_at = starts_at - interval '99 days', ends_at = ends_at - interval '99 days'"
    )
    await fill(db, house, 25)


async def test_summaries_run_as_many_queries_for_a_large_practice_as_for_a_small_one(
    config: Config, db: Database, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = _listen(monkeypatch)
    listening = await wellio.db.open_database(config.database_url or "", min_size=1)
    now = datetime(2031, 1, 1, 12, tzinfo=UTC)
    year = PeriodQuery(period="this_year")

    async def asked(summary: Callable[[], Awaitable[object]]) -> int:
        await summary()  # the driver asks for types once
        queries.clear()
        await summary()
        return len(queries)

    try:
        found: list[tuple[int, int]] = []
        for _ in range(2):
            await fill_more(db, house)
            analytics = await asked(lambda: analytics_summary(listening, house.owner, year, Forecasts(), now=now))
            found.append((analytics, await asked(lambda: home_summary(listening, house.owner, now=now))))
    finally:
        await listening.close()
    assert found == [(14, 12)] * 2


async def test_recommended_times_run_as_many_queries_for_two_months_as_for_a_day(
    api: Api, house: House, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_type = await open_all_day(api, house)
    for days in (3, 4, 8):
        assert (await book(api, house.client, session_type, days_ahead(days))).status == 201
    queries = _listen(monkeypatch)
    listening = await wellio.db.open_database(config.database_url or "", min_size=1)

    async def asked(days: int) -> tuple[int, int]:
        asked = {"from": days_ahead(2).isoformat(), "to": days_ahead(2 + days).isoformat(), "limit": 50}
        query = OptimalQuery.model_validate(asked | {"client_id": house.client_id})
        await recommend_slots(listening, house.coach, query)  # the driver asks for types once
        queries.clear()
        return (await recommend_slots(listening, house.coach, query)).offered, len(queries)

    try:
        (few, queries_for_few), (many, queries_for_many) = await asked(1), await asked(60)
    finally:
        await listening.close()
    assert few * 50 < many
    assert queries_for_few == queries_for_many <= 20
