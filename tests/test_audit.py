"""The audit log: no effect without its row, every read and denial told of, and nothing in it that anybody wrote."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from tests.api import Api
from tests.factories import PASSWORD, House, make_house
from tests.owner import as_owner
from tests.realtime.faults import Wellio, link_to
from tests.waiting import eventually
from wellio import audit
from wellio.attribution import ATTRIBUTION, Attribution
from wellio.audit import AuditWriter, Outcome, Shown
from wellio.db import Database, open_database
from wellio.events import Event, EventType
from wellio.metrics import Metrics
from wellio.outbox import Outbox

ROWS = "select * from audit_log order by at, xid, position"
CANARY = "canary-what-somebody-wrote"


@pytest.fixture
def attributed(house: House) -> Iterator[Attribution]:
    by = Attribution(operation="an_operation", practice_id=house.practice.id, user_id=house.coach.user_id)
    token = ATTRIBUTION.set(by)
    yield by
    ATTRIBUTION.reset(token)


async def rows_of(db: Database) -> list[dict[str, Any]]:
    return [dict(row) for row in await db.fetch(ROWS)]


# ---------------------------------------------------------------- changes


async def test_change_and_its_row_are_stored_together_or_not_at_all(
    db: Database, outbox: Outbox, house: House, attributed: Attribution
) -> None:
    async def change(*, fail: bool) -> None:
        async with outbox.transaction() as tx:
            await tx.connection.execute("update clients set goals = 'x' where id = $1", house.client_id)
            if fail:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        await change(fail=True)
    assert await rows_of(db) == []
    await change(fail=False)
    (row,) = await rows_of(db)
    assert (row["action"], row["outcome"], row["actor_id"]) == ("an_operation", "done", house.coach.user_id)


@pytest.mark.usefixtures("attributed")
async def test_transaction_that_changes_nothing_has_no_row(db: Database, outbox: Outbox) -> None:
    async with outbox.transaction() as tx:
        await tx.connection.fetchval("select count(*) from clients")
    assert await rows_of(db) == []


async def test_what_nobody_asked_for_has_no_row(db: Database, outbox: Outbox, house: House) -> None:
    """Jobs and consumers: their record is job_runs, and the event they follow."""
    async with outbox.transaction() as tx:
        tx.record(Event(type=EventType.CLOCK_TICKED, practice_id=house.practice.id))
    assert await rows_of(db) == []


async def test_no_effect_is_without_its_row_after_kills(database_url: str, redis_url: str, tmp_path: Path) -> None:
    import aiohttp

    db = await open_database(database_url, min_size=1)
    house = await make_house(db)
    wellio = Wellio(database_url, redis_url, tmp_path)
    for _ in range(3):
        await wellio.start()
        async with aiohttp.ClientSession() as session:
            tasks = [asyncio.create_task(_add_clients(session, wellio.url, house)) for _ in range(8)]
            seen = await db.fetchval("select count(*) from clients")

            async def some_more(least: int = seen + 40) -> bool:
                return bool(await db.fetchval("select count(*) > $1 from clients", least))

            await eventually(some_more)
            wellio.kill()
            await asyncio.gather(*tasks)
    made = await db.fetch("select id from clients where first_name = 'Made'")
    told = await db.fetch("select subject_id from audit_log where action = 'post_client'")
    assert len(made) > 100
    assert sorted(row["id"] for row in made) == sorted(row["subject_id"] for row in told)
    await db.close()


async def _add_clients(session: Any, url: str, house: House) -> None:
    """Until the process is gone."""
    from tests.conftest import SECRET
    from wellio.accounts.tokens import Tokens

    api = Api(session, url, Tokens(SECRET), None)  # type: ignore[arg-type]
    import aiohttp

    while True:
        try:
            await api.post(
                "/api/v1/clients", house.owner, {"first_name": "Made", "last_name": "Client", "allow_duplicate": True}
            )
        except aiohttp.ClientError:
            return


# ---------------------------------------------------------------- reads and denials


async def test_read_is_told_with_whose_data_it_showed(api: Api, house: House) -> None:
    await api.get("/api/v1/clients", house.owner, headers={"X-Request-ID": "the-request"})
    (row,) = await eventually(lambda: rows_of(api.db))
    assert row["action"] == "list_clients_page"
    assert row["outcome"] == "read"
    assert (row["actor_id"], row["actor_role"], row["practice_id"]) == (house.owner.user_id, "owner", house.practice.id)
    assert sorted(row["client_ids"]) == sorted([house.client_id, house.other_client_id])
    assert (row["request_id"], row["address"], row["session_id"]) == (
        "the-request", "127.0.0.1", house.owner.session_id,
    )  # fmt: skip
    assert row["details"] == {"count": 2}


async def test_people_in_a_conversation_are_told_as_the_clients_they_are(api: Api, house: House) -> None:
    body = {"kind": "direct", "member_ids": [str(house.client.user_id)]}
    opened = (await api.post("/api/v1/conversations", house.coach, body)).data
    await api.get(f"/api/v1/conversations/{opened['id']}", house.coach)

    async def read() -> list[dict[str, Any]]:
        return [row for row in await rows_of(api.db) if row["action"] == "get_conversation_by_id"]

    (row,) = await eventually(read)
    assert row["client_ids"] == [house.client_id]
    assert row["subject_id"] == UUID(opened["id"])


async def test_denials_are_told(api: Api, house: House) -> None:
    missing = uuid4()
    await api.get(f"/api/v1/clients/{missing}", house.coach)  # 404
    await api.get("/api/v1/predictions/churn", house.client)  # 403
    await api.db.execute("update auth_sessions set revoked_at = now() where id = $1", house.owner.session_id)
    await api.get("/api/v1/clients", house.owner)  # 401, of a session that has ended
    await api.get("/api/v1/clients")  # 401, of nobody: the access log has it
    await api.post("/api/v1/auth/login", json={"email": "nobody@example.org", "password": PASSWORD})

    async def told() -> list[Any]:
        found = [(row["action"], row["details"]["code"], row["actor_id"]) for row in await rows_of(api.db)]
        return found if len(found) >= 4 else []

    assert await eventually(told) == [
        ("get_client_by_id", "NOT_FOUND", house.coach.user_id),
        ("list_churn_page", "FORBIDDEN", house.client.user_id),
        ("list_clients_page", "SESSION_ENDED", house.owner.user_id),
        ("post_login", "WRONG_CREDENTIALS", None),
    ]
    assert {row["outcome"] for row in await rows_of(api.db)} == {"denied"}


async def test_failed_log_in_names_whose_account_it_was_and_nobody_as_actor(api: Api, house: House) -> None:
    email = await api.db.fetchval("select email from users where id = $1", house.coach.user_id)
    await api.post("/api/v1/auth/login", json={"email": email, "password": "not the password at all"})
    (row,) = await eventually(lambda: rows_of(api.db))
    assert (row["practice_id"], row["actor_id"], row["subject_id"]) == (house.practice.id, None, house.coach.user_id)


async def test_reads_wait_for_a_database_that_is_away(database_url: str, house: House, attributed: Attribution) -> None:
    async with link_to(database_url) as link:
        db = await open_database(link.url, min_size=1)
        writer = AuditWriter(db, Metrics())
        await writer.start()
        await link.cut()
        writer.note(Outcome.READ, Shown([house.client_id]))
        await asyncio.sleep(0.2)  # some tries
        await link.mend()

        async def stored() -> int:
            return int(await db.fetchval("select count(*) from audit_log"))

        assert await eventually(stored) == 1
        await writer.stop()
        await db.close()
    assert attributed.operation == "an_operation"


@pytest.mark.usefixtures("attributed")
async def test_what_can_not_be_stored_is_counted_and_said(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "MAX_WAITING", 3)
    metrics = Metrics()
    writer = AuditWriter(db, metrics)
    with caplog.at_level(logging.ERROR):
        for _ in range(5):  # before it has begun to store
            writer.note(Outcome.READ)
        await writer.start()
        await writer.stop()
    assert await db.fetchval("select count(*) from audit_log") == 3
    assert metrics.registry.get_sample_value("wellio_audit_rows_lost_total") == 2
    assert [record.rows for record in caplog.records] == [2]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- append-only


@pytest.mark.parametrize("table", ["audit_log", "audit_chain"])
@pytest.mark.parametrize(
    "sql", ["update {} set xid = xid", "delete from {}", "truncate {}"], ids=["update", "delete", "truncate"]
)
async def test_log_can_only_be_added_to(db: Database, table: str, sql: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.execute(sql.format(table))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await as_owner(db, sql.format(table))


# ---------------------------------------------------------------- the owner's list


async def test_owner_reads_the_log_and_that_is_told_too(api: Api, house: House) -> None:
    await api.get(f"/api/v1/clients/{house.client_id}", house.coach)
    await api.get(f"/api/v1/clients/{house.other_client_id}", house.owner)
    await eventually(lambda: _count(api.db, 2))
    entries = (await api.get(f"/api/v1/audit?client_id={house.client_id}", house.owner)).data
    (entry,) = entries
    assert (entry["action"], entry["outcome"]) == ("get_client_by_id", "read")
    assert entry["actor_name"] == "Carl Coach"
    assert entry["client_ids"] == [str(house.client_id)]
    await eventually(lambda: _count(api.db, 3))
    (own, *_) = (await api.get("/api/v1/audit", house.owner)).data
    assert (own["action"], own["actor_id"]) == ("list_audit_page", str(house.owner.user_id))


async def test_list_filters_and_shows_one_practice_only(api: Api, house: House) -> None:
    other = await make_house(api.db, "Other")
    await api.get(f"/api/v1/clients/{house.client_id}", house.coach)
    await api.get(f"/api/v1/clients/{house.client_id}", other.owner)  # denied, and the other practice's row
    await api.patch(f"/api/v1/clients/{house.client_id}", house.owner, {"goals": CANARY})
    await eventually(lambda: _count(api.db, 3))

    async def actions(query: str) -> list[str]:
        page = await api.get(f"/api/v1/audit?{query}", house.owner)
        return sorted(entry["action"] for entry in page.data if entry["action"] != "list_audit_page")

    assert await actions("page_size=100") == ["get_client_by_id", "patch_client"]
    assert await actions("outcome=done") == ["patch_client"]
    assert await actions("outcome=denied") == []
    assert await actions(f"actor_id={house.coach.user_id}") == ["get_client_by_id"]
    assert await actions("action=patch_client") == ["patch_client"]
    assert await actions("to=2020-01-01T00:00:00Z") == []
    assert await actions("from=2020-01-01T00:00:00Z") == ["get_client_by_id", "patch_client"]


async def _count(db: Database, least: int) -> bool:
    return bool(await db.fetchval("select count(*) >= $1 from audit_log", least))


# ---------------------------------------------------------------- golden


async def test_sixty_actions_leave_exactly_their_rows(api: Api, house: House) -> None:
    """D-01: who, in which practice, whose data, what, when, from where, which request, and how it ended."""
    expected: list[tuple[Any, ...]] = []
    owner, coach, client = house.owner, house.coach, house.client
    foreign = (await make_house(api.db, "Foreign")).owner
    first = house.client_id
    number = 0

    async def act(
        method: str, path: str, actor: Any, action: str, outcome: str, *, subject: Any = None, clients: Any = None,
        json: Any = None,
    ) -> Any:  # fmt: skip
        nonlocal number
        number += 1
        request_id = f"golden-{number:02}"
        answer = await api.call(method, f"/api/v1{path}", actor, json=json, headers={"X-Request-ID": request_id})
        data = answer.body.get("data")
        if subject == "made":
            subject = UUID(data["id"])
        if clients == "made":
            clients = [subject]
        expected.append((request_id, action, outcome, actor.user_id, subject, sorted(clients or [])))
        return data

    for n in range(6):
        made = await act(
            "POST", "/clients", owner, "post_client", "done", subject="made", clients="made",
            json={"first_name": f"N{n}", "last_name": CANARY, "coach_id": str(coach.user_id), "goals": CANARY},
        )  # fmt: skip
        new = UUID(made["id"])
        one = f"/clients/{new}"
        await act("GET", one, coach, "get_client_by_id", "read", subject=new, clients=[new])
        await act("PATCH", one, coach, "patch_client", "done", subject=new, clients=[new], json={"goals": CANARY})
        await act("GET", one, foreign, "get_client_by_id", "denied", subject=new, clients=[new])
        await act("PATCH", one, client, "patch_client", "denied", subject=new, clients=[new], json={"goals": "x"})
        booked = await act(
            "POST", "/sessions", coach, "post_session", "done", subject="made", clients=[new],
            json={"client_id": str(new), "starts_at": f"2031-01-0{n + 1}T10:00:00Z", "duration_minutes": 30,
                  "title": CANARY},
        )  # fmt: skip
        session = UUID(booked["id"])
        path = f"/sessions/{session}"
        await act("GET", path, coach, "get_session_by_id", "read", subject=session, clients=[new])
        await act(
            "PATCH", path, coach, "patch_session", "done", subject=session, clients=[new],
            json={"status": "cancelled", "cancel_reason": CANARY},
        )  # fmt: skip
        paid = await act(
            "POST", "/payments", owner, "post_payment", "done", subject="made", clients=[new],
            json={"client_id": str(new), "amount_minor": 100, "note": CANARY},
        )  # fmt: skip
        payment = UUID(paid["id"])
        await act("GET", f"/payments/{payment}", owner, "get_payment_by_id", "read", subject=payment, clients=[new])
    await act("GET", f"/clients/{first}", client, "get_client_by_id", "read", subject=first, clients=[first])
    await act("GET", "/predictions/churn", client, "list_churn_page", "denied")
    await act("POST", "/auth/logout", client, "post_logout", "done")
    await act("GET", "/clients", client, "list_clients_page", "denied")  # its session has ended

    assert len(expected) == 64

    async def complete() -> list[dict[str, Any]]:
        rows = await rows_of(api.db)
        return rows if len(rows) >= len(expected) else []

    rows = await eventually(complete)
    found = [
        (r["request_id"], r["action"], r["outcome"], r["actor_id"], r["subject_id"], sorted(r["client_ids"]))
        for r in rows
    ]
    assert sorted(found, key=lambda row: row[0]) == expected
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    practices = {row["actor_id"]: row["practice_id"] for row in rows}
    assert practices[foreign.user_id] == foreign.practice_id
    assert practices[coach.user_id] == house.practice.id
    assert CANARY.encode() not in orjson.dumps(rows, default=str)
    patched = next(row for row in rows if row["action"] == "patch_session")
    assert patched["details"] == {"events": ["SessionCancelled"], "fields": ["cancel_reason", "status"]}


async def test_sign_ins_and_refresh_reuse_are_told(api: Api) -> None:
    new = {"practice_name": "P", "name": "N", "email": "n@example.org", "password": PASSWORD, "timezone": "UTC"}
    registered = (await api.post("/api/v1/auth/register", json=new)).data
    me = UUID(registered["user"]["id"])
    login = (await api.post("/api/v1/auth/login", json={"email": "n@example.org", "password": PASSWORD})).data
    tokens = [login["refresh_token"]]
    for _ in range(2):
        answer = await api.post("/api/v1/auth/refresh", json={"refresh_token": tokens[-1]})
        tokens.append(answer.data["refresh_token"])
    assert (await api.post("/api/v1/auth/refresh", json={"refresh_token": tokens[0]})).status == 401
    await eventually(lambda: _count(api.db, 4))
    rows = [(r["action"], r["outcome"], r["actor_id"], r["subject_id"], r["details"]) for r in await rows_of(api.db)]
    assert rows == [
        ("post_register", "done", me, None, {"events": ["PracticeRegistered", "UserLoggedIn"]}),
        ("post_login", "done", me, None, {"events": ["UserLoggedIn"]}),
        ("post_refresh", "done", None, me, {"reason": "refresh token reused"}),
        ("post_refresh", "denied", None, me, {"code": "REFRESH_INVALID"}),
    ]
