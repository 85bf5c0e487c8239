"""A history is replayed through the real path: each line once, whatever happens on the way."""

import asyncio
import contextlib
import gzip
import io
import os
import signal
import sys
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.factories import House
from tests.learning_store.histories import learn_at_once, read_log
from tests.owner import as_owner
from tests.waiting import eventually
from wellio import leader, subscriptions
from wellio.accounts.passwords import Passwords
from wellio.accounts.users import find_credentials
from wellio.db import Database
from wellio.errors import Unavailable
from wellio.idempotency import Once
from wellio.leader import Leadership
from wellio.learning import follower as followers
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.outbox import Outbox, Transaction
from wellio.practice.history import History, get_replay, start_replay
from wellio.practice.history_files import Batch, HistoryError
from wellio.practice.history_lines import Entry, Kind
from wellio.replay import run
from wellio.replay.options import read_options
from wellio.replay.report import Teller

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "wellio" / "data" / "sample_history.csv.gz"
HEADER = "client_id,ts,type,amount"
START = datetime(2020, 1, 6, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "POLL_S", 0.01)
    monkeypatch.setattr(followers, "GATHER_S", 0.001)
    monkeypatch.setattr(leader, "POLL_S", 0.05)


@dataclass
class Said:
    out: io.StringIO = field(default_factory=io.StringIO)
    errors: io.StringIO = field(default_factory=io.StringIO)

    def teller(self) -> Teller:
        return Teller(Console(file=self.out, width=200), Console(file=self.errors, width=200, soft_wrap=True))


def lines(count: int, *, clients: int = 8, hours: int = 7) -> list[str]:
    return [
        f"c{i * 5 % clients},{(START + timedelta(hours=i * hours)).isoformat()},purchase,{10 + i % 50}.50"
        for i in range(count)
    ]


def write(path: Path, rows: Iterable[str], *, header: str = HEADER) -> Path:
    text = "".join(f"{row}\n" for row in (header, *rows))
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())
    return path


async def replay(url: str, path: Path, *options: str) -> Said:
    """Runs the command in this process. Raises HistoryError and the like, as it would tell them."""
    said = Said()
    given = read_options([str(path), *options])
    try:
        await run._replay(url, given, said.teller())
    finally:
        said.errors.seek(0)
    return said


async def figures(db: Database) -> dict[str, Any]:
    row = await db.fetchrow(
        "select (select count(*) from payments) as payments, (select count(*) from clients) as clients,"
        " (select count(*) from events where type = 'PaymentRecorded') as paid,"
        " (select count(*) from events where type = 'ActivityRecorded') as activities,"
        " (select coalesce(sum(amount_minor), 0)::bigint from payments) as amount"
    )
    assert row is not None
    return dict(row)


async def check_learnt(db: Database) -> None:
    """The stored state is that of a learner which took the whole log without any interruption."""
    learner, outcomes = await learn_at_once(db)
    state = await db.fetchval("select state from learner_snapshots order by id desc limit 1")
    assert zlib.decompress(state) == learner.dump()
    stored = await db.fetch("select client_id, kind, probability, churned from prediction_outcomes order by seq")
    assert [tuple(row) for row in stored] == [(o.client, o.kind, o.probability, o.churned) for o in outcomes]


async def test_history_becomes_the_practices_past(database_url: str, db: Database, tmp_path: Path) -> None:
    rows = [
        *lines(3),
        "c1,2020-01-08T10:00:00,return,-12.50",
        "c2,2020-01-08T11:00:00,login,",
        "c2,2020-01-08T12:00:00,purchase,0",
        '"Doe, Jane",2020-01-08T15:00:00+02:00,session_attended,',
    ]
    said = await replay(database_url, write(tmp_path / "past.csv", rows), "--horizon", "45")
    assert await figures(db) == {"payments": 4, "clients": 5, "paid": 3, "activities": 3, "amount": 4700}
    events = await read_log(db)
    assert [e.type.value for e in events if e.client_id] == [
        *["ClientCreated", "PaymentRecorded"] * 3,
        *["ClientCreated", "PaymentRefunded"],
        *["ActivityRecorded"] * 2,
        *["ClientCreated", "ActivityRecorded"],
    ]
    assert [e.occurred_at for e in events] == sorted(e.occurred_at for e in events)
    assert events[-1].payload == {"kind": "session_attended", "active": True, "amount_minor": 0}
    assert events[-1].occurred_at == datetime(2020, 1, 8, 13, tzinfo=UTC)
    practice = await db.fetchrow("select name, currency, churn_horizon_days from practices")
    assert practice is not None
    assert tuple(practice) == ("past", "EUR", 45)
    client = await db.fetchrow("select first_name, last_activity_at, created_at from clients where external_ref = 'c2'")
    assert client is not None
    assert tuple(client) == ("Client", datetime(2020, 1, 8, 12, tzinfo=UTC), START + timedelta(hours=14))
    assert "7 lines done, 0 of them refused" in said.out.getvalue()
    await check_learnt(db)


