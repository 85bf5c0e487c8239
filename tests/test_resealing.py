"""Sealing anew with another key: everything, while others write, and nothing is ever lost."""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Sequence
from uuid import UUID

import pytest

from tests.factories import House, make_user
from tests.waiting import eventually
from wellio.accounts import second_factors
from wellio.accounts.actors import Role
from wellio.db import Database
from wellio.jobs.rotate_keys import rotate_keys
from wellio.jobs.rotate_keys_command import advice, main, rotate
from wellio.jobs.work import Work
from wellio.outbox import Outbox
from wellio.resealing import SEALED, Holding, list_holdings, reseal
from wellio.sealing import SealBroken, Sealer, key_id_of

K1, K2, K0 = bytes(32), bytes(range(32)), b"0" * 32
OLD, BOTH, NEW = Sealer({"k1": K1}), Sealer({"k2": K2, "k1": K1}), Sealer({"k2": K2})
COLUMN = "users.totp_secret"
SET = "update users set totp_secret = $2 where id = $1"


async def make_users(db: Database, house: House, count: int, sealer: Sealer = OLD) -> dict[UUID, bytes]:
    """Users with secrets, by their ids."""
    secrets_of = {}
    for number in range(count):
        user = await make_user(db, house.practice, Role.COACH, f"Coach {number}")
        secrets_of[user.user_id] = secrets.token_bytes(20)
        await write(db, user.user_id, secrets_of[user.user_id], sealer)
    return secrets_of


async def write(db: Database, user_id: UUID, secret: bytes, sealer: Sealer) -> None:
    await db.execute(SET, user_id, sealer.seal(secret, column=COLUMN, row_id=user_id))


async def read(db: Database, sealer: Sealer) -> dict[UUID, bytes]:
    rows = await db.fetch("select id, totp_secret from users where totp_secret is not null")
    return {row["id"]: sealer.unseal(row["totp_secret"], column=COLUMN, row_id=row["id"]) for row in rows}


async def test_everything_is_sealed_with_the_first_key(db: Database, house: House) -> None:
    before = await make_users(db, house, 7)
    assert await list_holdings(db) == [Holding(COLUMN, "k1", 7)]
    seen: list[int] = []
    assert (await reseal(db, BOTH, columns=SEALED[:1], batch_rows=3, told=seen.append)).count == 7
    assert seen == [3, 3, 1, 0]
    assert await list_holdings(db) == [Holding(COLUMN, "k2", 7)]
    assert await read(db, NEW) == before
    assert (await reseal(db, BOTH)).count == 0


