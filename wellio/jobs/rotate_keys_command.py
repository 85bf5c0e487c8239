"""`bin/rotate-keys`: seals everything with the first of ENCRYPTION_KEYS, and says which keys may go."""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wellio.db import Database
from wellio.embedded import EmbeddedError
from wellio.errors import StartupError, WellioError
from wellio.jobs.command import find_database, find_sealer, migrated
from wellio.resealing import Holding, list_holdings, reseal
from wellio.sealing import Sealer

NEW_KEY = "openssl rand -base64 32"
# Rows that somebody worked on are passed over, and looked at again.
PASSES = 5
PAUSE_S = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process: 0 when the first key seals everything (or there is nothing to do), 1 when it does not."""
    parser = argparse.ArgumentParser(
        prog="rotate-keys",
        description="Seals anew, with the first of ENCRYPTION_KEYS, what another key has sealed. Wellio may run.",
        epilog="Interrupted anywhere, the next run goes on.",
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what each key seals, and what to do")
    dry_run = parser.parse_args(arguments).dry_run
    try:
        with ExitStack() as stack:
            sealer = find_sealer()
            whole = asyncio.run(_main(find_database(stack), sealer, dry_run=dry_run))
    except (StartupError, WellioError, EmbeddedError) as error:
        sys.stderr.write(f"rotate-keys: {error}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        sys.stderr.write("rotate-keys: stopped; the next run goes on.\n")
        raise SystemExit(130) from None
    raise SystemExit(0 if whole else 1)


async def _main(url: str, sealer: Sealer, *, dry_run: bool) -> bool:
    console = Console(highlight=False, soft_wrap=True)
    async with migrated(url) as db:
        if not dry_run:
            count = await rotate(db, sealer, progress=sys.stderr.isatty())
            console.print(f"{_values(count)} sealed anew with {sealer.key_id}", markup=False)
        holdings = await list_holdings(db)
    if holdings:
        console.print(_table(holdings, sealer))
    for line in advice(holdings, sealer.key_ids):
        console.print(line, markup=False)
    return all(holding.key_id == sealer.key_id for holding in holdings)


async def rotate(db: Database, sealer: Sealer, *, progress: bool = False) -> int:
    """How many values were sealed anew."""
    count = 0
    columns = (TextColumn("sealing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("sealing", total=_to_do(await list_holdings(db), sealer))
        for _ in range(PASSES):
            done = await reseal(db, sealer, told=lambda rows: bar.advance(task, rows))
            count += done.count
            if _to_do(await list_holdings(db), sealer) <= done.not_opened.total():
                break
            await asyncio.sleep(PAUSE_S)
    return count


def _to_do(holdings: Sequence[Holding], sealer: Sealer) -> int:
    return sum(holding.count for holding in holdings if holding.key_id != sealer.key_id)


def advice(holdings: Sequence[Holding], key_ids: Sequence[str]) -> list[str]:
    """What to do next, one sentence a line. `key_ids` as in ENCRYPTION_KEYS, the first one seals."""
    sealed: Counter[str] = Counter()
    for holding in holdings:
        sealed[holding.key_id] += holding.count
    lines = []
    for key_id in sorted(sealed.keys() - set(key_ids)):
        key = f"{key_id}, which ENCRYPTION_KEYS does not name" if key_id else "no key at all"
        lines.append(f"Sealed with {key}: {_values(sealed[key_id])}, left as they are. Put the key back to open them.")
    for key_id in key_ids[1:]:
        if sealed[key_id]:
            lines.append(f"Sealed with {key_id} still: {_values(sealed[key_id])}. Run bin/rotate-keys.")
        else:
            lines.append(
                f"{key_id} seals nothing any more: take it out of ENCRYPTION_KEYS and restart. Keep it with "
                "the backups made until now."
            )
    lines.append(f"For a new key, put ID:$({NEW_KEY}) in front in ENCRYPTION_KEYS, restart, and run bin/rotate-keys.")
    return lines


def _values(count: int) -> str:
    return f"{count:,} value{'' if count == 1 else 's'}"


def _table(holdings: Sequence[Holding], sealer: Sealer) -> Table:
    table = Table("column", "sealed with", "values", "", box=None)
    for holding in holdings:
        table.add_row(holding.column, holding.key_id or "(nothing)", f"{holding.count:,}", _state(holding, sealer))
    return table


def _state(holding: Holding, sealer: Sealer) -> str:
    if holding.key_id == sealer.key_id:
        return "the key that seals"
    return "to be sealed anew" if holding.key_id in sealer.key_ids else "can't be opened"