async def test_owner_of_a_new_practice_can_log_in(database_url: str, db: Database, tmp_path: Path) -> None:
    said = await replay(database_url, write(tmp_path / "past.csv", lines(5)), "--practice", "Praxis")
    email, password = next(line.split()[:2] for line in said.out.getvalue().splitlines() if "@" in line)
    credentials = await find_credentials(db, email)
    assert credentials is not None
    assert await Passwords().verify(credentials.password_hash, password)
    again = await replay(database_url, tmp_path / "past.csv", "--practice", "Praxis")
    assert password not in again.out.getvalue()


async def test_figures_of_the_sample_are_told(database_url: str, db: Database) -> None:
    said = await replay(database_url, SAMPLE)
    told = said.out.getvalue()
    assert "AUC" in told
    assert "ECE" in told
    assert "weekly" in told
    assert "event" in told
    outcomes = await db.fetchval("select count(*) from prediction_outcomes")
    assert outcomes > 1000
    await check_learnt(db)


async def test_same_file_gives_the_same_figures_anywhere(database_url: str, db: Database, tmp_path: Path) -> None:
    """Ids follow from the file, so no chance is left in what is learnt."""
    path = write(tmp_path / "past.csv", lines(300))
    first = await replay(database_url, path)
    state = await db.fetchval("select state from learner_snapshots order by id desc limit 1")
    # Ledgers refuse to be emptied: their triggers are set aside.
    await as_owner(
        db,
        "set local session_replication_role = replica; truncate practices, learner_snapshots,"
        " prediction_outcomes, consumers, events cascade",
    )
    second = await replay(database_url, path, "--batch", "7")
    assert zlib.decompress(state) == zlib.decompress(
        await db.fetchval("select state from learner_snapshots order by id desc limit 1")
    )
    tables = [said.out.getvalue().partition("Predictions of")[2] for said in (first, second)]
    assert tables[0] == tables[1]