async def test_value_of_an_unknown_key_is_reported_and_left_as_it_is(
    db: Database, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    before = await make_users(db, house, 2)
    lost, broken, plain = (await make_users(db, house, 3, Sealer({"k0": K0}))).keys()
    await db.execute("update users set totp_secret = $2 where id = $1", plain, b"never sealed")
    await write(db, broken, b"secret", OLD)
    await db.execute("update users set totp_secret = totp_secret || '\\x00'::bytea where id = $1", broken)
    kept = await db.fetch("select totp_secret from users where id = any($1)", [lost, broken, plain])
    done = await reseal(db, BOTH, batch_rows=2)
    assert (done.count, done.not_opened) == (2, {(COLUMN, "k0"): 1, (COLUMN, "k1"): 1, (COLUMN, ""): 1})
    assert await db.fetch("select totp_secret from users where id = any($1)", [lost, broken, plain]) == kept
    assert {record.__dict__["key_id"] for record in caplog.records} == {"k0", "k1", ""}
    await db.execute("update users set totp_secret = null where id = any($1)", [lost, broken, plain])
    assert await read(db, NEW) == before


async def test_writers_lose_nothing_while_keys_rotate(db: Database, house: House) -> None:
    """Some still seal with the old key, as a process that was not restarted yet does."""
    written = await make_users(db, house, 30)
    stop = asyncio.Event()

    async def writer(users: Sequence[UUID], sealer: Sealer) -> int:
        count = 0
        while not stop.is_set():
            for user_id in users:
                secret = secrets.token_bytes(20)
                await write(db, user_id, secret, sealer)
                written[user_id] = secret
                count += 1
        return count

    users = list(written)
    writers = [asyncio.create_task(writer(users[n::3], sealer)) for n, sealer in enumerate((OLD, BOTH, OLD))]
    for _ in range(20):
        await reseal(db, BOTH, batch_rows=4)
    stop.set()
    assert min(await asyncio.gather(*writers)) > 0
    await rotate(db, BOTH)
    assert await read(db, NEW) == written


async def test_row_that_somebody_works_on_is_left_to_the_next_run(db: Database, house: House) -> None:
    before = await make_users(db, house, 3)
    async with db.transaction() as connection:
        await connection.execute("select from users where id = $1 for update", next(iter(before)))
        assert (await reseal(db, BOTH)).count == 2
        rotating = asyncio.create_task(rotate(db, BOTH))
    assert await rotating == 1
    assert await read(db, NEW) == before


async def test_interrupted_run_goes_on_where_it_was(db: Database, house: House) -> None:
    before = await make_users(db, house, 6)

    def interrupt(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await reseal(db, BOTH, batch_rows=2, told=interrupt)
    assert await list_holdings(db) == [Holding(COLUMN, "k1", 4), Holding(COLUMN, "k2", 2)]
    task = asyncio.create_task(reseal(db, BOTH, batch_rows=1))
    await eventually(lambda: list_is_beyond(db, 2))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await read(db, BOTH) == before
    await reseal(db, BOTH)
    assert await read(db, NEW) == before


async def list_is_beyond(db: Database, count: int) -> bool:
    return any(holding.key_id == "k2" and holding.count > count for holding in await list_holdings(db))


async def test_job_seals_anew_and_counts(db: Database, house: House, outbox: Outbox) -> None:
    await make_users(db, house, 2)
    await make_users(db, house, 1, Sealer({"k0": K0}))
    assert await rotate_keys(Work(outbox, BOTH)) == {"resealed": 2, "not_opened": 1}
    assert await rotate_keys(Work(outbox)) == {"resealed": 0, "not_opened": 0}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x01",
        b"never sealed",
        b"\x01\x02k1" + bytes(11),
        b"\x01\x02k1" + bytes(12),
        b"\x02\x02k1" + bytes(40),
        b"\x01\x00" + bytes(12),
        b"\x01\xff" + bytes(40),
        b"\x01\x02k1" + bytes(48),
        b"\x01\x0bk-9_abcdefg" + bytes(48),
    ],
)
async def test_database_and_code_tell_a_value_s_key_alike(db: Database, value: bytes) -> None:
    try:
        expected = key_id_of(value)
    except SealBroken:
        expected = ""
    assert await db.fetchval("select sealing_key($1)", value) == expected


def test_every_column_that_is_sealed_is_known() -> None:
    assert second_factors.COLUMN in {column.name for column in SEALED}


def test_advice_says_which_key_may_go_and_which_is_missed() -> None:
    holdings = [Holding(COLUMN, "k2", 5), Holding(COLUMN, "k1", 2), Holding("notes.body", "kx", 3)]
    missed, still, gone, new = advice(holdings, ("k2", "k1", "k0"))
    assert missed.startswith("Sealed with kx, which ENCRYPTION_KEYS does not name: 3 values, left as they are.")
    assert still == "Sealed with k1 still: 2 values. Run bin/rotate-keys."
    assert gone.startswith("k0 seals nothing any more: take it out of ENCRYPTION_KEYS")
    assert "openssl rand -base64 32" in new
    assert len(advice([Holding(COLUMN, "k2", 5)], ("k2",))) == 1


async def test_command_tells_then_seals(
    db: Database,
    house: House,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await make_users(db, house, 3)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("ENCRYPTION_KEYS", keys_setting(("k2", K2), ("k1", K1)))
    assert await run_command("--dry-run") == 1
    told = capsys.readouterr().out
    assert "Sealed with k1 still: 3 values. Run bin/rotate-keys." in told
    assert await list_holdings(db) == [Holding(COLUMN, "k1", 3)]
    assert await run_command() == 0
    told = capsys.readouterr().out
    assert "3 values sealed anew with k2" in told
    assert "k1 seals nothing any more" in told
    monkeypatch.setenv("ENCRYPTION_KEYS", keys_setting(("k1", K1)))
    assert await run_command() == 1
    assert "can't be opened" in capsys.readouterr().out
    assert await list_holdings(db) == [Holding(COLUMN, "k2", 3)]


def keys_setting(*keys: tuple[str, bytes]) -> str:
    return ",".join(f"{key_id}:{b64encode(key).decode()}" for key_id, key in keys)


async def run_command(*arguments: str) -> int:
    """In a thread: it has a loop of its own."""

    def run() -> int:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(str(ended.value.code))

    return await asyncio.to_thread(run)
