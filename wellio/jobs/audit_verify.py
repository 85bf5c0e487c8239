"""`bin/audit-verify`: whether the audit log is as it was written, by its chain (`wellio/audit_chain.py`)."""

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wellio.audit_chain import COUNT_UNSEALED, Checked, Finding, check, get_head
from wellio.db import APP_ROLE, Connection, connect
from wellio.embedded import EmbeddedError
from wellio.errors import StartupError, WellioError
from wellio.jobs.command import find_database

SHOWN = 20
FORM = re.compile(r"(\d{1,18}):([0-9a-f]{64})")
GET_LINK_HASH = "select hash from audit_chain where number = $1"
AS_APP = "select set_config('role', $1, false)"


@dataclass(slots=True)
class Verdict:
    """What a whole walk has shown. `expected`: whether the head that was kept elsewhere is in the chain."""

    last: Checked | None = None
    findings: list[Finding] = field(default_factory=list)
    unsealed: int = 0
    expected: bool = True

    @property
    def sound(self) -> bool:
        return not self.findings and self.expected


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process: 0 when every sealed row is as it was written, 1 when not, 2 when that can't be found out."""
    parser = argparse.ArgumentParser(
        prog="audit-verify", description="Checks every sealed row of the audit log against its hash chain."
    )
    parser.add_argument("--expect", metavar="NUMBER:HASH", help="a head that this command printed before")
    expect = parser.parse_args(arguments).expect
    if expect is not None and not FORM.fullmatch(expect):
        parser.error("--expect takes NUMBER:HASH as printed by an earlier run")
    try:
        with ExitStack() as stack:
            sound = asyncio.run(_main(find_database(stack), expect))
    except (StartupError, WellioError, EmbeddedError, OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"audit-verify: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(0 if sound else 1)


async def _main(url: str, expect: str | None) -> bool:
    connection = await connect(url)
    try:
        await connection.fetchval(AS_APP, APP_ROLE)  # reading is all that it may need
        verdict = await verify(connection, expect, progress=sys.stderr.isatty())
    finally:
        await connection.close()
    _tell(Console(highlight=False, soft_wrap=True), verdict)
    return verdict.sound


async def verify(connection: Connection, expect: str | None = None, *, progress: bool = False) -> Verdict:
    verdict = Verdict()
    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("checking", total=None)
        async for checked in check(connection):
            verdict.last = checked
            verdict.findings += checked.findings
            bar.update(task, completed=checked.number, total=checked.of)
    head = await get_head(connection)
    verdict.unsealed = await connection.fetchval(COUNT_UNSEALED, *head.place)
    if expect is not None:
        number, digest = expect.split(":")
        verdict.expected = await connection.fetchval(GET_LINK_HASH, int(number)) == bytes.fromhex(digest)
    return verdict


def _tell(console: Console, verdict: Verdict) -> None:
    for finding in verdict.findings[:SHOWN]:
        when = f", written {finding.at:%Y-%m-%d %H:%M:%S} UTC" if finding.at else ""
        row = f" (id {finding.audit_id}{when})" if finding.audit_id.int else ""
        console.print(f"row {finding.number:,}{row} {finding.what}")
    if len(verdict.findings) > SHOWN:
        console.print(f"… and {len(verdict.findings) - SHOWN:,} more")
    if not verdict.expected:
        console.print("the head given with --expect is not in the chain: what was sealed then has been rewritten")
    if verdict.last is None:
        console.print("no row is sealed yet")
    elif verdict.sound:
        console.print(f"verified {verdict.last.number:,} rows, up to {verdict.last.at:%Y-%m-%d %H:%M:%S} UTC")
        console.print(f"head {verdict.last.number}:{verdict.last.hash.hex()}")
    if verdict.unsealed:
        console.print(f"{verdict.unsealed:,} rows are not sealed yet")
