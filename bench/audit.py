#!/usr/bin/env python3
"""What the audit log costs: a change with and without its row (alternating), a read's note, sealing and checking.

    .venv/bin/python bench/audit.py [--changes 400] [--rows 60000]

Own PostgreSQL (fsync on) in a new folder. Prints one JSON object; ratios are of medians.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.factories import House, make_house  # noqa: E402
from wellio.attribution import ATTRIBUTION, Attribution  # noqa: E402
from wellio.audit import AuditWriter, Note, Outcome, Shown, insert_notes  # noqa: E402
from wellio.audit_chain import get_head, seal  # noqa: E402
from wellio.db import Database, open_database  # noqa: E402
from wellio.embedded import start  # noqa: E402
from wellio.jobs.audit_verify import verify  # noqa: E402
from wellio.metrics import Metrics  # noqa: E402
from wellio.migrations import migrate  # noqa: E402
from wellio.outbox import Outbox  # noqa: E402
from wellio.practice.clients import NewClient, create_client  # noqa: E402


async def measure(url: str, options: argparse.Namespace) -> dict[str, float]:
    await migrate(url)
    db = await open_database(url, min_size=2)
    house = await make_house(db)
    by = Attribution(operation="bench", practice_id=house.practice.id, user_id=house.owner.user_id)
    figures = await changes(db, house, by, options.changes) | notes(db, by) | await chain(db, by, options.rows)
    await db.close()
    return figures


async def changes(db: Database, house: House, by: Attribution, count: int) -> dict[str, float]:
    outbox, took = Outbox(db), {True: list[float](), False: list[float]()}
    for n in range(2 * count):
        audited = n % 2 == 0
        ATTRIBUTION.set(by if audited else None)
        began = time.perf_counter()
        await create_client(outbox, house.owner, NewClient(first_name="A", last_name="B"))
        took[audited].append(time.perf_counter() - began)
    return {"change_ms": median(took[False]) * 1000, "change_ratio": median(took[True]) / median(took[False])}


def notes(db: Database, by: Attribution) -> dict[str, float]:
    ATTRIBUTION.set(by)
    writer, shown = AuditWriter(db, Metrics()), Shown([])
    began = time.perf_counter()
    for _ in range(10_000):
        writer.note(Outcome.READ, shown)
    return {"note_us": (time.perf_counter() - began) / 10_000 * 1e6}


async def chain(db: Database, by: Attribution, rows: int) -> dict[str, float]:
    for _ in range(rows // 500):
        await insert_notes(db, [Note(by, Outcome.READ, Shown(), {"count": 1}) for _ in range(500)])
    began, head = time.perf_counter(), await get_head(db)
    while (after := await seal(db, head)) is not head:
        head = after
    sealed_s = time.perf_counter() - began
    began = time.perf_counter()
    async with db.connection() as connection:
        verdict = await verify(connection)
    assert verdict.sound
    checked_s = time.perf_counter() - began
    return {"sealed_rows_per_s": head.number / sealed_s, "checked_rows_per_s": head.number / checked_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--changes", type=int, default=400)
    parser.add_argument("--rows", type=int, default=60_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wellio-audit-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with start(folder / "data", redis=False) as embedded:
            figures = asyncio.run(measure(embedded.running.database_url or "", options))
    print(json.dumps({what: round(figure, 3) for what, figure in figures.items()}, indent=2))


if __name__ == "__main__":
    main()