async def test_second_run_takes_nothing_again(database_url: str, db: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv.gz", lines(60))
    await replay(database_url, path)
    before = await figures(db)
    said = await replay(database_url, path)
    assert "All 60 events of this file were taken before." in said.out.getvalue()
    assert await figures(db) == before


async def test_longer_file_is_gone_on_with(database_url: str, db: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv", lines(60))
    await replay(database_url, path)
    write(path, lines(90))
    said = await replay(database_url, path)
    assert "going on after line 61" in said.out.getvalue()
    assert (await figures(db))["payments"] == 90
    await check_learnt(db)


@pytest.mark.parametrize("packed", [True, False])
async def test_the_same_lines_packed_otherwise_are_the_same_file(
    database_url: str, db: Database, tmp_path: Path, packed: bool
) -> None:
    await replay(database_url, write(tmp_path / "past.csv", lines(30)))
    text = "\r\n".join([HEADER, *lines(40)])
    path = tmp_path / ("past.csv.gz" if packed else "past.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    await replay(database_url, path)
    assert (await figures(db))["payments"] == 40


async def test_changed_file_is_refused(database_url: str, db: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv", lines(60))
    await replay(database_url, path)
    changed = lines(90)
    changed[20] = changed[20].replace("purchase", "return")
    with pytest.raises(HistoryError, match="was changed: its first 61 lines"):
        await replay(database_url, write(path, changed))
    with pytest.raises(HistoryError, match="another one"):
        await replay(database_url, write(path, lines(20)))
    assert (await figures(db))["payments"] == 60
    said = await replay(database_url, write(path, changed), "--practice", "Another")
    assert "New practice Another" in said.out.getvalue()


async def test_unknown_types_are_told_of_before_anything_is_taken(
    database_url: str, db: Database, tmp_path: Path
) -> None:
    rows = [*lines(5), "c1,2020-02-01T00:00:00,yoga,", "c1,2020-02-02T00:00:00,mailing,"]
    path = write(tmp_path / "past.csv", rows)
    with pytest.raises(HistoryError, match=r"'yoga' \(line 7\), 'mailing' \(line 8\).*--active.*--context"):
        await replay(database_url, path)
    assert await db.fetchval("select to_regclass('practices') is null or not exists (select from practices)")
    await replay(database_url, path, "--active", "yoga", "--context", "mailing")
    rows_ = await db.fetch("select payload from events where type = 'ActivityRecorded' order by xid, position")
    assert [row["payload"] for row in rows_] == [
        {"kind": "yoga", "active": True, "amount_minor": 0},
        {"kind": "mailing", "active": False, "amount_minor": 0},
    ]


BAD_LINES = {
    "c1,2020-02-01T00:00:00,purchase": "has 3 fields where the header names 4",
    "c1,2020-02-01T00:00:00,purchase,1,2": "has 5 fields",
    "c1,yesterday,purchase,1": "has the time 'yesterday'",
    "c1,2020-02-30T00:00:00,purchase,1": "has the time '2020-02-30T00:00:00'",
    "c1,2999-01-01,purchase,1": "not between 1970 and now",
    "c1,0001-01-01T00:00:00+23:59,purchase,1": "has the time",
    "c1,1580515200,purchase,1": "has the time '1580515200'",
    "c1,2020-02-01T00:00:00,purchase,ten": "has the amount 'ten'",
    "c1,2020-02-01T00:00:00,purchase,1e9": "has the amount '1e9'",
    "c1,2020-02-01T00:00:00,purchase,nan": "has the amount 'nan'",
    "c1,2020-02-01T00:00:00,purchase,-4": "a payment can't be negative",
    "c1,2020-02-01T00:00:00,purchase,9999999999999": "too large",
    ",2020-02-01T00:00:00,purchase,1": "has no client_id",
    f"{'x' * 201},2020-02-01T00:00:00,purchase,1": "has no client_id",
    "c\x1b[2J,2020-02-01T00:00:00,purchase,1": "has no client_id",
    "c\0,2020-02-01T00:00:00,purchase,1": "NUL byte",
    '"c1,2020-02-01T00:00:00,purchase,1': "is no CSV",
    f"c1,2020-02-01T00:00:00,purchase,{'1' * 5000}": "longer than 4,096 bytes",
    "c1,2019-02-01T00:00:00,purchase,1": "before the line above it",
}


async def test_bad_lines_are_told_by_number_and_skipped(database_url: str, db: Database, tmp_path: Path) -> None:
    rows = lines(40)
    for i, bad in enumerate(BAD_LINES):
        rows.insert(2 * i + 1, bad)
    path = write(tmp_path / "past.csv", rows)
    with path.open("ab") as file:
        file.write(b"c1,2020-03-01T00:00:00,purchase,\xff\n\n")
    said = await replay(database_url, path)
    told = said.errors.getvalue().splitlines()
    assert len(told) == len(BAD_LINES) + 1
    for i, (line, reason) in enumerate(zip(told, BAD_LINES.values(), strict=False)):
        assert line.startswith(f"line {2 * i + 3} ")
        assert reason in line
        assert line.isprintable()
    assert told[-1] == f"line {len(rows) + 2} is not UTF-8 text"
    assert (await figures(db))["payments"] == 40
    assert f"{len(BAD_LINES) + 1} of them refused" in said.out.getvalue()


async def test_only_the_first_bad_lines_are_shown(database_url: str, tmp_path: Path) -> None:
    said = await replay(database_url, write(tmp_path / "past.csv", [*lines(5), *["c1,x,purchase,1"] * 33]))
    told = said.errors.getvalue().splitlines()
    assert len(told) == 21
    assert told[-1] == "… and 13 more bad lines."


async def test_bad_line_can_refuse_its_batch_whole(database_url: str, db: Database, tmp_path: Path) -> None:
    rows = lines(50)
    rows.insert(33, "c1,x,purchase,1")
    path = write(tmp_path / "past.csv", rows)
    with pytest.raises(HistoryError, match=r"line 35 has the time 'x'.*refused whole"):
        await replay(database_url, path, "--on-error", "stop", "--batch", "10")
    assert (await figures(db))["payments"] == 30
    assert await db.fetchval("select lines_done from replays") == 31


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty"),
        (b"client_id,ts,type,amount\n", "holds no events"),
        (b"who,when,what\n1,2,3\n", "lacks client_id, ts, type"),
        (b"client_id,ts,type,ts\n1,2,3,4\n", "names one twice"),
        (f"{HEADER}\nc1,2020-01-01,purchase,1\n".encode("utf-16"), "is not UTF-8 text|NUL byte"),
        (b"x" * 10_000, "longer than"),
        (b"\x1f\x8b\x08\x00\x00", "damaged"),
        (b"client_id,ts,type,amount\nc1,x,purchase,1\n", "No line can be taken: line 2 has the time 'x'"),
    ],
)
async def test_file_that_is_no_history_is_refused(
    database_url: str, db: Database, tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "past.csv"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match=reason):
        await replay(database_url, path)
    assert await db.fetchval("select count(*) from practices") == 0


async def test_file_that_is_not_there_is_told(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="can't be read: No such file"):
        await replay(database_url, tmp_path / "absent.csv")


async def test_byte_order_mark_is_passed_over(database_url: str, db: Database, tmp_path: Path) -> None:
    path = tmp_path / "past.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join([HEADER, *lines(5)]).encode())
    await replay(database_url, path)
    assert (await figures(db))["payments"] == 5


async def test_cut_off_gzip_is_taken_up_to_its_last_whole_batch_and_mended_later(
    database_url: str, db: Database, tmp_path: Path
) -> None:
    rows = lines(2500)
    sound = write(tmp_path / "past.csv.gz", rows).read_bytes()
    cut = tmp_path / "past.csv.gz"
    cut.write_bytes(sound[: len(sound) * 2 // 3])
    with pytest.raises(HistoryError, match=r"damaged at line [\d,]+ .*the same command goes on"):
        await replay(database_url, cut, "--batch", "400")
    taken = (await figures(db))["payments"]
    assert taken % 400 == 0
    assert 0 < taken < 2500
    await check_learnt(db)
    cut.write_bytes(sound)
    await replay(database_url, cut, "--batch", "400")
    assert (await figures(db))["payments"] == 2500
    await check_learnt(db)


async def test_gzip_whose_checksum_is_wrong_is_refused(database_url: str, db: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv.gz", lines(50))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum: the text itself unpacks
    path.write_bytes(content)
    with pytest.raises(HistoryError, match="which of its lines are right can't be told"):
        await replay(database_url, path)
    assert await db.fetchval("select count(*) from practices") == 0


async def test_practice_keeps_its_settings(database_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv", lines(5))
    await replay(database_url, path, "--horizon", "45")
    await replay(database_url, path)
    with pytest.raises(HistoryError, match="has --horizon 45 already"):
        await replay(database_url, path, "--horizon", "30")
    with pytest.raises(HistoryError, match="has --currency EUR already"):
        await replay(database_url, path, "--currency", "USD")


async def test_amounts_are_kept_in_the_currencys_minor_units(database_url: str, db: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv", ["c1,2020-01-01,purchase,1500", "c1,2020-01-02,purchase,1.005"])
    for currency, amounts in (("JPY", [1, 1500]), ("EUR", [101, 150_000]), ("KWD", [1005, 1_500_000])):
        await replay(database_url, path, "--currency", currency, "--practice", currency)
        rows = await db.fetch("select amount_minor from payments where currency = $1 order by 1", currency)
        assert [row["amount_minor"] for row in rows] == amounts


async def test_existing_practice_is_found_by_name_or_id(database_url: str, db: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv", lines(20))
    await replay(database_url, path, "--practice", "Praxis")
    practice_id = await db.fetchval("select id from practices")
    said = await replay(database_url, write(path, lines(30)), "--practice", str(practice_id))
    assert "Praxis: going on" in said.out.getvalue()
    with pytest.raises(Exception, match="There is no practice"):
        await replay(database_url, path, "--practice", "01a203ee-0331-74cb-a3a9-97d22d27d0cd")


async def test_history_is_news_to_nobody(database_url: str, db: Database) -> None:
    await replay(database_url, SAMPLE)
    assert await db.fetchval("select count(*) from predictions where band = 'high' and status = 'ok'")
    assert await db.fetchval("select count(*) from notifications") == 0


@asynccontextmanager
async def running_wellio(url: str, db: Database) -> AsyncIterator[Live]:
    """Another process that leads, as far as this command can tell."""
    live, metrics = Live(), Metrics()
    leadership = Leadership(url, lambda: subscriptions.lead_with(Outbox(db), live, metrics), metrics)
    await leadership.start()
    try:
        await eventually(lambda: leadership.held)
        yield live
    finally:
        await leadership.stop()


async def test_running_wellio_learns_what_the_command_writes(database_url: str, db: Database, tmp_path: Path) -> None:
    async with running_wellio(database_url, db) as live:
        heard: list[str] = []
        live.attach(lambda push: heard.append(push.event))
        said = await replay(database_url, SAMPLE)
        assert "learnt by the Wellio that is running" in said.out.getvalue()
    assert "sync:required" in heard
    assert "churn:updated" not in heard[: heard.index("sync:required")] or heard.count("churn:updated") < 5000
    await check_learnt(db)


async def test_two_at_once_take_no_line_twice(database_url: str, db: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv", lines(1500))
    await replay(database_url, write(tmp_path / "first.csv", lines(10)), "--practice", "past")
    results = await asyncio.gather(
        *[replay(database_url, path, "--batch", "50") for _ in range(2)], return_exceptions=True
    )
    assert any(isinstance(result, Said) for result in results)
    assert (await figures(db))["payments"] == 1500
    await check_learnt(db)


CUT_ALL = """
select count(pg_terminate_backend(pid))
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
"""


async def test_database_that_goes_away_is_waited_for(database_url: str, db: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "past.csv", lines(2000))
    task = asyncio.create_task(replay(database_url, path, "--batch", "25"))
    for line in (200, 700, 1200):
        await eventually(partial(_has_come_to, db, line))
        connection = await asyncpg.connect(database_url)
        await connection.execute(CUT_ALL)
        await connection.close()
    await task
    await db.pool.expire_connections()
    assert (await figures(db))["payments"] == 2000
    await check_learnt(db)


class Doubtful(Outbox):
    """Its commits arrive, or do not, but their answers are lost."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.lose = ""

    @asynccontextmanager
    async def transaction(self, once: Once | None = None) -> AsyncIterator[Transaction]:
        lose, self.lose = self.lose, ""
        async with super().transaction(once) as tx:
            yield tx
            if lose == "before":
                raise Unavailable("")
        if lose == "after":
            raise Unavailable("")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_batch_whose_commit_is_in_doubt_is_taken_once(db: Database, house: House, moment: str) -> None:
    outbox = Doubtful(db)
    history = History(outbox, await start_replay(outbox, house.practice, "past.csv"))
    paid = Kind("payment", active=True)
    for number in range(3):
        entry = Entry("c1", START + timedelta(days=number), paid, 1000)
        batch = Batch([entry], lines_done=number + 2, digest=bytes([number]))
        outbox.lose = moment
        with pytest.raises(Unavailable):
            await history.take(batch)
        assert bool(await history.take(batch)) == (moment == "before")
    assert (await figures(db))["payments"] == 3
    assert history.replay == await get_replay(db, house.practice)


@pytest.mark.slow
async def test_killed_and_run_again_it_comes_to_the_same_state(database_url: str, db: Database, tmp_path: Path) -> None:
    """kill -9 twice and Ctrl-C once; then all lines are there once, and the learner as if nothing had been."""
    path = tmp_path / "past.csv"
    path.write_bytes(gzip.decompress(SAMPLE.read_bytes()))
    rows = path.read_text().splitlines()[1:]
    for share, number, code in ((0.2, signal.SIGKILL, -9), (0.5, signal.SIGINT, 130), (0.8, signal.SIGKILL, -9)):
        assert await _run_and_kill(database_url, db, path, number, at_line=int(share * len(rows))) == code
    assert await _finish(database_url, path) == 0
    purchases = [row.split(",") for row in rows]
    paid = sum(round(abs(float(amount)) * 100) for *_, amount in purchases)
    assert (await figures(db)) | {"clients": 0} == {
        "payments": len(rows),
        "paid": sum(kind == "purchase" for _, _, kind, _ in purchases),
        "activities": 0,
        "amount": paid,
        "clients": 0,
    }
    assert await db.fetchval("select count(*) from clients") == len({row[0] for row in purchases})
    await check_learnt(db)


async def _command(database_url: str, path: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "bin" / "replay"), str(path), "--batch", "20"]
    return await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )


async def _run_and_kill(database_url: str, db: Database, path: Path, number: int, *, at_line: int) -> int:
    process = await _command(database_url, path)
    try:
        await eventually(lambda: _has_come_to(db, at_line), within_s=60)
        process.send_signal(number)
        return await asyncio.wait_for(process.wait(), 30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def _has_come_to(db: Database, line: int) -> bool:
    with contextlib.suppress(Unavailable):
        return bool(await db.fetchval("select exists (select from replays where lines_done >= $1)", line))
    return False


async def _finish(database_url: str, path: Path) -> int:
    process = await _command(database_url, path)
    return await asyncio.wait_for(process.wait(), 120)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), packed=st.booleans())
async def test_no_file_breaks_the_command(database_url: str, tmp_path: Path, data: bytes, packed: bool) -> None:
    """Whatever stands after the header, it is taken or refused with a sentence."""
    content = f"{HEADER}\n".encode() + data
    path = tmp_path / "any.csv"
    path.write_bytes(gzip.compress(content) if packed else content)
    with contextlib.suppress(HistoryError):
        await replay(database_url, path)
