"""How fast `bin/replay` is, and whether an event costs the same after 300,000 as after 10,000. Prints JSON.

    python bench/replay.py FILE [--events 300000] [options of bin/replay]

The file is repeated, each time later and with other clients, until it has so many events. PostgreSQL is an embedded one
of its own, as safe as in production (fsync on). `python_us` and `postgres_us` are CPU per event, which a busy machine
disturbs less than events/s.
"""

import argparse
import asyncio
import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import asyncpg
import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from wellio.embedded import start  # noqa: E402

MARKS = (0, 10_000, 30_000, 100_000, 200_000, 300_000)
POLL_S = 0.1

GET_LEARNT = """
select l.xid, l.position,
       (select count(*) from events e
        where (e.xid, e.position) > ($1, $2) and (e.xid, e.position) <= (l.xid, l.position)
          and e.type <> 'ClientCreated') as learnt
from consumers l
where l.name = 'learner'
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--events", type=int, default=300_000)
    given, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.csv"
        repeat(given.file, history, given.events)
        with start(Path(folder) / "data", redis=False) as embedded:
            print(json.dumps(measure(embedded.running.database_url, history, options), indent=2))


def repeat(source: Path, target: Path, events: int) -> None:
    text = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
    rows = list(csv.DictReader(text.decode().splitlines()))
    first, last = (datetime.fromisoformat(row["ts"]) for row in (rows[0], rows[-1]))
    turn = last - first + timedelta(days=1)
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["client_id", "ts", "type", "amount"])
        written = 0
        while written < events:
            shift = turn * (written // len(rows))
            for row in rows[: events - written]:
                at = datetime.fromisoformat(row["ts"]) + shift
                writer.writerow([f"{row['client_id']}-{written}", at.isoformat(), row["type"], row["amount"]])
            written += min(len(rows), events - written)


def measure(url: str, history: Path, options: list[str]) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "bin" / "replay"), str(history), *options]
    environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    replay = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    marks = list(watch(url, replay))
    output = replay.communicate()[0]
    if replay.returncode:
        raise SystemExit(f"bin/replay ended with {replay.returncode}")
    steps = [cost(a, b) for a, b in pairwise(marks)]
    return {"whole": cost(marks[0], marks[-1]), "steps": steps, "said": output.splitlines()}


def watch(url: str, replay: "subprocess.Popen[str]") -> Iterator[dict[str, float]]:
    """Where it stands at each mark, by events learnt."""
    python = psutil.Process(replay.pid)
    cpu = {"python": 0.0, "postgres": 0.0}
    place, learnt = (0, 0), 0
    marks = [*MARKS]
    while replay.poll() is None:
        sleep(POLL_S)
        place, more = asyncio.run(look(url, place))
        learnt += more
        cpu = {name: max(cpu[name], now) for name, now in (("python", cpu_of([python])), ("postgres", postgres_cpu()))}
        if (learnt or more) and learnt >= marks[0]:
            marks = [mark for mark in marks if mark > learnt] or [10**12]
            yield {"events": learnt, "at": monotonic(), **cpu}
    yield {"events": learnt, "at": monotonic(), **cpu}


async def look(url: str, place: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """The learner's place now, and how many events it learnt since the one given."""
    connection = await asyncpg.connect(url)
    try:
        now = await connection.fetchrow(GET_LEARNT, *place)
        return ((now["xid"], now["position"]), now["learnt"]) if now else (place, 0)
    except asyncpg.UndefinedTableError:
        return place, 0
    finally:
        await connection.close()


def cpu_of(processes: list[psutil.Process]) -> float:
    """Seconds, with those of ended children. A process that ends meanwhile counts with its parent's next time."""
    seconds = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])
    return seconds


def postgres_cpu() -> float:
    """Of the server that is our child, its backends, and those that have ended."""
    servers = [p for p in psutil.Process().children() if "postgres" in p.name()]
    return cpu_of([p for server in servers for p in (server, *server.children(recursive=True))])


def cost(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    events = b["events"] - a["events"]
    took = b["at"] - a["at"]
    return {
        "from": a["events"],
        "to": b["events"],
        "events_per_s": round(events / took),
        "python_us": round(1e6 * (b["python"] - a["python"]) / max(events, 1)),
        "postgres_us": round(1e6 * (b["postgres"] - a["postgres"]) / max(events, 1)),
    }


if __name__ == "__main__":
    main()
