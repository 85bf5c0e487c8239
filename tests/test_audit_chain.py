"""The chain finds each row that was changed, removed or inserted after it was sealed."""

from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.owner import as_owner
from tests.waiting import eventually
from wellio.attribution import Attribution
from wellio.audit import Note, Outcome, Shown, insert_notes
from wellio.audit_chain import CHECK_BATCH, Head, get_head, seal
from wellio.consumers import Superseded
from wellio.db import Database
from wellio.jobs.audit_verify import Verdict, verify

AFTER_RESTORE = Path(__file__).parent.parent / "sql" / "after_restore.sql"
ROWS = 12


async def write(db: Database, count: int, *, practice_id: object = None) -> None:
    by = Attribution(operation="get_it", practice_id=practice_id or uuid4(), user_id=uuid4(), address="127.0.0.1")  # type: ignore[arg-type]
    shown = Shown([uuid4()], count=1)
    await insert_notes(db, [Note(by, Outcome.READ, shown, {"count": 1}) for _ in range(count)])


async def seal_all(db: Database, count: int) -> Head:
    """Other databases' transactions hold the horizon back: waits until `count` rows are sealed."""

    async def sealed() -> Head | None:
        head = await get_head(db)
        while (after := await seal(db, head)) is not head:
            head = after
        return head if head.number == count else None

    head = await eventually(sealed)
    assert head
    return head


async def check(db: Database, expect: str | None = None) -> Verdict:
    async with db.connection() as connection:
        return await verify(connection, expect)


async def tamper(db: Database, sql: str) -> None:
    """As somebody who owns the database, and knows how to get past the triggers."""
    await as_owner(
        db,
        "alter table audit_log disable trigger all; alter table audit_chain disable trigger all;"
        f"{sql};"
        "alter table audit_log enable trigger all; alter table audit_chain enable trigger all",
    )


NTH = "(select audit_id from audit_chain where number = {})"


@pytest.fixture
async def sealed(db: Database) -> Database:
    await write(db, ROWS)
    await seal_all(db, ROWS)
    return db


async def test_untouched_log_is_verified(sealed: Database) -> None:
    verdict = await check(sealed)
    assert verdict.sound
    assert verdict.last
    assert verdict.last.number == ROWS
    await write(sealed, 3)
    assert (await check(sealed)).unsealed == 3


async def test_empty_log_is_sound(db: Database) -> None:
    verdict = await check(db)
    assert (verdict.sound, verdict.last, verdict.unsealed) == (True, None, 0)


@pytest.mark.parametrize(
    "change",
    [
        "action = 'other'", "outcome = 'done'", "actor_id = gen_random_uuid()", "client_ids = '{}'",
        "at = at + interval '1 microsecond'", "address = '127.0.0.2'", "details = '{}'", "practice_id = null",
        "actor_role = 'x'", "request_id = 'x'", "session_id = gen_random_uuid()", "api_key_id = gen_random_uuid()",
        "subject_id = gen_random_uuid()",
    ],
)  # fmt: skip
async def test_each_changed_field_is_found(sealed: Database, change: str) -> None:
    await tamper(sealed, f"update audit_log set {change} where id = {NTH.format(5)}")
    findings = (await check(sealed)).findings
    assert [(f.number, f.what) for f in findings] == [(5, "was changed")]


@pytest.mark.parametrize("number", [1, 7, ROWS])
async def test_removed_row_is_found_the_last_one_too(sealed: Database, number: int) -> None:
    await tamper(sealed, f"delete from audit_log where id = {NTH.format(number)}")
    findings = (await check(sealed)).findings
    assert [(f.number, f.what) for f in findings] == [(number, "was removed")]


async def test_row_removed_with_its_link_is_found(sealed: Database) -> None:
    await tamper(
        sealed,
        f"delete from audit_log where id = {NTH.format(5)}; delete from audit_chain where number = 5",
    )
    assert not (await check(sealed)).sound


async def test_inserted_row_is_found(sealed: Database) -> None:
    await tamper(
        sealed,
        "insert into audit_log (position, xid, id, action, outcome) overriding system value"
        f" select position, xid - 1, gen_random_uuid(), 'forged', 'done' from audit_log where id = {NTH.format(5)}",
    )
    assert [f.what for f in (await check(sealed)).findings] == ["was inserted"]


async def test_row_that_was_moved_is_found(sealed: Database) -> None:
    await tamper(sealed, f"update audit_log set xid = xid + 100000000 where id = {NTH.format(5)}")
    assert [(f.number, f.what) for f in (await check(sealed)).findings] == [(5, "was moved")]


async def test_changed_link_is_one_finding(sealed: Database) -> None:
    await tamper(sealed, "update audit_chain set hash = sha256(hash) where number = 5")
    assert [f.number for f in (await check(sealed)).findings] == [5]


async def test_rewritten_chain_is_found_by_a_head_kept_elsewhere(sealed: Database) -> None:
    head = await get_head(sealed)
    kept = f"{head.number}:{head.hash.hex()}"
    assert (await check(sealed, kept)).sound
    await tamper(sealed, f"update audit_log set action = 'other' where id = {NTH.format(5)}; delete from audit_chain")
    await seal_all(sealed, ROWS)
    assert (await check(sealed)).sound  # it can't know
    verdict = await check(sealed, kept)
    assert not verdict.sound
    assert not verdict.expected


async def test_row_of_a_transaction_that_commits_late_is_sealed_in_its_place(db: Database) -> None:
    async with db.connection() as slow:
        held = slow.transaction()
        await held.start()
        by = Attribution(operation="late")
        await insert_notes(slow, [Note(by, Outcome.READ, Shown(), {})])
        await write(db, 1)
        head = await get_head(db)
        assert await seal(db, head) is head  # nothing passes it by
        await held.commit()
    await seal_all(db, 2)
    assert (await check(db)).sound
    first = await db.fetchval(
        "select action from audit_log where id = (select audit_id from audit_chain where number = 1)"
    )
    assert first == "late"


async def test_second_sealer_gives_up(db: Database) -> None:
    await write(db, 1)
    before = await get_head(db)
    await seal_all(db, 1)
    with pytest.raises(Superseded):
        await seal(db, before)
    assert (await check(db)).sound


async def test_restored_log_stays_whole_and_goes_on(sealed: Database) -> None:
    # as from a cluster that had written a great deal more than this one
    await tamper(sealed, "update audit_log set xid = xid + 1000000; update audit_chain set xid = xid + 1000000")
    async with sealed.pool.acquire() as connection:
        await connection.execute("set role none")
        await connection.execute(AFTER_RESTORE.read_text())
    await write(sealed, 2)
    await seal_all(sealed, ROWS + 2)
    assert (await check(sealed)).sound
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await as_owner(sealed, "delete from audit_log")


async def test_many_rows_are_checked_in_batches(db: Database) -> None:
    count = CHECK_BATCH + 500
    for _ in range(5):
        await write(db, count // 5)
    await seal_all(db, count)
    verdict = await check(db)
    assert verdict.sound
    assert verdict.last
    assert verdict.last.number == count
